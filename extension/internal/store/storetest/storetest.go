// Package storetest is the suite that every store passes: the engine's promises,
// on that store, with races, lapses and lost answers.
package storetest

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// Suite is a store under test.
type Suite struct {
	// Open opens an empty store that judges time by now.
	Open func(t *testing.T, now func() time.Time) idempotency.Store
	// Second opens the same records as another process would; nil: the records
	// live in this process alone.
	Second func(t *testing.T, first idempotency.Store) idempotency.Store
	// Lossy opens an empty store of which drop makes the next write's answer be
	// lost after it was applied; nil: the suite repeats the write itself, which
	// is what a client does that got no answer.
	Lossy func(t *testing.T, now func() time.Time) (store idempotency.Store, drop func())
	// Sort is the sort part of the keys that the suite uses.
	Sort string
	// Rounds is how often the race is run; 0: 100.
	Rounds int
}

// Clock is a clock that stands until it is moved.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock makes a clock that stands at a whole second near the present.
func NewClock() *Clock { return &Clock{at: time.Now().Truncate(time.Second)} }

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

const (
	lease = 10 * time.Second
	ttl   = time.Hour
)

type world struct {
	*testing.T
	suite  Suite
	clock  *Clock
	store  idempotency.Store
	engine *idempotency.Engine
}

func (s Suite) world(t *testing.T) *world {
	t.Helper()
	clock := NewClock()
	store := s.Open(t, clock.Now)
	return &world{T: t, suite: s, clock: clock, store: store, engine: engine(store, clock, nil)}
}

func engine(store idempotency.Store, clock *Clock, with func(*idempotency.Options)) *idempotency.Engine {
	opt := idempotency.Options{
		Function: "fn", TTL: ttl, History: 10,
		Now: clock.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	}
	if with != nil {
		with(&opt)
	}
	return idempotency.NewEngine(store, opt)
}

func (w *world) key(name string) idempotency.Key {
	return idempotency.Key{Partition: "scope#" + name, Sort: w.suite.Sort}
}

func (w *world) ask(name string) idempotency.AcquireRequest {
	return idempotency.AcquireRequest{Key: w.key(name), Deadline: w.clock.Now().Add(lease), RequestID: "request-" + name}
}

func (w *world) acquire(e *idempotency.Engine, req idempotency.AcquireRequest, want idempotency.OutcomeStatus) idempotency.Outcome {
	w.Helper()
	out, err := e.Acquire(w.Context(), req)
	if err != nil {
		w.Fatalf("acquire: %v", err)
	}
	if out.Status != want {
		w.Fatalf("acquire answered %q, want %q", out.Status, want)
	}
	return out
}

func (w *world) complete(e *idempotency.Engine, token, result string) {
	w.Helper()
	end, err := e.Complete(w.Context(), idempotency.CompleteRequest{Token: token, Result: []byte(result)})
	if err != nil {
		w.Fatalf("complete: %v", err)
	}
	if end.Status != idempotency.Completed {
		w.Fatalf("complete answered %q", end.Status)
	}
}

func (w *world) fail(e *idempotency.Engine, token string, retry bool, want idempotency.Status) {
	w.Helper()
	end, err := e.Fail(w.Context(), idempotency.FailRequest{Token: token, Error: &idempotency.Failure{Type: "RuntimeError", Message: "An unexpected error has occurred."}, Retry: retry})
	if err != nil {
		w.Fatalf("fail: %v", err)
	}
	if end.Status != want {
		w.Fatalf("fail answered %q, want %q", end.Status, want)
	}
}

// refused checks that the token's holder can do nothing, and that nothing of
// what is stored changes when it tries.
func (w *world) refused(token string, kind error) {
	w.Helper()
	key := w.keyOf(token)
	before := w.get(key)
	_, err := w.engine.Complete(w.Context(), idempotency.CompleteRequest{Token: token, Result: []byte(`"stale"`)})
	w.is(err, kind, "complete")
	_, err = w.engine.Fail(w.Context(), idempotency.FailRequest{Token: token, Retry: true})
	w.is(err, kind, "fail with retry")
	_, err = w.engine.Fail(w.Context(), idempotency.FailRequest{Token: token})
	w.is(err, kind, "fail for good")
	_, err = w.engine.Renew(w.Context(), token, w.clock.Now().Add(lease))
	w.is(err, kind, "renew")
	if diff := cmp.Diff(before, w.get(key)); diff != "" {
		w.Fatalf("a refused call changed the record:\n%s", diff)
	}
}

var tokenKeys sync.Map // token -> key, as the suite acquired them

func (w *world) keyOf(token string) idempotency.Key {
	w.Helper()
	k, ok := tokenKeys.Load(token)
	if !ok {
		w.Fatal("the suite did not note this token's key")
	}
	return k.(idempotency.Key)
}

func (w *world) is(err, kind error, what string) {
	w.Helper()
	if !errors.Is(err, kind) {
		w.Fatalf("%s: got %v, want %v", what, err, kind)
	}
}

func (w *world) get(key idempotency.Key) *idempotency.Record {
	w.Helper()
	rec, err := w.store.Get(w.Context(), key)
	if err != nil {
		w.Fatalf("get: %v", err)
	}
	return rec
}

// held acquires name and notes the token's key.
func (w *world) held(name string) idempotency.Outcome {
	w.Helper()
	out := w.acquire(w.engine, w.ask(name), idempotency.OutcomeAcquired)
	tokenKeys.Store(out.Token, out.Record.Key)
	return out
}

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	for name, test := range map[string]func(*world){
		"one winner among 64":           oneWinner,
		"takeover of a lapsed claim":    takeover,
		"a renewed claim is not taken":  renewedIsKept,
		"late complete, not taken over": lateComplete,
		"expiry to the second":          expiry,
		"fence grows":                   fenceGrows,
		"results byte for byte":         results,
		"large results":                 largeResults,
		"payload mismatch":              payloadMismatch,
		"client token":                  clientToken,
		"released":                      released,
		"final failure":                 finalFailure,
		"max attempts":                  maxAttempts,
		"repeated ends":                 repeatedEnds,
		"unknown claims":                unknownClaims,
		"history":                       history,
		"settling":                      settling,
		"waiting":                       waiting,
		"key parts":                     keyParts,
		"nothing changes by reading":    duplicatesChangeNothing,
	} {
		t.Run(name, func(t *testing.T) { test(s.world(t)) })
	}
	t.Run("lost answers", func(t *testing.T) { lostAnswers(t, s) })
	t.Run("second process", func(t *testing.T) { secondProcess(s.world(t)) })
}
