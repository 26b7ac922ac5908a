package runtimeproxy_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/runtimeproxy"
)

// Whatever the proxy has no part in passes, both ways, as it came.
func TestOtherCallsPass(t *testing.T) {
	for _, call := range []struct{ method, path, body string }{
		{"GET", "/2018-06-01/runtime/restore/next", ""},
		{"POST", "/2018-06-01/runtime/restore/error", `{"errorType":"X"}`},
		{"POST", "/2020-01-01/extension/register", `{"events":["INVOKE"]}`},
		{"GET", "/2020-01-01/extension/event/next", ""},
		{"PUT", "/2022-07-01/telemetry", `{"schemaVersion":"2022-12-13"}`},
		{"GET", "/2021-04-23/credentials", ""},
		{"GET", "/ping", ""},
		{"POST", "/2018-06-01/runtime/invocation/next", "a POST is no question"},
		{"HEAD", "/2018-06-01/runtime/invocation/next", ""},
		{"DELETE", "/2018-06-01/runtime/invocation/r1/response", ""},
		{"POST", "/2018-06-01/runtime/invocation/r1/another/call", "x"},
		{"POST", "/unknown/a%2Fb//c?q=1;2&x=%zz", "x"},
	} {
		t.Run(call.method+" "+call.path, func(t *testing.T) {
			s := newSandbox(t)
			s.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
				w.Header()["X-Unknown"] = []string{"a", "b"}
				w.Header()["Content-Type"], w.Header()["Date"] = nil, nil
				w.WriteHeader(http.StatusTeapot)
				_, _ = io.WriteString(w, "<html>an answer")
				return true
			}
			header := http.Header{"X-Unknown": {"c", "d"}, "User-Agent": {"a runtime"}, "X-Forwarded-For": {"1.2.3.4"}, "Lambda-Extension-Name": {"e"}, "Content-Type": {"text/x"}}
			res, text := s.call(call.method, call.path, call.body, header)
			got := s.next()
			if got.method != call.method || got.path != call.path || got.body != call.body {
				t.Errorf("upstream got %s %s %s", got.method, got.path, got.body)
			}
			for name, values := range header {
				if !slices.Equal(got.header[name], values) {
					t.Errorf("upstream got the header %s %q", name, got.header[name])
				}
			}
			for name := range got.header {
				if header[name] == nil && name != "Content-Length" && name != "Accept-Encoding" {
					t.Errorf("upstream got the header %s %q besides", name, got.header[name])
				}
			}
			if res.StatusCode != http.StatusTeapot || text != "<html>an answer" && call.method != "HEAD" || !slices.Equal(res.Header["X-Unknown"], []string{"a", "b"}) {
				t.Errorf("the runtime got %s %q %v", res.Status, text, res.Header)
			}
			if names := slices.Sorted(maps.Keys(res.Header)); !slices.Equal(slices.DeleteFunc(names, func(n string) bool { return n == "Content-Length" }), []string{"X-Unknown"}) {
				t.Errorf("the runtime got the headers %v", res.Header)
			}
		})
	}
}

// All headers of an event pass, and none is added.
func TestEventPassesAsItCame(t *testing.T) {
	s := newSandbox(t)
	header := http.Header{
		"Lambda-Runtime-Trace-Id": {"Root=1"}, "Lambda-Runtime-Client-Context": {`{"a":1}`}, "Lambda-Runtime-Cognito-Identity": {`{"b":2}`},
		"Lambda-Runtime-Aws-Tenant-Id": {"t"}, "Lambda-Runtime-Of-The-Future": {"1", "2"}, "Content-Type": nil, "Date": {"today"},
		"Lambda-Runtime-Large": {strings.Repeat("x", 1<<20)},
	}
	body := "{\r\n\t\"order\" : 1e0 , \"\u00fc\":\"\\u00fc\" }\n"
	s.events <- event{id: "r1", body: body, header: header}
	res, text := s.callLarge(invocations + "next")
	if text != body {
		t.Errorf("the runtime got %q", text)
	}
	for name, values := range header {
		if !slices.Equal(res.Header[name], values) {
			t.Errorf("the runtime got the header %s %.100q", name, res.Header[name])
		}
	}
	for name := range res.Header {
		if _, ok := header[name]; !ok && name != "Content-Length" && name != "Lambda-Runtime-Aws-Request-Id" && name != "Lambda-Runtime-Deadline-Ms" {
			t.Errorf("the runtime got the header %s %q besides", name, res.Header[name])
		}
	}
}

func (s *sandbox) callLarge(path string) (*http.Response, string) {
	s.t.Helper()
	client := http.Client{Transport: &http.Transport{MaxResponseHeaderBytes: 4 << 20, DisableKeepAlives: true, DisableCompression: true}}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.proxy+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(text)
}

// Two proxies stand one behind the other: the one next to Lambda answers.
func TestChained(t *testing.T) {
	s := newSandbox(t)
	inner := strings.TrimPrefix(s.proxy, "http://")
	outer := newSandbox(t, func(o *runtimeproxy.Options) { o.Upstream = inner })
	s.events <- event{id: "r1", body: `{"order":1}`, header: http.Header{"Lambda-Runtime-Unknown": {"x"}}}
	id, _, header := outer.take()
	if id != "r1" || header.Get("Lambda-Runtime-Unknown") != "x" {
		t.Fatalf("the handler got %s %v", id, header)
	}
	outer.chunked(invocations+"r1/response", http.Header{"Lambda-Runtime-Function-Response-Mode": {"streaming"}}, streamError("Broke", "{}"), false, "part")
	if got := s.next(); got.body != "part" || got.trailer.Get("Lambda-Runtime-Function-Error-Type") != "Broke" {
		t.Fatalf("Lambda was told %+v", got)
	}
	s.released(`{"order":1}`, "Broke")
	outer.released(`{"order":1}`, "Broke")

	s.events <- event{id: "r2", body: `{"order":1}`}
	outer.take()
	outer.answers("r2", `"shipped"`)
	s.next()
	s.events <- event{id: "r3", body: `{"order":1}`}
	s.events <- event{id: "r4", body: `{"order":4}`}
	if id, _, _ := outer.take(); id != "r4" {
		t.Fatalf("the handler got %s", id)
	}
	if got := s.next(); got.path != invocations+"r3/response" || got.body != `"shipped"` {
		t.Fatalf("Lambda was told %+v", got)
	}
	if !strings.Contains(s.record(`{"order":4}`).RequestID, "r4") || outer.record(`{"order":4}`).RequestID != "r4" {
		t.Error("not both hold the claim")
	}
}

// A body that waits to be asked for is not sent twice, nor held up by an upstream
// that does not ask.
func TestExpectContinue(t *testing.T) {
	s := newSandbox(t)
	s.run("r1", `{"order":1}`)
	res, _ := s.call(http.MethodPost, invocations+"r1/response", "1", http.Header{"Expect": {"100-continue"}})
	if got := s.next(); res.StatusCode != http.StatusAccepted || got.body != "1" {
		t.Errorf("%s, Lambda got %+v", res.Status, got)
	}
	res, _ = s.call(http.MethodPut, "/2022-07-01/telemetry", "2", http.Header{"Expect": {"100-continue"}})
	if got := s.next(); res.StatusCode != http.StatusAccepted || got.body != "2" || got.header.Get("Expect") == "" {
		t.Errorf("%s, Lambda got %+v", res.Status, got)
	}
}

// Without anybody upstream the runtime sees what it would see without the proxy:
// no answer.
func TestNobodyUpstream(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	s := newSandbox(t, func(o *runtimeproxy.Options) { o.Upstream = gone.Listener.Addr().String() })
	for _, path := range []string{invocations + "next", "/2018-06-01/runtime/restore/next"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.proxy+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			t.Errorf("%s was answered %s", path, res.Status)
		}
	}
}
