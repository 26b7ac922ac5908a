package lifecycle_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

func TestNextInvocationReleasesWhatTheLastLeft(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		e.claim(request("left", "a"))
		e.claim(request("left before", "a"))
		// INVOKE and the handler's calls come in no fixed order.
		e.claim(request("early", "b"))
		e.invoke("b")
		e.want("left", "RELEASED Handler.Abandoned")
		e.want("left before", "RELEASED Handler.Abandoned")
		e.want("early", "HELD")
		if got := e.log.at(slog.LevelWarn); len(got) != 2 {
			e.Errorf("warned %q, want one line for each claim", got)
		}
	})
}

func TestNextInvocationLeavesTheRest(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		e.claim(request("without id", ""))
		e.claim(request("the handler's own id", "message-17"))
		detached := request("detached", "a")
		detached.Detached = true
		e.claim(detached)
		done := e.claim(request("done", "a"))
		if _, err := e.engine.Complete(e.Context(), idempotency.CompleteRequest{Token: done, Result: []byte("1")}); err != nil {
			e.Fatal(err)
		}
		e.invoke("b")
		e.claim(request("current", "b"))
		e.invoke("b")
		for _, key := range []string{"without id", "the handler's own id", "detached", "current"} {
			e.want(key, "HELD")
		}
		e.want("done", "COMPLETED 1")
		if got := e.log.at(slog.LevelWarn); got != nil {
			e.Errorf("warned %q", got)
		}
	})
}

// Lambda repeats an asynchronous event under its id.
func TestSameIDAgain(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		e.claim(request("first run", "a"))
		time.Sleep(time.Minute)
		e.claim(request("early in the second run", "a"))
		time.Sleep(5 * time.Millisecond)
		e.api.Invoke(e, "a", time.Now().Add(timeout-5*time.Millisecond))
		synctest.Wait()
		e.want("first run", "RELEASED Handler.Abandoned")
		e.want("early in the second run", "HELD")
	})
}

// The sidecar may be late to hear of an invocation that is well under way.
func TestLateInvokeLeavesItsOwnClaims(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		deadline := time.Now().Add(time.Minute) // A longer timeout than was learned.
		e.claim(request("k", "b"))
		time.Sleep(55 * time.Second)
		e.api.Invoke(e, "b", deadline)
		synctest.Wait()
		e.want("k", "HELD")
	})
}

// Holding event/next holds the invocation, and the bill.
func TestSlowStoreDoesNotHoldNext(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		e.claim(request("k", "a"))
		e.store.set(5*time.Second, nil)
		start := time.Now()
		e.invoke("b")
		if got := e.api.Called(); got[len(got)-1] != "GET event/next" || len(got) != 4 || !time.Now().Equal(start) {
			e.Errorf("after %v the calls were %q", time.Since(start), got)
		}
		e.want("k", "HELD")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		e.want("k", "RELEASED Handler.Abandoned")
	})
}

// A claim that a slow store is still settling is not settled once more.
func TestSettlingOnce(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		e.claim(request("k", "a"))
		e.store.set(time.Second, nil)
		e.invoke("b")
		e.invoke("c")
		if took := e.shutdown("timeout"); took > time.Second {
			e.Errorf("it took %v", took)
		}
		e.want("k", "RELEASED Handler.Abandoned")
		if e.store.updates != 1 || len(e.log.at(slog.LevelWarn)) != 1 {
			e.Errorf("%d writes, warned %q", e.store.updates, e.log.at(slog.LevelWarn))
		}
	})
}

func TestSettlingIsTriedAgain(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		e.claim(request("k", "a"))
		e.store.set(0, errAway)
		e.invoke("b")
		e.want("k", "HELD")
		if got := e.log.at(slog.LevelError); len(got) != 1 {
			e.Errorf("told %q", got)
		}
		e.store.set(0, nil)
		e.invoke("c")
		e.want("k", "RELEASED Handler.Abandoned")
	})
}

// An invocation ended while its acquire was on the way to the store: the next
// one has begun when the claim is granted, to nobody.
func TestAcquireThatOutlivesItsInvocation(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		e.store.set(2*time.Second, nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := e.engine.Acquire(context.Background(), request("k", "a")); err != nil {
				e.Error(err)
			}
		}()
		time.Sleep(time.Second)
		e.invoke("b")
		e.store.set(0, nil)
		current := e.claim(request("current", "b"))
		<-done
		synctest.Wait()
		e.want("k", "RELEASED Handler.Abandoned")
		e.want("current", "HELD")
		if _, err := e.engine.Complete(e.Context(), idempotency.CompleteRequest{Token: current, Result: []byte("1")}); err != nil {
			e.Error(err)
		}
	})
}

// A store that does not answer is not waited for without end.
func TestSettlingHasALimit(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		e.claim(request("k", "a"))
		e.store.set(time.Hour, nil)
		e.invoke("b")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := e.log.at(slog.LevelError); len(got) != 1 {
			e.Errorf("told %q", got)
		}
	})
}

// What the handler said holds, even if the store could not take it then.
func TestRefusedEndIsMadeUpFor(t *testing.T) {
	for name, settle := range map[string]func(e *environment){
		"next invocation": func(e *environment) { e.invoke("b") },
		"shutdown":        func(e *environment) { e.shutdown("timeout") },
	} {
		t.Run(name, func(t *testing.T) {
			inLambda(t, nil, func(e *environment) {
				e.invoke("a")
				token := e.claim(request("k", "a"))
				e.store.set(0, errAway)
				if _, err := e.engine.Complete(e.Context(), idempotency.CompleteRequest{Token: token, Result: []byte(`{"paid":1}`)}); err == nil {
					e.Fatal("the store took it")
				}
				e.store.set(0, nil)
				settle(e)
				e.want("k", `COMPLETED {"paid":1}`)
			})
		})
	}
}

// The retry of an event often follows at once, in the same sandbox: it must not
// be told that the work is in progress.
func TestRetryGetsTheClaimThatWasLeft(t *testing.T) {
	for name, order := range map[string]struct{ invokeAfter, settleTakes time.Duration }{
		"INVOKE first":    {0, 0},
		"INVOKE later":    {20 * time.Millisecond, 0},
		"a slow store":    {0, 100 * time.Millisecond},
		"later, and slow": {30 * time.Millisecond, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			inLambda(t, nil, func(e *environment) {
				e.invoke("a")
				e.claim(request("k", "a"))
				e.store.set(order.settleTakes, nil)
				got := make(chan idempotency.OutcomeStatus)
				if order.invokeAfter == 0 {
					e.invoke("b")
				}
				go func() {
					out, err := e.engine.Acquire(e.Context(), request("k", "b"))
					if err != nil {
						e.Error(err)
					}
					got <- out.Status
				}()
				if order.invokeAfter > 0 {
					time.Sleep(order.invokeAfter)
					e.invoke("b")
				}
				if status := <-got; status != idempotency.OutcomeAcquired {
					e.Errorf("the retry got %s", status)
				}
			})
		})
	}
}

func TestManyInvocations(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		for i := range 300 {
			id := string(rune('a'+i%26)) + time.Duration(i).String()
			e.claim(request(id, id)) // Before its INVOKE.
			e.invoke(id)
		}
		if n := e.engine.OpenClaims(); n != 1 {
			e.Errorf("%d claims are open, want the last invocation's", n)
		}
		calls := e.api.Called()
		if diff := cmp.Diff("GET event/next", calls[len(calls)-1]); diff != "" {
			e.Error(diff)
		}
	})
}
