package httpapi_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
)

// ask makes a request on a connection that stays open.
func (s *service) ask(conn net.Conn, key string) answer {
	s.Helper()
	text := s.postText("/acquire", `{"key":`+quote(key)+`}`)
	if _, err := io.WriteString(conn, text); err != nil {
		s.Fatal(err)
	}
	return s.receive(conn, text)
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
		set.server = func(server *httpapi.Server) {
			server.HTTP().ReadHeaderTimeout, server.HTTP().ReadTimeout = 200*time.Millisecond, 400*time.Millisecond
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
