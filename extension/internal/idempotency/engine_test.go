package idempotency_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	. "github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/storetest"
)

// faulty is a store that can lose a request before it is applied, or the answer
// after it was.
type faulty struct {
	Store
	mu   sync.Mutex
	what string // "", "request" or "answer"
}

// lose makes the next write lose that; it returns what was still to be lost.
func (f *faulty) lose(what string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.what
	f.what = what
	return was
}

func (f *faulty) write(op string, do func() error) error {
	lose := f.lose("")
	if lose == "request" {
		return &StoreError{Op: op, Detail: "lost"}
	}
	err := do()
	if lose == "answer" {
		return &StoreError{Op: op, Detail: "lost"}
	}
	return err
}

func (f *faulty) Put(ctx context.Context, rec *Record, when Condition) error {
	return f.write("put", func() error { return f.Store.Put(ctx, rec, when) })
}

func (f *faulty) Update(ctx context.Context, key Key, change Change) error {
	return f.write("update", func() error { return f.Store.Update(ctx, key, change) })
}

func newEngine(store Store, now func() time.Time, with func(*Options)) *Engine {
	opt := Options{TTL: time.Hour, History: 10, Now: now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)}
	if with != nil {
		with(&opt)
	}
	return NewEngine(store, opt)
}

// claim is what the model knows of a granted claim.
type claim struct {
	token string
	lease time.Time
	fence int64
}

// TestSequences runs random sequences of acquire, complete, fail, renew, lost
// answers, crashes and time passing on two to five holders, beside a model of
// what each of them may rely on.
func TestSequences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := storetest.NewClock()
		store := &faulty{Store: memory.New(clock.Now)}
		n := rapid.IntRange(2, 5).Draw(t, "holders")
		engines := make([]*Engine, n)
		for i := range engines {
			engines[i] = newEngine(store, clock.Now, nil)
		}
		held := make([]*claim, n) // what each holder believes to hold
		key := Key{Partition: "k"}
		var (
			latest    *claim // the last claim granted
			fence     int64
			completed *string // the result that stands
			until     time.Time
			results   int
		)
		live := func(c *claim) bool { return c != nil && c == latest && clock.Now().Before(c.lease) }
		ended := func() { latest = nil }
		finish := func(result string, ttl time.Duration) {
			// Expiry is counted in whole seconds, and never too early.
			completed, until = &result, clock.Now().Add(ttl+time.Second-1).Truncate(time.Second)
			ended()
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				rec, err := store.Get(context.Background(), key)
				if err != nil {
					t.Fatal(err)
				}
				if completed != nil && clock.Now().Before(until) && (rec.Status != Completed || string(rec.Result) != *completed) {
					t.Fatalf("the result %s became %s (%s)", *completed, rec.Result, rec.Status)
				}
				if rec != nil && rec.Fence < fence {
					t.Fatalf("fence %d after %d", rec.Fence, fence)
				}
			},
			"acquire": func(t *rapid.T) {
				i := rapid.IntRange(0, n-1).Draw(t, "holder")
				lease := time.Duration(rapid.IntRange(1, 20).Draw(t, "lease")) * time.Second
				lost := rapid.SampledFrom([]string{"", "", "", "request", "answer"}).Draw(t, "lose")
				store.lose(lost)
				wasLive := live(latest)
				out, err := engines[i].Acquire(context.Background(), AcquireRequest{Key: key, TTL: time.Second, Deadline: clock.Now().Add(lease)})
				store.lose("")
				if err != nil {
					var down *StoreError
					if !errors.As(err, &down) || lost == "" {
						t.Fatalf("acquire: %v", err)
					}
					// Nobody knows the token of a claim whose answer was lost.
					rec, _ := store.Get(context.Background(), key)
					if lost == "answer" && rec.Status == InProgress && rec.Fence > fence {
						if wasLive {
							t.Fatal("a lost acquire took a live claim")
						}
						completed, latest, fence = nil, &claim{lease: rec.LeaseExpiresAt, fence: rec.Fence}, rec.Fence
					}
					return
				}
				stands := completed != nil && clock.Now().Before(until)
				switch out.Status {
				case OutcomeAcquired:
					if wasLive {
						t.Fatal("two live tokens for one key")
					}
					if stands {
						t.Fatal("completed work was granted again")
					}
					if out.Record.Fence <= fence {
						t.Fatalf("fence %d after %d", out.Record.Fence, fence)
					}
					completed, fence = nil, out.Record.Fence
					latest = &claim{token: out.Token, lease: out.Record.LeaseExpiresAt, fence: fence}
					held[i] = latest
				case OutcomeCompleted:
					if !stands || string(out.Record.Result) != *completed {
						t.Fatalf("replayed %s", out.Record.Result)
					}
				case OutcomeInProgress:
					if !wasLive {
						t.Fatal("nobody holds the claim, and yet it is in progress")
					}
				case OutcomeFailed:
				}
			},
			"complete": func(t *rapid.T) {
				c := held[rapid.IntRange(0, n-1).Draw(t, "holder")]
				if c == nil {
					t.Skip("holds nothing")
				}
				results++
				result := fmt.Sprint(results)
				ttl := time.Duration(rapid.IntRange(1, 60).Draw(t, "ttl")) * time.Second
				lost := rapid.SampledFrom([]string{"", "", "request", "answer"}).Draw(t, "lose")
				store.lose(lost)
				// Any sidecar on the store can end the claim.
				_, err := engines[rapid.IntRange(0, n-1).Draw(t, "sidecar")].Complete(context.Background(), CompleteRequest{Token: c.token, Result: []byte(result), TTL: ttl})
				store.lose("")
				mine := c == latest
				var down *StoreError
				switch {
				case errors.As(err, &down) && lost == "answer" && mine, err == nil && mine:
					finish(result, ttl)
				case errors.As(err, &down), errors.Is(err, ErrClaimLost) && !mine, errors.Is(err, ErrClaimUnknown) && !mine:
				case err == nil: // A repeat of what was completed with this token.
					rec, _ := store.Get(context.Background(), key)
					if rec.Fence != c.fence || rec.Status != Completed {
						t.Fatal("a stale complete was taken")
					}
				default:
					t.Fatalf("complete by the holder: %v (live %v)", err, live(c))
				}
			},
			"fail": func(t *rapid.T) {
				i := rapid.IntRange(0, n-1).Draw(t, "holder")
				c := held[i]
				if c == nil {
					t.Skip("holds nothing")
				}
				_, err := engines[i].Fail(context.Background(), FailRequest{Token: c.token, Retry: rapid.Bool().Draw(t, "retry")})
				if c == latest {
					if err != nil {
						t.Fatalf("fail by the holder: %v", err)
					}
					ended()
				}
			},
			"renew": func(t *rapid.T) {
				i := rapid.IntRange(0, n-1).Draw(t, "holder")
				c := held[i]
				if c == nil {
					t.Skip("holds nothing")
				}
				out, err := engines[i].Renew(context.Background(), c.token, clock.Now().Add(5*time.Second))
				switch {
				case c == latest && err != nil:
					t.Fatalf("renew by the holder: %v", err)
				case c == latest:
					c.lease = out.LeaseExpiresAt
				case err == nil:
					t.Fatal("a stale claim was renewed")
				}
			},
			"crash": func(t *rapid.T) {
				i := rapid.IntRange(0, n-1).Draw(t, "holder")
				held[i] = nil
				engines[i] = newEngine(store, clock.Now, nil)
			},
			"time": func(t *rapid.T) {
				clock.Advance(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "ms")) * time.Millisecond)
			},
		})
	})
}

func ask(now time.Time) AcquireRequest {
	return AcquireRequest{Key: Key{Partition: "k"}, Deadline: now.Add(10 * time.Second), RequestID: "r1"}
}

func TestOwedEndIsSettledAsTheHandlerSaid(t *testing.T) {
	clock := storetest.NewClock()
	store := &faulty{Store: memory.New(clock.Now)}
	e := newEngine(store, clock.Now, nil)
	out, err := e.Acquire(t.Context(), ask(clock.Now()))
	if err != nil {
		t.Fatal(err)
	}
	store.lose("request")
	if _, err := e.Complete(t.Context(), CompleteRequest{Token: out.Token, Result: []byte(`"done"`)}); err == nil {
		t.Fatal("complete without a store succeeded")
	}
	e.Settle(t.Context(), e.Open(func(OpenClaim) bool { return true }), Failure{Type: "Handler.Abandoned"}, true)
	out, err = e.Acquire(t.Context(), ask(clock.Now()))
	if err != nil || out.Status != OutcomeCompleted || string(out.Record.Result) != `"done"` {
		t.Fatalf("%v, %v: the finished work would run again", out.Status, err)
	}
}

// TestShutdownDuringComplete shows that a complete which is being written when the
// claim is settled is not overtaken by a release.
func TestShutdownDuringComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: memory.New(time.Now)}
		e := newEngine(store, time.Now, nil)
		out, err := e.Acquire(t.Context(), ask(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		store.delay.Store(int64(100 * time.Millisecond))
		done := make(chan error)
		go func() {
			_, err := e.Complete(context.Background(), CompleteRequest{Token: out.Token, Result: []byte(`"done"`)})
			done <- err
		}()
		time.Sleep(50 * time.Millisecond)
		store.delay.Store(int64(10 * time.Millisecond))
		e.Settle(t.Context(), e.Open(func(OpenClaim) bool { return true }), Failure{Type: "Sandbox.Timedout"}, true)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if out, err = e.Acquire(t.Context(), ask(time.Now())); err != nil || out.Status != OutcomeCompleted {
			t.Fatalf("%v, %v: the finished work would run again", out.Status, err)
		}
	})
}

// slow is a store whose writes take effect after a delay.
type slow struct {
	Store
	delay atomic.Int64
}

func (s *slow) Put(ctx context.Context, rec *Record, when Condition) error {
	time.Sleep(time.Duration(s.delay.Load()))
	return s.Store.Put(ctx, rec, when)
}

func (s *slow) Update(ctx context.Context, key Key, change Change) error {
	time.Sleep(time.Duration(s.delay.Load()))
	return s.Store.Update(ctx, key, change)
}

// TestStoreSlowerThanTheLease shows that no claim is granted that has lapsed by
// the time its holder hears of it.
func TestStoreSlowerThanTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: memory.New(time.Now)}
		store.delay.Store(int64(2 * time.Second))
		e := newEngine(store, time.Now, nil)
		req := ask(time.Now())
		req.Deadline, req.Lease = time.Time{}, 1500*time.Millisecond
		out, err := e.Acquire(t.Context(), req)
		if err == nil {
			t.Fatalf("%v with %v left", out.Status, time.Until(out.Record.LeaseExpiresAt))
		}
		var down *StoreError
		if !errors.As(err, &down) || down.Throttled || !strings.Contains(down.Error(), "lease_ms") {
			t.Fatalf("the answer does not name the mend: %v", err)
		}
		store.delay.Store(int64(time.Second))
		if out, err = e.Acquire(t.Context(), req); err != nil || out.Status != OutcomeAcquired || !time.Now().Before(out.Record.LeaseExpiresAt) {
			t.Fatalf("%+v, %v", out, err)
		}
		req = ask(time.Now())
		req.Key.Partition, req.Deadline = "by deadline", time.Now().Add(500*time.Millisecond)
		if _, err = e.Acquire(t.Context(), req); !errors.As(err, &down) {
			t.Fatal(err)
		}
	})
}

// TestRetryOwed shows that an end which the store did not take is written when the
// store is back, without anybody's doing.
func TestRetryOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: memory.New(time.Now)}
		e := newEngine(store, time.Now, nil)
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		go e.RetryOwed(ctx)
		for round := range 2 {
			req := ask(time.Now())
			req.Key.Partition = fmt.Sprint(round)
			out, err := e.Acquire(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			store.lose("request")
			if _, err := e.Complete(t.Context(), CompleteRequest{Token: out.Token, Result: []byte(`"done"`)}); err == nil {
				t.Fatal("complete without a store succeeded")
			}
			store.lose("request") // The first try is lost too.
			time.Sleep(4 * time.Second)
			if out, err = e.Acquire(t.Context(), req); err != nil || out.Status != OutcomeCompleted || string(out.Record.Result) != `"done"` {
				t.Fatalf("round %d: %v, %v", round, out.Status, err)
			}
			if n := e.OpenClaims(); n != 0 {
				t.Fatalf("%d open claims", n)
			}
		}
	})
}

// TestOwedResultsAreBounded shows that many large results which the store did not
// take are not all kept, and that their work is not done again all the same.
func TestOwedResultsAreBounded(t *testing.T) {
	clock := storetest.NewClock()
	store := &faulty{Store: memory.New(clock.Now)}
	e := newEngine(store, clock.Now, nil)
	large := []byte(`"` + strings.Repeat("a", 6<<20) + `"`)
	for i := range 5 {
		req := ask(clock.Now())
		req.Key.Partition = fmt.Sprint(i)
		out, err := e.Acquire(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		store.lose("request")
		if _, err := e.Complete(t.Context(), CompleteRequest{Token: out.Token, Result: large}); err == nil {
			t.Fatal("complete without a store succeeded")
		}
	}
	e.Settle(t.Context(), e.Open(func(OpenClaim) bool { return true }), Failure{Type: "Handler.Abandoned"}, true)
	for i := range 5 {
		req := ask(clock.Now())
		req.Key.Partition = fmt.Sprint(i)
		out, err := e.Acquire(t.Context(), req)
		if err != nil || out.Status != OutcomeCompleted || out.Record.ResultOmitted != (i >= 2) {
			t.Fatalf("%d: %v, omitted %v, %v", i, out.Status, out.Record.ResultOmitted, err)
		}
	}
}

func TestProceedOnStoreError(t *testing.T) {
	clock := storetest.NewClock()
	store := &faulty{Store: memory.New(clock.Now)}
	e := newEngine(store, clock.Now, func(o *Options) { o.ProceedOnStoreError = true })
	store.lose("request")
	out, err := e.Acquire(t.Context(), ask(clock.Now()))
	if err != nil || out.Status != OutcomeAcquired || !out.Unprotected {
		t.Fatalf("%+v, %v", out, err)
	}
	// The store is back, and knows nothing of the claim.
	end, err := e.Complete(t.Context(), CompleteRequest{Token: out.Token})
	if err != nil || !end.Unprotected || end.Status != Completed {
		t.Fatalf("%+v, %v", end, err)
	}
	// Where the write had been applied, it is completed after all.
	store.lose("answer")
	out, err = e.Acquire(t.Context(), ask(clock.Now()))
	if err != nil || !out.Unprotected {
		t.Fatalf("%+v, %v", out, err)
	}
	if end, err = e.Complete(t.Context(), CompleteRequest{Token: out.Token, Result: []byte("1")}); err != nil || end.Unprotected {
		t.Fatalf("%+v, %v", end, err)
	}
	if out, err = e.Acquire(t.Context(), ask(clock.Now())); err != nil || out.Status != OutcomeCompleted {
		t.Fatalf("%+v, %v", out, err)
	}
}

// TestProceedNotAgainstTheRecord shows that work which the store has shown to be
// running or done is not run because the store fails afterwards.
func TestProceedNotAgainstTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{Store: memory.New(time.Now)}
		e := newEngine(store, time.Now, func(o *Options) { o.ProceedOnStoreError = true })
		if _, err := e.Acquire(t.Context(), ask(time.Now())); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10*time.Millisecond, func() { store.lose("request") }) // The first poll is lost.
		req := ask(time.Now())
		req.Wait = 5 * time.Second
		var away *StoreError
		if out, err := e.Acquire(t.Context(), req); !errors.As(err, &away) {
			t.Fatalf("%+v, %v", out, err)
		}
		seen := newEngine(unreadable{}, time.Now, func(o *Options) { o.ProceedOnStoreError = true })
		var down *StoreError
		if out, err := seen.Acquire(t.Context(), ask(time.Now())); !errors.As(err, &down) {
			t.Fatalf("%+v, %v", out, err)
		}
	})
}

// unreadable is a store that has a record and cannot read all of it.
type unreadable struct{ Store }

func (unreadable) Put(context.Context, *Record, Condition) error {
	return &StoreError{Op: "put", Detail: "its result cannot be read", Seen: true}
}

// TestWaitingForOtherSoftware shows that a claim without an end of ours is asked
// for now and then, not all the time.
func TestWaitingForOtherSoftware(t *testing.T) {
	for name, lease := range map[string]time.Time{"never ends": time.Unix(1<<40, 0), "ended": time.Unix(1, 0), "has no end": {}} {
		synctest.Test(t, func(t *testing.T) {
			store := &counting{Store: memory.New(time.Now)}
			rec := &Record{Key: Key{Partition: "k"}, Status: "running", Expiration: time.Now().Add(time.Hour), LeaseExpiresAt: lease}
			if err := store.Put(t.Context(), rec, Condition{Now: time.Now()}); err != nil {
				t.Fatal(err)
			}
			store.puts = 0
			e := newEngine(store, time.Now, nil)
			req := ask(time.Now())
			req.Deadline, req.Wait = time.Now().Add(time.Minute), 10*time.Second
			if out, err := e.Acquire(t.Context(), req); err != nil || out.Status != OutcomeInProgress {
				t.Fatalf("%s: %+v, %v", name, out, err)
			}
			if store.puts > 40 {
				t.Fatalf("%s: the store was asked %d times in 10s", name, store.puts)
			}
		})
	}
}

type counting struct {
	Store
	puts int
}

func (c *counting) Put(ctx context.Context, rec *Record, when Condition) error {
	c.puts++
	return c.Store.Put(ctx, rec, when)
}

func TestDisabled(t *testing.T) {
	clock := storetest.NewClock()
	e := newEngine(nil, clock.Now, func(o *Options) { o.Disabled = true })
	for range 2 {
		out, err := e.Acquire(t.Context(), ask(clock.Now()))
		if err != nil || out.Status != OutcomeAcquired || !out.Unprotected {
			t.Fatalf("%+v, %v", out, err)
		}
		if _, err := e.Renew(t.Context(), out.Token, clock.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if end, err := e.Complete(t.Context(), CompleteRequest{Token: out.Token}); err != nil || !end.Unprotected {
			t.Fatalf("%+v, %v", end, err)
		}
	}
}

// hanging is a store that never answers.
type hanging struct{ Store }

func (hanging) Put(ctx context.Context, _ *Record, _ Condition) error {
	<-ctx.Done()
	return &StoreError{Op: "put", Detail: "no answer", Err: ctx.Err()}
}

func (hanging) Update(ctx context.Context, _ Key, _ Change) error {
	<-ctx.Done()
	return &StoreError{Op: "update", Detail: "no answer", Err: ctx.Err()}
}

// TestAnswerBeforeTheDeadline shows that a store that does not answer leaves the
// handler time to act.
func TestAnswerBeforeTheDeadline(t *testing.T) {
	for _, c := range []struct{ left, took time.Duration }{
		{15 * time.Minute, 10 * time.Second},
		{3 * time.Second, 2500 * time.Millisecond},
		{550 * time.Millisecond, 100 * time.Millisecond},
		{50 * time.Millisecond, 100 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := newEngine(hanging{}, time.Now, nil)
			start := time.Now()
			req := ask(start)
			req.AnswerBy = start.Add(c.left)
			_, err := e.Acquire(t.Context(), req)
			var down *StoreError
			if !errors.As(err, &down) {
				t.Fatalf("acquire: %v", err)
			}
			if took := time.Since(start); took != c.took {
				t.Fatalf("with %v left the answer took %v, want %v", c.left, took, c.took)
			}
		})
	}
}

func TestWaitEndsBeforeTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(memory.New(time.Now), time.Now, nil)
		first := ask(time.Now())
		first.Deadline = time.Now().Add(time.Hour)
		if _, err := e.Acquire(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		req := ask(start)
		req.AnswerBy, req.Wait = start.Add(3*time.Second), time.Minute
		out, err := e.Acquire(t.Context(), req)
		if err != nil || out.Status != OutcomeInProgress {
			t.Fatalf("%v, %v", out.Status, err)
		}
		if took := time.Since(start); took < 2400*time.Millisecond || took > 2600*time.Millisecond {
			t.Fatalf("waited %v of the 3s left", took)
		}
		// A lease that ends while somebody waits is taken at once.
		start = time.Now()
		req = ask(start)
		req.Key.Partition, req.Deadline = "short", start.Add(2*time.Second)
		if _, err := e.Acquire(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		req.Deadline, req.Wait = start.Add(time.Minute), 30*time.Second
		if out, err = e.Acquire(t.Context(), req); err != nil || out.Status != OutcomeAcquired {
			t.Fatalf("%v, %v", out.Status, err)
		}
		if took := time.Since(start); took > 2100*time.Millisecond {
			t.Fatalf("took %v to take over a lease of 2s", took)
		}
	})
}

func TestNextInvocationWaitsForTheSettling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(memory.New(time.Now), time.Now, nil)
		e.SetSequential()
		if _, err := e.Acquire(t.Context(), ask(time.Now())); err != nil {
			t.Fatal(err)
		}
		// The handler's call of the next invocation comes before its INVOKE.
		time.AfterFunc(5*time.Millisecond, func() {
			e.Settle(context.Background(), e.Open(func(OpenClaim) bool { return true }), Failure{Type: "Handler.Abandoned"}, true)
		})
		next := ask(time.Now())
		next.RequestID = "r2"
		out, err := e.Acquire(t.Context(), next)
		if err != nil || out.Status != OutcomeAcquired || out.Record.Error.Type != "Handler.Abandoned" {
			t.Fatalf("%+v, %v", out, err)
		}
		// Two calls of one invocation do not wait for each other.
		start := time.Now()
		if out, err = e.Acquire(t.Context(), next); err != nil || out.Status != OutcomeInProgress {
			t.Fatalf("%+v, %v", out, err)
		}
		if took := time.Since(start); took != 0 {
			t.Fatalf("waited %v for a claim of the same invocation", took)
		}
	})
}

func TestLongErrorsAreCut(t *testing.T) {
	clock := storetest.NewClock()
	e := newEngine(memory.New(clock.Now), clock.Now, nil)
	out, err := e.Acquire(t.Context(), ask(clock.Now()))
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("é", 3000)
	if _, err := e.Fail(t.Context(), FailRequest{Token: out.Token, Error: &Failure{Type: long, Message: long}}); err != nil {
		t.Fatal(err)
	}
	rec, err := e.Get(t.Context(), out.Record.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]struct {
		text string
		most int
	}{"type": {rec.Error.Type, 256}, "message": {rec.Error.Message, 2048}, "detail": {rec.History[1].Detail, 256}} {
		if len(s.text) > s.most || !strings.HasSuffix(s.text, "é…") {
			t.Errorf("%s has %d bytes and ends %q", name, len(s.text), s.text[len(s.text)-8:])
		}
	}
}

func TestNoRandomness(t *testing.T) {
	clock := storetest.NewClock()
	e := newEngine(memory.New(clock.Now), clock.Now, func(o *Options) { o.Random = strings.NewReader("") })
	var down *StoreError
	if _, err := e.Acquire(t.Context(), ask(clock.Now())); !errors.As(err, &down) || !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
