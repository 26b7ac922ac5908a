package lifecycle_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/lifecycle"
)

// losing takes writes of claims and loses the answers.
type losing struct {
	*faulty
	lose bool
}

func (s *losing) Put(ctx context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	err := s.faulty.Put(ctx, rec, when)
	if err == nil && s.lose {
		s.lose = false
		err = &idempotency.StoreError{Op: "put", Detail: "the answer was lost"}
	}
	return err
}

// A claim that was answered with an error was no attempt: it is freed for a run
// also where one attempt is all there may be, and where a timeout is final.
func TestUntoldClaimIsNoAttempt(t *testing.T) {
	for name, end := range map[string]func(e *environment){
		"next invocation": func(e *environment) { e.invoke("b") },
		"spindown":        func(e *environment) { e.shutdown("spindown") },
		"timeout":         func(e *environment) { e.shutdown("timeout") },
	} {
		t.Run(name, func(t *testing.T) {
			inLambda(t, func(l *lifecycle.Lifecycle) { l.FailOnTimeout = true }, func(e *environment) {
				store := &losing{e.store, true}
				options := idempotency.Options{TTL: time.Hour, History: 10, MaxAttempts: 1, Now: time.Now, Random: rand.Reader, Log: e.life.Log}
				e.engine = idempotency.NewEngine(store, options)
				e.life.Claims = e.engine
				e.invoke("a")
				var down *idempotency.StoreError
				if _, err := e.engine.Acquire(e.Context(), request("k", "a")); !errors.As(err, &down) {
					t.Fatal(err)
				}
				e.want("k", "HELD")
				end(e)
				synctest.Wait()
				out, err := idempotency.NewEngine(e.store, options).Acquire(e.Context(), request("k", "c"))
				if err != nil || out.Status != idempotency.OutcomeAcquired || out.Record.Attempt != 1 || out.Record.Error != nil {
					t.Errorf("the next acquire: %s, %v, %+v", out.Status, err, out.Record)
				}
			})
		})
	}
}

// An event is repeated, under its id, while an acquire of an invocation in between
// is still awaited.
func TestRepeatedEventKeepsItsClaims(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		e.invoke("b")
		e.store.set(9*time.Second, nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = e.engine.Acquire(context.Background(), request("slow", "b"))
		}()
		synctest.Wait()
		e.invoke("c")
		time.Sleep(time.Second)
		e.store.set(0, nil)
		e.invoke("a")
		e.claim(request("work", "a"))
		<-done
		synctest.Wait()
		e.want("slow", "RELEASED Handler.Abandoned")
		e.want("work", "HELD")
	})
}
