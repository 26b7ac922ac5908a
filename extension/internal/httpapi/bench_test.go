package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// One piece of work as a handler does it: acquire and complete, on one
// connection. The allocations are those of both sides.
func BenchmarkAcquireComplete(b *testing.B) {
	s := serve(b)
	conn := s.dial()
	r := bufio.NewReader(conn)
	ask := func(path, body string) []byte {
		if _, err := io.WriteString(conn, s.postText(path, body)); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatalf("answered %d %s, %v", resp.StatusCode, got, err)
		}
		return got
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		got := ask("/acquire", fmt.Sprintf(`{"key":"%d","payload":{"amount":10},"request_id":"r"}`, i))
		ask("/complete", `{"token":"`+tokenIn(got)+`","result":{"ok":true}}`)
	}
}

// The same without the network: what the sidecar itself does and allocates.
func BenchmarkHandler(b *testing.B) {
	h, _ := bare(b)
	ask := func(path, body string) []byte {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Idempotency-Auth", "s")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatalf("answered %d %s", w.Code, w.Body)
		}
		return w.Body.Bytes()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		got := ask("/acquire", fmt.Sprintf(`{"key":"%d","payload":{"amount":10},"request_id":"r"}`, i))
		ask("/complete", `{"token":"`+tokenIn(got)+`","result":{"ok":true}}`)
	}
}

func tokenIn(acquired []byte) string {
	_, rest, _ := strings.Cut(string(acquired), `"token":"`)
	token, _, _ := strings.Cut(rest, `"`)
	return token
}
