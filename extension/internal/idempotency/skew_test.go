package idempotency_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

const skewed = 5 * time.Second

func skewedEngine(store Store) *Engine {
	return newEngine(store, time.Now, func(o *Options) { o.ClockSkew = skewed })
}

// A claim is held that much beyond its lease, however short its record is kept,
// and others are told when to come.
func TestHeldByEveryClock(t *testing.T) {
	for _, renewed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := skewedEngine(memory.New(time.Now))
			ctx := context.Background()
			held, err := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: 2 * time.Second, TTL: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			ends := held.Record.LeaseExpiresAt
			if renewed {
				ends = time.Now().Add(4 * time.Second)
				if _, err := e.Renew(ctx, held.Token, ends); err != nil {
					t.Fatal(err)
				}
			}
			ask := func() Outcome {
				out, err := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			time.Sleep(time.Until(ends.Add(skewed - time.Second)))
			if out := ask(); out.Status != OutcomeInProgress || out.RetryAfter != time.Second {
				t.Errorf("renewed %v: a second before it is free: %s, retry after %v", renewed, out.Status, out.RetryAfter)
			}
			time.Sleep(time.Second)
			if out := ask(); out.Status != OutcomeAcquired {
				t.Errorf("renewed %v: when it is free: %s", renewed, out.Status)
			}
		})
	}
}

// Whoever waits gets the claim when it is free, not at some later look.
func TestWaitEndsWhenItIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := skewedEngine(memory.New(time.Now))
		ctx := context.Background()
		held, err := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		out, err := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Minute, Wait: time.Minute})
		free := held.Record.LeaseExpiresAt.Add(skewed)
		if late := time.Since(free); err != nil || out.Status != OutcomeAcquired || late > 2*time.Millisecond {
			t.Errorf("%s, %v, %v after it was free", out.Status, err, late)
		}
	})
}
