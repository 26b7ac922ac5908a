package lifecycle_test

import (
	"context"
	"testing"
	"time"
)

// One acquire hangs, another one is answered 100 ms after SHUTDOWN.
func TestShutdownWithOneStuckAcquire(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		done := make(chan struct{}, 2)
		acq := func(k string) {
			go func() { _, _ = e.engine.Acquire(context.Background(), request(k, "a")); done <- struct{}{} }()
		}
		e.store.set(5*time.Second, nil)
		acq("stuck")
		time.Sleep(50 * time.Millisecond)
		e.store.set(200*time.Millisecond, nil)
		acq("quick")
		time.Sleep(100 * time.Millisecond)
		e.store.set(0, nil)
		e.shutdown("timeout")
		e.want("quick", "RELEASED Sandbox.Timedout")
		<-done
		<-done
	})
}

// One settling is stuck since INVOKE.
func TestShutdownWithOneStuckSettling(t *testing.T) {
	inLambda(t, nil, func(e *environment) {
		e.invoke("a")
		e.claim(request("old", "a"))
		e.store.set(8*time.Second, nil)
		e.invoke("b") // settling of old takes 8 s
		e.store.set(200*time.Millisecond, nil)
		done := make(chan struct{})
		go func() { _, _ = e.engine.Acquire(context.Background(), request("quick", "b")); close(done) }()
		time.Sleep(100 * time.Millisecond)
		e.store.set(0, nil)
		e.shutdown("timeout")
		e.want("quick", "RELEASED Sandbox.Timedout")
		<-done
	})
}
