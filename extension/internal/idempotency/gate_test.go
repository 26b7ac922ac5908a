package idempotency_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

// Two acquires take two and three seconds at the store, and then two again: whoever
// waits meanwhile waits for the longer one, and is not held up where there is none.
func TestAwaitAcquires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan time.Duration, 2)
		h := &hook{Store: memory.New(time.Now)}
		h.put = func(do func() error) error {
			time.Sleep(<-slow)
			return do()
		}
		e := newEngine(h, time.Now, nil)
		waited := func() time.Duration {
			start := time.Now()
			e.AwaitAcquires(t.Context())
			return time.Since(start)
		}
		if got := waited(); got != 0 {
			t.Errorf("with no acquire, waited %v", got)
		}
		for _, round := range []string{"a", "b"} {
			for i, d := range []time.Duration{2 * time.Second, 3 * time.Second} {
				slow <- d
				go func() {
					if out, err := e.Acquire(t.Context(), AcquireRequest{Key: Key{Partition: round + string(rune('0'+i))}, Lease: time.Minute}); err != nil || out.Status != OutcomeAcquired {
						t.Errorf("%s, %v", out.Status, err)
					}
				}()
				synctest.Wait()
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			e.AwaitAcquires(ctx)
			if ctx.Err() == nil {
				t.Error("the acquires were not waited for")
			}
			cancel()
			other := make(chan time.Duration)
			go func() { other <- waited() }()
			if got, and := waited(), <-other; got != 2*time.Second || and != got {
				t.Errorf("a second after their begin, waited %v and %v", got, and)
			}
			if got := waited(); got != 0 {
				t.Errorf("after the acquires, waited %v", got)
			}
		}
	})
}
