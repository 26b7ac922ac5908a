package idempotency_test

import (
	"context"
	"testing"
	"time"

	. "github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

// The store took the claim, but answered after the deadline: nobody was told, and
// it was not the one attempt that is allowed.
func TestClaimGrantedTooLateIsNoAttempt(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	clock := func() time.Time { return now }
	h := &hook{Store: memory.New(clock)}
	e := newEngine(h, clock, func(o *Options) { o.MaxAttempts = 1 })
	ctx := context.Background()
	h.put = func(do func() error) error {
		err := do()
		now = now.Add(3 * time.Second)
		return err
	}
	if out, err := e.Acquire(ctx, AcquireRequest{Key: kk, Deadline: now.Add(2 * time.Second), RequestID: "r"}); err == nil {
		t.Fatalf("after its deadline: %s", out.Status)
	}
	h.put = nil
	e.Settle(ctx, e.Open(func(OpenClaim) bool { return true }), Failure{Type: "x"}, true)
	if out, err := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Minute}); err != nil || out.Status != OutcomeAcquired || out.Record.Attempt != 1 {
		t.Errorf("the next acquire: %s, %v", out.Status, err)
	}
}
