package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// A fault is answered, logged, and does not end the sidecar.
func TestPanicIsAnswered(t *testing.T) {
	s := serve(t, on(func(m idempotency.Store) idempotency.Store { return &faulty{Store: m} }))
	s.post("/acquire", `{"key":"panic"}`).problem(500, httpapi.Internal, "its log has more")
	if log := s.log.String(); !strings.Contains(log, "the store has a fault") || !strings.Contains(log, "faulty_test.go") {
		t.Errorf("the log has neither the panic nor its place: %s", log)
	}
	s.get("/record?key=panic").problem(500, httpapi.Internal)
	s.acquire(`{"key":"a"}`)
}

func TestUnknownErrorIsAnswered(t *testing.T) {
	s := serve(t, on(func(m idempotency.Store) idempotency.Store { return &faulty{Store: m} }))
	s.post("/acquire", `{"key":"unknown error"}`).problem(500, httpapi.Internal)
	if !strings.Contains(s.log.String(), "context canceled") {
		t.Error("the error is not logged")
	}
}

func TestStoreIsDown(t *testing.T) {
	store := &faulty{}
	s := serve(t, on(func(m idempotency.Store) idempotency.Store { store.Store = m; return store }))
	token := quote(s.acquire(`{"key":"a"}`))
	store.down.Store(true)
	for _, got := range []answer{
		s.post("/acquire", `{"key":"b"}`), s.post("/complete", `{"token":`+token+`}`), s.post("/fail", `{"token":`+token+`}`),
		s.post("/renew", `{"token":`+token+`}`), s.get("/record?key=a"), s.get("/health"),
	} {
		got.problem(503, httpapi.StoreUnavailable, "the table was not reached; check the network")
		if got.header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After is %q", got.header.Get("Retry-After"))
		}
	}
	store.down.Store(false)
	s.post("/complete", `{"token":`+token+`}`).want("completed")

	got := s.post("/acquire", `{"key":"throttled"}`).problem(503, httpapi.StoreThrottled, "raise its capacity")
	if got.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", got.header.Get("Retry-After"))
	}
}

// A claim's end is stored although the caller hung up: its work is done.
func TestEndSurvivesTheCaller(t *testing.T) {
	for _, path := range []string{"/complete", "/fail"} {
		t.Run(path, func(t *testing.T) {
			var store *gated
			s := serve(t, on(func(m idempotency.Store) idempotency.Store { store = newGated(m); return store }))
			token := s.acquire(`{"key":"a"}`)
			conn := s.dial()
			if _, err := io.WriteString(conn, s.postText(path, `{"token":`+quote(token)+`}`)); err != nil {
				t.Fatal(err)
			}
			<-store.begun
			_ = conn.Close()
			time.Sleep(100 * time.Millisecond) // The server notices.
			select {
			case store.let <- struct{}{}:
			case <-time.After(5 * time.Second):
				t.Fatal("the end was given up")
			}
			soon(s, "ended", func() bool {
				got := s.get("/record?key=a")
				return got.text("status") == "COMPLETED" || got.has("error")
			})
		})
	}
}

func TestBodyBreaksOff(t *testing.T) {
	s := serve(t)
	whole := s.postText("/acquire", `{"key":"a"}`)
	conn := s.dial()
	if _, err := io.WriteString(conn, whole[:len(whole)-3]); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	s.receive(conn, whole).problem(400, httpapi.BadRequest, "the body broke off (unexpected EOF); send all of it, within 30 s")
	s.get("/record?key=a").problem(404, httpapi.NotFound)

	s.raw("POST /acquire HTTP/1.1\r\nHost: localhost\r\nX-Idempotency-Auth: s3cret\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").
		problem(400, httpapi.BadRequest, "the body broke off", "invalid byte in chunk length")
}

func TestBodyStalls(t *testing.T) {
	s := serve(t, func(set *setup) {
		set.server = func(server *httpapi.Server) { server.HTTP().ReadTimeout = 200 * time.Millisecond }
	})
	whole := s.postText("/acquire", `{"key":"a"}`)
	conn := s.dial()
	if _, err := io.WriteString(conn, whole[:len(whole)-3]); err != nil {
		t.Fatal(err)
	}
	s.receive(conn, whole).problem(400, httpapi.BadRequest, "the body broke off", "i/o timeout", "send all of it")
}

// Too large a body is refused whether or not its length is told in advance, and
// the refusal reaches a caller that sends all of it first.
func TestTooLarge(t *testing.T) {
	s := serve(t)
	large := `{"key":"a","payload":"` + strings.Repeat("x", httpapi.MaxBody) + `"}`
	s.post("/acquire", large).problem(413, httpapi.TooLarge, "over 6356992 bytes", "send of an event only what makes the key")
	unsized := struct{ io.Reader }{strings.NewReader(large)}
	s.send(http.MethodPost, "/acquire", unsized).problem(413, httpapi.TooLarge, "over 6356992 bytes")
	for _, more := range []int{1, 1 << 20, 32 << 20} {
		t.Run(fmt.Sprint(more), func(t *testing.T) {
			s.raw(s.postText("/acquire", large+strings.Repeat(" ", more))).problem(413, httpapi.TooLarge)
		})
	}
	s.acquire(`{"key":"a"}`)
}
