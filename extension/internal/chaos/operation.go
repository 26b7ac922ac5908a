package chaos

import (
	"fmt"
	"strings"
	"time"
)

// Kind is a call of the API.
type Kind string

// The calls.
const (
	Acquire  Kind = "acquire"
	Complete Kind = "complete"
	Release  Kind = "release" // fail with retry
	Fail     Kind = "fail"    // fail without retry
	Renew    Kind = "renew"
)

// Stamp is a moment on both clocks: the monotonic one orders operations, the
// wall clock is what leases and expiry are judged by.
type Stamp struct {
	Mono int64 // nanoseconds since the run began
	Wall int64 // epoch milliseconds
}

// clock makes stamps.
type clock struct{ began time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) stamp() Stamp {
	now := time.Now()
	return Stamp{Mono: now.Sub(c.began).Nanoseconds(), Wall: now.UnixMilli()}
}

// Operation is one HTTP call and its answer.
type Operation struct {
	// ID is unique in the run. An acquire sends it as its request_id, a complete
	// within its result and a fail within its error, so it is seen again.
	ID string
	// Caller is who the claim would belong to: calls with the same client_token
	// are one caller, and so are all calls with the token it was given.
	Caller  string
	Handler int
	Sidecar int
	Key     string
	Kind    Kind

	// LeaseMS is asked by acquire and renew; TTL, in seconds, is how long the
	// outcome of the claim, or of this end, is remembered.
	LeaseMS int64
	TTL     int64
	WaitMS  int64
	// Payload is the variant of the payload that an acquire sends; 0: none.
	Payload int
	// Token is what an end or a renewal was called with, Fence what was told with
	// the token.
	Token string
	Fence int64
	// Outcome is the result that a complete stores, or the message of a fail.
	Outcome string

	Call, Return Stamp
	Answer       Answer
}

// Answer is what a call was told.
type Answer struct {
	// Unknown tells that there was no answer, or one that says nothing of the
	// call's effect; Why says more, also of a refusal.
	Unknown bool
	Why     string
	// Refused: the call never reached a sidecar.
	Refused bool

	// Status is the outcome, Problem the code of a problem; one of them is set if
	// there was an answer.
	Status  string
	Problem string

	Token       string
	Fence       int64
	Attempt     int
	Lease       int64  // lease_expires_at
	RequestID   string // of the acquire whose claim is told of
	Outcome     string // the result as it came, or the error's message
	Unprotected bool
}

// is tells whether the call was answered so.
func (a Answer) is(status string) bool { return !a.Unknown && a.Status == status }

// name is the answer in one word, for counts.
func (a Answer) name() string {
	switch {
	case a.Refused:
		return "not connected"
	case a.Problem != "":
		return a.Problem
	case a.Unknown:
		return "no answer"
	}
	return a.Status
}

// String is the operation on one line.
func (o *Operation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s handler %-2d sidecar %d %-8s %s caller %s", span(o.Call, o.Return), o.Handler, o.Sidecar, o.Kind, o.ID, o.Caller)
	if o.Kind == Acquire || o.Kind == Renew {
		fmt.Fprintf(&b, " lease_ms %d", o.LeaseMS)
	}
	if o.WaitMS > 0 {
		fmt.Fprintf(&b, " wait_ms %d", o.WaitMS)
	}
	if o.Payload > 0 {
		fmt.Fprintf(&b, " payload %d", o.Payload)
	}
	fmt.Fprintf(&b, " ttl_seconds %d", o.TTL)
	if o.Fence > 0 {
		fmt.Fprintf(&b, " of fence %d", o.Fence)
	}
	if o.Outcome != "" {
		fmt.Fprintf(&b, " %s", short(o.Outcome))
	}
	b.WriteString(" -> " + o.Answer.String())
	return b.String()
}

// String is the answer on one line.
func (a Answer) String() string {
	var b strings.Builder
	b.WriteString(a.name())
	if a.Why != "" {
		b.WriteString(" (" + a.Why + ")")
	}
	if a.Fence != 0 {
		fmt.Fprintf(&b, " fence %d attempt %d", a.Fence, a.Attempt)
	}
	if a.Lease != 0 {
		fmt.Fprintf(&b, " lease until %s", wall(a.Lease))
	}
	if a.RequestID != "" {
		b.WriteString(" of " + a.RequestID)
	}
	if a.Outcome != "" {
		b.WriteString(" " + short(a.Outcome))
	}
	return b.String()
}

func span(from, to Stamp) string {
	return fmt.Sprintf("%s +%.1fms", wall(from.Wall), float64(to.Mono-from.Mono)/1e6)
}

// wall shows epoch milliseconds as a time of the day, and as they are.
func wall(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("15:04:05.000")
}

func short(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:most], len(s))
}
