package httpapi_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// closed tells whether the server has closed a connection on which nothing is due.
func closed(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := conn.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func open(conns []*net.TCPConn) int {
	n := 0
	for _, c := range conns {
		if !closed(c) {
			n++
		}
	}
	return n
}

// ask makes a request on a connection that stays open.
func (s *service) ask(conn net.Conn, key string) answer {
	s.Helper()
	text := s.postText("/acquire", `{"key":`+quote(key)+`}`)
	if _, err := io.WriteString(conn, text); err != nil {
		s.Fatal(err)
	}
	return s.receive(conn, text)
}

// Of idle connections those go that have been idle longest; one with a request
// under way stays.
func TestIdleConnectionsAreBounded(t *testing.T) {
	for _, c := range []struct {
		name string
		used bool // a request was made before
	}{{"new", false}, {"used", true}} {
		t.Run(c.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			var store *gated
			s := serve(t, on(func(m idempotency.Store) idempotency.Store { store = newGated(m); return store }))
			token := s.acquire(`{"key":"busy"}`)
			busy := s.dial()
			text := s.postText("/complete", `{"token":`+quote(token)+`}`)
			if _, err := io.WriteString(busy, text); err != nil {
				t.Fatal(err)
			}
			<-store.begun

			var conns []*net.TCPConn
			for range 400 {
				conn := s.dial()
				conns = append(conns, conn)
				if c.used {
					s.ask(conn, "a")
				}
			}
			soon(s, "bounded", func() bool { return open(conns) <= httpapi.MaxIdleConns })
			time.Sleep(20 * time.Millisecond)
			if n := open(conns); n != httpapi.MaxIdleConns {
				t.Errorf("%d connections are left open, want the %d newest", n, httpapi.MaxIdleConns)
			}
			if n := open(conns[:400-httpapi.MaxIdleConns]); n != 0 {
				t.Errorf("%d of the longest idle are left open", n)
			}
			s.ask(conns[399], "newest").want("acquired")
			s.ask(conns[400-httpapi.MaxIdleConns], "oldest left").want("acquired")

			store.let <- struct{}{}
			s.receive(busy, text).want("completed")

			for _, conn := range append(conns, busy) {
				_ = conn.Close()
			}
			s.client.CloseIdleConnections()
			_ = s.server.Close()
		})
	}
}

// The bound holds when all come at once, too.
func TestIdleConnectionsAreBoundedInARush(t *testing.T) {
	s := serve(t)
	conns := make([]*net.TCPConn, 600)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() { conns[i] = s.dial() })
	}
	wg.Wait()
	soon(s, "bounded", func() bool { return open(conns) <= httpapi.MaxIdleConns })
}

// No timer closes a connection without a request: it would fire at once when a
// frozen sandbox is thawed. That holds before the first request, too.
func TestIdleConnectionsStay(t *testing.T) {
	if testing.Short() {
		t.Skip("waits longer than the limit for a header")
	}
	t.Parallel()
	s := serve(t)
	used, unused := s.dial(), s.dial()
	s.ask(used, "first").want("acquired")
	time.Sleep(httpapi.HeaderTimeout + time.Second)
	s.ask(used, "second").want("acquired")
	s.ask(unused, "third").want("acquired")
	time.Sleep(time.Second)
	s.ask(unused, "fourth").want("acquired")
}

// The time for a first request counts from its first byte, not from the
// connection's acceptance, and so it does for its body.
func TestFirstRequestHasItsTime(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *setup) {
		set.server = func(server *http.Server) {
			server.ReadHeaderTimeout, server.ReadTimeout = 200*time.Millisecond, 400*time.Millisecond
		}
	})
	text := s.postText("/acquire", `{"key":"a"}`)
	conn := s.dial()
	time.Sleep(600 * time.Millisecond)
	for _, part := range []string{text[:10], text[10:40], text[40 : len(text)-3], text[len(text)-3:]} {
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.receive(conn, text).want("acquired")
	time.Sleep(600 * time.Millisecond)
	s.ask(conn, "b").want("acquired")
}

// A header that trickles in is cut, in the first request and in a later one.
func TestSlowHeaderIsCut(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the limit")
	}
	for name, earlier := range map[string]int{"first": 0, "later": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			conn := s.dial()
			for range earlier {
				s.ask(conn, "a")
			}
			start := time.Now()
			for text := s.postText("/acquire", strings.Repeat(" ", 1000)); ; text = text[1:] {
				if _, err := io.WriteString(conn, text[:1]); err != nil || closed(conn) {
					break
				}
				if time.Since(start) > 2*httpapi.HeaderTimeout {
					t.Fatal("a slow header is waited for")
				}
				time.Sleep(httpapi.HeaderTimeout / 100)
			}
			if took := time.Since(start); took < httpapi.HeaderTimeout/2 {
				t.Errorf("a slow header was cut after %s", took)
			}
		})
	}
}

func TestLargeHeaderIsRefused(t *testing.T) {
	s := serve(t)
	conn := s.dial()
	go func() {
		_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
		for range 100 {
			_, _ = conn.Write(make([]byte, 1<<10))
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %v, %v", resp, err)
	}
}

// Stopping lets the answers under way end and leaves nothing behind.
func TestNothingIsLeftBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := serve(t)
	s.acquire(`{"key":"a"}`)
	idle := s.dial()
	half := s.dial()
	_, _ = io.WriteString(half, s.postText("/acquire", `{"key":"b"}`)[:100])
	s.post("/acquire", `{"key":"a","wait_ms":50}`).want("in_progress")
	s.client.CloseIdleConnections()
	_ = s.server.Close()
	_, _ = idle.Close(), half.Close()
}
