package idempotency

import (
	"context"
	"errors"
	"io"
	"log/slog"
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
	// ClockSkew is how far the clocks of two hosts may differ.
	ClockSkew time.Duration
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

// storeContext bounds the work on the store so that the caller, whose invocation
// ends at answerBy, can still act on what it is told. Work that was begun is not
// dropped because the caller went away: its outcome would be anybody's guess.
func (e *Engine) storeContext(ctx context.Context, answerBy time.Time) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), e.storeTime(answerBy))
}

// storeTime is the time for the store, where the caller's invocation ends at
// answerBy.
func (e *Engine) storeTime(answerBy time.Time) time.Duration {
	if left := answerBy.Sub(e.opt.Now()); left > 0 {
		return min(storeTimeout, max(left-answerMargin, storeTimeoutLeast))
	}
	return storeTimeout
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
