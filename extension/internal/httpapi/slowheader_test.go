package httpapi_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
)

// Where others wait, halves of headers hold connections for a moment only. A request
// whose header has come keeps its own.
func TestHalfHeadersGiveWay(t *testing.T) {
	const most = 30
	s := serve(t, func(set *setup) {
		set.server = func(server *httpapi.Server) { server.SetMost(most); server.HTTP().ReadHeaderTimeout = time.Minute }
	})
	s.acquire(`{"key":"held"}`)
	s.client.CloseIdleConnections()
	waiting := s.dial()
	long := s.postText("/acquire", `{"key":"held","wait_ms":4000}`)
	body := s.dial()
	late := s.postText("/acquire", `{"key":"late"}`)
	for conn, text := range map[net.Conn]string{waiting: long, body: late[:len(late)-5]} {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	var half []net.Conn
	for i := range 2 * most {
		conn := s.dial()
		half = append(half, conn)
		if i < most/2 { // A second request's header is like the first's.
			use(t, conn)
		}
		if _, err := io.WriteString(conn, late[:40]); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	s.raw(s.postText("/acquire", `{"key":"next"}`)).want("acquired")
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("the next good request was answered after %v", took)
	}
	if !closed(half[0]) {
		t.Error("the slowest header is still waited for")
	}
	if _, err := io.WriteString(body, late[len(late)-5:]); err != nil {
		t.Fatal(err)
	}
	s.receive(body, late).want("acquired")
	s.receive(waiting, long).want("in_progress")
}

// With room for others, a header has its whole time.
func TestHalfHeaderHasItsTime(t *testing.T) {
	s := serve(t)
	conn := s.dial()
	text := s.postText("/acquire", `{"key":"a"}`)
	_, _ = io.WriteString(conn, text[:40])
	time.Sleep(1500 * time.Millisecond)
	_, _ = io.WriteString(conn, text[40:])
	s.receive(conn, text).want("acquired")
}
