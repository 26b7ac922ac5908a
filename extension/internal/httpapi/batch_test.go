package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/storetest"
)

// An item of a batch is answered as the single call answers it, in its place.
func TestItemsAreAnsweredAsSingleCalls(t *testing.T) {
	clock := storetest.NewClock()
	const held, done, failed, freed = "held", "done", "failed", "freed"
	open := func() (s *service, tokens map[string]string) {
		s = serve(t, at(clock.Now), func(set *setup) { set.engine.MaxAttempts = 3 })
		tokens = map[string]string{}
		for _, key := range []string{held, done, failed, freed, "other", "last"} {
			tokens[key] = s.acquire(`{"key":` + quote(key) + `,"payload":1,"request_id":"r"}`)
		}
		s.complete(tokens[done], `{ "n" : 9007199254740993 }`)
		s.post("/fail", `{"token":`+quote(tokens[failed])+`,"retry":false,"error":{"type":"T"}}`).want("failed")
		s.post("/fail", `{"token":`+quote(tokens[freed])+`}`).want("released")
		nothing := s.acquire(`{"key":"null"}`)
		s.complete(nothing, "null")
		return s, tokens
	}
	alone, aloneTokens := open()
	together, togetherTokens := open()
	for path, items := range map[string][]string{
		"/acquire": {
			`{"key":"new"}`, `{"key":["new","pair"],"payload":{"a":1e400},"ttl_seconds":5}`, `{"event":{"a":[1]},"key_jmespath":"a"}`, `{"key":"new","scope":"gn"}`,
			`{"key":"held","payload":1}`, `{"key":"done"}`, `{"key":"failed"}`, `{"key":"freed"}`, `{"key":"null"}`, `{"key":"other","payload":2}`, ` { "key" : "spaces" } `,
			`5`, `null`, `"a"`, `[]`, `true`, `{}`, `[{"key":"a"}]`, `{"key":""}`, `{"key":5}`, `{"key":["a"]}`, `{"key":"x","nonsense":1}`, `{"key":"a","key":"b"}`,
			`{"key":"x","\ud800":1}`, `{"key":"\ud800"}`, `{"key":"x","ttl_seconds":0}`, `{"key":"x","wait_ms":-1}`, `{"key":"x","deadline_ms":5}`, `{"key":"x","detached":true}`,
			`{"key":"x","event":1}`, `{"event":{"a":1,"a":2}}`, `{"event":{"a":null}}`, `{"event":{"a":1},"key_jmespath":"b"}`, `{"event":{"a":1},"key_jmespath":"a["}`,
			`{"key":"x","payload":{"a":1,"a":2}}`, `{"key":"x","lease_ms":5,"deadline_ms":5}`, `{"key":"x","scope":"a#b"}`, `{"items":[]}`,
			`{"key":"tokened","client_token":"0123456789abcdef","lease_ms":5000,"detached":true,"wait_ms":5}`,
		},
		"/complete": {
			`{"token":"HELD","result":{ "a":1e400 }}`, `{"token":"DONE"}`, `{"token":"FAILED"}`, `{"token":"FREED"}`, `{"token":"x"}`, `{}`, `{"token":5}`, `3`,
			`{"token":"x","ttl_seconds":0}`, `{"token":"x","error":{}}`, `{"key":"a"}`,
		},
		"/fail": {
			`{"token":"OTHER","error":{"type":"T","message":"\u0000"}}`, `{"token":"LAST","retry":false}`, `{"token":"DONE"}`, `{"token":"FREED"}`, `{"token":"x"}`,
			`{}`, `{"token":"x","retry":1}`, `{"token":"x","error":{"type":5}}`, `{"token":"x","result":1}`,
		},
	} {
		t.Run(path, func(t *testing.T) {
			fill := func(item string, tokens map[string]string) string {
				for key, token := range tokens {
					item = strings.ReplaceAll(item, `"`+strings.ToUpper(key)+`"`, quote(token))
				}
				return item
			}
			var want, sent []string
			for _, item := range items {
				want = append(want, stripped(alone.post(path, fill(item, aloneTokens)).body))
				sent = append(sent, fill(item, togetherTokens))
			}
			var got []string
			for _, a := range together.items(path+"/batch", sent...) {
				got = append(got, stripped(a.body))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("alone (-) and together (+): %s", diff)
			}
		})
	}
	for _, key := range []string{held, done, failed, freed, "other", "last", "new", "spaces", "tokened"} {
		want, got := alone.get("/record?key="+key), together.get("/record?key="+key)
		if diff := cmp.Diff(string(want.body), string(got.body)); diff != "" {
			t.Errorf("%s alone (-) and together (+): %s", key, diff)
		}
	}
}

// stripped is an answer without what differs from run to run, or between a body and
// an item.
func stripped(body []byte) string {
	text := regexp.MustCompile(`"token":"[^"]*"`).ReplaceAllString(string(bytes.TrimSpace(body)), `"token":""`)
	text = regexp.MustCompile(`,"retry_after_ms":1000}$`).ReplaceAllString(text, "}")
	return strings.ReplaceAll(text, "the body, at byte", "the item, at byte")
}

func TestBatchesThatAreRefused(t *testing.T) {
	s := serve(t)
	for _, path := range []string{"/acquire/batch", "/complete/batch", "/fail/batch"} {
		for _, c := range []struct{ body, fragment string }{
			{"", "the body, at byte 0: unexpected end of input"},
			{"[]", "expected a JSON object"},
			{"{}", "items is absent; send a list of 1 to 1000 items, each as the single call takes it"},
			{`{"items":null}`, "items is null; it takes a list of 1 to 1000 items"},
			{`{"items":{}}`, "items is {}; it takes a list"},
			{`{"items":"a"}`, `items is "a"; it takes a list`},
			{`{"items":[ ]}`, "items is empty; send a list of 1 to 1000 items"},
			{`{"items":[{"key":"a"}],"request_id":"r"}`, `"request_id" is not a member of this request; it takes items`},
			{`{"key":"a"}`, `"key" is not a member of this request; it takes items`},
			{`{"items":[{"key":"a"}],"items":[{"key":"a"}]}`, `duplicate member name "items"`},
			{`{"items":[{"key":"a"}`, "unexpected end of input"},
			{`{"items":[{"key":"a"},]}`, "expected a JSON value"},
			{`{"items":[{"key":"a"}{"key":"b"}]}`, "expected ',' or ']'"},
			{batch(strings.Split(strings.Repeat(`{"key":"a"} `, 1001), " ")[:1001]...), "items has over 1000 items; send more than one batch"},
			{batch(strings.Repeat("1,", 600_000) + "1"), "items has over 1000 items"},
		} {
			s.post(path, c.body).problem(400, httpapi.BadRequest, c.fragment)
		}
		s.post(path, batch(`{"key":"a"}`), "Content-Type: text/plain").problem(415, httpapi.UnsupportedMedia)
		s.post(path, batch(`{"key":"a"}`), "X-Idempotency-Auth: -").problem(401, httpapi.Unauthorized)
		s.get(path).problem(405, httpapi.MethodNotAllowed)
		s.post(path, batch(`"`+strings.Repeat("x", httpapi.MaxBody)+`"`)).problem(413, httpapi.TooLarge)
		s.post(path+"/", batch(`{"key":"a"}`)).problem(404, httpapi.NotFound)
	}
	s.get("/record?key=a").problem(404, httpapi.NotFound)
}

func TestLargestBatch(t *testing.T) {
	s := serve(t)
	items := make([]string, 1000)
	for i := range items {
		items[i] = fmt.Sprintf(`{"key":"%d"}`, i)
	}
	ends := make([]string, len(items))
	for i, got := range s.items("/acquire/batch", items...) {
		ends[i] = fmt.Sprintf(`{"token":%s,"result":%d}`, quote(got.want("acquired").own().text("token")), i)
	}
	for _, got := range s.items("/complete/batch", ends...) {
		got.want("completed")
	}
	for i, got := range s.items("/acquire/batch", items...) {
		if got.want("completed").number("result") != int64(i) {
			t.Errorf("item %d was answered %s", i, got.body)
		}
	}
}

// A claim that ends while a batch waits for it is answered with its end, in all items
// of its key, and the batch in the order of its items, not of their ends.
func TestBatchWaits(t *testing.T) {
	s := serve(t)
	token := s.acquire(`{"key":"held"}`)
	var wg sync.WaitGroup
	wg.Go(func() {
		got := s.items("/acquire/batch", `{"key":"held"}`, `{"key":"free"}`, `{"key":"held","wait_ms":10000}`)
		got[0].want("completed").own()
		got[1].want("acquired")
		got[2].want("completed").as(0)
	})
	soon(s, "asked for", func() bool { return s.get("/record?key=free").status == 200 })
	time.Sleep(50 * time.Millisecond)
	s.complete(token, `"late"`)
	wg.Wait()
}

// What items do not say of their claims' ends is asked for once.
func TestDeadlineIsLearnedOnceForABatch(t *testing.T) {
	clock := storetest.NewClock()
	learned := &countedDeadlines{end: clock.Now().Add(42 * time.Second)}
	s := serve(t, at(clock.Now), func(set *setup) { set.deadlines = learned })
	got := s.items("/acquire/batch", `{"key":"a"}`, `{"key":"b","lease_ms":1000}`, `{"key":"c"}`, `{"key":"d","request_id":"known"}`)
	for i, want := range []time.Duration{42 * time.Second, time.Second, 42 * time.Second, 7 * time.Second} {
		if lease := got[i].want("acquired").number("lease_expires_at"); lease != clock.Now().Add(want).UnixMilli() {
			t.Errorf("item %d: the lease ends at %d, want %s from now", i, lease, want)
		}
	}
	if learned.asked != 1 {
		t.Errorf("it was asked for %d times", learned.asked)
	}
}

type countedDeadlines struct {
	end   time.Time
	asked int
}

func (d *countedDeadlines) Deadline(context.Context) time.Time { d.asked++; return d.end }

func (d *countedDeadlines) InvocationEnd(id string) (time.Time, bool) {
	if id == "known" {
		return d.end.Add(-35 * time.Second), true
	}
	return time.Time{}, false
}

// Outcomes are counted for each item, the request once.
func TestBatchIsCounted(t *testing.T) {
	s := serve(t)
	s.items("/acquire/batch", `{"key":"a"}`, `{"key":"a"}`, `{"key":"b"}`, `{"key":""}`)
	text := string(s.get("/metrics").body)
	for _, line := range []string{
		`idempotency_acquires_total{status="acquired"} 2`, `idempotency_acquires_total{status="in_progress"} 1`,
		`idempotency_requests_total{call="acquire/batch",code="",status="200"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("there is no %s in %s", line, text)
		}
	}
}

func TestEndsInABatch(t *testing.T) {
	s := serve(t)
	a, b, c := quote(s.acquire(`{"key":"a"}`)), quote(s.acquire(`{"key":"b"}`)), quote(s.acquire(`{"key":"c"}`))
	got := s.items("/complete/batch", `{"token":`+a+`,"result":"first"}`, `{"token":`+b+`}`, `{"token":`+a+`,"result":"second"}`)
	for _, end := range got {
		end.want("completed").own()
	}
	if got := s.post("/acquire", `{"key":"a"}`).want("completed"); got.text("result") != "first" {
		t.Errorf("answered %s", got.body)
	}
	got = s.items("/fail/batch", `{"token":`+a+`}`, `{"token":`+c+`,"retry":false,"error":{"type":"T"}}`, `{"token":`+c+`,"retry":false}`, `{"token":`+c+`}`)
	got[0].problem(409, httpapi.ClaimLost, "ended already, as COMPLETED")
	got[1].want("failed")
	got[2].want("failed")
	got[3].problem(409, httpapi.ClaimLost, "ended already, as FAILED")
}

// The limit of results that are replayed does not touch what is granted, and an
// item that did not fit is answered alone.
func TestResultsOfABatchAreBounded(t *testing.T) {
	s := serve(t)
	large := `"` + strings.Repeat("x", 1<<20) + `"`
	var items []string
	for i := range 12 {
		items = append(items, fmt.Sprintf(`{"key":"%d"}`, i))
		s.complete(s.acquire(items[i]), large)
	}
	items = append(items, `{"key":"0"}`, `{"key":"new"}`, `{"key":"new"}`)
	fit := 0
	got := s.items("/acquire/batch", items...)
	for i, item := range got[:13] {
		if item.status == 200 {
			fit++
			if string(item.want("completed").members["result"]) != large {
				t.Errorf("item %d has another result", i)
			}
			continue
		}
		item.problem(413, httpapi.TooLarge, "acquire it alone, or in a smaller batch")
	}
	if fit != httpapi.MaxResults/len(large) {
		t.Errorf("%d results were replayed, %d fit", fit, httpapi.MaxResults/len(large))
	}
	got[13].want("acquired")
	got[14].want("in_progress").as(13)
	for _, item := range items[:12] {
		s.items("/acquire/batch", item)[0].want("completed")
	}
}

func TestUnprotectedBatch(t *testing.T) {
	store := &faulty{}
	store.down.Store(true)
	away := on(func(m idempotency.Store) idempotency.Store { store.Store = m; return store })
	for name, c := range map[string]struct {
		with  func(*setup)
		twice string
	}{
		// Nothing is stored, and every acquire is granted.
		"disabled": {func(set *setup) { set.engine.Disabled = true }, "acquired"},
		// What the store did not say, the batch knows by itself.
		"proceed": {func(set *setup) { set.engine.ProceedOnStoreError = true }, "in_progress"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, away, c.with)
			got := s.items("/acquire/batch", `{"key":"a"}`, `{"key":"b"}`, `{"key":"a"}`)
			got[2].want(c.twice)
			var ends []string
			for _, item := range got[:2] {
				if string(item.want("acquired").members["unprotected"]) != "true" {
					t.Errorf("answered %s", item.body)
				}
				ends = append(ends, `{"token":`+quote(item.text("token"))+`}`)
			}
			for _, item := range s.items("/complete/batch", ends...) {
				if string(item.want("completed").members["unprotected"]) != "true" {
					t.Errorf("answered %s", item.body)
				}
			}
		})
	}
}
