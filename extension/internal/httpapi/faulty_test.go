package httpapi_test

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// faulty is a store that fails where the key says so.
type faulty struct {
	idempotency.Store
	down atomic.Bool
}

func faults(key idempotency.Key) error {
	switch {
	case strings.Contains(key.Partition, "panic"):
		panic("the store has a fault")
	case strings.Contains(key.Partition, "throttled"):
		return &idempotency.StoreError{Op: "put", Throttled: true, Detail: "the table is throttled; raise its capacity"}
	case strings.Contains(key.Partition, "unknown error"):
		return context.Canceled
	}
	return nil
}

func (f *faulty) check(key idempotency.Key) error {
	if f.down.Load() {
		return &idempotency.StoreError{Op: "put", Detail: "the table was not reached; check the network"}
	}
	return faults(key)
}

func (f *faulty) Get(ctx context.Context, key idempotency.Key) (*idempotency.Record, error) {
	if err := f.check(key); err != nil {
		return nil, err
	}
	return f.Store.Get(ctx, key)
}

func (f *faulty) Put(ctx context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	if err := f.check(rec.Key); err != nil {
		return err
	}
	return f.Store.Put(ctx, rec, when)
}

func (f *faulty) Update(ctx context.Context, key idempotency.Key, change idempotency.Change) error {
	if err := f.check(key); err != nil {
		return err
	}
	return f.Store.Update(ctx, key, change)
}

func (f *faulty) Ping(ctx context.Context) error { return f.check(idempotency.Key{}) }

// gated is a store whose updates say that they have begun, and go on when they
// are let; one whose caller is no longer waited for fails, as a real one does.
type gated struct {
	idempotency.Store
	begun chan struct{}
	let   chan struct{}
}

func newGated(s idempotency.Store) *gated {
	return &gated{Store: s, begun: make(chan struct{}), let: make(chan struct{})}
}

func (g *gated) Update(ctx context.Context, key idempotency.Key, change idempotency.Change) error {
	g.begun <- struct{}{}
	select {
	case <-ctx.Done():
		return &idempotency.StoreError{Op: "update", Detail: "the call was given up", Err: ctx.Err()}
	case <-g.let:
	}
	return g.Store.Update(ctx, key, change)
}

// soon waits until a condition holds.
func soon(s *service, what string, holds func() bool) {
	s.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("after 10 s: still not %s", what)
		}
	}
}
