package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// rule is a rule of the protocol that a simulated store breaks.
type rule string

const (
	noRule rule = ""
	// anyToken: a complete is not conditional on the token.
	anyToken rule = "the token's condition removed from complete"
	// noEcho: who meets its own write is not told that it is its own.
	noEcho rule = "own-echo recognition removed"
	// noLease: a takeover does not compare the lease with the one it read.
	noLease rule = "the lease not compared in the takeover"
	// overwrite: a second complete replaces the first one's result.
	overwrite rule = "the result overwritten by a second complete"
)

// simulated is a store with the faults of a network, which keeps to all rules of
// the protocol but one.
type simulated struct {
	breaks  rule
	plan    plan
	clock   clock
	witness *Witness

	calls atomic.Int64
	late  sync.WaitGroup

	mu      sync.Mutex
	records map[idempotency.Key]*idempotency.Record
}

// Get implements idempotency.Store.
func (s *simulated) Get(_ context.Context, key idempotency.Key) (*idempotency.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[key].Clone(), nil
}

// Ping implements idempotency.Store.
func (s *simulated) Ping(context.Context) error { return nil }

// Put implements idempotency.Store.
func (s *simulated) Put(_ context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	return s.send("put", rec.Secret, func() error { return s.put(rec.Clone(), when) })
}

func (s *simulated) put(rec *idempotency.Record, when idempotency.Condition) error {
	from := s.clock.stamp()
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := s.records[rec.Key]
	if s.breaks == noLease && when.Prev != nil && stored != nil {
		when.Prev = when.Prev.Clone()
		when.Prev.LeaseExpiresAt = stored.LeaseExpiresAt
	}
	if !when.Holds(stored, rec) {
		return &idempotency.ConditionError{Stored: stored.Clone()}
	}
	s.records[rec.Key] = rec
	s.witness.note(&Write{
		Key: rec.Key.Partition, Kind: Acquire, Secret: rec.Secret, Request: rec.RequestID, Fence: rec.Fence, Attempt: rec.Attempt,
		Lease: rec.LeaseExpiresAt.UnixMilli(), Expiration: rec.Expiration.UnixMilli(), From: from, To: s.clock.stamp(),
	})
	return nil
}

// Update implements idempotency.Store.
func (s *simulated) Update(_ context.Context, key idempotency.Key, change idempotency.Change) error {
	return s.send("update", change.Secret, func() error { return s.update(key, change) })
}

func (s *simulated) update(key idempotency.Key, change idempotency.Change) error {
	from := s.clock.stamp()
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := s.records[key]
	holds := change.Holds(stored)
	if s.breaks == anyToken && change.Status == idempotency.Completed && stored != nil {
		any := change
		any.Secret, any.Fence = stored.Secret, stored.Fence
		holds = any.Holds(stored)
	}
	if s.breaks == overwrite && change.Status == idempotency.Completed && stored != nil && stored.Status == change.Status && stored.Secret == change.Secret {
		holds = true
	}
	if !holds {
		return &idempotency.ConditionError{Stored: stored.Clone()}
	}
	s.records[key] = change.Apply(stored)
	w := &Write{
		Key: key.Partition, Secret: change.Secret, Fence: change.Fence, Outcome: string(change.Result), Expiration: change.Expiration.UnixMilli(),
		From: from, To: s.clock.stamp(),
	}
	if change.Error != nil {
		w.Outcome = change.Error.Message
	}
	switch {
	case change.Status == idempotency.Completed:
		w.Kind = Complete
	case change.Status == idempotency.Failed:
		w.Kind = Fail
	case change.LeaseExpiresAt.IsZero():
		w.Kind = Release
	default:
		w.Kind, w.Lease = Renew, change.LeaseExpiresAt.UnixMilli()
	}
	s.witness.note(w)
	return nil
}

// tries is how often a simulated request is sent.
const tries = 4

// send carries out a request as a client does that repeats what is not answered,
// on a network that loses requests and answers and delivers some late.
func (s *simulated) send(op, secret string, apply func() error) error {
	d := s.plan.stream(fmt.Sprintf("call %d", s.calls.Add(1)))
	for range tries {
		time.Sleep(d.between(0, 3*time.Millisecond))
		fate := d.Float64() * 100
		switch {
		case fate < 3: // The request is lost.
			continue
		case fate < 5: // It is applied when nobody waits for it any more.
			delay := d.between(0, 300*time.Millisecond)
			s.late.Go(func() {
				time.Sleep(delay)
				_ = apply()
			})
			continue
		}
		err := apply()
		if fate < 15 { // The answer is lost.
			continue
		}
		var met *idempotency.ConditionError
		if s.breaks == noEcho && errors.As(err, &met) && met.Stored != nil && met.Stored.Secret == secret {
			met.Stored.Secret = "c29tZWJvZHktZWxzZS0wMA"
		}
		return err
	}
	return &idempotency.StoreError{Op: op, Detail: "the simulated network lost it"}
}

// deadlines are those of a sidecar that knows of no invocation.
type deadlines struct{}

func (deadlines) Deadline(context.Context) time.Time            { return time.Now().Add(time.Minute) }
func (deadlines) InvocationEnd(string) (end time.Time, ok bool) { return time.Time{}, false }

type observer struct{}

func (observer) Answered(string, int, string, time.Duration) {}

// simulate runs handlers for a while on sidecars of this process, which share a
// store that breaks a rule.
func simulate(t *testing.T, breaks rule, seed uint64, d time.Duration) Verdict {
	t.Helper()
	c, p := newClock(), plan{seed}
	var recorder Recorder
	var witness Witness
	store := &simulated{breaks: breaks, plan: p, clock: c, witness: &witness, records: map[idempotency.Key]*idempotency.Record{}}
	var urls []string
	for range 5 {
		quiet := slog.New(slog.DiscardHandler)
		engine := idempotency.NewEngine(store, idempotency.Options{TTL: time.Hour, ClockSkew: clockSkew * time.Millisecond, Now: time.Now, Random: rand.Reader, Log: quiet})
		server := httptest.NewServer(httpapi.New(httpapi.Options{
			Engine: engine, Deadlines: deadlines{}, Metrics: http.NotFoundHandler(), Observer: observer{}, Now: time.Now, Log: quiet,
		}))
		defer server.Close()
		urls = append(urls, server.URL)
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	w := newWorkload(p, newClient(urls, c, &recorder), len(urls), func() bool { return false })
	defer w.client.http.CloseIdleConnections()
	var handlers sync.WaitGroup
	for n := range 16 {
		handlers.Go(func() { w.run(ctx, n) })
	}
	handlers.Wait()
	store.late.Wait()
	verdict := Check(recorder.ops, witness.all())
	t.Logf("%d operations on %d keys, %d writes without an answer, %d violations", len(recorder.ops), verdict.Keys, verdict.Unanswered, len(verdict.Violations))
	return verdict
}
