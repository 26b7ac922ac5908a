package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// turn is what a scripted sidecar does with one request.
type turn struct {
	// Drop: the connection is closed without an answer.
	Drop bool
	// Hang: the answer does not come before the test ends.
	Hang    bool
	Status  int
	Headers map[string]string
	Body    json.RawMessage
	Text    string
}

func says(body string) turn { return turn{Body: json.RawMessage(body)} }

const acquired = `{"status":"acquired","token":"t1","fence":5,"attempt":1,"lease_expires_at":1}`

// asked is a request as it came.
type asked struct {
	Path   string
	Header http.Header
	Body   map[string]json.RawMessage
	Raw    string
}

func (a asked) text(name string) string {
	var s string
	_ = json.Unmarshal(a.Body[name], &s)
	return s
}

// scripted is a sidecar that answers in turn.
type scripted struct {
	URL string

	mu    sync.Mutex
	turns []turn
	seen  []asked
}

func script(t *testing.T, turns ...turn) *scripted {
	t.Helper()
	s := &scripted{turns: turns}
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		a := asked{Path: r.URL.Path, Header: r.Header, Raw: string(text)}
		if err != nil || json.Unmarshal(text, &a.Body) != nil {
			t.Errorf("%s got %q (%v)", r.URL.Path, text, err)
		}
		s.mu.Lock()
		s.seen = append(s.seen, a)
		next := turn{Status: http.StatusTeapot, Text: "no answer is left"}
		if len(s.turns) > 0 {
			next, s.turns = s.turns[0], s.turns[1:]
		}
		s.mu.Unlock()
		if next.Hang {
			select {
			case <-over:
			case <-r.Context().Done():
			}
		}
		if next.Drop || next.Hang {
			panic(http.ErrAbortHandler)
		}
		for name, value := range next.Headers {
			w.Header().Set(name, value)
		}
		if next.Status != 0 {
			w.WriteHeader(next.Status)
		}
		_, _ = io.WriteString(w, next.Text+string(next.Body))
	}))
	t.Cleanup(func() { close(over); server.Close() })
	s.URL = server.URL
	return s
}

// requests are those that came so far.
func (s *scripted) requests() []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// warnings collects what is logged while the test runs.
func warnings(t *testing.T) func() []string {
	t.Helper()
	var log lines
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	t.Cleanup(func() { slog.SetDefault(before) })
	return log.list
}

type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for line := range bytes.Lines(l.text.Bytes()) {
		list = append(list, string(line))
	}
	return list
}

// returns is work that ends so.
func returns[T any](result T, err error) func(context.Context) (T, error) {
	return func(context.Context) (T, error) { return result, err }
}
