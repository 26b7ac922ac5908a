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
		w := httptest.NewRecorder()
		h.ServeHTTP(w, bareRequest(b.Context(), path, body))
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

// Items in one batch, and as many single calls: what the sidecar does and allocates
// for each.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		for name, size := range map[string]int{"single": 1, "batch": n} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				h, _ := bare(b)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					for at := 0; at < n; at += size {
						path, body := "/acquire", ""
						items := numbered(size, fmt.Sprintf(`{"key":"%d %d %%d","payload":{"amount":10},"request_id":"r"}`, i, at))
						if body = items[0]; size > 1 {
							path, body = "/acquire/batch", batch(items...)
						}
						w := httptest.NewRecorder()
						h.ServeHTTP(w, bareRequest(b.Context(), path, body))
						if got := strings.Count(w.Body.String(), `"status":"acquired"`); got != size {
							b.Fatalf("%d of %d were granted: %s", got, size, w.Body)
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/item")
			})
		}
	}
}
