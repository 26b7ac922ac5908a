package idempotency

import (
	"context"
	"time"
)

// Batch is what requests share that are answered together.
type Batch struct {
	// Begun is when they were asked for. The time that a request has at the store
	// counts from it, so that all together have no longer than one has alone.
	Begun time.Time
	// Slots holds a value for each request that is at the store; its capacity bounds
	// how many are. Batches may share it.
	Slots chan struct{}
}

// begun is when a request's time at the store begins; without a batch, now.
func (b *Batch) begun(now time.Time) time.Time {
	if b == nil {
		return now
	}
	return b.Begun
}

// atStore bounds the work on the store as storeContext does. In a batch it counts
// the time since begun, and first waits for a slot, which leave gives back; a ctx
// that is done ends that wait.
func (e *Engine) atStore(ctx context.Context, op string, b *Batch, begun, answerBy time.Time) (bounded context.Context, leave func(), err error) {
	if b == nil {
		bounded, leave = e.storeContext(ctx, answerBy)
		return bounded, leave, nil
	}
	left := min(begun.Add(storeTimeout).Sub(e.opt.Now()), e.storeTime(answerBy))
	end := time.Now().Add(left)
	bounded, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	if left > 0 {
		select {
		case b.Slots <- struct{}{}:
			if time.Now().Before(end) {
				return bounded, func() { cancel(); <-b.Slots }, nil
			}
			<-b.Slots // Those who had the slots gave up just now.
		case <-bounded.Done():
		case <-ctx.Done():
			cancel()
			// Seen: nobody is there to do the work unprotected.
			return nil, nil, &StoreError{Op: op, Seen: true, Detail: "the caller left before the store was asked", Err: ctx.Err()}
		}
	}
	cancel()
	return nil, nil, &StoreError{Op: op, Detail: "the store took all the time there was for other items of the batch; send this one again", Err: context.DeadlineExceeded}
}

// AcquireSame answers an acquire of a key from the outcome that an earlier one of
// its batch had for the same key, and does not ask the store: whoever has several
// items of one key does the work of the first alone.
//
// Errors: *RefusedError (ErrPayloadMismatch).
func (e *Engine) AcquireSame(ctx context.Context, first Outcome, req AcquireRequest) (Outcome, error) {
	if e.opt.Disabled {
		return e.Acquire(ctx, req)
	}
	if first.Record.mismatches(req.Validation) {
		return Outcome{}, mismatch(first.Record)
	}
	out := first
	if first.Status == OutcomeAcquired {
		out = inProgress(first.Record, first.Record.LeaseExpiresAt.Sub(e.opt.Now()))
	}
	e.opt.Observer.Acquired(out.Status)
	return out, nil
}
