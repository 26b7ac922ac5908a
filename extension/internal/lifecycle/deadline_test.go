package lifecycle_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/lifecycle"
)

func learned() *lifecycle.Deadlines {
	return lifecycle.LearnedDeadlines(time.Now, 15*time.Minute, slog.New(slog.DiscardHandler))
}

// arrives is an INVOKE that has so much of its time left.
func arrives(requestID string, left time.Duration) extapi.Event {
	return extapi.Event{Type: extapi.Invoke, RequestID: requestID, DeadlineMS: time.Now().Add(left).UnixMilli()}
}

func TestTimeoutIsLearned(t *testing.T) {
	for _, tt := range []struct {
		left []time.Duration // of each INVOKE
		want time.Duration
	}{
		{[]time.Duration{3 * time.Second}, 3 * time.Second},
		{[]time.Duration{2999 * time.Millisecond}, 3 * time.Second},
		{[]time.Duration{2001 * time.Millisecond}, 3 * time.Second},
		{[]time.Duration{3001 * time.Millisecond}, 4 * time.Second}, // The clocks differ: late, not early.
		{[]time.Duration{time.Millisecond}, time.Second},
		{[]time.Duration{900 * time.Second}, 15 * time.Minute},
		{[]time.Duration{833 * time.Hour}, 15 * time.Minute},
		{[]time.Duration{3 * time.Second, 2 * time.Second, 5 * time.Second, time.Second}, 5 * time.Second},
		{[]time.Duration{-time.Minute, 3 * time.Second, -time.Hour}, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := learned()
			for _, left := range tt.left {
				d.Learn(arrives("a", left))
			}
			if got := time.Until(d.Deadline(t.Context())); got != tt.want {
				t.Errorf("%v: a claim holds for %v, want %v", tt.left, got, tt.want)
			}
		})
	}
}

func TestBeforeTheFirstInvoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := learned().Deadline(t.Context())
		if waited := time.Since(start); waited != 50*time.Millisecond {
			t.Errorf("waited %v", waited)
		}
		if left := time.Until(got); left != 15*time.Minute {
			t.Errorf("a claim holds for %v", left)
		}
	})
}

func TestFirstInvokeComesAMomentLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := learned()
		var calls sync.WaitGroup
		for range 3 {
			calls.Go(func() {
				start := time.Now()
				if got := time.Until(d.Deadline(t.Context())); got != 3*time.Second || time.Since(start) != time.Millisecond {
					t.Errorf("a claim holds for %v, after a wait of %v", got, time.Since(start))
				}
			})
		}
		time.Sleep(time.Millisecond)
		d.Learn(arrives("a", 3*time.Second))
		calls.Wait()
	})
}

func TestWaitEndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		if got := learned().Deadline(ctx).Sub(start); got != 15*time.Minute || time.Since(start) != 0 {
			t.Errorf("a claim holds for %v, after a wait of %v", got, time.Since(start))
		}
	})
}

func TestManagedInstancesWarnOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := lifecycle.FixedDeadlines(time.Now, 10*time.Minute, slog.New(slog.NewTextHandler(&log, nil)))
		d.Learn(arrives("a", 3*time.Second)) // None comes, and none would count.
		for range 3 {
			if got := time.Until(d.Deadline(t.Context())); got != 10*time.Minute {
				t.Errorf("a claim holds for %v", got)
			}
		}
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "deadline_ms") || !strings.Contains(got, "lease=10m0s") {
			t.Errorf("logged %q", got)
		}
		if end, exact := d.InvocationEnd("a"); !end.IsZero() || exact {
			t.Errorf("the invocation ends at %v, exactly: %v", end, exact)
		}
	})
}

func TestOutsideLambdaNothingIsWarned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := lifecycle.FixedDeadlines(time.Now, 10*time.Minute, nil)
		if got := time.Until(d.Deadline(t.Context())); got != 10*time.Minute {
			t.Errorf("a claim holds for %v", got)
		}
	})
}

func TestInvocationEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := learned()
		want := func(id string, left time.Duration, wantExact bool) {
			t.Helper()
			end, exact := d.InvocationEnd(id)
			if time.Until(end) != left || exact != wantExact {
				t.Errorf("%q ends in %v, exactly: %v; want %v, %v", id, time.Until(end), exact, left, wantExact)
			}
		}
		if end, exact := d.InvocationEnd("a"); !end.IsZero() || exact {
			t.Errorf("unknown, it ends at %v, exactly: %v", end, exact)
		}
		d.Learn(arrives("a", 899500*time.Millisecond))
		want("a", 899500*time.Millisecond, true)
		want("", 900*time.Second, false)
		want("b", 900*time.Second, false)
		time.Sleep(29 * time.Second)
		want("a", 870500*time.Millisecond, true)
		// A minute later, the same id can be the repeated event's, whose INVOKE is yet
		// to come: it ends later than the first.
		time.Sleep(31 * time.Second)
		want("a", 839500*time.Millisecond, false)
		d.Learn(arrives("a", 899500*time.Millisecond))
		want("a", 899500*time.Millisecond, true)
		d.Learn(arrives("b", 899*time.Second))
		want("a", 900*time.Second, false)
		want("b", 899*time.Second, true)
	})
}
