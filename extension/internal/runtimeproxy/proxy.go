// Package runtimeproxy stands between a function's runtime and Lambda's Runtime
// API. It takes the claim on an event before the handler sees it, answers a
// duplicate itself, and ends the claim with what the handler answers, so that a
// function is idempotent without a line of its own.
//
// Whatever it has no part in passes as it came, unknown paths and headers too:
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
package runtimeproxy

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// Claims is what the proxy needs of the engine, whose errors it knows.
type Claims interface {
	Acquire(context.Context, idempotency.AcquireRequest) (idempotency.Outcome, error)
	Complete(context.Context, idempotency.CompleteRequest) (idempotency.Ended, error)
	Fail(context.Context, idempotency.FailRequest) (idempotency.Ended, error)
}

// InProgress is what a duplicate is answered while another run holds the key.
type InProgress string

// The answers: an error, so that the event source tries again; what the run
// comes to, or an error where that takes too long; an empty success.
const (
	InProgressError InProgress = "error"
	InProgressWait  InProgress = "wait"
	InProgressSkip  InProgress = "skip"
)

// Options are the proxy's parts and settings.
type Options struct {
	// Off: all passes as it came, and no claims are made.
	Off bool
	// Upstream is the host and port of Lambda's Runtime API, or of another proxy.
	Upstream string
	Claims   Claims
	// Key makes the key of an event; an error tells that there is none.
	Key func(event []byte, requestID string) (idempotency.Key, error)
	// RecordKey makes the key of a record of a batch; record is JSON, id what its
	// source calls it.
	RecordKey func(record []byte, id string) (idempotency.Key, error)
	// Batch claims the records of a batch one by one.
	Batch bool
	// CountsAttempts: a claim that is given up counts as a run, so none may be made
	// that will be.
	CountsAttempts bool
	OnInProgress   InProgress
	// RequireKey: an event without a key is an error; else its handler runs
	// without protection.
	RequireKey bool
	// FailOnError: a handler's error is a final failure; else the key is free.
	FailOnError bool
	// Lease is how long a claim holds where Lambda tells no deadline.
	Lease time.Duration
	Now   func() time.Time
	Log   *slog.Logger
}

// Proxy is the Runtime API as the runtime sees it.
type Proxy struct {
	Options
	transport *http.Transport
	forward   *httputil.ReverseProxy
	flights   flights
}

// New makes a proxy.
func New(o Options) *Proxy {
	p := &Proxy{Options: o, transport: newTransport()}
	p.forward = p.newForward()
	return p
}

// NewServer makes the server of a proxy. As the Runtime API itself, it has no
// timeouts, for a runtime waits for its next event as long as it takes, and asks
// for no secret: it is on loopback.
func NewServer(p *Proxy, log *slog.Logger) *http.Server {
	return &http.Server{ //nolint:gosec // No ReadHeaderTimeout: it would fire when a frozen sandbox is thawed.
		Handler:                      p,
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               maxHeaderBytes,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The version is not looked at: a later one that has these calls has them.
	_, call, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/runtime/")
	switch parts := strings.Split(call, "/"); {
	case r.Method == http.MethodGet && call == "invocation/next":
		p.next(w, r)
	case r.Method == http.MethodPost && call == "init/error":
		p.initError(w, r)
	case r.Method == http.MethodPost && len(parts) == 3 && parts[0] == "invocation" && parts[2] == "response":
		p.response(w, r, parts[1])
	case r.Method == http.MethodPost && len(parts) == 3 && parts[0] == "invocation" && parts[2] == "error":
		p.failure(w, r, parts[1])
	default:
		p.pass(w, r, nil)
	}
}
