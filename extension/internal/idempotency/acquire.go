package idempotency

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// OutcomeStatus is the answer to an acquire.
type OutcomeStatus string

// The outcomes.
const (
	OutcomeAcquired   OutcomeStatus = "acquired"
	OutcomeCompleted  OutcomeStatus = "completed"
	OutcomeFailed     OutcomeStatus = "failed"
	OutcomeInProgress OutcomeStatus = "in_progress"
)

// AcquireRequest asks for the claim on a key.
type AcquireRequest struct {
	Key Key
	// Validation is the hex SHA-256 of the canonical payload, or empty.
	Validation string
	// TTL is how long the outcome is remembered; 0: the engine's default.
	TTL time.Duration
	// Deadline is when the claim lapses; zero: Lease after it is granted, which may
	// be long after it was asked for.
	Deadline time.Time
	Lease    time.Duration
	// AnswerBy is when the caller's invocation ends; zero: unknown. The store is
	// given up on early enough before it.
	AnswerBy time.Time
	// RequestID is the invocation's id; empty if the caller did not say.
	RequestID string
	// ClientToken makes the call repeatable; empty if the caller did not say.
	ClientToken string
	// Detached: the claim outlives the invocation and is never settled.
	Detached bool
	// Wait is how long to wait for the end of another's claim.
	Wait time.Duration
	// Batch is what the request is answered together with; nil: it is alone.
	Batch *Batch
}

// Outcome answers an acquire.
type Outcome struct {
	Status OutcomeStatus
	// Token ends or renews the claim; set with OutcomeAcquired.
	Token string
	// Record is what is stored; with OutcomeAcquired, the claim. It is never nil.
	Record *Record
	// RetryAfter is when to ask again; set with OutcomeInProgress.
	RetryAfter time.Duration
	// Unprotected: the work is allowed without the store's word, nothing keeps a
	// second run out.
	Unprotected bool
}

// Acquire asks for the claim on a key.
//
// Errors: *RefusedError (ErrPayloadMismatch, ErrClaimLost) and *StoreError.
func (e *Engine) Acquire(ctx context.Context, req AcquireRequest) (Outcome, error) {
	if req.TTL == 0 {
		req.TTL = e.opt.TTL
	}
	secret, err := e.secretFor(req)
	if err != nil {
		return Outcome{}, &StoreError{Op: "acquire", Detail: "the system gives no random bytes; the claim needs them", Err: err}
	}
	if e.opt.Disabled {
		return e.granted(e.grant(nil, secret, req), req, token{unstored: true}), nil
	}
	out, err := e.acquire(ctx, secret, req)
	// Never against the store's own word: a record that was seen may be of work that
	// is running or done.
	if down, away := errors.AsType[*StoreError](err); away && e.opt.ProceedOnStoreError && !down.Seen {
		e.opt.Observer.Unprotected()
		e.opt.Log.Warn("the store did not answer; the work runs without protection because IDEMPOTENCY_ON_STORE_ERROR is proceed",
			"key_hash", KeyHash(req.Key), "request_id", req.RequestID, "error", down)
		rec := out.Record // What was sent, which may be stored.
		if rec == nil {
			rec = e.grant(nil, secret, req)
		}
		out, err = e.granted(rec, req, token{unprotected: true}), nil
	}
	if err == nil {
		e.opt.Observer.Acquired(out.Status)
	}
	return out, err
}

func (e *Engine) secretFor(req AcquireRequest) (string, error) {
	if req.ClientToken != "" {
		return derivedSecret(req.Key, req.ClientToken), nil
	}
	return newSecret(e.opt.Random)
}

// acquire decides, and waits where the caller wants to.
func (e *Engine) acquire(ctx context.Context, secret string, req AcquireRequest) (Outcome, error) {
	start := e.opt.Now()
	wait := req.Wait
	if req.AnswerBy.After(start) {
		wait = min(wait, req.AnswerBy.Sub(start)-answerMargin)
	}
	until := start.Add(wait)
	pause := waitPollFirst
	begun := req.Batch.begun(start)
	for first := true; ; first = false {
		if !first {
			begun = e.opt.Now()
		}
		out, err := e.acquireOnce(ctx, secret, req, begun)
		down, away := errors.AsType[*StoreError](err)
		switch {
		case away && !first:
			down.Seen = true // In an earlier round.
			return out, down
		case err != nil || out.Status != OutcomeInProgress:
			return out, err
		}
		if settled := e.open.leftBehind(out.Record, req.RequestID); first && settled != nil {
			if waitFor(ctx, settled, settleWait) {
				continue
			}
		}
		now := e.opt.Now()
		if !now.Before(until) {
			return out, nil
		}
		next := now.Add(pause/2 + rand.N(pause/2+1))
		if freed := out.Record.LeaseExpiresAt.Add(e.opt.ClockSkew); freed.After(now) && freed.Before(next) {
			next = freed.Add(time.Millisecond)
		}
		if until.Before(next) {
			next = until
		}
		waitFor(ctx, nil, max(next.Sub(now), waitPollLeast))
		if ctx.Err() != nil {
			return out, nil //nolint:nilerr // A caller that went away must not be granted a claim.
		}
		pause = min(pause*2, waitPollMost)
	}
}

// waitFor waits for done, up to d; it tells whether done came.
func waitFor(ctx context.Context, done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// acquireOnce writes the claim unseen, the usual case, and decides on the
// record it meets otherwise.
func (e *Engine) acquireOnce(ctx context.Context, secret string, req AcquireRequest, begun time.Time) (Outcome, error) {
	ctx, leave, err := e.atStore(ctx, "acquire", req.Batch, begun, req.AnswerBy)
	if err != nil {
		return Outcome{}, err
	}
	defer leave()
	e.granting.enter()
	defer e.granting.leave()
	var prev *Record
	short := false // A lease was over before its claim was answered.
	for range contention {
		rec := e.grant(prev, secret, req)
		if rec.lapsed(rec.UpdatedAt) {
			if prev != nil && prev.Secret == secret {
				e.note(prev, req, token{}, prev) // It was granted, but too late for anybody to hear of.
			}
			return Outcome{}, &StoreError{Op: "acquire", Seen: true, Detail: "the deadline passed before the store had granted the claim"}
		}
		err := e.store.Put(ctx, rec, Condition{Prev: prev, Now: rec.UpdatedAt})
		if err == nil {
			if rec.lapsed(e.opt.Now()) {
				// The store took longer than the lease: the claim may be another's by now.
				prev, short = rec, true
				continue
			}
			return e.granted(rec, req, token{}), nil
		}
		met, refused := errors.AsType[*ConditionError](err)
		if !refused {
			if down, away := errors.AsType[*StoreError](err); away && !down.Seen {
				// The write may have been taken all the same: whoever settles what this
				// invocation left settles that, too.
				e.note(rec, req, token{}, rec)
			}
			return Outcome{Record: rec}, err
		}
		now := e.opt.Now()
		ask := Ask{Secret: secret, Validation: req.Validation, MaxAttempts: e.opt.MaxAttempts, ClockSkew: e.opt.ClockSkew}
		switch verdict := Decide(met.Stored, now, ask); verdict {
		case Grant:
			prev = met.Stored
		case Echo:
			return e.granted(met.Stored, req, token{}), nil
		case Replay:
			return Outcome{Status: OutcomeCompleted, Record: met.Stored}, nil
		case Report:
			return Outcome{Status: OutcomeFailed, Record: met.Stored}, nil
		case Exhaust:
			final := e.exhausted(met.Stored, now, req.TTL)
			err := e.store.Put(ctx, final, Condition{Prev: met.Stored})
			if down, away := errors.AsType[*StoreError](err); away {
				down.Seen = true
				return Outcome{}, down
			}
			if err == nil {
				return Outcome{Status: OutcomeFailed, Record: final}, nil
			}
		case Mismatch:
			return Outcome{}, mismatch(met.Stored)
		case Spent:
			return Outcome{}, &RefusedError{ErrClaimLost, "the claim that this client_token made was released already; send a new client_token for a new run"}
		default:
			return inProgress(met.Stored, ask.freed(met.Stored).Sub(now)), nil
		}
	}
	if short {
		return Outcome{}, &StoreError{Op: "acquire", Seen: true, Detail: "the store takes longer to grant the claim than the claim would hold; ask for a longer lease_ms"}
	}
	return Outcome{}, &StoreError{Op: "acquire", Throttled: true, Seen: true, Detail: "the key changes hands faster than it can be claimed; try again"}
}

// mismatch refuses an acquire whose payload is not that of the record.
func mismatch(rec *Record) error {
	return &RefusedError{ErrPayloadMismatch, fmt.Sprintf("the key was used with another payload at %s (request %s); use a new key for new work, or send the same payload", rec.CreatedAt.UTC().Format(time.RFC3339), cmp.Or(rec.RequestID, "unknown"))}
}

// exhausted makes a claim that lapsed, or was released, at its last attempt a
// failure for good, so that no late word of its holder changes what was told.
func (e *Engine) exhausted(rec *Record, now time.Time, ttl time.Duration) *Record {
	now = now.Truncate(time.Millisecond)
	final := rec.Clone()
	if !rec.released() || rec.Error == nil {
		final.Error = &Failure{Type: "Claim.Lapsed", Message: fmt.Sprintf("attempt %d, the last that IDEMPOTENCY_MAX_ATTEMPTS allows, ended without an answer", rec.Attempt)}
	}
	final.Status, final.LeaseExpiresAt = Failed, time.Time{}
	final.UpdatedAt, final.Expiration = now, expiry(now, ttl)
	if e.opt.History > 0 {
		final.History = append(final.History, Event{At: now, Status: Failed, Detail: cut(final.Error.Message, maxEventDetail), RequestID: rec.RequestID})
	}
	return final
}

// inProgress tells of another's claim, which is held for the time left.
func inProgress(rec *Record, left time.Duration) Outcome {
	return Outcome{Status: OutcomeInProgress, Record: rec, RetryAfter: max(100*time.Millisecond, min(left, 5*time.Second))}
}

// grant makes the record of a new claim; prev is the record it replaces, nil if
// none is known.
func (e *Engine) grant(prev *Record, secret string, req AcquireRequest) *Record {
	now := e.opt.Now().Truncate(time.Millisecond)
	lapses := req.Deadline
	if lapses.IsZero() {
		lapses = now.Add(req.Lease)
	}
	rec := &Record{
		Key:            req.Key,
		Status:         InProgress,
		LeaseExpiresAt: lapses.Truncate(time.Millisecond),
		Expiration:     e.expiryOfClaim(lapses, req.TTL),
		Secret:         secret,
		Fence:          now.UnixMilli(),
		Attempt:        1,
		Validation:     req.Validation,
		Function:       e.opt.Function,
		RequestID:      req.RequestID,
		CreatedAt:      now,
		UpdatedAt:      now,
	}
	if prev != nil {
		rec.Fence = max(rec.Fence, prev.Fence+1)
	}
	if prev != nil && !prev.Expired(now) {
		rec.Attempt = prev.Attempt + 1
		rec.Error = prev.Error
		rec.CreatedAt = prev.CreatedAt
		rec.History = prev.History
		if prev.Secret == secret {
			// The asker's own claim lapsed before its answer came: it is the same run.
			rec.Attempt = prev.Attempt
			rec.History = prev.History[:max(0, len(prev.History)-1)]
		}
	}
	if e.opt.History > 0 {
		detail := ""
		if prev != nil && prev.Status == InProgress && !prev.released() && prev.Secret != secret && rec.Attempt > 1 {
			detail = "took over a lapsed claim"
		}
		rec.History = append(rec.History[:len(rec.History):len(rec.History)],
			Event{At: now, Status: InProgress, Detail: detail, RequestID: req.RequestID})
		// Room for the entry of this claim's end.
		if over := len(rec.History) - (e.opt.History - 1); over > 0 {
			rec.History = rec.History[over:]
		}
	} else {
		rec.History = nil
	}
	return rec
}

// expiryOfClaim is the end of the record of a claim that lapses then: it is held
// that long, whatever the clocks.
func (e *Engine) expiryOfClaim(lapses time.Time, ttl time.Duration) time.Time {
	return expiry(lapses, max(ttl, e.opt.ClockSkew))
}

// granted answers with a claim and notes it as open.
func (e *Engine) granted(rec *Record, req AcquireRequest, t token) Outcome {
	t = e.note(rec, req, t, nil)
	return Outcome{Status: OutcomeAcquired, Token: t.text(), Record: rec, Unprotected: t.unprotected || t.unstored}
}

// note notes a claim as open, and returns its token.
func (e *Engine) note(rec *Record, req AcquireRequest, t token, untold *Record) token {
	t.key, t.secret, t.fence, t.attempt = rec.Key, rec.Secret, rec.Fence, rec.Attempt
	t.ttl, t.answerBy = req.TTL, req.AnswerBy
	if !req.Detached && !t.unstored {
		e.open.add(openClaim{token: t, requestID: req.RequestID, asked: rec.UpdatedAt, lease: rec.LeaseExpiresAt, untold: untold})
	}
	return t
}
