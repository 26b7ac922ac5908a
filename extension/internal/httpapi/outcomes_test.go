package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/storetest"
)

func TestAcquireCompleteReplay(t *testing.T) {
	s := serve(t)
	before := time.Now().UnixMilli()
	got := s.post("/acquire", `{"key":"order-1","payload":{"amount":10},"request_id":"r1","ttl_seconds":60,"lease_ms":5000}`).want("acquired")
	if got.number("attempt") != 1 || got.number("fence") < before || got.has("previous_error") || got.has("unprotected") {
		t.Errorf("acquired: %s", got.body)
	}
	if lease := got.number("lease_expires_at") - before; lease < 5000 || lease > 6000 {
		t.Errorf("the lease is %d ms", lease)
	}

	held := s.post("/acquire", `{"key":"order-1","request_id":"r2"}`).want("in_progress")
	if held.text("request_id") != "r1" || held.number("lease_expires_at") != got.number("lease_expires_at") || held.number("retry_after_ms") > 5000 {
		t.Errorf("in progress: %s", held.body)
	}
	if strings.Contains(string(held.body), got.text("token")) {
		t.Error("another's token is told")
	}
	s.post("/acquire", `{"key":"order-1","payload":{"amount":11}}`).problem(422, httpapi.PayloadMismatch, "another payload", "use a new key")

	token := got.text("token")
	s.complete(token, `{"ok":true}`)
	s.complete(token, `{"ok":true}`) // Repeated, it answers as it did.
	done := s.post("/acquire", `{"payload":{"amount":10.0},"key":"order-1"}`).want("completed")
	if string(done.members["result"]) != `{"ok":true}` || done.text("request_id") != "r1" || done.number("completed_at") < before {
		t.Errorf("completed: %s", done.body)
	}
	s.post("/fail", `{"token":`+quote(token)+`}`).problem(409, httpapi.ClaimLost, "ended already, as COMPLETED")
	s.post("/renew", `{"token":`+quote(token)+`}`).problem(409, httpapi.ClaimLost, "ended already")
}

func TestFail(t *testing.T) {
	s := serve(t)
	token := s.acquire(`{"key":"a"}`)
	released := s.post("/fail", `{"token":`+quote(token)+`,"error":{"type":"Timeout","message":"the bank is slow"}}`).want("released")
	if released.has("unprotected") {
		t.Errorf("released: %s", released.body)
	}
	again := s.post("/acquire", `{"key":"a"}`).want("acquired")
	if again.number("attempt") != 2 || string(again.members["previous_error"]) != `{"type":"Timeout","message":"the bank is slow"}` {
		t.Errorf("the second attempt: %s", again.body)
	}
	body := `{"token":` + quote(again.text("token")) + `,"error":{"message":"no such account"},"retry":false}`
	s.post("/fail", body).want("failed")
	s.post("/fail", body).want("failed")
	final := s.post("/acquire", `{"key":"a"}`).want("failed")
	if string(final.members["error"]) != `{"type":"","message":"no such account"}` || final.number("failed_at") == 0 {
		t.Errorf("failed: %s", final.body)
	}
}

func TestFailWithoutAnError(t *testing.T) {
	s := serve(t)
	for _, rest := range []string{"", `,"error":{}`, `,"error":{"type":"T"}`, `,"error":{"message":"é\u0000\"\\"}`} {
		token := s.acquire(`{"key":"a"}`)
		s.post("/fail", `{"token":`+quote(token)+rest+`}`).want("released")
	}
}

func TestMaxAttempts(t *testing.T) {
	s := serve(t, func(set *setup) { set.engine.MaxAttempts = 1 })
	s.post("/fail", `{"token":`+quote(s.acquire(`{"key":"a"}`))+`}`).want("failed")
	s.post("/acquire", `{"key":"a"}`).want("failed")
}

func TestRenew(t *testing.T) {
	clock := storetest.NewClock()
	s := serve(t, at(clock.Now))
	token := s.acquire(`{"key":"a","lease_ms":1000}`)
	clock.Advance(900 * time.Millisecond)
	got := s.post("/renew", `{"token":`+quote(token)+`,"lease_ms":2000}`).want("acquired")
	if got.number("lease_expires_at") != clock.Now().UnixMilli()+2000 {
		t.Errorf("renewed: %s", got.body)
	}
	got = s.post("/renew", `{"token":`+quote(token)+`}`).want("acquired")
	if got.number("lease_expires_at") != clock.Now().Add(defaultLease).UnixMilli() {
		t.Errorf("renewed without a lease: %s", got.body)
	}
}

func TestDeadlines(t *testing.T) {
	clock := storetest.NewClock()
	s := serve(t, at(clock.Now))
	for i, c := range []struct {
		member string
		want   time.Duration
	}{
		{"", defaultLease},
		{fmt.Sprintf(`,"deadline_ms":%d`, clock.Now().Add(time.Minute).UnixMilli()), time.Minute},
		{fmt.Sprintf(`,"deadline_ms":%d`, clock.Now().Add(1).UnixMilli()+1), time.Millisecond},
		{fmt.Sprintf(`,"deadline_ms":%d`, clock.Now().Add(366*24*time.Hour).UnixMilli()), 366 * 24 * time.Hour},
		{`,"lease_ms":1`, time.Millisecond},
		{`,"lease_ms":31622400000`, 366 * 24 * time.Hour},
		{`,"lease_ms":7,"detached":true`, 7 * time.Millisecond},
		{`,"detached":false`, defaultLease},
	} {
		got := s.post("/acquire", fmt.Sprintf(`{"key":"%d"%s}`, i, c.member)).want("acquired")
		if want := clock.Now().Add(c.want).UnixMilli(); got.number("lease_expires_at") != want {
			t.Errorf("with %q the lease ends at %d, want %d", c.member, got.number("lease_expires_at"), want)
		}
	}
}

func TestLapseIsTakenOver(t *testing.T) {
	clock := storetest.NewClock()
	s := serve(t, at(clock.Now))
	first := s.acquire(`{"key":"a","lease_ms":1000}`)
	clock.Advance(time.Second)
	second := s.post("/acquire", `{"key":"a","lease_ms":1000,"request_id":"r2"}`).want("acquired")
	if second.number("attempt") != 2 {
		t.Errorf("took over: %s", second.body)
	}
	for _, path := range []string{"/complete", "/fail", "/renew"} {
		s.post(path, `{"token":`+quote(first)+`}`).problem(409, httpapi.ClaimLost, "request r2 took the key")
	}
	s.complete(second.text("token"), "1")
}

func TestOutcomeExpires(t *testing.T) {
	clock := storetest.NewClock()
	s := serve(t, at(clock.Now))
	token := s.acquire(`{"key":"a","ttl_seconds":1000}`)
	s.post("/complete", `{"token":`+quote(token)+`,"ttl_seconds":10}`).want("completed")
	clock.Advance(9 * time.Second)
	s.post("/acquire", `{"key":"a"}`).want("completed")
	clock.Advance(time.Second)
	s.get("/record?key=a").problem(404, httpapi.NotFound, "no record of this key")
	s.get("/record?key=a").problem(404, httpapi.NotFound, "a key selected from an event is not found here")
	s.post("/acquire", `{"key":"a"}`).want("acquired")
}

// The same call, sent again after a broken connection, gets the same claim.
func TestClientToken(t *testing.T) {
	s := serve(t)
	const body = `{"key":"a","client_token":"0123456789abcdef"}`
	token := s.acquire(body)
	if again := s.acquire(body); again != token {
		t.Errorf("the repeated call got another token")
	}
	s.post("/acquire", `{"key":"a","client_token":"0123456789abcdeg"}`).want("in_progress")
	s.post("/fail", `{"token":`+quote(token)+`}`).want("released")
	s.post("/acquire", body).problem(409, httpapi.ClaimLost, "send a new client_token")
}

func TestWaitForTheEnd(t *testing.T) {
	s := serve(t)
	token := s.acquire(`{"key":"a"}`)
	s.post("/acquire", `{"key":"a","wait_ms":60}`).want("in_progress")
	var wg sync.WaitGroup
	wg.Go(func() {
		if got := s.post("/acquire", `{"key":"a","wait_ms":10000}`); got.text("status") != "completed" {
			t.Errorf("waited for: %s", got.body)
		}
	})
	time.Sleep(50 * time.Millisecond)
	s.complete(token, `"late"`)
	wg.Wait()
}

func TestUnprotected(t *testing.T) {
	store := &faulty{}
	for name, with := range map[string]func(*setup){
		"disabled": func(set *setup) { set.engine.Disabled = true },
		"proceed":  func(set *setup) { set.engine.ProceedOnStoreError = true },
	} {
		t.Run(name, func(t *testing.T) {
			store.down.Store(true)
			s := serve(t, on(func(m idempotency.Store) idempotency.Store { store.Store = m; return store }), with)
			for _, path := range []string{"/complete", "/fail"} {
				got := s.post("/acquire", `{"key":"a"}`).want("acquired")
				token := quote(got.text("token"))
				renewed := s.post("/renew", `{"token":`+token+`}`).want("acquired")
				ended := s.post(path, `{"token":`+token+`}`)
				for _, a := range []answer{got, renewed, ended} {
					if string(a.members["unprotected"]) != "true" {
						t.Errorf("answered %s", a.body)
					}
				}
			}
		})
	}
}

func TestRecord(t *testing.T) {
	clock := storetest.NewClock()
	s := serve(t, at(clock.Now))
	token := s.acquire(`{"key":"a b&c/é","payload":1,"request_id":"r1"}`)
	target := "/record?key=" + url.QueryEscape("a b&c/é")
	got := s.get(target)
	if got.status != http.StatusOK || got.text("id") != "fn#a b&c/é" || got.text("status") != "INPROGRESS" || got.has("sort") ||
		got.number("in_progress_expiration") != clock.Now().Add(defaultLease).UnixMilli() || len(got.text("validation")) != 64 ||
		got.text("function") != "fn" || got.text("request_id") != "r1" || got.number("attempt") != 1 {
		t.Errorf("held: %s", got.body)
	}
	if strings.Contains(string(got.body), token) {
		t.Error("the token is shown")
	}
	s.post("/fail", `{"token":`+quote(token)+`,"error":{"type":"T","message":"m"}}`).want("released")
	if got = s.get(target); got.number("in_progress_expiration") != 0 || string(got.members["error"]) != `{"type":"T","message":"m"}` {
		t.Errorf("released: %s", got.body)
	}
	s.complete(s.acquire(`{"key":"a b&c/é"}`), ` { "a" : 1e400 } `)
	if got = s.get(target); got.text("status") != "COMPLETED" || string(got.members["result"]) != `{ "a" : 1e400 }` || got.has("in_progress_expiration") {
		t.Errorf("completed: %s", got.body)
	}
	var events []string
	v, _ := decode(got.members["history"])
	for _, e := range v.([]any) {
		events = append(events, e.(map[string]any)["status"].(string))
	}
	if strings.Join(events, " ") != "INPROGRESS RELEASED INPROGRESS COMPLETED" {
		t.Errorf("the history is %v", events)
	}
}

// Other software's records lack members that ours have; a result may have been
// too large.
func TestRecordsOfOtherSoftware(t *testing.T) {
	s := serve(t)
	expires := time.Now().Add(time.Hour)
	for _, rec := range []*idempotency.Record{
		{Key: idempotency.Key{Partition: "fn#bare"}, Status: idempotency.Completed, Expiration: expires},
		{Key: idempotency.Key{Partition: "fn#omitted"}, Status: idempotency.Completed, Expiration: expires, ResultOmitted: true},
		{Key: idempotency.Key{Partition: "fn#failed"}, Status: idempotency.Failed, Expiration: expires},
		{Key: idempotency.Key{Partition: "fn#held"}, Status: idempotency.InProgress, Expiration: expires, LeaseExpiresAt: expires},
		{Key: idempotency.Key{Partition: "fn#strange"}, Status: "PAUSED", Expiration: expires, LeaseExpiresAt: expires},
	} {
		if err := s.memory.Put(t.Context(), rec, idempotency.Condition{Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if got := s.get("/record?key=" + strings.TrimPrefix(rec.Key.Partition, "fn#")); got.text("status") != string(rec.Status) {
			t.Errorf("shown: %s", got.body)
		}
	}
	if got := s.post("/acquire", `{"key":"bare"}`).want("completed"); string(got.body) != `{"status":"completed","result":null}`+"\n" {
		t.Errorf("bare: %s", got.body)
	}
	if got := s.post("/acquire", `{"key":"omitted"}`).want("completed"); string(got.body) != `{"status":"completed","result_omitted":true}`+"\n" {
		t.Errorf("omitted: %s", got.body)
	}
	if got := s.post("/acquire", `{"key":"failed"}`).want("failed"); string(got.members["error"]) != `{"type":"Error","message":""}` {
		t.Errorf("failed: %s", got.body)
	}
	s.post("/acquire", `{"key":"held"}`).want("in_progress")
	s.post("/acquire", `{"key":"strange"}`).want("in_progress")
}

func TestHealthAndMetrics(t *testing.T) {
	clock := storetest.NewClock()
	store := &faulty{}
	s := serve(t, at(clock.Now), on(func(m idempotency.Store) idempotency.Store { store.Store = m; return store }))
	if got := s.get("/health", "X-Idempotency-Auth: -"); string(got.body) != `{"status":"ok"}`+"\n" {
		t.Errorf("health: %s", got.body)
	}
	store.down.Store(true)
	s.get("/health") // The finding of a moment ago.
	clock.Advance(time.Second)
	s.get("/health").problem(503, httpapi.StoreUnavailable, "not reached")
	store.down.Store(false)
	clock.Advance(time.Second)
	if got := s.get("/health"); got.status != http.StatusOK {
		t.Errorf("health: %s", got.body)
	}
	got := s.get("/metrics")
	if !strings.Contains(string(got.body), `code="store_unavailable"`) {
		t.Errorf("metrics: %s", got.body)
	}
}
