package idempotency_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

// outcomes counts what an engine tells of acquires.
type outcomes map[OutcomeStatus]int

func (o outcomes) Acquired(status OutcomeStatus) { o[status]++ }
func (outcomes) Unprotected()                    {}
func (outcomes) Settled(string, bool)            {}

// A second acquire of a batch has the first's outcome, but for the claim, and the
// store is not asked.
func TestAcquireSame(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	clock := func() time.Time { return now }
	held := &Record{Key: kk, Status: InProgress, LeaseExpiresAt: now.Add(2 * time.Second), RequestID: "r1", Validation: "v"}
	done := &Record{Key: kk, Status: Completed, Result: []byte("1"), Validation: "v"}
	for name, c := range map[string]struct {
		first      Outcome
		validation string
		want       OutcomeStatus
		retry      time.Duration
	}{
		"granted":             {Outcome{Status: OutcomeAcquired, Token: "t", Record: held}, "v", OutcomeInProgress, 2 * time.Second},
		"granted unprotected": {Outcome{Status: OutcomeAcquired, Token: "t", Record: held, Unprotected: true}, "", OutcomeInProgress, 2 * time.Second},
		"another's":           {Outcome{Status: OutcomeInProgress, Record: held, RetryAfter: time.Second}, "", OutcomeInProgress, time.Second},
		"completed":           {Outcome{Status: OutcomeCompleted, Record: done}, "v", OutcomeCompleted, 0},
		"failed":              {Outcome{Status: OutcomeFailed, Record: &Record{Key: kk, Status: Failed}}, "v", OutcomeFailed, 0},
		"other work, granted": {Outcome{Status: OutcomeAcquired, Token: "t", Record: held}, "w", "", 0},
		"other work, done":    {Outcome{Status: OutcomeCompleted, Record: done}, "w", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			count := outcomes{}
			e := newEngine(nil, clock, func(o *Options) { o.Observer = count })
			out, err := e.AcquireSame(t.Context(), c.first, AcquireRequest{Key: kk, Lease: time.Minute, Validation: c.validation})
			if c.want == "" {
				if !errors.Is(err, ErrPayloadMismatch) || len(count) != 0 {
					t.Errorf("%+v, %v; counted %v", out, err, count)
				}
				return
			}
			if err != nil || out.Status != c.want || out.RetryAfter != c.retry || out.Token != "" || out.Unprotected || out.Record != c.first.Record {
				t.Errorf("%+v, %v", out, err)
			}
			if len(count) != 1 || count[c.want] != 1 {
				t.Errorf("counted %v", count)
			}
		})
	}
}

func TestAcquireSameDisabled(t *testing.T) {
	e := newEngine(nil, time.Now, func(o *Options) { o.Disabled = true })
	req := AcquireRequest{Key: kk, Lease: time.Minute}
	first, err := e.Acquire(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := e.AcquireSame(t.Context(), first, req); err != nil || out.Status != OutcomeAcquired || out.Token == first.Token {
		t.Errorf("%+v, %v", out, err)
	}
}

// A request of a batch waits for a slot, within the time that all of the batch have.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: memory.New(time.Now)}
		e := newEngine(store, time.Now, nil)
		b := &Batch{Begun: time.Now(), Slots: make(chan struct{}, 1)}
		acquire := func(ctx context.Context, key string) (Outcome, error) {
			return e.Acquire(ctx, AcquireRequest{Key: Key{Partition: key}, Lease: time.Minute, Batch: b})
		}
		fails := func(err error, fragment string) {
			t.Helper()
			var down *StoreError
			if !errors.As(err, &down) || !strings.Contains(down.Detail, fragment) {
				t.Errorf("%v, want %q", err, fragment)
			}
		}
		claim, err := acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}

		b.Slots <- struct{}{}
		left, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		start := time.Now()
		_, err = acquire(left, "b")
		fails(err, "the caller left")
		if took := time.Since(start); took != time.Second {
			t.Errorf("the caller that left was waited for %s", took)
		}

		go func() { time.Sleep(3 * time.Second); <-b.Slots }()
		if _, err = acquire(t.Context(), "c"); err != nil || time.Since(b.Begun) != 4*time.Second {
			t.Errorf("%v after %s, want it with the slot", err, time.Since(b.Begun))
		}
		if len(b.Slots) != 0 {
			t.Error("the slot was not given back")
		}

		b.Slots <- struct{}{}
		_, err = e.Complete(left, CompleteRequest{Token: claim.Token, Batch: b}) // For a caller that left, too.
		fails(err, "other items of the batch")
		if took := time.Since(b.Begun); took != 10*time.Second {
			t.Errorf("all together took %s", took)
		}
		_, err = acquire(t.Context(), "d")
		fails(err, "other items of the batch")
		if took := time.Since(b.Begun); took != 10*time.Second {
			t.Errorf("one that came too late was waited for; all together took %s", took)
		}
		<-b.Slots
		_, err = acquire(t.Context(), "d") // Though the slot is free: there is no time left.
		fails(err, "other items of the batch")

		if open := e.Open(func(OpenClaim) bool { return true }); len(open) != 2 {
			t.Errorf("%d claims are open, want two", len(open))
		}
		e.Settle(t.Context(), e.Open(func(OpenClaim) bool { return true }), Failure{Type: "Handler.Abandoned"}, true)
		again, err := e.Acquire(t.Context(), AcquireRequest{Key: Key{Partition: "a"}, Lease: time.Minute})
		if err != nil || again.Status != OutcomeCompleted {
			t.Errorf("%v, %v: the end that came too late was not kept", again.Status, err)
		}
	})
}

// Without a slot the store has not answered: the work may run unprotected where that
// is asked for, but not for a caller that is not there.
func TestProceedWithoutASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(memory.New(time.Now), time.Now, func(o *Options) { o.ProceedOnStoreError = true })
		b := &Batch{Begun: time.Now(), Slots: make(chan struct{})}
		left, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		var down *StoreError
		if out, err := e.Acquire(left, AcquireRequest{Key: kk, Lease: time.Minute, Batch: b}); !errors.As(err, &down) {
			t.Errorf("%+v, %v", out, err)
		}
		deadline := time.Now().Add(2 * time.Second)
		out, err := e.Acquire(t.Context(), AcquireRequest{Key: kk, Deadline: deadline, AnswerBy: deadline, Batch: b})
		if err != nil || !out.Unprotected || time.Until(deadline) != 500*time.Millisecond {
			t.Errorf("%+v, %v, %s before the deadline", out, err, time.Until(deadline))
		}
	})
}

// A fault of the store gives the slot back.
func TestSlotAfterAFault(t *testing.T) {
	h := &hook{Store: memory.New(time.Now), put: func(func() error) error { panic("a fault") }, upd: func(func() error) error { panic("a fault") }}
	e := newEngine(h, time.Now, nil)
	b := &Batch{Begun: time.Now(), Slots: make(chan struct{}, 1)}
	faulty := func(call func() error) {
		defer func() {
			if recover() == nil || len(b.Slots) != 0 {
				t.Errorf("%d slots are taken", len(b.Slots))
			}
		}()
		_ = call()
	}
	faulty(func() error {
		_, err := e.Acquire(t.Context(), AcquireRequest{Key: kk, Lease: time.Minute, Batch: b})
		return err
	})
	h.put = nil
	out, err := e.Acquire(t.Context(), AcquireRequest{Key: kk, Lease: time.Minute, Batch: b})
	if err != nil {
		t.Fatal(err)
	}
	faulty(func() error {
		_, err := e.Fail(t.Context(), FailRequest{Token: out.Token, Batch: b})
		return err
	})
}
