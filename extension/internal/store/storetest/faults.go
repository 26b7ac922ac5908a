package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// lostAnswers shows that a write which was applied, and whose answer was lost,
// is recognised when it is sent again.
func lostAnswers(t *testing.T, s Suite) {
	clock := NewClock()
	var store idempotency.Store
	var drop func()
	if s.Lossy != nil {
		store, drop = s.Lossy(t, clock.Now)
	} else {
		twice := &twice{Store: s.Open(t, clock.Now)}
		store, drop = twice, func() { twice.armed = true }
	}
	w := &world{T: t, suite: s, clock: clock, store: store, engine: engine(store, clock, nil)}

	drop()
	out := w.held("completed")
	if out.Record.Attempt != 1 {
		t.Fatalf("attempt %d", out.Record.Attempt)
	}
	drop()
	w.complete(w.engine, out.Token, `"done"`)
	if out := w.acquire(w.engine, w.ask("completed"), idempotency.OutcomeCompleted); string(out.Record.Result) != `"done"` || len(out.Record.History) != 2 {
		t.Fatalf("stored %s with %d entries", out.Record.Result, len(out.Record.History))
	}

	out = w.held("released")
	drop()
	w.fail(w.engine, out.Token, true, idempotency.Released)
	drop()
	retry := w.held("released") // The takeover's answer is lost too.
	if retry.Record.Attempt != 2 {
		t.Fatalf("attempt %d, want 2", retry.Record.Attempt)
	}
	drop()
	if _, err := w.engine.Renew(t.Context(), retry.Token, clock.Now().Add(2*lease)); err != nil {
		t.Fatalf("renew: %v", err)
	}
	drop()
	w.fail(w.engine, retry.Token, false, idempotency.Failed)
	if out := w.acquire(w.engine, w.ask("released"), idempotency.OutcomeFailed); len(out.Record.History) != 4 {
		t.Fatalf("%d entries, want 4", len(out.Record.History))
	}
}

// twice sends the next write twice, and answers as the second did.
type twice struct {
	idempotency.Store
	armed bool
}

func (s *twice) again() bool {
	was := s.armed
	s.armed = false
	return was
}

func (s *twice) Put(ctx context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	err := s.Store.Put(ctx, rec, when)
	if s.again() {
		err = s.Store.Put(ctx, rec, when)
	}
	return err
}

func (s *twice) Update(ctx context.Context, key idempotency.Key, change idempotency.Change) error {
	err := s.Store.Update(ctx, key, change)
	if s.again() {
		err = s.Store.Update(ctx, key, change)
	}
	return err
}

// secondProcess shows that a token is good in any process on the same records.
func secondProcess(w *world) {
	out := w.held("k")
	req := w.ask("detached")
	req.Detached = true
	detached := w.acquire(w.engine, req, idempotency.OutcomeAcquired)
	second := w.store
	if w.suite.Second != nil {
		second = w.suite.Second(w.T, w.store)
	}
	w.store = second
	e := engine(second, w.clock, func(o *idempotency.Options) { o.Function = "other" })
	if _, err := e.Renew(w.Context(), detached.Token, w.clock.Now().Add(time.Hour)); err != nil {
		w.Fatal(err)
	}
	w.clock.Advance(time.Minute)
	w.acquire(e, w.ask("detached"), idempotency.OutcomeInProgress)
	w.complete(e, detached.Token, `"there"`)
	w.complete(e, out.Token, `"late, and there"`)
	if out := w.acquire(e, w.ask("k"), idempotency.OutcomeCompleted); string(out.Record.Result) != `"late, and there"` {
		w.Fatalf("replayed %s", out.Record.Result)
	}
}
