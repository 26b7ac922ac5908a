package outage

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// TestImpair shows that no connection outlives the moment from which a store
// does not answer, not even one that is being made then: a call that went out
// over it would wait for an answer instead of a connection.
func TestImpair(t *testing.T) {
	for _, state := range []doorState{doorShut, doorSilent} {
		l, err := startLink(t.Context(), "http://127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			made := knockOn(l)
			if err := l.impair(state, (*exchange).hang, 0); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
			for _, conn := range made() {
				_ = conn.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("state %d: a connection is left", state)
				}
				_ = conn.Close()
			}
			if err := l.mend(); err != nil {
				t.Fatal(err)
			}
		}
		l.stop()
	}
}

// knockOn connects from many sides, until the function that it returns is
// called, which returns the connections that were made.
func knockOn(l *link) (made func() []net.Conn) {
	var mu sync.Mutex
	var conns []net.Conn
	var all sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				conn, err := net.DialTimeout("tcp", l.door.Addr().String(), 100*time.Millisecond)
				if err == nil {
					mu.Lock()
					conns = append(conns, conn)
					mu.Unlock()
				}
			}
		})
	}
	time.Sleep(5 * time.Millisecond)
	return func() []net.Conn {
		close(done)
		all.Wait()
		return conns
	}
}
