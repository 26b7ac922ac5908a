package idempotency_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

type hook struct {
	Store
	put func(do func() error) error
	upd func(do func() error) error
}

func (h *hook) Put(ctx context.Context, r *Record, w Condition) error {
	do := func() error { return h.Store.Put(ctx, r, w) }
	if h.put != nil {
		return h.put(do)
	}
	return do()
}
func (h *hook) Update(ctx context.Context, k Key, c Change) error {
	do := func() error { return h.Store.Update(ctx, k, c) }
	if h.upd != nil {
		return h.upd(do)
	}
	return do()
}

var kk = Key{Partition: "k"}

// The Put landed and its answer was lost: the work, which runs unprotected, is
// completed on that very record.
func TestProceedAfterALostAnswerIsCompleted(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	clock := func() time.Time { return now }
	h := &hook{Store: memory.New(clock)}
	e := newEngine(h, clock, func(o *Options) { o.ProceedOnStoreError = true })
	ctx := context.Background()
	h.put = func(do func() error) error {
		_ = do()
		now = now.Add(2 * time.Second)
		return &StoreError{Op: "put", Detail: "lost"}
	}
	got, err := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Minute, RequestID: "r1"})
	h.put = nil
	if err != nil || !got.Unprotected {
		t.Fatalf("%+v, %v", got, err)
	}
	if end, err := e.Complete(ctx, CompleteRequest{Token: got.Token, Result: []byte(`1`)}); err != nil || end.Unprotected {
		t.Fatalf("%+v, %v", end, err)
	}
	now = now.Add(2 * time.Minute)
	again, err := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Minute, RequestID: "r2"})
	if err != nil || again.Status != OutcomeCompleted {
		t.Errorf("again: %s %v: completed work is run again", again.Status, err)
	}
}

// The store answered, but after the deadline, and another holds the key.
func TestProceedNotPastTheDeadline(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	clock := func() time.Time { return now }
	mem := memory.New(clock)
	h := &hook{Store: mem}
	e := newEngine(h, clock, func(o *Options) { o.ProceedOnStoreError = true })
	other := newEngine(mem, clock, nil)
	ctx := context.Background()
	h.put = func(do func() error) error {
		err := do()
		now = now.Add(2 * time.Second)
		if o, err := other.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Minute, RequestID: "r2"}); err != nil || o.Status != OutcomeAcquired {
			t.Fatalf("%v, %v", o.Status, err)
		}
		return err
	}
	got, err := e.Acquire(ctx, AcquireRequest{Key: kk, Deadline: now.Add(time.Second), RequestID: "r1"})
	if err == nil && got.Status == OutcomeAcquired {
		t.Errorf("second holder: %s unprotected=%v lease %v now %v", got.Status, got.Unprotected, got.Record.LeaseExpiresAt, now)
	}
}

// An end that is past is of an earlier invocation, and says nothing of this one.
func TestWaitWithAnOldEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(memory.New(time.Now), time.Now, nil)
		ctx := context.Background()
		a, _ := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Minute})
		go func() {
			time.Sleep(time.Second)
			_, _ = e.Complete(ctx, CompleteRequest{Token: a.Token, Result: []byte("1")})
		}()
		b, err := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Minute, Wait: 5 * time.Second, AnswerBy: time.Now().Add(-30 * time.Second)})
		if b.Status != OutcomeCompleted {
			t.Errorf("wait of 5s: %s %v", b.Status, err)
		}
		time.Sleep(2 * time.Second)
	})
}

// A claim whose answer was lost is settled with the rest.
func TestLostAcquireIsSettled(t *testing.T) {
	for _, wait := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := &hook{Store: memory.New(time.Now)}
			e := newEngine(h, time.Now, nil)
			ctx := context.Background()
			req := AcquireRequest{Key: kk, Lease: 15 * time.Minute, RequestID: "r1"}
			lose := func(do func() error) error {
				if err := do(); err != nil {
					return err
				}
				return &StoreError{Op: "put", Detail: "lost"}
			}
			if wait {
				if _, err := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Second, RequestID: "r0"}); err != nil {
					t.Fatal(err)
				}
				req.Wait = 5 * time.Second
			}
			h.put = lose
			if out, err := e.Acquire(ctx, req); err == nil {
				t.Fatalf("a lost answer is %v", out.Status)
			}
			h.put = nil
			e.Settle(ctx, e.Open(func(OpenClaim) bool { return true }), Failure{Type: "x"}, true)
			b, err := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Minute, RequestID: "r2"})
			if b.Status != OutcomeAcquired {
				t.Errorf("wait %v: after settling all: %s %v by %s", wait, b.Status, err, b.Record.RequestID)
			}
		})
	}
}

// Reading the metric changes nothing.
func TestCountingDropsNothing(t *testing.T) {
	for _, scrape := range []bool{false, true} {
		now := time.UnixMilli(1_800_000_000_000)
		clock := func() time.Time { return now }
		h := &hook{Store: memory.New(clock)}
		e := newEngine(h, clock, nil)
		ctx := context.Background()
		a, _ := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Second, RequestID: "r1"})
		now = now.Add(2 * time.Second)
		if scrape {
			e.OpenClaims()
		}
		h.upd = func(func() error) error { return &StoreError{Op: "update", Detail: "lost"} }
		_, _ = e.Complete(ctx, CompleteRequest{Token: a.Token, Result: []byte("1")})
		h.upd = nil
		e.Settle(ctx, e.Open(func(OpenClaim) bool { return true }), Failure{Type: "x"}, true)
		rec, _ := h.Get(ctx, kk)
		if rec.Status != Completed {
			t.Errorf("scrape %v: %s", scrape, rec.Status)
		}
	}
}

// The longer of two leases stands, whichever renewal is heard last.
func TestRenewalsHeardInTheOtherOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{Store: memory.New(time.Now)}
		e := newEngine(h, time.Now, nil)
		ctx := context.Background()
		a, _ := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: time.Second, RequestID: "r1"})
		n := 0
		h.upd = func(do func() error) error {
			n++
			err := do()
			if n == 1 {
				time.Sleep(100 * time.Millisecond)
			}
			return err
		}
		go func() { _, _ = e.Renew(ctx, a.Token, time.Now().Add(2*time.Second)) }()
		synctest.Wait()
		_, _ = e.Renew(ctx, a.Token, time.Now().Add(time.Minute))
		time.Sleep(5 * time.Second)
		if n := e.OpenClaims(); n != 1 {
			t.Errorf("open claims %d, the lease has 55 s left; never settled", n)
		}
	})
}

// An end that is owed to an unprotected claim is written after its lease, too.
func TestOwedEndOutlivesItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{Store: memory.New(time.Now)}
		e := newEngine(h, time.Now, func(o *Options) { o.ProceedOnStoreError = true })
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go e.RetryOwed(ctx)
		h.put = func(do func() error) error { _ = do(); return &StoreError{Op: "put", Detail: "lost"} }
		a, _ := e.Acquire(ctx, AcquireRequest{Key: kk, Lease: 500 * time.Millisecond, RequestID: "r1"})
		h.upd = func(func() error) error { return &StoreError{Op: "update", Detail: "lost"} }
		_, _ = e.Complete(ctx, CompleteRequest{Token: a.Token, Result: []byte("1")})
		synctest.Wait()
		h.upd = nil
		time.Sleep(700 * time.Millisecond)
		e.OpenClaims()
		time.Sleep(2 * time.Second)
		rec, _ := h.Get(ctx, kk)
		if rec.Status != Completed {
			t.Errorf("status %s lease %v err %+v: released instead of completed", rec.Status, rec.LeaseExpiresAt, rec.Error)
		}
		cancel()
		synctest.Wait()
	})
}
