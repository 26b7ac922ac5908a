package httpapi_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/storetest"
)

// puts counts the writes of claims, by key.
type puts struct {
	idempotency.Store
	mu sync.Mutex
	of map[string]int
}

func (p *puts) Put(ctx context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	p.mu.Lock()
	p.of[rec.Key.Partition]++
	p.mu.Unlock()
	return p.Store.Put(ctx, rec, when)
}

func counting(to *puts) func(*setup) {
	return on(func(m idempotency.Store) idempotency.Store {
		*to = puts{Store: m, of: map[string]int{}}
		return to
	})
}

// Of items with the same key the first is granted the claim, and the others are
// told so without another look at the store.
func TestSameKeyInABatch(t *testing.T) {
	clock := storetest.NewClock()
	store := &puts{}
	s := serve(t, at(clock.Now), counting(store))
	got := s.items("/acquire/batch",
		`{"key":"b"}`,
		`{"key":"a","payload":1,"request_id":"r1","lease_ms":3000}`,
		`{"key":"a"}`,
		`{"key":"a","payload":1.0,"request_id":"r2","lease_ms":9000,"wait_ms":900000}`, // Nobody waits for this batch's own claim.
		`{"key":"a","payload":2}`,
		`{"key":"a","scope":"gn"}`,
		`{"key":"a","client_token":"0123456789abcdef"}`,
		`{"key":"a","ttl_seconds":0}`,
	)
	got[0].want("acquired").own()
	first := got[1].want("acquired").own()
	for _, i := range []int{2, 3, 6} {
		same := got[i].want("in_progress").as(1)
		if same.text("request_id") != "r1" || same.number("retry_after_ms") != 3000 || same.number("lease_expires_at") != first.number("lease_expires_at") {
			t.Errorf("item %d was answered %s", i, same.body)
		}
	}
	got[4].problem(422, httpapi.PayloadMismatch, "another payload", "request r1").as(1)
	got[5].want("acquired").own()
	got[7].problem(400, httpapi.BadRequest, "ttl_seconds").own()
	for key, n := range store.of {
		if n != 1 {
			t.Errorf("%s was written %d times", key, n)
		}
	}
	if len(store.of) != 3 {
		t.Errorf("written were %v", store.of)
	}
}

// It is the key that counts, not how it is written. What came before it with a fault
// of its own has no key.
func TestSameKeyInOtherWords(t *testing.T) {
	s := serve(t)
	got := s.items("/acquire/batch",
		`{"event":{"a":1,"a":1},"key_jmespath":"a"}`,
		`{"event":{"a":[1.0,"é"],"b":1},"key_jmespath":"a"}`,
		`{"event":{"b":2, "a" : [1,"\u00e9"]},"key_jmespath":"b && a"}`,
		`{"event":[10e-1,"é"]}`,
		`{"key":["x","y"]}`, `{"key":["x","\u0079"]}`, `{"key":"[\"x\",\"y\"]"}`,
	)
	got[0].problem(400, httpapi.BadRequest)
	got[1].want("acquired")
	got[2].want("in_progress").as(1)
	got[3].want("in_progress").as(1)
	got[4].want("acquired")
	got[5].want("in_progress").as(4)
	got[6].want("acquired")
}

// Where the first is not granted the claim, the others have its outcome.
func TestSameOutcomeInABatch(t *testing.T) {
	store := &puts{}
	s := serve(t, counting(store))
	s.acquire(`{"key":"held","request_id":"other"}`)
	s.complete(s.acquire(`{"key":"done","payload":1}`), `{ "n": 1e400 }`)
	s.post("/fail", `{"token":`+quote(s.acquire(`{"key":"failed"}`))+`,"retry":false,"error":{"type":"T"}}`).want("failed")
	clear(store.of)
	got := s.items("/acquire/batch",
		`{"key":"held"}`, `{"key":"done"}`, `{"key":"failed"}`,
		`{"key":"held","request_id":"r"}`, `{"key":"done","payload":1}`, `{"key":"failed"}`, `{"key":"done","payload":2}`,
	)
	got[0].want("in_progress").own()
	if held := got[3].want("in_progress").as(0); held.text("request_id") != "other" {
		t.Errorf("answered %s", held.body)
	}
	for i, as := range map[int]int64{1: -1, 4: 1} {
		done := got[i].want("completed")
		if as >= 0 {
			done.as(as)
		} else {
			done.own()
		}
		if string(done.members["result"]) != `{ "n": 1e400 }` || !done.has("completed_at") {
			t.Errorf("answered %s", done.body)
		}
	}
	got[2].want("failed").own()
	if failed := got[5].want("failed").as(2); string(failed.members["error"]) != `{"type":"T","message":""}` {
		t.Errorf("answered %s", failed.body)
	}
	got[6].problem(422, httpapi.PayloadMismatch).as(1)
	for key, n := range store.of {
		if n != 1 {
			t.Errorf("%s was asked for %d times", key, n)
		}
	}
}

// A refusal is the item's own: the next one of the key asks for itself.
func TestRefusalIsNotShared(t *testing.T) {
	s := serve(t)
	const spent = `{"key":"spent","client_token":"0123456789abcdef"}`
	s.post("/fail", `{"token":`+quote(s.acquire(spent))+`}`).want("released")
	s.complete(s.acquire(`{"key":"done","payload":1}`), "1")
	got := s.items("/acquire/batch",
		spent, `{"key":"done","payload":2}`,
		`{"key":"done","payload":1}`, `{"key":"spent"}`, `{"key":"spent"}`, `{"key":"done","payload":3}`,
	)
	got[0].problem(409, httpapi.ClaimLost, "new client_token").own()
	got[1].problem(422, httpapi.PayloadMismatch).own()
	got[2].want("completed").own()
	got[3].want("acquired").own()
	got[4].want("in_progress").as(3)
	got[5].problem(422, httpapi.PayloadMismatch).as(2)
}

// A batch that is sent again, because its answer was lost, gets the same claims,
// also where all items of one key have one client token.
func TestBatchIsRepeatable(t *testing.T) {
	s := serve(t)
	var items []string
	for _, key := range []string{"a", "b", "a", "a", "c"} {
		items = append(items, fmt.Sprintf(`{"key":%q,"client_token":"0123456789abcdef"}`, key))
	}
	first, again := s.items("/acquire/batch", items...), s.items("/acquire/batch", items...)
	for i := range items {
		want := map[bool]string{true: "in_progress", false: "acquired"}[i == 2 || i == 3]
		if first[i].want(want).text("token") != again[i].want(want).text("token") {
			t.Errorf("item %d has another claim when sent again", i)
		}
	}
}

// One lease after another lapses within a batch: the claim is granted once all the
// same.
func TestSameKeyWithAShortLease(t *testing.T) {
	clock := storetest.NewClock()
	store := &ticking{tick: func() { clock.Advance(time.Second) }}
	s := serve(t, at(clock.Now), on(func(m idempotency.Store) idempotency.Store { store.Store = m; return store }))
	got := s.items("/acquire/batch", `{"key":"a","lease_ms":1500}`, `{"key":"a","lease_ms":1500}`, `{"key":"a","lease_ms":1500}`)
	got[0].want("acquired")
	for _, same := range got[1:] {
		if same.want("in_progress").as(0).number("retry_after_ms") != 500 {
			t.Errorf("answered %s", same.body)
		}
	}
}

// ticking is a store on which time passes.
type ticking struct {
	idempotency.Store
	tick func()
}

func (s *ticking) Put(ctx context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	defer s.tick()
	return s.Store.Put(ctx, rec, when)
}
