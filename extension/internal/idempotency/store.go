package idempotency

import (
	"context"
	"fmt"
	"time"
)

// Store keeps records. Each write is one atomic conditional write; a store may
// repeat a write whose answer it did not get, so a condition that fails can
// mean that the write itself had succeeded: the engine recognises its own echo.
//
// Every method returns a *StoreError when the store could not answer.
type Store interface {
	// Get reads the record with strong consistency. It returns nil if there is
	// none; an expired record is returned as it is.
	Get(ctx context.Context, key Key) (*Record, error)

	// Put writes rec as a whole if the condition holds for what is stored;
	// otherwise it changes nothing and returns a *ConditionError.
	Put(ctx context.Context, rec *Record, when Condition) error

	// Update changes the record of a held claim if Change.Holds for what is
	// stored; otherwise it changes nothing and returns a *ConditionError.
	Update(ctx context.Context, key Key, change Change) error

	// Ping tells whether the store can be used: reached, found and permitted.
	Ping(ctx context.Context) error
}

// ConditionError says that a conditional write did not hold.
type ConditionError struct {
	// Stored is the record as it was found, nil if there was none.
	Stored *Record
}

func (e *ConditionError) Error() string { return "the stored record does not fit the condition" }

// StoreError says that the store did not answer, or refused to.
type StoreError struct {
	// Op is what was being done: "get", "put", "update" or "ping".
	Op string
	// Throttled tells that the store refused for its load, not for the request.
	Throttled bool
	// Detail is one sentence for the caller: what is wrong and the mend.
	Detail string
	// Seen tells that the store had shown a record of the key before it failed, so
	// that the work may be running or done.
	Seen bool
	// Err is the cause.
	Err error
}

func (e *StoreError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("store %s: %s", e.Op, e.Detail)
	}
	return fmt.Sprintf("store %s: %s: %v", e.Op, e.Detail, e.Err)
}

func (e *StoreError) Unwrap() error { return e.Err }

// Condition is what must hold of the stored record for a Put.
type Condition struct {
	// Prev, if set, must still be what is stored.
	Prev *Record
	// Now is the time by which, with no Prev, a stored record counts as absent.
	Now time.Time
}

// Holds tells whether rec may replace what is stored.
//
// With no Prev, an expired record is replaced unseen, but only if the fence
// still grows. With Prev, the lease is compared too: a holder that renewed a
// lapsed claim between the read and this write must not lose it unnoticed.
func (c Condition) Holds(stored, rec *Record) bool {
	if c.Prev == nil {
		return stored == nil || stored.Expired(c.Now) && stored.Fence < rec.Fence
	}
	return stored != nil &&
		stored.Secret == c.Prev.Secret &&
		stored.Status == c.Prev.Status &&
		stored.Fence == c.Prev.Fence &&
		stored.LeaseExpiresAt.Equal(c.Prev.LeaseExpiresAt)
}

// Change is what Update does to the record of a held claim. Members not named
// by the kind of change stay as they are.
type Change struct {
	// Secret and Fence name the claim.
	Secret string
	Fence  int64

	// Status is the new state: InProgress for a release or a renewal.
	Status         Status
	LeaseExpiresAt time.Time
	Expiration     time.Time
	UpdatedAt      time.Time

	// Result is stored with Completed, unless ResultOmitted.
	Result        []byte
	ResultOmitted bool
	// Error is stored with Failed and with a release.
	Error *Failure
	// Event is appended to the history, if set.
	Event *Event
}

// Holds tells whether the claim that the change names is still held. A client
// token that is used anew makes the same secret again, under a higher fence. A
// renewal must not shorten the lease, either: one that comes late, after its
// caller gave it up, would take back what a later one was answered.
func (c Change) Holds(stored *Record) bool {
	held := stored != nil && stored.Secret == c.Secret && stored.Fence == c.Fence &&
		stored.Status == InProgress && !stored.LeaseExpiresAt.IsZero()
	return held && (!c.Renewal() || !stored.LeaseExpiresAt.After(c.LeaseExpiresAt))
}

// Renewal tells whether the change only gives the claim a new lease.
func (c Change) Renewal() bool { return c.Status == InProgress && !c.LeaseExpiresAt.IsZero() }

// Apply returns the record after the change; stored is left as it was.
func (c Change) Apply(stored *Record) *Record {
	rec := stored.Clone()
	rec.Status = c.Status
	rec.LeaseExpiresAt = c.LeaseExpiresAt
	rec.Expiration = c.Expiration
	rec.UpdatedAt = c.UpdatedAt
	if c.Status == Completed {
		rec.Result, rec.ResultOmitted, rec.Error = c.Result, c.ResultOmitted, nil
	}
	if c.Error != nil {
		rec.Error = c.Error
	}
	if c.Event != nil {
		rec.History = append(rec.History, *c.Event)
	}
	return rec
}
