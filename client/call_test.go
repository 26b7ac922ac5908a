package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

// The environment is read at each call: a secret may change after a restore.
func TestEnvironment(t *testing.T) {
	s := script(t, says(acquired), says(acquired), says(acquired), says(acquired), says(acquired))
	where, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	sidecar := client.New()
	t.Setenv("IDEMPOTENCY_PORT", where.Port())
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	for i, c := range []struct{ own, session, container, want string }{{"a", "b", "c", "a"}, {"", "b", "c", "b"}, {"", "", "c", "c"}, {"", "", "", ""}} {
		t.Setenv("IDEMPOTENCY_AUTH_TOKEN", c.own)
		t.Setenv("AWS_SESSION_TOKEN", c.session)
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", c.container)
		if _, err := sidecar.Acquire(t.Context(), order); err != nil {
			t.Fatal(err)
		}
		if got := s.requests()[i].Header; got.Get("X-Idempotency-Auth") != c.want || got.Get("Content-Type") != "application/json" {
			t.Errorf("with %+v the headers are %v", c, got)
		}
	}
	if _, err := (&client.Client{Secret: "own"}).Acquire(t.Context(), order); err != nil || s.requests()[4].Header.Get("X-Idempotency-Auth") != "own" {
		t.Errorf("%v, %v", err, s.requests()[4].Header)
	}
}

// A short time is not taken for none, and what is not given is not sent.
func TestWhatIsSent(t *testing.T) {
	soon, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		ctx  context.Context
		req  client.AcquireRequest
		want string
	}{
		"the least":   {t.Context(), client.AcquireRequest{Key: client.Key{"k"}}, `{"key":"k"}`},
		"short times": {t.Context(), client.AcquireRequest{Key: client.Key{"k"}, TTL: 1, Wait: 1, Lease: 1}, `{"key":"k","ttl_seconds":1,"wait_ms":1,"lease_ms":1}`},
		"a lease":     {soon, client.AcquireRequest{Key: client.Key{"k"}, Lease: time.Second, Detached: true}, `{"key":"k","lease_ms":1000,"detached":true}`},
		"a deadline":  {soon, client.AcquireRequest{Key: client.Key{"k"}, Deadline: time.UnixMilli(at.UnixMilli())}, `{"key":"k","deadline_ms":` + string(must(t, at.UnixMilli())) + `}`},
		"no scope":    {t.Context(), client.AcquireRequest{Key: client.Key{"a", ""}, Scope: new("")}, `{"key":["a",""],"scope":""}`},
		"null":        {t.Context(), client.AcquireRequest{Event: json.RawMessage("null"), Payload: json.RawMessage("null")}, `{"event":null,"payload":null}`},
		"numbers":     {t.Context(), client.AcquireRequest{Event: json.RawMessage(`{"id":12345678901234567890,"u":"<&>"}`)}, `{"event":{"id":12345678901234567890,"u":"<&>"}}`},
		"an id":       {client.WithRequestID(t.Context(), "r1"), client.AcquireRequest{Key: client.Key{"k"}}, `{"key":"k","request_id":"r1"}`},
		"another id":  {client.WithRequestID(t.Context(), "r1"), client.AcquireRequest{Key: client.Key{"k"}, RequestID: "r2"}, `{"key":"k","request_id":"r2"}`},
	} {
		s := script(t, says(acquired))
		if _, err := (&client.Client{URL: s.URL}).Acquire(c.ctx, c.req); err != nil {
			t.Fatal(err)
		}
		sent, token, _ := strings.Cut(s.requests()[0].Raw, `,"client_token":`)
		if sent+"}" != c.want || len(token) < 16 {
			t.Errorf("%s: sent %s, want %s", name, s.requests()[0].Raw, c.want)
		}
	}
}

func must(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// JSON cannot carry such strings: written all the same, different ones would be one.
func TestKeyThatIsNotUTF8(t *testing.T) {
	s := script(t)
	for _, req := range []client.AcquireRequest{{Key: client.Key{"\xff"}}, {Key: client.Key{"a", "\xfe"}}, {Key: client.Key{"a"}, Scope: new("\xff")}} {
		_, err := (&client.Client{URL: s.URL}).Acquire(t.Context(), req)
		if problem, ok := errors.AsType[*client.ProblemError](err); !ok || problem.Code != "key_invalid" {
			t.Errorf("%q: %v", req.Key, err)
		}
	}
	if seen := s.requests(); len(seen) != 0 {
		t.Errorf("sent %v", seen)
	}
}

func TestNoSidecar(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	where := "http://" + l.Addr().String()
	_ = l.Close()
	_, err = client.DoWith(t.Context(), &client.Client{URL: where}, order, returns(0, nil))
	away, ok := errors.AsType[*client.UnavailableError](err)
	if !ok || away.Code != "" || !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "is the layer attached, or the local server started?") {
		t.Errorf("%v", err)
	}
}

func TestNoAnswer(t *testing.T) {
	s := script(t, turn{Hang: true}, turn{Hang: true}, turn{Hang: true})
	// The client's own patience, to which the wait comes on top.
	_, err := client.Patient(s.URL, 50*time.Millisecond).Acquire(t.Context(), order)
	if _, ok := errors.AsType[*client.UnavailableError](err); !ok || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not answered within 50ms") {
		t.Errorf("%v", err)
	}
	waiting := order
	waiting.Wait = 30 * time.Millisecond
	if _, err = client.Patient(s.URL, 50*time.Millisecond).Acquire(t.Context(), waiting); err == nil || !strings.Contains(err.Error(), "not answered within 80ms") {
		t.Errorf("%v", err)
	}
	// The caller's.
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = (&client.Client{URL: s.URL}).Acquire(ctx, order)
	if _, ok := errors.AsType[*client.UnavailableError](err); !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	// What is given up is not sent again.
	if seen := s.requests(); len(seen) != 3 {
		t.Errorf("the sidecar saw %d requests", len(seen))
	}
}

// After a freeze any number of idle connections may be dead: a call that breaks on
// one of them must not break on the next.
func TestDeadConnections(t *testing.T) {
	var deaf atomic.Bool
	var gate sync.WaitGroup
	const held = 8
	gate.Add(held)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("X-Idempotency-Auth"), "together") {
			gate.Done()
			gate.Wait() // So that each has a connection of its own.
		}
		_, _ = w.Write([]byte(acquired))
	}))
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, c)
	}
	inner := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := r.Context().Value(connKey{}).(net.Conn)
		if _, used := old.Load(conn); used && deaf.Load() {
			panic(http.ErrAbortHandler) // It broke with the request under way.
		}
		old.Store(conn, true)
		inner.ServeHTTP(w, r)
	})
	server.Start()
	defer server.Close()
	var calls sync.WaitGroup
	for range held {
		calls.Go(func() {
			if _, err := (&client.Client{URL: server.URL, Secret: "together"}).Acquire(t.Context(), order); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	deaf.Store(true)
	for range held {
		if _, err := (&client.Client{URL: server.URL}).Acquire(t.Context(), order); err != nil {
			t.Fatal(err)
		}
	}
}

type connKey struct{}

// old are the connections that were used.
var old sync.Map

// The secret goes nowhere else.
func TestRedirectIsNotFollowed(t *testing.T) {
	s := script(t, says(acquired))
	redirect := httptest.NewServer(http.RedirectHandler(s.URL, http.StatusTemporaryRedirect))
	defer redirect.Close()
	_, err := (&client.Client{URL: redirect.URL, Secret: "secret"}).Acquire(t.Context(), order)
	if problem, ok := errors.AsType[*client.ProblemError](err); !ok || problem.Status != http.StatusTemporaryRedirect {
		t.Errorf("%v", err)
	}
	if len(s.requests()) != 0 {
		t.Error("it was followed")
	}
}
