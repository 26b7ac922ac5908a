// Package idempotency holds the claim protocol: the record, the pure decision
// about it, the engine that carries a decision out, and the Store it needs.
//
// A key has at most one record. The record says whether a claim on the key is
// held (INPROGRESS), or how the work ended (COMPLETED, FAILED). Whoever holds
// the claim has its token; nothing but the token can end or renew the claim.
package idempotency

import (
	"slices"
	"time"
)

// Status is the stored state of a record.
type Status string

// The stored states. A released claim stays InProgress with no lease, so that
// other software on the same table reads it as free to take.
const (
	InProgress Status = "INPROGRESS"
	Completed  Status = "COMPLETED"
	Failed     Status = "FAILED"

	// Released appears in a record's history only.
	Released Status = "RELEASED"
)

// Key names a record in the store. Sort is empty in a table without a sort key.
type Key struct {
	Partition string
	Sort      string
}

// Failure is what a handler, or the sidecar on its behalf, says of a failed run.
type Failure struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// Event is one entry of a record's history.
type Event struct {
	At        time.Time
	Status    Status
	Detail    string
	RequestID string
}

// Record is the stored state of one key.
type Record struct {
	Key    Key
	Status Status

	// Expiration is when the record counts as absent, in whole seconds.
	Expiration time.Time
	// LeaseExpiresAt is when the claim lapses, in whole milliseconds. The zero
	// time on an InProgress record means that the claim was released.
	LeaseExpiresAt time.Time

	// Secret is the part of the claim's token that only its holder knows.
	// It is empty on records that other software wrote.
	Secret  string
	Fence   int64
	Attempt int

	// Result is the JSON text of the result, byte for byte; nil if none.
	Result []byte
	// ResultOmitted tells that the result was too large to be stored.
	ResultOmitted bool

	// Validation is the hex SHA-256 of the canonical payload, or empty.
	Validation string
	Error      *Failure

	Function  string
	RequestID string
	CreatedAt time.Time
	UpdatedAt time.Time
	History   []Event
}

// Expired tells whether the record counts as absent. Expiry is judged by the
// reader's clock, to the second; the table's own TTL deletes days later:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html
func (r *Record) Expired(now time.Time) bool { return !now.Before(r.Expiration) }

// lapsed tells whether the lease of a claim has run out for its holder.
func (r *Record) lapsed(now time.Time) bool { return !now.Before(r.LeaseExpiresAt) }

// released tells whether the claim's holder gave it up.
func (r *Record) released() bool { return r.Status == InProgress && r.LeaseExpiresAt.IsZero() }

// Clone returns a copy that shares nothing with r. Clone of nil is nil.
func (r *Record) Clone() *Record {
	if r == nil {
		return nil
	}
	c := *r
	c.Result = slices.Clone(r.Result)
	c.History = slices.Clone(r.History)
	if r.Error != nil {
		e := *r.Error
		c.Error = &e
	}
	return &c
}

// expiry is the end of a record's life: ttl after the given time, rounded up to
// the whole second that DynamoDB's TTL works in.
func expiry(from time.Time, ttl time.Duration) time.Time {
	at := from.Add(ttl)
	if whole := at.Truncate(time.Second); whole.Before(at) {
		return whole.Add(time.Second)
	}
	return at
}
