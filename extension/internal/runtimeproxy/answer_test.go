package runtimeproxy_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/runtimeproxy"
)

const invocations = "/2018-06-01/runtime/invocation/"

// run hands an event to the handler.
func (s *sandbox) run(id, body string) {
	s.t.Helper()
	s.events <- event{id: id, body: body}
	if got, _, _ := s.take(); got != id {
		s.t.Fatalf("the handler got %s", got)
	}
}

// duplicate sends an event that the handler must not get, and returns what Lambda
// was told.
func (s *sandbox) duplicate(id, body string) told {
	s.t.Helper()
	s.nothing()
	s.events <- event{id: id, body: body}
	s.events <- event{id: id + "-after", body: `{"after":"` + id + `"}`}
	if got, _, _ := s.take(); got != id+"-after" {
		s.t.Fatalf("the handler got %s", got)
	}
	got := s.next()
	if !strings.HasPrefix(got.path, invocations+id+"/") {
		s.t.Fatalf("Lambda was told %s", got.path)
	}
	return got
}

// released fails the test unless the key of an event is free, with an error.
func (s *sandbox) released(event, kind string) {
	s.t.Helper()
	rec := s.record(event)
	if rec == nil || rec.Status != idempotency.InProgress || !rec.LeaseExpiresAt.IsZero() || rec.Error == nil || rec.Error.Type != kind {
		s.t.Fatalf("the record is %+v, want it released with %s", rec, kind)
	}
}

// chunked sends a body without a length, in parts, then trailers. announce tells
// whether they are announced, as aws-lambda-go does.
func (s *sandbox) chunked(path string, header http.Header, trailer map[string]string, announce bool, parts ...string) *http.Response {
	s.t.Helper()
	body, send := io.Pipe()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.proxy+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Trailer = http.Header{}
	if announce {
		req.Trailer = http.Header{"Lambda-Runtime-Function-Error-Type": nil, "Lambda-Runtime-Function-Error-Body": nil}
	}
	go func() {
		for _, part := range parts {
			_, _ = io.WriteString(send, part)
		}
		for name, value := range trailer {
			req.Trailer.Set(name, value)
		}
		_ = send.Close()
	}()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res
}

func streamError(kind, body string) map[string]string {
	return map[string]string{
		"Lambda-Runtime-Function-Error-Type": kind,
		"Lambda-Runtime-Function-Error-Body": base64.StdEncoding.EncodeToString([]byte(body)),
	}
}

func TestHandlerError(t *testing.T) {
	const order, said = `{"order":1}`, `{"errorType":"Carrier","errorMessage":"no answer","stackTrace":["here"]}`
	header := http.Header{"Content-Type": {"application/json"}, "Lambda-Runtime-Function-Error-Type": {"Unhandled"}, "Lambda-Runtime-Function-Xray-Error-Cause": {strings.Repeat("x", 1<<20)}}
	t.Run("release", func(t *testing.T) {
		s := newSandbox(t)
		s.run("r1", order)
		if res, _ := s.call(http.MethodPost, invocations+"r1/error", said, header); res.StatusCode != http.StatusAccepted {
			t.Fatal(res.Status)
		}
		if got := s.next(); got.body != said || got.header.Get("Lambda-Runtime-Function-Error-Type") != "Unhandled" || len(got.header.Get("Lambda-Runtime-Function-Xray-Error-Cause")) != 1<<20 {
			t.Fatalf("Lambda was told %.300s", got.body)
		}
		s.released(order, "Carrier")
		s.run("r2", order) // The retry runs.
	})
	t.Run("fail", func(t *testing.T) {
		s := newSandbox(t, func(o *runtimeproxy.Options) { o.FailOnError = true })
		s.run("r1", order)
		s.call(http.MethodPost, invocations+"r1/error", said, header)
		s.next()
		got := s.duplicate("r2", order)
		if got.path != invocations+"r2/error" || got.header.Get("Lambda-Runtime-Function-Error-Type") != "Carrier" || got.body != `{"errorMessage":"no answer","errorType":"Carrier","stackTrace":[]}` {
			t.Fatalf("Lambda was told %+v", got)
		}
	})
}

// A response is replayed byte for byte, with its content type.
func TestReplayIsExact(t *testing.T) {
	for name, response := range map[string]struct{ contentType, body string }{
		"null":                  {"application/json", "null"},
		"spaces":                {"application/json", "{ \"a\" :\n1.00 , \"a\":2 }"},
		"a number of 20 digits": {"application/json", "12345678901234567891"},
		"empty":                 {"application/json", ""},
		"not JSON":              {"application/json", "{"},
		"not UTF-8":             {"application/json", "\"\xff\xfe\""},
		"bytes":                 {"application/octet-stream", "\x00\xff\x01"},
		"JSON of another type":  {"application/json; charset=utf-8", "1"},
		"text":                  {"text/plain", "shipped"},
		"an envelope":           {"application/json", `{"lambda-idempotency:response":{"body":"eA=="}}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.run("r1", `{"order":1}`)
			header := http.Header{"Content-Type": {response.contentType}}
			s.call(http.MethodPost, invocations+"r1/response", response.body, header)
			s.next()
			// A table keeps text, and the HTTP API puts it into its JSON.
			if rec := s.record(`{"order":1}`); !utf8.Valid(rec.Result) || !json.Valid(rec.Result) {
				t.Errorf("stored %q", rec.Result)
			}
			if got := s.duplicate("r2", `{"order":1}`); got.path != invocations+"r2/response" || got.body != response.body || got.header.Get("Content-Type") != response.contentType {
				t.Errorf("Lambda was told %q %v", got.body, got.header)
			}
		})
	}
}

// aws-lambda-go sends every response so.
func TestChunkedResponseWithEmptyTrailers(t *testing.T) {
	s := newSandbox(t)
	s.run("r1", `{"order":1}`)
	if res := s.chunked(invocations+"r1/response", http.Header{"Content-Type": {"application/json"}}, nil, true, `{"a":`, `1}`); res.StatusCode != http.StatusAccepted {
		t.Fatal(res.Status)
	}
	if got := s.next(); got.body != `{"a":1}` || got.length != -1 {
		t.Fatalf("Lambda was told %+v", got)
	}
	if got := s.duplicate("r2", `{"order":1}`); got.body != `{"a":1}` {
		t.Fatalf("Lambda was told %+v", got)
	}
}

func TestErrorInTrailers(t *testing.T) {
	const order = `{"order":1}`
	for name, header := range map[string]http.Header{
		"streamed": {"Lambda-Runtime-Function-Response-Mode": {"streaming"}},
		"buffered": {"Content-Type": {"application/json"}},
	} {
		for announced, announce := range map[string]bool{"announced": true, "unannounced": false} {
			t.Run(name+", "+announced, func(t *testing.T) {
				s := newSandbox(t)
				s.run("r1", order)
				trailer := streamError("Stream.Broke", `{"errorType":"Carrier","errorMessage":"it broke"}`)
				s.chunked(invocations+"r1/response", header, trailer, announce, "part one, ", "part two")
				got := s.next()
				if got.body != "part one, part two" {
					t.Errorf("Lambda got the body %q", got.body)
				}
				for name, value := range trailer {
					if got.trailer.Get(name) != value {
						t.Errorf("Lambda got the trailers %v", got.trailer)
					}
				}
				s.released(order, "Carrier")
			})
		}
	}
}

func TestStreamedResponse(t *testing.T) {
	for name, header := range map[string]http.Header{
		"mode":         {"Lambda-Runtime-Function-Response-Mode": {"streaming"}, "Content-Type": {"application/json"}},
		"content type": {"Content-Type": {"application/vnd.awslambda.http-integration-response"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.run("r1", `{"order":1}`)
			s.chunked(invocations+"r1/response", header, nil, true, "part one, ", "part two")
			if got := s.next(); got.body != "part one, part two" || got.header.Get("Lambda-Runtime-Function-Response-Mode") != header.Get("Lambda-Runtime-Function-Response-Mode") {
				t.Fatalf("Lambda was told %+v", got)
			}
			if rec := s.record(`{"order":1}`); rec.Status != idempotency.Completed || strings.Contains(string(rec.Result), "part") {
				t.Fatalf("stored: %+v", rec)
			}
			if got := s.duplicate("r2", `{"order":1}`); got.body != "null" || got.path != invocations+"r2/response" || !s.log.has("it was streamed") {
				t.Fatalf("Lambda was told %+v", got)
			}
		})
	}
}

// What is streamed arrives upstream before it has ended.
func TestStreamIsNotHeldBack(t *testing.T) {
	s := newSandbox(t)
	arrived := make(chan string, 1)
	s.raw = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/response") {
			return false
		}
		part := make([]byte, 4)
		_, _ = io.ReadFull(r.Body, part)
		arrived <- string(part)
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
		return true
	}
	s.run("r1", `{"order":1}`)
	body, send := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.proxy+invocations+"r1/response", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
	done := make(chan int, 1)
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			done <- 0
			return
		}
		_ = res.Body.Close()
		done <- res.StatusCode
	}()
	_, _ = io.WriteString(send, "part")
	select {
	case <-arrived:
	case <-time.After(10 * time.Second):
		t.Fatal("the first part has not arrived")
	}
	if rec := s.record(`{"order":1}`); rec.Status != idempotency.InProgress || rec.LeaseExpiresAt.IsZero() {
		t.Errorf("before its end the record is %+v", rec)
	}
	_ = send.Close()
	if status := <-done; status != http.StatusAccepted {
		t.Errorf("answered %d", status)
	}
	if rec := s.record(`{"order":1}`); rec.Status != idempotency.Completed {
		t.Errorf("after its end the record is %+v", rec)
	}
}

// Lambda may take a response before it has all of it; what comes at the end counts.
func TestStreamThatIsTakenEarly(t *testing.T) {
	s := newSandbox(t)
	taken := make(chan struct{})
	s.raw = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/response") {
			return false
		}
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.ReadFull(r.Body, make([]byte, 4))
		w.WriteHeader(http.StatusAccepted)
		_ = http.NewResponseController(w).Flush()
		close(taken)
		_, _ = io.Copy(io.Discard, r.Body)
		return true
	}
	s.run("r1", `{"order":1}`)
	body, send := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.proxy+invocations+"r1/response", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
	req.Trailer = http.Header{"Lambda-Runtime-Function-Error-Type": nil}
	go func() {
		_, _ = io.WriteString(send, "part")
		<-taken
		time.Sleep(20 * time.Millisecond) // Its status is on the way.
		req.Trailer.Set("Lambda-Runtime-Function-Error-Type", "Broke")
		_ = send.Close()
	}()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Errorf("answered %s", res.Status)
	}
	s.released(`{"order":1}`, "Broke")
}

// The claim has ended when the runtime is answered: it asks for the next event
// then, with which Lambda tells the extension that the last one is over.
func TestClaimEndsBeforeTheRuntimeIsAnswered(t *testing.T) {
	const order = `{"order":1}`
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter)
		header http.Header
		body   string
		want   func(s *sandbox) bool
	}{
		"streamed": {nil, http.Header{"Lambda-Runtime-Function-Response-Mode": {"streaming"}}, "x", func(s *sandbox) bool {
			return s.record(order).Status == idempotency.Completed
		}},
		"too large": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestEntityTooLarge) }, nil, strings.Repeat("x", 6<<20+101), func(s *sandbox) bool {
			return s.record(order).Status == idempotency.Failed
		}},
	} {
		t.Run(name, func(t *testing.T) {
			store := &slowStore{}
			s := newSandboxOn(t, store.on(), func(o *runtimeproxy.Options) { o.FailOnError = true })
			if test.answer != nil {
				s.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool { test.answer(w); return true }
			}
			s.run("r1", order)
			store.slow(100 * time.Millisecond)
			s.call(http.MethodPost, invocations+"r1/response", test.body, test.header)
			if !test.want(s) {
				t.Errorf("the record is %+v", s.record(order))
			}
		})
	}
}

func TestRefusedResponse(t *testing.T) {
	const order = `{"order":1}`
	for status, body := range map[int]string{
		http.StatusRequestEntityTooLarge: strings.Repeat("x", 6<<20+101),
		http.StatusGone:                  `"late"`,
		http.StatusForbidden:             `"late"`,
		http.StatusBadRequest:            `"late"`,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			s := newSandbox(t)
			const said = `{"errorType":"Refused","errorMessage":"why"}`
			s.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
				w.Header().Set("X-Unknown", "kept")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, said)
				return true
			}
			s.run("r1", order)
			res, text := s.call(http.MethodPost, invocations+"r1/response", body, http.Header{"Content-Type": {"application/json"}})
			if res.StatusCode != status || text != said || res.Header.Get("X-Unknown") != "kept" {
				t.Fatalf("the runtime was told %s %s %v", res.Status, text, res.Header)
			}
			if got := s.next(); len(got.body) != len(body) {
				t.Fatalf("Lambda got %d bytes", len(got.body))
			}
			if status == http.StatusRequestEntityTooLarge {
				s.released(order, "Function.ResponseSizeTooLarge")
			} else if rec := s.record(order); rec.Status != idempotency.Completed {
				t.Errorf("the work is done, and the record is %+v", rec)
			}
		})
	}
}

// The largest response that Lambda takes is replayed.
func TestLargestResponse(t *testing.T) {
	s := newSandbox(t)
	body := `"` + strings.Repeat("x", 6<<20+98) + `"`
	s.run("r1", `{"order":1}`)
	s.answers("r1", body)
	if got := s.next(); got.body != body || got.length != int64(len(body)) {
		t.Fatalf("Lambda got %d bytes", len(got.body))
	}
	if got := s.duplicate("r2", `{"order":1}`); got.body != body {
		t.Fatalf("Lambda got %d bytes for the duplicate", len(got.body))
	}
}

// Answers to what the proxy knows nothing of are upstream's to judge.
func TestAnswersOfNoFlight(t *testing.T) {
	s := newSandbox(t)
	s.run("r1", `{"order":1}`)
	s.answers("r1", "1")
	s.next()
	s.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		w.WriteHeader(http.StatusBadRequest)
		return true
	}
	for _, path := range []string{"r1/response", "r1/error", "unknown/response", "unknown/error"} {
		if res, _ := s.call(http.MethodPost, invocations+path, "2", nil); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", path, res.Status)
		}
		if got := s.next(); got.path != invocations+path || got.body != "2" {
			t.Errorf("Lambda was told %+v", got)
		}
	}
	if rec := s.record(`{"order":1}`); rec.Status != idempotency.Completed || string(rec.Result) != "1" {
		t.Errorf("the record is %+v", rec)
	}
}

// A response that broke off is no answer; the error that follows is.
func TestResponseThatBreaksOff(t *testing.T) {
	for name, header := range map[string]http.Header{"buffered": nil, "streamed": {"Lambda-Runtime-Function-Response-Mode": {"streaming"}}} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.run("r1", `{"order":1}`)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.proxy+invocations+"r1/response",
				io.MultiReader(strings.NewReader("part"), failing{}))
			if err != nil {
				t.Fatal(err)
			}
			for name, values := range header {
				req.Header[name] = values
			}
			if res, err := http.DefaultClient.Do(req); err == nil {
				_ = res.Body.Close()
				t.Fatalf("answered %s", res.Status)
			}
			// Lambda may hear of it, and never gets it for a whole one.
			select {
			case got := <-s.told:
				if got.broken == nil || got.body != "" && got.body != "part" {
					t.Fatalf("Lambda got %+v", got)
				}
			case <-time.After(50 * time.Millisecond):
			}
			s.held(`{"order":1}`)
			// The flight is back once the broken call is over.
			end := time.Now().Add(10 * time.Second)
			for s.record(`{"order":1}`).Error == nil && time.Now().Before(end) {
				s.call(http.MethodPost, invocations+"r1/error", `{"errorType":"Broke"}`, nil)
			}
			s.released(`{"order":1}`, "Broke")
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the stream broke") }

func (s *sandbox) held(event string) {
	s.t.Helper()
	if rec := s.record(event); rec == nil || rec.Status != idempotency.InProgress || rec.LeaseExpiresAt.IsZero() {
		s.t.Errorf("the record is %+v, want it held", rec)
	}
}

func TestInitError(t *testing.T) {
	const path = "/2018-06-01/runtime/init/error"
	for name, status := range map[string]int{"taken": http.StatusAccepted, "refused": http.StatusForbidden} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool { w.WriteHeader(status); return true }
			s.run("r1", `{"order":1}`)
			const said = `{"errorType":"Runtime.ImportModuleError","errorMessage":"no such module"}`
			if res, _ := s.call(http.MethodPost, path, said, nil); res.StatusCode != status {
				t.Fatal(res.Status)
			}
			if got := s.next(); got.path != path || got.body != said {
				t.Fatalf("Lambda was told %+v", got)
			}
			if status == http.StatusAccepted {
				s.released(`{"order":1}`, "Runtime.ImportModuleError")
			} else {
				s.held(`{"order":1}`) // Of another worker, which goes on.
			}
		})
	}
}

// A claim whose end the store did not take does not keep the answer from the
// caller.
func TestStoreIsAwayAtTheEnd(t *testing.T) {
	store := &slowStore{}
	s := newSandboxOn(t, store.on())
	s.run("r1", `{"order":1}`)
	store.away(true)
	s.answers("r1", "1")
	if got := s.next(); got.body != "1" {
		t.Fatalf("Lambda was told %+v", got)
	}
	store.away(false)
	s.held(`{"order":1}`)
	if !s.log.has("not stored yet") {
		t.Error("not logged")
	}
}
