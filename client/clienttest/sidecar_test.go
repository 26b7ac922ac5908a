package clienttest_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/clienttest"
)

func returns[T any](result T, err error) func(context.Context) (T, error) {
	return func(context.Context) (T, error) { return result, err }
}

// Start is what client.Do calls, whatever the environment said before.
func TestStart(t *testing.T) {
	t.Setenv("IDEMPOTENCY_DISABLED", "true")
	s := clienttest.Start(t)
	for range 2 {
		if got, err := client.Do(t.Context(), "k", returns(time.Now().UnixNano(), nil)); err != nil || got == 0 {
			t.Fatal(got, err)
		}
	}
	if list := s.Records(); len(list) != 1 || list[0].Status != client.Completed {
		t.Errorf("stored: %+v", list)
	}
}

func TestRecords(t *testing.T) {
	s := clienttest.Start(t)
	ctx := client.WithRequestID(t.Context(), "r1")
	if _, err := client.Do(ctx, "done", returns(map[string]int{"n": 1}, nil)); err != nil {
		t.Fatal(err)
	}
	_, _ = client.Do(ctx, "failed", returns(0, client.Final(errors.New("stolen"))))
	_, _ = client.Do(ctx, "released", returns(0, errors.New("no route")))
	_, err := client.DoWith(ctx, s.Client(), client.AcquireRequest{Event: json.RawMessage(`{"id":1.0,"x":2}`), KeyJMESPath: "[id]", Scope: new("shop")}, func(context.Context) (int, error) {
		list := s.Records()
		if len(list) != 4 {
			t.Fatalf("there are %d records", len(list))
		}
		if r := list[3]; r.Selection != "[1]" || r.Key != nil || r.Scope != "shop" || r.Status != client.InProgress || r.LeaseExpiresAt.IsZero() || r.Attempt != 1 || r.RequestID != "r1" {
			t.Errorf("running: %+v", r)
		}
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := s.Record("done"); !ok || string(r.Result) != `{"n":1}` || r.Key[0] != "done" || r.Error != nil || r.Fence == 0 {
		t.Errorf("completed: %+v", r)
	}
	if r, ok := s.Record("failed"); !ok || r.Status != client.Failed || r.Error.Message != "stolen" {
		t.Errorf("failed: %+v", r)
	}
	if r, ok := s.Record("released"); !ok || r.Status != clienttest.Released || r.Error.Message != "no route" {
		t.Errorf("released: %+v", r)
	}
	s.Advance(24*time.Hour + time.Second)
	if r, ok := s.Record("done"); ok || len(s.Records()) != 0 {
		t.Errorf("after a day: %+v, %v", r, s.Records())
	}
}

func TestUnavailable(t *testing.T) {
	s := clienttest.Start(t)
	got, err := client.Do(t.Context(), "k", func(context.Context) (string, error) {
		s.Unavailable(true)
		return "done", nil
	})
	if got != "done" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	_, err = client.Do(t.Context(), "k", returns("", nil))
	if away, ok := errors.AsType[*client.UnavailableError](err); !ok || away.Code != "store_unavailable" || away.RetryAfter != time.Second {
		t.Errorf("%v", err)
	}
	s.Unavailable(false)
	if _, err = client.Do(t.Context(), "k", returns("", nil)); !as[*client.InProgressError](err) {
		t.Errorf("%v", err)
	}
}

func TestHold(t *testing.T) {
	s := clienttest.Start(t)
	s.Hold("k")
	_, err := client.Do(t.Context(), "k", returns(0, nil))
	if busy, ok := errors.AsType[*client.InProgressError](err); !ok || busy.RequestID != "another" || busy.RetryAfter != 5*time.Second {
		t.Errorf("%v", err)
	}
	// In the middle of a run: that has lost its claim.
	got, err := client.Do(t.Context(), "lost", func(ctx context.Context) (int, error) {
		s.Hold("lost")
		claim, _ := client.ClaimFrom(ctx)
		if _, err := claim.Renew(ctx, time.Second); !as[*client.ClaimLostError](err) {
			t.Errorf("%v", err)
		}
		return 7, nil
	})
	if got != 7 || !as[*client.ClaimLostError](err) {
		t.Errorf("%d, %v", got, err)
	}
}

// A claim is taken over when its lease has ended by every clock.
func TestAdvance(t *testing.T) {
	s := clienttest.New()
	defer s.Close()
	claim := client.AcquireRequest{Key: client.Key{"k"}, Lease: time.Minute}
	for _, c := range []struct {
		after   time.Duration
		status  string
		attempt int
	}{
		{0, client.Acquired, 1},
		{time.Minute + 999*time.Millisecond, client.InProgress, 0},
		{time.Millisecond, client.Acquired, 2},
	} {
		s.Advance(c.after)
		if out, err := s.Client().Acquire(t.Context(), claim); err != nil || out.Status != c.status || out.Attempt != c.attempt {
			t.Errorf("after %v: %+v, %v", c.after, out, err)
		}
	}
	// The clock was moved, the caller's was not: its deadline is as far away as ever.
	s.Advance(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := s.Client().Acquire(ctx, client.AcquireRequest{Key: client.Key{"deadline"}})
	if left := time.Until(out.LeaseExpiresAt); err != nil || left < time.Hour || left > 2*time.Hour {
		t.Errorf("the lease ends in %v (%v)", left, err)
	}
}

func TestWait(t *testing.T) {
	s := clienttest.New()
	defer s.Close()
	var runs atomic.Int32
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			got, err := client.DoWith(t.Context(), s.Client(), client.AcquireRequest{Key: client.Key{"k"}, Wait: time.Minute}, func(context.Context) (int32, error) {
				time.Sleep(20 * time.Millisecond)
				return runs.Add(1), nil
			})
			if got != 1 || err != nil {
				t.Error(got, err)
			}
		})
	}
	callers.Wait()
}

func TestExpressionItDoesNotKnow(t *testing.T) {
	s := clienttest.New()
	defer s.Close()
	for _, expression := range []string{"length(a)", "a | b", "{x: a}", "a[*]", "a[?b]", "`1`", "@", "a[]"} {
		_, err := s.Client().Acquire(t.Context(), client.AcquireRequest{Event: map[string]any{"a": []int{1}}, KeyJMESPath: expression})
		if problem, ok := errors.AsType[*client.ProblemError](err); !ok || problem.Code != "bad_request" {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

func as[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
