package runtimeproxy_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/runtimeproxy"
)

// hungStore answers no write, and counts them.
type hungStore struct {
	idempotency.Store
	asked chan struct{}
}

func (h hungStore) Put(ctx context.Context, _ *idempotency.Record, _ idempotency.Condition) error {
	h.asked <- struct{}{}
	<-ctx.Done()
	return &idempotency.StoreError{Op: "put", Err: ctx.Err()}
}

// The records of a batch wait for a store that hangs together, and not a few after
// the other until the invocation's time is over.
func TestBatchOnAStoreThatHangs(t *testing.T) {
	store := hungStore{asked: make(chan struct{}, 1000)}
	s := newSandboxOn(t, store, func(o *runtimeproxy.Options) { o.Batch = true })
	var ids []string
	for i := range 1000 {
		ids = append(ids, fmt.Sprint("m", i))
	}
	leave := s.asks()
	s.events <- event{id: "r1", body: queue(ids...), deadline: time.Now().Add(2 * time.Second)}
	if got := s.next(); len(reported(t, got.body)) != len(ids) {
		t.Errorf("Lambda was told %s", got.body)
	}
	_ = leave()
	if n := len(store.asked); n > 64 {
		t.Errorf("%d records were at the store, some of them after the others had waited for it", n)
	}
}
