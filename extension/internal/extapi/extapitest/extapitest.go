// Package extapitest is a scripted Extensions API for tests. What it answers is
// what Lambda's emulator was seen to answer, byte for byte where it matters.
package extapitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// identifier is what register answers with and all later calls must bring.
const identifier = "8b1e5c0e-3c4f-4d52-9a1c-extension"

// patience bounds what a test waits for.
const patience = 10 * time.Second

// Call is a call as it came.
type Call struct {
	Method string
	Path   string
	Header http.Header
	Body   string
}

// String is the call without what is the same in all of them.
func (c Call) String() string {
	return strings.TrimSpace(c.Method + " " + strings.TrimPrefix(c.Path, "/2020-01-01/extension/") + " " + c.Body)
}

// Server is a scripted Extensions API. It answers event/next with the events
// that Invoke, Shutdown and Send are called for, one for each call of it.
type Server struct {
	// RefuseInvoke refuses to register for INVOKE, as Lambda Managed Instances do.
	RefuseInvoke bool
	// OnRegister, if set, is called before register is answered.
	OnRegister func()

	events chan answer
	polls  chan struct{}

	mu    sync.Mutex
	calls []Call
}

type answer struct {
	status int
	header map[string]string
	body   string
}

// New makes a server that nothing has called yet.
func New() *Server {
	return &Server{events: make(chan answer), polls: make(chan struct{}, 1024)}
}

// Start serves on loopback until the test ends, and returns the address.
func (s *Server) Start(tb testing.TB) string {
	srv := httptest.NewServer(s)
	tb.Cleanup(func() {
		srv.CloseClientConnections() // A call of event/next has no end of its own.
		srv.Close()
	})
	return srv.Listener.Addr().String()
}

// RoundTrip carries a call without a network, for tests whose time is not real.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	done := make(chan *http.Response, 1)
	go func() {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		done <- w.Result()
	}()
	select {
	case res := <-done:
		return res, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	call := Call{r.Method, r.URL.Path, r.Header.Clone(), string(body)}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/2020-01-01/extension/")
	if path != "register" && r.Header.Get("Lambda-Extension-Identifier") != identifier {
		answer{status: http.StatusForbidden, body: `{"errorMessage":"Unknown extension ` + r.Header.Get("Lambda-Extension-Identifier") + `","errorType":"Extension.UnknownExtensionIdentifier"}`}.write(w)
		return
	}
	switch r.Method + " " + path {
	case "POST register":
		s.register(call).write(w)
	case "GET event/next":
		s.polls <- struct{}{}
		select {
		case a := <-s.events:
			a.write(w)
		case <-r.Context().Done():
		}
	case "POST init/error", "POST exit/error":
		answer{status: http.StatusAccepted, body: `{"status":"OK"}`}.write(w)
	default:
		answer{status: http.StatusNotFound, body: "404 page not found"}.write(w)
	}
}

func (s *Server) register(c Call) answer {
	if s.OnRegister != nil {
		s.OnRegister()
	}
	if s.RefuseInvoke && strings.Contains(c.Body, "INVOKE") {
		return answer{status: http.StatusForbidden, body: `{"errorMessage":"INVOKE: ErrorInvalidEventType","errorType":"Extension.InvalidEventType"}`}
	}
	return answer{
		status: http.StatusOK,
		header: map[string]string{"Lambda-Extension-Identifier": identifier, "Content-Type": "application/json"},
		body:   `{"functionName":"orders","functionVersion":"$LATEST","handler":"app.handler"}`,
	}
}

func (a answer) write(w http.ResponseWriter) {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// Send answers the call of event/next that waits, or the next one.
func (s *Server) Send(tb testing.TB, status int, header map[string]string, body string) {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case s.events <- answer{status, header, body}:
	case <-timer.C:
		tb.Fatal("the extension does not call event/next")
	}
}

// Invoke sends an INVOKE.
func (s *Server) Invoke(tb testing.TB, requestID string, deadline time.Time) {
	tb.Helper()
	s.Send(tb, http.StatusOK, map[string]string{"Lambda-Extension-Event-Identifier": "5ad05be9-0a27-4e4b-9c50-event", "Content-Type": "application/json"},
		fmt.Sprintf(`{"eventType":"INVOKE","deadlineMs":%d,"requestId":%s,"invokedFunctionArn":"arn:aws:lambda:eu-west-1:012345678912:function:orders","tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Sampled=0"}}`,
			deadline.UnixMilli(), quote(requestID)))
}

// Shutdown sends a SHUTDOWN, which comes as text/plain and without an event
// identifier.
func (s *Server) Shutdown(tb testing.TB, reason string) {
	tb.Helper()
	s.Send(tb, http.StatusOK, map[string]string{"Content-Type": "text/plain"},
		fmt.Sprintf(`{"eventType":"SHUTDOWN","deadlineMs":%d,"shutdownReason":%s}`, time.Now().Add(2*time.Second).UnixMilli(), quote(reason)))
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// AwaitNext waits for one more call of event/next.
func (s *Server) AwaitNext(tb testing.TB) {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.polls:
	case <-timer.C:
		tb.Fatalf("the extension does not call event/next; it called %q", s.Called())
	}
}

// Calls are the calls that came, in order.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// Called are the calls that came, in order, as text.
func (s *Server) Called() (list []string) {
	for _, c := range s.Calls() {
		list = append(list, c.String())
	}
	return list
}
