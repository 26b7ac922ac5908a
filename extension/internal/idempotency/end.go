package idempotency

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

// CompleteRequest ends a claim with a result.
type CompleteRequest struct {
	Token string
	// Result is the JSON text to replay, byte for byte; nil for none.
	Result []byte
	// TTL is how long the outcome is remembered; 0: as the acquire said.
	TTL time.Duration
	// Batch is what the request is answered together with; nil: it is alone.
	Batch *Batch
}

// ValidResult tells whether text can be a Result: exactly one JSON text, and in UTF-8,
// for a table keeps text.
func ValidResult(text []byte) bool { return canon.Valid(text) == nil }

// FailRequest ends a claim whose work failed.
type FailRequest struct {
	Token string
	// Error tells what failed; nil if the caller did not say.
	Error *Failure
	// Retry frees the key for another run; otherwise the failure is final.
	Retry bool
	// Batch is what the request is answered together with; nil: it is alone.
	Batch *Batch
}

// Ended is the state that complete or fail left a claim in.
type Ended struct {
	// Status is Completed, Failed or Released.
	Status Status
	// Unprotected: nothing was stored.
	Unprotected bool
}

// Renewed is a claim's new lease.
type Renewed struct {
	LeaseExpiresAt time.Time
	// Unprotected: nothing was stored.
	Unprotected bool
}

// Complete ends the claim with a result. It can be repeated.
//
// Errors: *RefusedError (ErrClaimUnknown, ErrClaimLost) and *StoreError.
func (e *Engine) Complete(ctx context.Context, req CompleteRequest) (Ended, error) {
	t, err := parseToken(req.Token)
	if err != nil {
		return Ended{}, notAClaim(err)
	}
	t.ttl = cmp.Or(req.TTL, t.ttl)
	return e.end(ctx, t, ending{status: Completed, result: req.Result}, req.Batch)
}

// Fail ends the claim with a failure. It can be repeated.
//
// Errors: as Complete.
func (e *Engine) Fail(ctx context.Context, req FailRequest) (Ended, error) {
	t, err := parseToken(req.Token)
	if err != nil {
		return Ended{}, notAClaim(err)
	}
	return e.end(ctx, t, e.failing(t, req.Error, req.Retry), req.Batch)
}

// failing is the end of a failed claim: final if the caller says so or no
// attempt is left.
func (e *Engine) failing(t token, failure *Failure, retry bool) ending {
	to := ending{status: Released, failure: &Failure{Type: "Error"}}
	if failure != nil {
		to.failure = &Failure{Type: cut(failure.Type, maxErrorType), Message: cut(failure.Message, maxErrorMessage)}
	}
	if !retry || e.opt.MaxAttempts > 0 && t.attempt >= e.opt.MaxAttempts {
		to.status = Failed
	}
	return to
}

// Renew gives the claim a new lease, which ends at until.
//
// Errors: as Complete.
func (e *Engine) Renew(ctx context.Context, text string, until time.Time) (Renewed, error) {
	t, err := parseToken(text)
	if err != nil {
		return Renewed{}, notAClaim(err)
	}
	until = until.Truncate(time.Millisecond)
	if t.unstored {
		return Renewed{LeaseExpiresAt: until, Unprotected: true}, nil
	}
	ctx, cancel := e.storeContext(ctx, t.answerBy)
	defer cancel()
	err = e.store.Update(ctx, t.key, Change{
		Secret: t.secret, Fence: t.fence,
		Status: InProgress, LeaseExpiresAt: until, Expiration: e.expiryOfClaim(until, t.ttl),
		UpdatedAt: e.opt.Now().Truncate(time.Millisecond),
	})
	if met, refused := errors.AsType[*ConditionError](err); refused {
		err = refusal(met.Stored, t)
		if rec := met.Stored; rec != nil && t.names(rec) && rec.Status == InProgress && rec.LeaseExpiresAt.After(until) {
			until, err = rec.LeaseExpiresAt, nil // No renewal shortens a lease: the longer one stands.
		}
	}
	if err != nil {
		if t.unprotected {
			return Renewed{LeaseExpiresAt: until, Unprotected: true}, nil
		}
		return Renewed{}, err
	}
	e.open.renewed(t.id(), until)
	return Renewed{LeaseExpiresAt: until}, nil
}

// ending is how a claim ends.
type ending struct {
	status  Status // Completed, Failed or Released
	result  []byte
	omitted bool // the result is not kept
	refused bool // the store did not take it at first
	failure *Failure
}

// end writes a claim's end. Until the store has answered, the claim stays noted
// as open together with that end, so that it is settled as the handler said, and
// not as abandoned: also where the environment shuts down during the write.
func (e *Engine) end(ctx context.Context, t token, to ending, b *Batch) (Ended, error) {
	if t.unstored {
		return Ended{Status: to.status, Unprotected: true}, nil
	}
	e.open.owe(t, to)
	err := e.writeInTime(ctx, t, to, b)
	if _, away := errors.AsType[*StoreError](err); away {
		e.open.refuse(t.id())
	} else {
		e.open.remove(t.id())
	}
	if err != nil {
		if t.unprotected {
			return Ended{Status: to.status, Unprotected: true}, nil
		}
		return Ended{}, err
	}
	return Ended{Status: to.status}, nil
}

// writeInTime writes a claim's end while its invocation can be answered, and also
// for a caller that left meanwhile.
func (e *Engine) writeInTime(ctx context.Context, t token, to ending, b *Batch) error {
	ctx, leave, err := e.atStore(context.WithoutCancel(ctx), "update", b, b.begun(time.Time{}), t.answerBy)
	if err != nil {
		return err
	}
	defer leave()
	return e.write(ctx, t, to)
}

func (e *Engine) write(ctx context.Context, t token, to ending) error {
	now := e.opt.Now().Truncate(time.Millisecond)
	change := Change{
		Secret: t.secret, Fence: t.fence,
		Status: to.status, Expiration: expiry(now, t.ttl), UpdatedAt: now,
		Result: to.result, ResultOmitted: to.omitted, Error: to.failure,
	}
	if to.status == Released {
		change.Status = InProgress // With no lease: free to take.
	}
	if e.opt.History > 0 {
		change.Event = &Event{At: now, Status: to.status, RequestID: e.open.requestID(t.id())}
		if to.failure != nil {
			change.Event.Detail = cut(to.failure.Message, maxEventDetail)
		}
	}
	err := e.store.Update(ctx, t.key, change)
	met, refused := errors.AsType[*ConditionError](err)
	if !refused {
		return err
	}
	if rec := met.Stored; rec != nil && t.names(rec) && endedAs(rec) == to.status {
		return nil // Own echo, or a repeated call: it ended just so.
	}
	return refusal(met.Stored, t)
}

// endedAs is how the claim on a record ended; InProgress if it did not.
func endedAs(rec *Record) Status {
	if rec.released() {
		return Released
	}
	return rec.Status
}

// refusal says why a claim could not be ended or renewed.
func refusal(rec *Record, t token) error {
	switch {
	case rec == nil:
		return &RefusedError{ErrClaimUnknown, "the claim's record is gone: it expired, or was deleted from the table"}
	case t.names(rec):
		return &RefusedError{ErrClaimLost, fmt.Sprintf("this claim was ended already, as %s at %s", endedAs(rec), rec.UpdatedAt.UTC().Format(time.RFC3339Nano))}
	}
	return &RefusedError{ErrClaimLost, fmt.Sprintf("the claim lapsed and request %s took the key (fence %d); this run's outcome was not stored", cmp.Or(rec.RequestID, "unknown"), rec.Fence)}
}

func notAClaim(err error) error {
	return &RefusedError{ErrClaimUnknown, fmt.Sprintf("token: %v; send the token of the acquire as it came", err)}
}
