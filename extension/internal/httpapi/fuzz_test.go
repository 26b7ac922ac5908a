package httpapi_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/lifecycle"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

type deaf struct{}

func (deaf) Answered(string, int, string, time.Duration) {}

// bare is the handler on a new store, with a claim on the key "a", whose token
// it returns.
func bare(t testing.TB) (http.Handler, string) {
	h, engine := bareOn(func(m idempotency.Store) idempotency.Store { return m })
	key, err := idempotency.Keys{Scope: "fn"}.Given(nil, "a")
	if err != nil {
		t.Fatal(err)
	}
	out, err := engine.Acquire(t.Context(), idempotency.AcquireRequest{Key: key, Deadline: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	return h, out.Token
}

// bareOn is the handler on a store made of a new one in memory.
func bareOn(store func(idempotency.Store) idempotency.Store) (http.Handler, *idempotency.Engine) {
	log := slog.New(slog.DiscardHandler)
	engine := idempotency.NewEngine(store(memory.New(time.Now)), idempotency.Options{
		Function: "fn", TTL: time.Hour, History: 10, Now: time.Now, Random: rand.Reader, Log: log,
	})
	return httpapi.New(httpapi.Options{
		Engine: engine, Keys: idempotency.Keys{Scope: "fn"}, AuthToken: "s",
		Deadlines: lifecycle.FixedDeadlines(time.Now, time.Minute, nil),
		Metrics:   http.NotFoundHandler(), Observer: deaf{}, Now: time.Now, Log: log,
	}), engine
}

// Whatever comes is answered soon, in JSON, with a known code that is not
// internal. TOKEN in a body stands for a claim's token.
func FuzzRequest(f *testing.F) {
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `{"key":"a"}`, `{"key":["a","b"],"payload":{"a":[1e400]},"wait_ms":2000}`, `{"key":"b","lease_ms":5,"detached":true}`,
		`{"event":{"a":{"b":[1,2]}},"key_jmespath":"a.b[?@ > ` + "`1`" + `] | [0]"}`, `{"event":{"a":1},"key_jmespath":"sort_by(a,&b)"}`,
		`{"key":"a","deadline_ms":4102444800000,"request_id":"r","client_token":"0123456789abcdef"}`, `{"key":"\ud800"}`,
		`{"token":"TOKEN","result":{ "a":1e400 }}`, `{"token":"TOKEN","ttl_seconds":5}`, `{"token":"TOKEN","error":{"type":"T","message":"\u0000"},"retry":false}`, `{"token":"TOKEN","lease_ms":5}`,
	} {
		for _, path := range []string{"/acquire", "/complete", "/fail", "/renew"} {
			f.Add("POST", path, "localhost", "application/json", "", "s", []byte(body))
		}
		for _, path := range []string{"/acquire/batch", "/complete/batch", "/fail/batch"} {
			for _, items := range []string{body, `{"items":[` + body + `]}`, `{"items":[` + body + `,` + body + `, {"key":"a"}]}`} {
				f.Add("POST", path, "localhost", "application/json", "", "s", []byte(items))
			}
		}
	}
	for _, target := range []string{
		"/record?key=a", "/record?key=a&key=b&scope=c", "/record?key=%ff", "/record?key=%zz;", "/record", "/health", "/healt%68", "/openapi.json", "/", "*", "//", "/%00",
	} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "BREW"} {
			f.Add(method, target, "127.0.0.1:2774", "", "", "s", []byte(nil))
		}
	}
	f.Add("POST", "/acquire", "evil.com", "text/plain", "gzip", "", []byte(`{"key":"a"}`))
	known := map[string]int{}
	for _, e := range httpapi.Codes() {
		known[string(e.Code)] = e.Status
	}
	f.Fuzz(func(t *testing.T, method, target, host, media, encoding, secret string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Path == "/metrics" {
			return
		}
		h, token := bare(t)
		// The caller hangs up after a while; wait_ms could be a quarter of an hour.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r := (&http.Request{
			Method: method, URL: u, RequestURI: target, Host: host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {media}, "Content-Encoding": {encoding}, "X-Idempotency-Auth": {secret}},
			Body:   io.NopCloser(bytes.NewReader(bytes.ReplaceAll(body, []byte("TOKEN"), []byte(token)))),
		}).WithContext(ctx)
		w := httptest.NewRecorder()
		start := time.Now()
		h.ServeHTTP(w, r)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		resp := w.Result()
		if u.Path == "/openapi.json" && resp.StatusCode == http.StatusOK {
			return
		}
		members, err := canon.Members(w.Body.Bytes())
		if err != nil {
			t.Fatalf("answered %d %q: %v", resp.StatusCode, w.Body, err)
		}
		if resp.StatusCode == http.StatusOK {
			if got := resp.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("answered 200 as %q", got)
			}
			if strings.HasSuffix(u.Path, "/batch") {
				checkCodes(t, members, known)
			}
			return
		}
		if code := codeIn(members); known[code] != resp.StatusCode || code == string(httpapi.Internal) || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("answered %d %s", resp.StatusCode, w.Body)
		}
	})
}

func codeIn(members []canon.Member) string {
	for _, m := range members {
		if m.Name == "code" {
			return strings.Trim(string(m.Value), `"`)
		}
	}
	return ""
}

// checkCodes looks at the items of a batch's answer: each is an object, and its
// code, if it has one, is known and not internal.
func checkCodes(t *testing.T, members []canon.Member, known map[string]int) {
	items, err := canon.Elements(members[0].Value)
	if err != nil || len(items) == 0 {
		t.Fatalf("%d items: %v", len(items), err)
	}
	for _, item := range items {
		members, err := canon.Members(item)
		if code := codeIn(members); err != nil || code != "" && (known[code] == 0 || code == string(httpapi.Internal)) {
			t.Errorf("an item is answered %s: %v", item, err)
		}
	}
}
