// Package httpapi serves the engine over HTTP on loopback.
package httpapi

import (
	"context"
	_ "embed"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

//go:embed openapi.json
var openapi []byte

// OpenAPI is the API's machine-readable contract, which GET /openapi.json serves.
func OpenAPI() []byte { return openapi }

// Observer is told of each answer, for metrics.
type Observer interface {
	Answered(call string, status int, code string, took time.Duration)
}

// Deadlines tell when invocations end, as far as that is known.
type Deadlines interface {
	// Deadline is when a claim lapses that is made now, by a caller that did not
	// say. It may wait a moment to learn it.
	Deadline(ctx context.Context) time.Time
	// InvocationEnd is when the invocation with that id ends; exact, if that is
	// known of this very one; the zero time, if nothing is known.
	InvocationEnd(requestID string) (end time.Time, exact bool)
}

// Options are what the API is served with.
type Options struct {
	Engine *idempotency.Engine
	Keys   idempotency.Keys
	// KeyJMESPath selects the key from an event sent without key_jmespath; empty:
	// the whole event.
	KeyJMESPath string
	// AuthToken is the secret that callers send; empty: none is asked for.
	AuthToken string
	Deadlines Deadlines
	Metrics   http.Handler
	Observer  Observer
	Now       func() time.Time
	Log       *slog.Logger
}

type api struct {
	Options
	selections selections
	health     health
	big        chan struct{} // holds a value while a big body is in use, or a heavy selection made
	slots      chan struct{} // holds a value for each item of a batch that is at the store
}

// handler answers a call, or returns an error that is told as a problem.
type handler func(w http.ResponseWriter, r *http.Request) error

// New makes the API's handler.
func New(opt Options) http.Handler {
	a := &api{Options: opt, big: make(chan struct{}, 1), slots: make(chan struct{}, batchWidth)}
	a.health.check, a.health.now = opt.Engine.Ping, opt.Now

	r := chi.NewRouter()
	// Outermost first.
	r.Use(
		a.observe,
		a.recoverPanic,
		decodedPath,
		checkHost,
		a.checkAuth,
	)
	r.Method(http.MethodPost, "/acquire", a.handle(a.acquire))
	r.Method(http.MethodPost, "/acquire/batch", a.handle(a.acquireBatch))
	r.Method(http.MethodPost, "/complete", a.handle(a.complete))
	r.Method(http.MethodPost, "/complete/batch", a.handle(a.completeBatch))
	r.Method(http.MethodPost, "/fail", a.handle(a.fail))
	r.Method(http.MethodPost, "/fail/batch", a.handle(a.failBatch))
	r.Method(http.MethodPost, "/renew", a.handle(a.renew))
	r.Method(http.MethodGet, "/record", a.handle(a.record))
	r.Method(http.MethodGet, healthPath, a.handle(a.getHealth))
	r.Method(http.MethodGet, "/metrics", opt.Metrics)
	r.Method(http.MethodGet, "/openapi.json", a.handle(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", jsonType)
		w.Header().Set("Content-Length", strconv.Itoa(len(openapi)))
		_, _ = w.Write(openapi)
		return nil
	}))
	notFound := func(_ http.ResponseWriter, r *http.Request) error {
		return problemf(NotFound, "there is no %q; GET /openapi.json tells what there is", short(r.URL.Path))
	}
	r.NotFound(a.handle(notFound))
	r.MethodNotAllowed(a.handle(func(w http.ResponseWriter, req *http.Request) error {
		var allow []string
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if r.Match(chi.NewRouteContext(), method, req.URL.Path) {
				allow = append(allow, method)
			}
		}
		if len(allow) == 0 {
			return notFound(w, req) // chi asks for a method it does not know before it looks at the path.
		}
		list := strings.Join(allow, ", ")
		return &problem{code: MethodNotAllowed, allow: list, detail: req.URL.Path + " takes " + list + ", not " + short(req.Method)}
	}))
	return r
}

func (a *api) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			a.answer(w, r, err)
		}
	}
}

// answer tells an error as a problem. What the caller cannot mend is logged.
func (a *api) answer(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	a.logFault(p.code, "call", r.URL.Path, "error", err)
	if seen, ok := w.(*seenWriter); ok {
		seen.code = p.code
	}
	p.write(w)
}

// logFault logs a problem that the caller cannot mend.
func (a *api) logFault(code Code, attributes ...any) {
	switch code {
	case Internal:
		a.Log.Error("a fault of the sidecar", attributes...)
	case StoreUnavailable, StoreThrottled:
		a.Log.Error("the store did not answer", append(attributes, "code", string(code))...)
	}
}
