package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
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

// forgetful is a store that takes everything and keeps nothing.
type forgetful struct{ idempotency.Store }

func (forgetful) Put(context.Context, *idempotency.Record, idempotency.Condition) error { return nil }

func (forgetful) Update(context.Context, idempotency.Key, idempotency.Change) error { return nil }

// answered is what was answered, in memory that is used again.
type answered struct {
	header http.Header
	status int
	body   []byte
}

func (a *answered) Header() http.Header    { return a.header }
func (a *answered) WriteHeader(status int) { a.status = status }

func (a *answered) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}

// The same without the network and the store: what the sidecar itself does and
// allocates.
func BenchmarkHandler(b *testing.B) {
	h, _ := bareOn(func(idempotency.Store) idempotency.Store { return forgetful{} })
	like, w := bareRequest(b.Context(), "/", ""), &answered{header: http.Header{}}
	like.Host = "127.0.0.1:2774"
	ask := func(path, body string) []byte {
		r := *like
		r.URL, r.Body, r.ContentLength = &url.URL{Path: path}, io.NopCloser(strings.NewReader(body)), int64(len(body))
		clear(w.header)
		w.body = w.body[:0]
		h.ServeHTTP(w, &r)
		if w.status != http.StatusOK {
			b.Fatalf("answered %d %s", w.status, w.body)
		}
		return w.body
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
