package client

import (
	"cmp"
	"fmt"
	"time"
)

// InProgressError says that another run holds the key.
type InProgressError struct {
	// RequestID is the invocation that holds it, if known.
	RequestID string
	// RetryAfter is when it may be worth to ask again.
	RetryAfter time.Duration
	// LeaseExpiresAt is when its claim lapses by itself, if known.
	LeaseExpiresAt time.Time
}

func (e *InProgressError) Error() string {
	return fmt.Sprintf("idempotency: the work is in progress in request %s; try again in %v", cmp.Or(e.RequestID, "unknown"), e.RetryAfter)
}

// FailedError says that an earlier run failed for good.
type FailedError struct {
	// Type and Message are of that run's error.
	Type    string
	Message string
	// RequestID is the invocation that it failed in, if known.
	RequestID string
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("idempotency: the work failed for good: %s: %s", e.Type, e.Message)
}

// ProblemError is an answer of the sidecar that is a problem, or no answer of a
// sidecar at all. The codes are explained at
// https://github.com/lambda-idempotency/lambda-idempotency/blob/main/docs/problems.md
type ProblemError struct {
	// Status is that of HTTP.
	Status int
	// Code is stable; empty if something else than the sidecar answered.
	Code string
	// Detail says what is wrong and what to do.
	Detail string
}

func (e *ProblemError) Error() string {
	if e.Code == "" {
		return "idempotency: " + e.Detail
	}
	return "idempotency: " + e.Code + ": " + e.Detail
}

// PayloadMismatchError says that the key was used with another payload: two
// different pieces of work have the same key.
type PayloadMismatchError struct{ ProblemError }

// Unwrap returns the *ProblemError.
func (e *PayloadMismatchError) Unwrap() error { return &e.ProblemError }

// ClaimLostError says that the claim lapsed and another run took the key, or that
// the claim was ended already. What that run stores is what duplicates get.
type ClaimLostError struct {
	ProblemError
	// Result is what the work returned to [Do] or [DoWith], which return it, too;
	// nil where no work was done.
	Result any
}

// Unwrap returns the *ProblemError.
func (e *ClaimLostError) Unwrap() error { return &e.ProblemError }

// UnavailableError says that there is no sidecar, that it did not answer, or that
// it has no store. Of an acquire, nothing counts as run.
type UnavailableError struct {
	// Code is store_unavailable or store_throttled if the sidecar answered.
	Code string
	// RetryAfter is when it may be worth to ask again; 0 if the sidecar did not say.
	RetryAfter time.Duration
	// Err is the *ProblemError that was answered, or the failure to call.
	Err error
}

func (e *UnavailableError) Error() string {
	if e.Code != "" {
		return e.Err.Error()
	}
	return "idempotency: " + e.Err.Error()
}

// Unwrap returns Err.
func (e *UnavailableError) Unwrap() error { return e.Err }
