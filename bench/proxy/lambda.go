package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// lambda is a Runtime API that gives one function its events, and an Extensions
// API that only registers.
type lambda struct {
	server *http.Server
	addr   string
	events chan event
	// asked gets a value when the function asks for an event, answered when Lambda
	// has its whole answer.
	asked    chan struct{}
	answered chan answer
}

type event struct{ id, body string }

type answer struct {
	at   time.Time
	call string
	size int
}

func newLambda() (*lambda, error) {
	l := &lambda{events: make(chan event), asked: make(chan struct{}, 1), answered: make(chan answer, 1)}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l.addr = listener.Addr().String()
	l.server = &http.Server{Handler: l} //nolint:gosec // A function waits as long as it takes.
	go func() { _ = l.server.Serve(listener) }()
	return l, nil
}

// ServeHTTP implements http.Handler.
func (l *lambda) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/extension/register"):
		w.Header().Set("Lambda-Extension-Identifier", "bench")
		_, _ = io.WriteString(w, `{"functionName":"bench","functionVersion":"1","handler":"bench"}`)
	case strings.HasSuffix(r.URL.Path, "/extension/event/next"):
		<-r.Context().Done()
	case strings.HasSuffix(r.URL.Path, "/invocation/next"):
		l.asked <- struct{}{}
		select {
		case e := <-l.events:
			h := w.Header()
			h.Set("Content-Type", "application/json")
			h.Set("Lambda-Runtime-Aws-Request-Id", e.id)
			h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(time.Minute).UnixMilli(), 10))
			h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:bench")
			h.Set("Content-Length", strconv.Itoa(len(e.body)))
			_, _ = io.WriteString(w, e.body)
		case <-r.Context().Done():
		}
	default:
		n, _ := io.Copy(io.Discard, r.Body)
		l.answered <- answer{time.Now(), r.URL.Path, int(n)}
		w.WriteHeader(http.StatusAccepted)
	}
}

// patience bounds what is waited for.
const patience = 30 * time.Second

// invoke sends an event to the function once it has asked for it, and returns how
// long its answer took.
func (l *lambda) invoke(e event) (time.Duration, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.asked:
	case <-timer.C:
		return 0, fmt.Errorf("event %s: the function has not asked for it within %v", e.id, patience)
	}
	start := time.Now()
	l.events <- e
	select {
	case a := <-l.answered:
		if !strings.HasSuffix(a.call, e.id+"/response") || a.size < len(e.body)/2 {
			return 0, fmt.Errorf("event %s got %s with %d bytes", e.id, a.call, a.size)
		}
		return a.at.Sub(start), nil
	case <-timer.C:
		return 0, fmt.Errorf("event %s was not answered within %v", e.id, patience)
	}
}
