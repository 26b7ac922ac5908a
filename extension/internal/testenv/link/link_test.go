package link_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/link"
)

// echo is a server that sends back each line.
func echo(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func dial(t *testing.T, l *link.Link) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(l.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func ask(c net.Conn, limit time.Duration) error {
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(limit))
	_, err := bufio.NewReader(c).ReadString('\n')
	return err
}

const long = 10 * time.Second

func TestLink(t *testing.T) {
	l := link.Start(t, echo(t))
	connection := func() net.Conn {
		t.Helper()
		c := dial(t, l)
		if err := ask(c, long); err != nil {
			t.Fatal(err)
		}
		return c
	}

	c := connection()
	l.Delay(100 * time.Millisecond)
	start := time.Now()
	if err := ask(c, long); err != nil || time.Since(start) < 100*time.Millisecond {
		t.Errorf("slow: %v after %v", err, time.Since(start))
	}
	l.Delay(0)

	asked, pass := l.Asked(), l.Hold()
	answered := make(chan error, 1)
	go func() { answered <- ask(c, long) }()
	for l.Asked() == asked {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-answered:
		t.Errorf("held, and answered: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	pass()
	if err := <-answered; err != nil {
		t.Errorf("let go: %v", err)
	}

	if n := l.Silence(); n != 1 {
		t.Errorf("silenced %d", n)
	}
	var timeout net.Error
	if err := ask(c, 50*time.Millisecond); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("silent: %v", err)
	}
	if err := ask(connection(), long); err != nil {
		t.Errorf("a new one beside a silent one: %v", err)
	}

	if n := l.Close(); n != 1 {
		t.Errorf("closed %d", n)
	}
	c = connection()
	if n := l.Reset(); n != 1 {
		t.Errorf("reset %d", n)
	}
	_ = c.SetReadDeadline(time.Now().Add(long))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %v", err)
	}
	if err := ask(connection(), long); err != nil {
		t.Errorf("a new one after that: %v", err)
	}
}

func TestClosedIsTold(t *testing.T) {
	l := link.Start(t, echo(t))
	c := dial(t, l)
	if err := ask(c, long); err != nil {
		t.Fatal(err)
	}
	l.Close()
	_ = c.SetReadDeadline(time.Now().Add(long))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}
