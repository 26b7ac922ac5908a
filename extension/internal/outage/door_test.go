package outage

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestDoor shows that a door does what it says, again and again.
func TestDoor(t *testing.T) {
	d, err := newDoor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for {
			conn, err := d.Accept()
			if err != nil {
				ended <- err
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.CopyN(conn, conn, 1)
			}()
		}
	}()
	// knock connects, and after a while asks for an answer.
	knock := func(limit time.Duration) error {
		conn, err := net.DialTimeout("tcp", d.Addr().String(), limit)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(patience))
		time.Sleep(20 * time.Millisecond)
		if _, err := conn.Write([]byte("?")); err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 1))
		return err
	}
	set := func(to doorState) {
		t.Helper()
		if err := d.set(to); err != nil {
			t.Fatal(err)
		}
	}
	open := func() {
		t.Helper()
		set(doorOpen)
		if err := knock(patience); err != nil {
			t.Fatalf("an open door: %v", err)
		}
	}
	open()
	for range 3 {
		set(doorShut)
		if err := knock(patience); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("a shut door: %v", err)
		}
		open()
		set(doorSilent)
		var op *net.OpError
		if err := knock(300 * time.Millisecond); !errors.As(err, &op) || op.Op != "dial" || !op.Timeout() {
			t.Fatalf("a silent door: %v", err)
		}
		open()
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}
