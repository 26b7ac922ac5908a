package httpapi_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
)

// A caller that does not read its answers does not keep its connection.
func TestUnreadAnswersEnd(t *testing.T) {
	s := serve(t, func(set *setup) {
		set.server = func(server *httpapi.Server) { server.SetAnswerTimeout(200 * time.Millisecond) }
	})
	// More answers than the buffers of the system hold; /health asks for no secret.
	requests := strings.Repeat("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 1000)
	conn := s.dial()
	_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	for sent := 0; ; sent += len(requests) {
		_, err := io.WriteString(conn, requests)
		if err == nil && sent < 1<<30 {
			continue
		}
		if err == nil || strings.Contains(err.Error(), "i/o timeout") {
			t.Errorf("after %d bytes of requests, the connection was not ended: %v", sent, err)
		}
		break
	}
	s.acquire(`{"key":"a"}`)
}

// The time for one answer is no limit to what follows on its connection.
func TestAnswerTimeoutIsPerAnswer(t *testing.T) {
	s := serve(t, func(set *setup) {
		set.server = func(server *httpapi.Server) { server.SetAnswerTimeout(200 * time.Millisecond) }
	})
	conn := s.dial()
	s.ask(conn, "a").want("acquired")
	time.Sleep(300 * time.Millisecond)
	text := s.postText("/acquire", `{"key":"b"}`)
	header, body, _ := strings.Cut(text, "\r\n\r\n")
	if _, err := fmt.Fprintf(conn, "%s\r\nExpect: 100-continue\r\n\r\n", header); err != nil {
		t.Fatal(err)
	}
	const want = "HTTP/1.1 100 Continue\r\n\r\n"
	got := make([]byte, len(want))
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("answered %q, %v", got, err)
	}
	_, _ = io.WriteString(conn, body)
	s.receive(conn, text).want("acquired")
	waits := s.postText("/acquire", `{"key":"b","wait_ms":400}`)
	if _, err := io.WriteString(conn, waits); err != nil {
		t.Fatal(err)
	}
	s.receive(conn, waits).want("in_progress")
}
