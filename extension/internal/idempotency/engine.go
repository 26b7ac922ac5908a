package idempotency

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
	"unicode/utf8"
)

// Limits of what a caller may ask for.
const (
	// MaxTTL is the longest time an outcome is remembered.
	MaxTTL = 10 * 366 * 24 * time.Hour
	// MaxLease is the longest time a claim holds: Step Functions runs a year.
	// https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
	MaxLease = 366 * 24 * time.Hour
	// MinClientToken and MaxClientToken bound a client token, in bytes. Two
	// callers that choose the same one share a claim, so short ones are refused.
	MinClientToken = 16
	MaxClientToken = 128

	maxErrorType    = 256
	maxErrorMessage = 2048
	maxEventDetail  = 256
)

const (
	// answerMargin is what is left to the handler when the store does not answer.
	answerMargin = 500 * time.Millisecond
	// storeTimeout bounds one call's work on the store however long the
	// invocation still has, and storeTimeoutLeast holds however little.
	storeTimeout      = 10 * time.Second
	storeTimeoutLeast = 100 * time.Millisecond
	// waitPollFirst and waitPollMost bound the pause between two looks at a
	// claim that an acquire waits for.
	waitPollLeast = time.Millisecond
	waitPollFirst = 25 * time.Millisecond
	waitPollMost  = time.Second
	// settleWait is how long an acquire waits for the release of a claim that
	// this sandbox's earlier invocation left open.
	settleWait = 150 * time.Millisecond
	// contention bounds how often an acquire decides anew because the record
	// changed between its read and its write.
	contention = 16
)

// Options are the engine's settings.
type Options struct {
	// Function is the name that records tell of their holder.
	Function string
	// TTL is how long an outcome is remembered where the caller does not say.
	TTL time.Duration
	// MaxAttempts is the number of runs after which a failure is final; 0: no end.
	MaxAttempts int
	// History is the number of entries that a record keeps; 0: none.
	History int
	// ProceedOnStoreError grants an acquire that the store did not answer.
	ProceedOnStoreError bool
	// Disabled grants every acquire and stores nothing.
	Disabled bool

	// Now tells the time and Random gives unguessable bytes.
	Now    func() time.Time
	Random io.Reader
	Log    *slog.Logger
	// Observer is told what happens to claims; nil: nobody.
	Observer Observer
}

// Observer is told what happens to claims, for metrics.
type Observer interface {
	// Acquired is told the outcome of each acquire that has one.
	Acquired(status OutcomeStatus)
	// Unprotected is told of each acquire granted without the store.
	Unprotected()
	// Settled is told of each claim ended on behalf of its handler.
	Settled(cause string, ok bool)
}

type silent struct{}

func (silent) Acquired(OutcomeStatus) {}
func (silent) Unprotected()           {}
func (silent) Settled(string, bool)   {}

// Engine carries out acquire, complete, fail and renew on a store.
type Engine struct {
	store Store
	opt   Options
	open  claims
	// granting counts the acquires that may be writing a claim now.
	granting gate
}

// NewEngine makes an engine on a store.
func NewEngine(store Store, opt Options) *Engine {
	if opt.Observer == nil {
		opt.Observer = silent{}
	}
	return &Engine{store: store, opt: opt, open: newClaims(opt.Now)}
}

// The errors of ending or renewing a claim, and of an acquire that is refused.
var (
	// ErrClaimUnknown: the token names no claim, or its record is gone.
	ErrClaimUnknown = errors.New("claim unknown")
	// ErrClaimLost: the claim lapsed and another holds it, or it was ended.
	ErrClaimLost = errors.New("claim lost")
	// ErrPayloadMismatch: the key was used with another payload.
	ErrPayloadMismatch = errors.New("payload mismatch")
)

// RefusedError is one of the errors above with one sentence that says why.
type RefusedError struct {
	Kind   error
	Detail string
}

func (e *RefusedError) Error() string { return e.Detail }
func (e *RefusedError) Unwrap() error { return e.Kind }

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
	var down *StoreError
	// Never against the store's own word: a record that was seen may be of work that
	// is running or done.
	if errors.As(err, &down) && e.opt.ProceedOnStoreError && !down.Seen {
		e.opt.Observer.Unprotected()
		e.opt.Log.Warn("the store did not answer; the work runs without protection because IDEMPOTENCY_ON_STORE_ERROR is proceed",
			"key_hash", KeyHash(req.Key), "request_id", req.RequestID, "error", down)
		out, err = e.granted(e.grant(nil, secret, req), req, token{unprotected: true}), nil
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
	if !req.AnswerBy.IsZero() {
		wait = min(wait, req.AnswerBy.Sub(start)-answerMargin)
	}
	until := start.Add(wait)
	pause := waitPollFirst
	var held Outcome // what was last seen
	for first := true; ; first = false {
		out, err := e.acquireOnce(ctx, secret, req)
		var down *StoreError
		switch {
		case errors.As(err, &down) && !first:
			return held, nil
		case err != nil || out.Status != OutcomeInProgress:
			return out, err
		}
		held = out
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
		if lapses := out.Record.LeaseExpiresAt; lapses.After(now) && lapses.Before(next) {
			next = lapses.Add(time.Millisecond)
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
func (e *Engine) acquireOnce(ctx context.Context, secret string, req AcquireRequest) (Outcome, error) {
	e.granting.enter()
	defer e.granting.leave()
	ctx, cancel := e.storeContext(ctx, req.AnswerBy)
	defer cancel()
	var prev *Record
	for range contention {
		rec := e.grant(prev, secret, req)
		if rec.Free(rec.UpdatedAt) {
			return Outcome{}, &StoreError{Op: "acquire", Detail: "the deadline passed before the store had granted the claim"}
		}
		err := e.store.Put(ctx, rec, Condition{Prev: prev, Now: rec.UpdatedAt})
		if err == nil {
			if rec.Free(e.opt.Now()) {
				// The store took longer than the lease: the claim may be another's by now.
				prev = rec
				continue
			}
			return e.granted(rec, req, token{}), nil
		}
		var met *ConditionError
		if !errors.As(err, &met) {
			return Outcome{}, err
		}
		now := e.opt.Now()
		switch verdict := Decide(met.Stored, now, Ask{Secret: secret, Validation: req.Validation, MaxAttempts: e.opt.MaxAttempts}); verdict {
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
			var down *StoreError
			if errors.As(err, &down) {
				down.Seen = true
				return Outcome{}, down
			}
			if err == nil {
				return Outcome{Status: OutcomeFailed, Record: final}, nil
			}
		case Mismatch:
			return Outcome{}, &RefusedError{ErrPayloadMismatch, fmt.Sprintf("the key was used with another payload at %s (request %s); use a new key for new work, or send the same payload", met.Stored.CreatedAt.UTC().Format(time.RFC3339), cmp.Or(met.Stored.RequestID, "unknown"))}
		case Spent:
			return Outcome{}, &RefusedError{ErrClaimLost, "the claim that this client_token made was released already; send a new client_token for a new run"}
		default:
			return e.inProgress(met.Stored, now), nil
		}
	}
	return Outcome{}, &StoreError{Op: "acquire", Throttled: true, Seen: true, Detail: "the key changes hands faster than it can be claimed; try again"}
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

func (e *Engine) inProgress(rec *Record, now time.Time) Outcome {
	left := rec.LeaseExpiresAt.Sub(now)
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
		Expiration:     expiry(lapses, req.TTL),
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

// granted answers with a claim and notes it as open.
func (e *Engine) granted(rec *Record, req AcquireRequest, t token) Outcome {
	t.key, t.secret, t.fence, t.attempt = rec.Key, rec.Secret, rec.Fence, rec.Attempt
	t.ttl, t.answerBy = req.TTL, req.AnswerBy
	if !req.Detached && !t.unstored {
		e.open.add(openClaim{token: t, requestID: req.RequestID, lease: rec.LeaseExpiresAt})
	}
	return Outcome{Status: OutcomeAcquired, Token: t.text(), Record: rec, Unprotected: t.unprotected || t.unstored}
}

// AwaitAcquires waits until no acquire is writing a claim, or ctx is done.
func (e *Engine) AwaitAcquires(ctx context.Context) { e.granting.await(ctx) }

// gate counts who is inside, and lets others wait until nobody is.
type gate struct {
	mu     sync.Mutex
	inside int
	empty  chan struct{} // closed when the last one leaves
}

func (g *gate) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside == 0 {
		g.empty = make(chan struct{})
	}
	g.inside++
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 {
		close(g.empty)
	}
}

func (g *gate) await(ctx context.Context) {
	g.mu.Lock()
	inside, empty := g.inside, g.empty
	g.mu.Unlock()
	if inside == 0 {
		return
	}
	select {
	case <-empty:
	case <-ctx.Done():
	}
}

// storeContext bounds the work on the store so that the caller, whose invocation
// ends at answerBy, can still act on what it is told. Work that was begun is not
// dropped because the caller went away: its outcome would be anybody's guess.
func (e *Engine) storeContext(ctx context.Context, answerBy time.Time) (context.Context, context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	left := answerBy.Sub(e.opt.Now())
	budget := storeTimeout
	if left > 0 {
		budget = min(storeTimeout, max(left-answerMargin, storeTimeoutLeast))
	}
	return context.WithTimeout(ctx, budget)
}

// Get reads a record; it returns nil if there is none or it has expired.
func (e *Engine) Get(ctx context.Context, key Key) (*Record, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rec, err := e.store.Get(ctx, key)
	if err != nil || rec == nil || rec.Expired(e.opt.Now()) {
		return nil, err
	}
	return rec, nil
}

// Ping tells whether the store can be used.
func (e *Engine) Ping(ctx context.Context) error { return e.store.Ping(ctx) }

// OpenClaims is the number of claims that this engine granted and that were
// neither ended nor lapsed.
func (e *Engine) OpenClaims() int { return e.open.count() }

// cut shortens s to at most n bytes without breaking a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "…"
	n -= len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}
