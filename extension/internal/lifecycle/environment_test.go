package lifecycle_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi/extapitest"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/lifecycle"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// timeout is the function's.
const timeout = 10 * time.Second

// environment is a Lambda environment with a real engine, whose time is the
// bubble's and whose Extensions API is scripted.
type environment struct {
	*testing.T
	api       *extapitest.Server
	store     *faulty
	engine    *idempotency.Engine
	deadlines *lifecycle.Deadlines
	life      *lifecycle.Lifecycle
	log       *logged
	// ended gets the error of Run.
	ended chan error
}

// inLambda runs a test in an environment that has registered and asks for its
// first event.
func inLambda(t *testing.T, set func(*lifecycle.Lifecycle), test func(e *environment)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := newEnvironment(t)
		if set != nil {
			set(e.life)
		}
		if err := e.life.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		go func() { e.ended <- e.life.Run(context.WithoutCancel(t.Context())) }()
		synctest.Wait()
		test(e)
		select {
		case err := <-e.ended:
			if err != nil {
				e.Error(err)
			}
		default:
			e.shutdown("spindown")
		}
		e.store.set(0, nil)
		e.store.let()
		time.Sleep(time.Minute) // What was still being settled ends in its own time.
	})
}

func newEnvironment(t *testing.T) *environment {
	e := &environment{T: t, api: extapitest.New(), log: new(logged), ended: make(chan error, 1)}
	log := slog.New(slog.NewJSONHandler(e.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	e.store = &faulty{Store: memory.New(time.Now), gate: make(chan struct{})}
	e.engine = idempotency.NewEngine(e.store, idempotency.Options{Function: "orders", TTL: time.Hour, History: 10, Now: time.Now, Random: rand.Reader, Log: log})
	e.deadlines = lifecycle.LearnedDeadlines(time.Now, 15*time.Minute, log)
	e.life = &lifecycle.Lifecycle{API: extapi.New("api", "lambda-idempotency", e.api), Claims: e.engine, Deadlines: e.deadlines, Log: log}
	return e
}

// invoke sends an INVOKE that has the whole timeout before it.
func (e *environment) invoke(requestID string) {
	e.Helper()
	e.api.Invoke(e, requestID, time.Now().Add(timeout))
	synctest.Wait()
}

// shutdown sends a SHUTDOWN, and returns how long Run took to end then.
func (e *environment) shutdown(reason string) time.Duration {
	e.Helper()
	start := time.Now()
	e.api.Shutdown(e, reason)
	if err := <-e.ended; err != nil {
		e.Errorf("Run ended with %v", err)
	}
	took := time.Since(start)
	e.ended <- nil
	return took
}

func request(key, requestID string) idempotency.AcquireRequest {
	return idempotency.AcquireRequest{Key: idempotency.Key{Partition: key}, Deadline: time.Now().Add(time.Hour), RequestID: requestID}
}

// claim makes a claim, and returns its token.
func (e *environment) claim(req idempotency.AcquireRequest) string {
	e.Helper()
	out, err := e.engine.Acquire(e.Context(), req)
	if err != nil || out.Status != idempotency.OutcomeAcquired {
		e.Fatalf("acquire: %s, error %v", out.Status, err)
	}
	return out.Token
}

// state is what the store holds of a key: HELD, or how the claim ended with the
// error's type.
func (e *environment) state(key string) string {
	e.Helper()
	rec, err := e.store.Get(e.Context(), idempotency.Key{Partition: key})
	switch {
	case err != nil:
		e.Fatal(err)
	case rec == nil:
		return "none"
	case rec.Status == idempotency.InProgress && !rec.LeaseExpiresAt.IsZero():
		return "HELD"
	case rec.Status == idempotency.InProgress:
		return "RELEASED " + rec.Error.Type
	case rec.Error != nil:
		return string(rec.Status) + " " + rec.Error.Type
	}
	return string(rec.Status) + " " + string(rec.Result)
}

func (e *environment) want(key, state string) {
	e.Helper()
	if got := e.state(key); got != state {
		e.Errorf("%s is %s, want %s", key, got, state)
	}
}

// faulty is a store in memory that takes its time, fails or hangs.
type faulty struct {
	*memory.Store
	gate chan struct{} // a store that hangs is let go by closing it
	once sync.Once

	mu      sync.Mutex
	delay   time.Duration
	err     error
	hang    bool
	updates int
}

func (s *faulty) set(delay time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay, s.err, s.hang = delay, err, false
}

// stop makes the store hang, deaf to deadlines, until let is called.
func (s *faulty) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang = true
}

func (s *faulty) let() { s.once.Do(func() { close(s.gate) }) }

func (s *faulty) Put(ctx context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	s.mu.Lock()
	delay := s.delay
	s.mu.Unlock()
	time.Sleep(delay)
	return s.Store.Put(ctx, rec, when)
}

func (s *faulty) Update(ctx context.Context, key idempotency.Key, change idempotency.Change) error {
	s.mu.Lock()
	delay, err, hang := s.delay, s.err, s.hang
	s.updates++
	s.mu.Unlock()
	if hang {
		<-s.gate
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return &idempotency.StoreError{Op: "update", Detail: "no answer in time", Err: ctx.Err()}
	}
	if err != nil {
		return &idempotency.StoreError{Op: "update", Detail: err.Error(), Err: err}
	}
	return s.Store.Update(ctx, key, change)
}

var errAway = errors.New("the store is away")

// logged is a log's lines.
type logged struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

// at are the messages of a level.
func (l *logged) at(level slog.Level) (messages []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.lines.String()) {
		var entry struct {
			Level slog.Level
			Msg   string
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Level == level {
			messages = append(messages, entry.Msg)
		}
	}
	return messages
}
