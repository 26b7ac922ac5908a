package lifecycle_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/lifecycle"
)

// The service and its emulator spell the reasons differently.
func TestShutdownReasons(t *testing.T) {
	tests := map[string]struct{ released, failOnTimeout string }{
		"timeout":           {"RELEASED Sandbox.Timedout", "FAILED Sandbox.Timedout"},
		"Timeout":           {"RELEASED Sandbox.Timedout", "FAILED Sandbox.Timedout"},
		"TIMEOUT":           {"RELEASED Sandbox.Timedout", "FAILED Sandbox.Timedout"},
		"failure":           {"RELEASED Runtime.ExitError", "RELEASED Runtime.ExitError"},
		"FAILURE":           {"RELEASED Runtime.ExitError", "RELEASED Runtime.ExitError"},
		"ReleaseFail":       {"RELEASED Runtime.ExitError", "RELEASED Runtime.ExitError"},
		"SandboxTerminated": {"RELEASED Runtime.ExitError", "RELEASED Runtime.ExitError"},
		"":                  {"RELEASED Runtime.ExitError", "RELEASED Runtime.ExitError"},
		"spindown":          {"RELEASED Sandbox.Spindown", "RELEASED Sandbox.Spindown"},
		"SPINDOWN":          {"RELEASED Sandbox.Spindown", "RELEASED Sandbox.Spindown"},
	}
	for reason, want := range tests {
		for _, fail := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, FailOnTimeout %v", reason, fail), func(t *testing.T) {
				inLambda(t, func(l *lifecycle.Lifecycle) { l.FailOnTimeout = fail }, func(e *environment) {
					e.invoke("a")
					e.claim(request("with id", "a"))
					e.claim(request("without id", ""))
					e.claim(request("the handler's own id", "message-17"))
					detached := request("detached", "a")
					detached.Detached = true
					e.claim(detached)
					e.shutdown(reason)
					state := want.released
					if fail {
						state = want.failOnTimeout
					}
					for _, key := range []string{"with id", "without id", "the handler's own id"} {
						e.want(key, state)
					}
					e.want("detached", "HELD")
				})
			})
		}
	}
}

func TestShutdownAtOnceOnManagedInstances(t *testing.T) {
	inLambda(t, func(l *lifecycle.Lifecycle) { l.Managed = true }, func(e *environment) {
		e.claim(request("k", "a"))
		e.claim(request("l", "b"))
		e.shutdown("failure")
		e.want("k", "RELEASED Runtime.ExitError")
		e.want("l", "RELEASED Runtime.ExitError")
	})
}

// There are 2 s from SHUTDOWN to SIGKILL, for all claims together.
func TestShutdownSettlesAllAtOnce(t *testing.T) {
	for _, n := range []int{20, 100} {
		inLambda(t, nil, func(e *environment) {
			e.invoke("a")
			for i := range n {
				e.claim(request(fmt.Sprint("k", i), "a"))
			}
			e.store.set(200*time.Millisecond, nil)
			if took := e.shutdown("timeout"); took > 1500*time.Millisecond {
				e.Errorf("%d claims took %v", n, took)
			}
			for i := range n {
				e.want(fmt.Sprint("k", i), "RELEASED Sandbox.Timedout")
			}
		})
	}
}

func TestShutdownIsNotHeldByTheStore(t *testing.T) {
	stores := map[string]func(e *environment){
		"slow":             func(e *environment) { e.store.set(time.Hour, nil) },
		"deaf and hanging": func(e *environment) { e.store.stop() },
	}
	for name, spoil := range stores {
		t.Run(name, func(t *testing.T) {
			inLambda(t, nil, func(e *environment) {
				e.invoke("a")
				for i := range 100 {
					e.claim(request(fmt.Sprint("k", i), "a"))
				}
				spoil(e)
				if took := e.shutdown("timeout"); took > 1500*time.Millisecond {
					e.Errorf("it took %v", took)
				}
			})
		})
		t.Run(name+", settling an earlier invocation's claims", func(t *testing.T) {
			inLambda(t, nil, func(e *environment) {
				e.invoke("a")
				e.claim(request("k", "a"))
				spoil(e)
				e.invoke("b")
				if took := e.shutdown("spindown"); took > 1500*time.Millisecond {
					e.Errorf("it took %v", took)
				}
			})
		})
	}
}

// The handler was killed while its acquire was on the way to the store.
func TestShutdownDuringAcquire(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		e.store.set(500*time.Millisecond, nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := e.engine.Acquire(context.Background(), request("k", "a")); err != nil {
				e.Error(err)
			}
		}()
		time.Sleep(100 * time.Millisecond)
		if took := e.shutdown("timeout"); took > 1500*time.Millisecond {
			e.Errorf("it took %v", took)
		}
		<-done
		e.want("k", "RELEASED Sandbox.Timedout")
	})
}

// A runtime that was slow to end has used up a part of the 2 s. What the store
// did not take in the rest is told once for each claim.
func TestShutdownKeepsItsDeadline(t *testing.T) {
	for _, tt := range []struct{ given, limit time.Duration }{
		{1400 * time.Millisecond, 950 * time.Millisecond},
		{500 * time.Millisecond, 250 * time.Millisecond},
		{-time.Hour, 250 * time.Millisecond},
		{833 * time.Hour, 1450 * time.Millisecond},
	} {
		inLambda(t, nil, func(e *environment) {
			e.invoke("a")
			e.claim(request("k", "a"))
			e.store.set(time.Hour, nil)
			start := time.Now()
			e.api.Send(e, 200, nil, fmt.Sprintf(`{"eventType":"SHUTDOWN","deadlineMs":%d,"shutdownReason":"timeout"}`, start.Add(tt.given).UnixMilli()))
			if err := <-e.ended; err != nil {
				e.Error(err)
			}
			if took := time.Since(start); took != tt.limit {
				e.Errorf("with %v left it took %v, want %v", tt.given, took, tt.limit)
			}
			if told := e.log.at(slog.LevelError); len(told) != 1 {
				e.Errorf("with %v left it told %q", tt.given, told)
			}
			e.ended <- nil
		})
	}
}

// A timeout says nothing of what an earlier invocation left, which the store
// did not take then: that it was abandoned does not become a final failure.
func TestShutdownTellsEarlierInvocationsApart(t *testing.T) {
	inLambda(t, func(l *lifecycle.Lifecycle) { l.FailOnTimeout = true }, func(e *environment) {
		e.invoke("a")
		e.claim(request("earlier", "a"))
		e.store.set(0, errAway)
		e.invoke("b")
		e.claim(request("current", "b"))
		e.store.set(0, nil)
		e.shutdown("timeout")
		e.want("earlier", "RELEASED Handler.Abandoned")
		e.want("current", "FAILED Sandbox.Timedout")
	})
}

// A handler may end its claim at the very last moment.
func TestShutdownLeavesWhatWasEnded(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		token := e.claim(request("done", "a"))
		if _, err := e.engine.Complete(e.Context(), idempotency.CompleteRequest{Token: token, Result: []byte("1")}); err != nil {
			e.Fatal(err)
		}
		token = e.claim(request("failed", "a"))
		if _, err := e.engine.Fail(e.Context(), idempotency.FailRequest{Token: token, Error: &idempotency.Failure{Type: "Mine"}, Retry: false}); err != nil {
			e.Fatal(err)
		}
		e.shutdown("timeout")
		e.want("done", "COMPLETED 1")
		e.want("failed", "FAILED Mine")
		if got := e.log.at(slog.LevelWarn); got != nil {
			e.Errorf("warned %q", got)
		}
	})
}
