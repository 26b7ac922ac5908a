package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// record shows what is stored under a key, without the claim's token.
func (a *api) record(w http.ResponseWriter, r *http.Request) error {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problemf(BadRequest, "the query cannot be read (%v); percent-encode key and scope as UTF-8", err)
	}
	for name := range q {
		if name != "key" && name != "scope" {
			return problemf(BadRequest, "%q is not a parameter of /record; it takes key (twice for a key of two parts) and scope", short(name))
		}
	}
	if len(q["key"]) == 0 {
		return problemf(KeyMissing, "key is absent; send /record?key=…, with a second key=… for a key of two parts")
	}
	var scope *string
	if s := q["scope"]; len(s) > 0 {
		if len(s) > 1 {
			return problemf(BadRequest, "scope is given %d times; send it once", len(s))
		}
		scope = &s[0]
	}
	key, err := a.Keys.Given(scope, q["key"]...)
	if err != nil {
		return err
	}
	rec, err := a.Engine.Get(r.Context(), key)
	if err != nil {
		return err
	}
	if rec == nil {
		return problemf(NotFound, "there is no record of this key, or it has expired; one of a key selected from an event is not found here, for it is stored under its hash: docs/operating.md")
	}
	send(w, http.StatusOK, jsonType, shown(rec))
	return nil
}

func shown(rec *idempotency.Record) *object {
	o := newObject().text("id", rec.Key.Partition).textIf("sort", rec.Key.Sort).
		text("status", string(rec.Status)).
		number("expiration", rec.Expiration.Unix())
	if rec.Status == idempotency.InProgress {
		lease := int64(0)
		if !rec.LeaseExpiresAt.IsZero() {
			lease = rec.LeaseExpiresAt.UnixMilli()
		}
		o.number("in_progress_expiration", lease)
	}
	if rec.Status == idempotency.Completed {
		result(o, rec)
	}
	o.number("fence", rec.Fence).number("attempt", int64(rec.Attempt)).textIf("validation", rec.Validation)
	if rec.Error != nil {
		o.object("error", errorObject(rec.Error))
	}
	o.textIf("function", rec.Function).textIf("request_id", rec.RequestID)
	if !rec.CreatedAt.IsZero() {
		o.moment("created_at", rec.CreatedAt)
	}
	if !rec.UpdatedAt.IsZero() {
		o.moment("updated_at", rec.UpdatedAt)
	}
	events := make([]*object, 0, len(rec.History))
	for _, e := range rec.History {
		events = append(events, newObject().moment("at", e.At).text("status", string(e.Status)).textIf("detail", e.Detail).textIf("request_id", e.RequestID))
	}
	return o.list("history", events)
}

const (
	// healthTimeout bounds a look at the store.
	healthTimeout = 2 * time.Second
	// healthFresh is how long a look's finding is told again: /health asks for no
	// secret, so it must not be a way to call the store at will.
	healthFresh = time.Second
)

// health looks at the store, once at a time.
type health struct {
	check func(context.Context) error
	now   func() time.Time

	mu     sync.Mutex
	looked time.Time
	found  error
	under  *look // the look under way
}

type look struct {
	ended chan struct{}
	found error // when it has ended
}

// look tells the last finding while it is fresh. Otherwise the first caller
// looks, and those that come meanwhile wait for what it finds.
func (h *health) look(ctx context.Context) error {
	h.mu.Lock()
	if age := h.now().Sub(h.looked); age >= 0 && age < healthFresh {
		defer h.mu.Unlock()
		return h.found
	}
	if other := h.under; other != nil {
		h.mu.Unlock()
		select {
		case <-other.ended:
			return other.found
		case <-ctx.Done():
			return fmt.Errorf("the caller left before the store was looked at: %w", ctx.Err())
		}
	}
	mine := &look{ended: make(chan struct{}), found: errors.New("the look at the store broke off")}
	h.under = mine
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.looked, h.found, h.under = h.now(), mine.found, nil
		h.mu.Unlock()
		close(mine.ended)
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
	defer cancel()
	mine.found = h.check(ctx)
	return mine.found
}

func (a *api) getHealth(w http.ResponseWriter, r *http.Request) error {
	if err := a.health.look(r.Context()); err != nil {
		var down *idempotency.StoreError
		if !errors.As(err, &down) {
			err = &idempotency.StoreError{Op: "ping", Detail: err.Error(), Err: err}
		}
		return err
	}
	send(w, http.StatusOK, jsonType, newObject().text("status", "ok"))
	return nil
}
