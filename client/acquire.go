package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// AcquireRequest asks for the claim on a key. It has either a Key or an Event.
type AcquireRequest struct {
	// Key names the work.
	Key Key

	// Event is what the sidecar makes the key of: any JSON. A json.RawMessage is
	// sent as it is, so that numbers keep all their digits.
	Event any
	// KeyJMESPath selects the key from Event, as in "[JobId, ObjKey]"; empty: the
	// whole event, or what IDEMPOTENCY_KEY_JMESPATH says.
	KeyJMESPath string

	// Payload is any JSON that has to be the same each time the key is used, else
	// the acquire is refused with a *PayloadMismatchError. Nil: anything goes.
	Payload any
	// Scope keeps functions that share a table apart. Nil: the function's name;
	// new(""): none.
	Scope *string
	// TTL is how long the outcome is remembered, counted from its end, in whole
	// seconds, rounded up; 0: IDEMPOTENCY_TTL.
	TTL time.Duration
	// Wait is how long to wait for the end of another's run before that is told as
	// in progress; 0: not at all.
	Wait time.Duration

	// Deadline is when the claim lapses, because the invocation ends; zero: the
	// context's deadline, if it has one.
	Deadline time.Time
	// Lease, instead of a deadline, is how long the claim holds.
	Lease time.Duration
	// RequestID is the invocation's id; empty: the context's, see [WithRequestID].
	RequestID string
	// Detached makes a claim that outlives the invocation, for work handed on:
	// whoever has the token ends it. It needs Lease.
	Detached bool
	// ClientToken makes the call repeatable: the same one gets the same claim, not
	// in_progress from itself. 16 to 128 bytes; empty: a random one.
	ClientToken string
}

// The statuses of an [Outcome].
const (
	Acquired   = "acquired"
	Completed  = "completed"
	Failed     = "failed"
	InProgress = "in_progress"
)

// Outcome answers an acquire. Which members are set depends on the status.
type Outcome struct {
	// Status is Acquired, Completed, Failed or InProgress.
	Status string

	// Claim is set with Acquired.
	Claim

	// Result is set with Completed: byte for byte the JSON that was stored.
	Result json.RawMessage
	// ResultOmitted tells, with Completed, that the result was too large to be
	// stored.
	ResultOmitted bool
	// Error is set with Failed.
	Error *Failure

	// RequestID is the invocation that holds the key or ended the work, if known.
	RequestID string
	// EndedAt is when the work ended, with Completed and Failed, if known.
	EndedAt time.Time
	// RetryAfter is when to ask again, with InProgress.
	RetryAfter time.Duration
}

// Failure is what is stored of a run that failed.
type Failure struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// Acquire asks for the claim. What became of that is the outcome; it is an error
// only if the request was refused or not answered.
//
// Errors: *PayloadMismatchError, *ClaimLostError (the claim of this ClientToken
// was released), *UnavailableError, *ProblemError.
func (c *Client) Acquire(ctx context.Context, req AcquireRequest) (Outcome, error) {
	if disabled() {
		return req.unasked(c), nil
	}
	body, err := req.body(ctx)
	if err != nil {
		return Outcome{}, err
	}
	var told acquireAnswer
	if err := c.call(ctx, "/acquire", body, &told, max(req.Wait, 0)); err != nil {
		return Outcome{}, err
	}
	return told.outcome(c), nil
}

// unasked is the outcome where no sidecar is called.
func (req AcquireRequest) unasked(c *Client) Outcome {
	now := time.Now()
	return Outcome{Status: Acquired, Claim: Claim{client: c, Fence: now.UnixMilli(), Attempt: 1, LeaseExpiresAt: now.Add(req.Lease), Unprotected: true}}
}

// body is what is sent.
func (req AcquireRequest) body(ctx context.Context) (acquireBody, error) {
	if req.Scope != nil && !utf8.ValidString(*req.Scope) {
		return acquireBody{}, notUTF8("scope")
	}
	if at, ok := ctx.Deadline(); ok && req.Deadline.IsZero() && req.Lease == 0 {
		req.Deadline = at
	}
	body := acquireBody{
		Key: req.Key, Event: req.Event, KeyJMESPath: req.KeyJMESPath, Payload: req.Payload, Scope: req.Scope,
		TTL: whole(req.TTL, time.Second), Wait: whole(req.Wait, time.Millisecond), Lease: whole(req.Lease, time.Millisecond),
		RequestID: cmp.Or(req.RequestID, requestID(ctx)), Detached: req.Detached, ClientToken: cmp.Or(req.ClientToken, rand.Text()),
	}
	if !req.Deadline.IsZero() {
		body.Deadline = req.Deadline.UnixMilli()
	}
	return body, nil
}

// whole is d in whole units, rounded up, so that a short time is not taken for
// none.
func whole(d, unit time.Duration) int64 {
	n := int64(d / unit)
	if d%unit > 0 {
		n++
	}
	return n
}

type acquireBody struct {
	Key         Key     `json:"key,omitempty"`
	Event       any     `json:"event,omitempty"`
	KeyJMESPath string  `json:"key_jmespath,omitempty"`
	Payload     any     `json:"payload,omitempty"`
	Scope       *string `json:"scope,omitempty"`
	TTL         int64   `json:"ttl_seconds,omitempty"`
	Wait        int64   `json:"wait_ms,omitempty"`
	Deadline    int64   `json:"deadline_ms,omitempty"`
	Lease       int64   `json:"lease_ms,omitempty"`
	RequestID   string  `json:"request_id,omitempty"`
	Detached    bool    `json:"detached,omitempty"`
	ClientToken string  `json:"client_token"`
}

type acquireAnswer struct {
	Status         string          `json:"status"`
	Token          string          `json:"token"`
	Fence          int64           `json:"fence"`
	Attempt        int             `json:"attempt"`
	LeaseExpiresAt int64           `json:"lease_expires_at"`
	PreviousError  *Failure        `json:"previous_error"`
	Unprotected    bool            `json:"unprotected"`
	Result         json.RawMessage `json:"result"`
	ResultOmitted  bool            `json:"result_omitted"`
	Error          *Failure        `json:"error"`
	RequestID      string          `json:"request_id"`
	CompletedAt    int64           `json:"completed_at"`
	FailedAt       int64           `json:"failed_at"`
	RetryAfter     int64           `json:"retry_after_ms"`
}

func (a acquireAnswer) outcome(c *Client) Outcome {
	return Outcome{
		Status: a.Status,
		Claim: Claim{
			Token: a.Token, Fence: a.Fence, Attempt: a.Attempt, LeaseExpiresAt: moment(a.LeaseExpiresAt),
			PreviousError: a.PreviousError, Unprotected: a.Unprotected, client: c,
		},
		Result: a.Result, ResultOmitted: a.ResultOmitted, Error: a.Error, RequestID: a.RequestID,
		EndedAt:    moment(cmp.Or(a.CompletedAt, a.FailedAt)),
		RetryAfter: time.Duration(a.RetryAfter) * time.Millisecond,
	}
}

// moment is a time in epoch milliseconds; 0: not told.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
