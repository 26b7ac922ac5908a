package extapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi/extapitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registered is a client of a scripted API, registered.
func registered(t *testing.T) (*extapi.Client, *extapitest.Server) {
	t.Helper()
	api := extapitest.New()
	c := extapi.New(api.Start(t), "lambda-idempotency", nil)
	if err := c.Register(t.Context(), extapi.Invoke, extapi.Shutdown); err != nil {
		t.Fatal(err)
	}
	return c, api
}

func TestRegisterAtTheWire(t *testing.T) {
	_, api := registered(t)
	got := api.Calls()[0]
	if got.Method != "POST" || got.Path != "/2020-01-01/extension/register" {
		t.Errorf("called %s %s", got.Method, got.Path)
	}
	if name := got.Header.Get("Lambda-Extension-Name"); name != "lambda-idempotency" {
		t.Errorf("Lambda-Extension-Name is %q", name)
	}
	if got.Body != `{"events":["INVOKE","SHUTDOWN"]}` {
		t.Errorf("the body is %s", got.Body)
	}
}

func TestRegisterRefused(t *testing.T) {
	api := extapitest.New()
	api.RefuseInvoke = true
	c := extapi.New(api.Start(t), "lambda-idempotency", nil)
	err := c.Register(t.Context(), extapi.Invoke, extapi.Shutdown)
	if !extapi.Refused(err) {
		t.Fatalf("error %v, want one that tells of the refusal", err)
	}
	want := `extensions API: register answered 403: {"errorMessage":"INVOKE: ErrorInvalidEventType","errorType":"Extension.InvalidEventType"}`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	// The same process may ask for less.
	if err := c.Register(t.Context(), extapi.Shutdown); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{nil, errors.New("x"), &extapi.StatusError{Status: 500}} {
		if extapi.Refused(err) {
			t.Errorf("%v is taken for a refusal", err)
		}
	}
}

func TestNextReadsEvents(t *testing.T) {
	c, api := registered(t)
	deadline := time.UnixMilli(1_790_000_000_123)
	go api.Invoke(t, "8476a536-e9f4-11e8-9739-2dfe598c3fcd", deadline)
	got, err := c.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(extapi.Event{Type: extapi.Invoke, DeadlineMS: 1_790_000_000_123, RequestID: "8476a536-e9f4-11e8-9739-2dfe598c3fcd"}, got); diff != "" {
		t.Error(diff)
	}
	if !got.Deadline().Equal(deadline) {
		t.Errorf("the deadline is %v", got.Deadline())
	}

	go api.Shutdown(t, "Timeout")
	got, err = c.Next(t.Context())
	if err != nil || got.Type != extapi.Shutdown || got.ShutdownReason != "Timeout" || got.RequestID != "" {
		t.Errorf("got %+v, error %v", got, err)
	}
	for _, call := range api.Calls()[1:] {
		if call.String() != "GET event/next" {
			t.Errorf("called %s", call)
		}
	}
}

func TestErrorsAreReported(t *testing.T) {
	c, api := registered(t)
	if err := c.InitError(t.Context(), "Idempotency.ConfigError", errors.New(`IDEMPOTENCY_PORT="80": use another`)); err != nil {
		t.Fatal(err)
	}
	if err := c.ExitError(t.Context(), "Idempotency.Listener", errors.New("broke")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`POST init/error {"errorMessage":"IDEMPOTENCY_PORT=\"80\": use another","errorType":"Idempotency.ConfigError","stackTrace":[]}`,
		`POST exit/error {"errorMessage":"broke","errorType":"Idempotency.Listener","stackTrace":[]}`,
	}
	if diff := cmp.Diff(want, api.Called()[1:]); diff != "" {
		t.Error(diff)
	}
	if got := api.Calls()[1].Header.Get("Lambda-Extension-Function-Error-Type"); got != "Idempotency.ConfigError" {
		t.Errorf("the error's type in the header is %q", got)
	}
}

// raw is a client of a server that sends what a case says, and then closes.
func raw(t *testing.T, answer string) *extapi.Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write([]byte(answer))
		_ = conn.Close()
	}))
	t.Cleanup(srv.Close)
	return extapi.New(srv.Listener.Addr().String(), "lambda-idempotency", nil)
}

func answer(status int, headers, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), headers, len(body), body)
}

func TestBadAnswers(t *testing.T) {
	const prefix = "extensions API: event/next"
	tests := map[string]struct {
		sent   string
		want   string
		status int // of a *StatusError
	}{
		"closed":         {"", prefix, 0},
		"not HTTP":       {"hello\r\n\r\n", prefix, 0},
		"cut in a body":  {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"eventType\":", prefix, 0},
		"no JSON":        {answer(200, "", "<html>"), prefix + " answered what is not an event", 0},
		"nothing":        {answer(200, "", ""), prefix + " answered what is not an event", 0},
		"another type":   {answer(200, "", `{"eventType":7}`), prefix + " answered what is not an event", 0},
		"too much":       {answer(200, "", `{"eventType":"INVOKE","requestId":"`+strings.Repeat("x", 1<<20)+`"}`), prefix + " answered with over 1048576 bytes", 0},
		"403":            {answer(403, "", `{"errorType":"Extension.UnknownExtensionIdentifier"}`), prefix + ` answered 403: {"errorType":"Extension.UnknownExtensionIdentifier"}`, 403},
		"500":            {answer(500, "", "oh"), prefix + " answered 500: oh", 500},
		"500, too much":  {answer(500, "", strings.Repeat("x", 2<<20)), prefix + " answered 500: " + strings.Repeat("x", 512), 500},
		"500, cut short": {"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100\r\n\r\noh", prefix + " answered 500: oh", 500},
		"304":            {answer(304, "", ""), prefix + " answered 304: ", 304},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := raw(t, tt.sent).Next(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || len(err.Error()) > 1000 {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			var status *extapi.StatusError
			if errors.As(err, &status) != (tt.status != 0) || tt.status != 0 && status.Status != tt.status {
				t.Errorf("error %#v, want the status %d", err, tt.status)
			}
		})
	}
}

func TestRegisterWithoutIdentifier(t *testing.T) {
	err := raw(t, answer(200, "", "{}")).Register(t.Context(), extapi.Shutdown)
	if err == nil || !strings.Contains(err.Error(), "without Lambda-Extension-Identifier") {
		t.Errorf("error %v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	err = extapi.New(address, "lambda-idempotency", nil).Register(t.Context(), extapi.Shutdown)
	if err == nil || !strings.HasPrefix(err.Error(), "extensions API: register: ") {
		t.Errorf("error %v", err)
	}
}

func TestUnusableAddress(t *testing.T) {
	err := extapi.New("%", "lambda-idempotency", nil).Register(t.Context(), extapi.Shutdown)
	if err == nil || !strings.HasPrefix(err.Error(), "extensions API: register: ") {
		t.Errorf("error %v", err)
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	c, api := registered(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { api.AwaitNext(t); cancel() }()
	if _, err := c.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A sandbox may be frozen for hours within the call.
func TestNextHasNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := extapitest.New()
		c := extapi.New("api", "lambda-idempotency", api)
		if err := c.Register(t.Context(), extapi.Invoke, extapi.Shutdown); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(14 * time.Hour)
			api.Shutdown(t, "spindown")
		}()
		start := time.Now()
		e, err := c.Next(t.Context())
		if err != nil || e.ShutdownReason != "spindown" || time.Since(start) != 14*time.Hour {
			t.Errorf("got %+v after %v, error %v", e, time.Since(start), err)
		}
	})
}

// FuzzEvent: whatever the API sends, it is an event or an error.
func FuzzEvent(f *testing.F) {
	f.Add(`{"eventType":"INVOKE","deadlineMs":1,"requestId":"a"}`)
	f.Add(`{"eventType":"SHUTDOWN","deadlineMs":"soon"}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, body string) {
		c := extapi.New("api", "x", roundTrip(func(*http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			_, _ = w.WriteString(body)
			return w.Result(), nil
		}))
		e, err := c.Next(t.Context())
		if err == nil && !json.Valid([]byte(body)) {
			t.Errorf("%q became %+v", body, e)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
