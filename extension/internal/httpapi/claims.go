package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/selection"
)

const (
	maxRequestID = 256
	maxWait      = 15 * time.Minute
	maxEpochMS   = 1 << 53
)

func acquireMembers() []string {
	return []string{"key", "event", "key_jmespath", "payload", "scope", "ttl_seconds", "deadline_ms", "lease_ms", "request_id", "client_token", "detached", "wait_ms"}
}

func (a *api) acquire(w http.ResponseWriter, r *http.Request) error {
	f, err := a.readFields(w, r, acquireMembers()...)
	if err != nil {
		return err
	}
	defer f.done()
	req, err := a.acquireRequest(f)
	if err != nil {
		return err
	}
	f.done()
	a.lend(r.Context(), &req)
	out, err := a.Engine.Acquire(r.Context(), req)
	a.logOutcome(r.Context(), req.Key, out, err)
	if err != nil {
		return err
	}
	send(w, http.StatusOK, jsonType, outcome(out))
	return nil
}

// acquireRequest makes a request of its members. Where they tell no end of the
// claim, it has neither Deadline nor Lease.
func (a *api) acquireRequest(f *fields) (idempotency.AcquireRequest, error) {
	req := idempotency.AcquireRequest{
		TTL:         ttl(f),
		RequestID:   f.text("request_id", 1, maxRequestID),
		ClientToken: f.text("client_token", idempotency.MinClientToken, idempotency.MaxClientToken),
		Detached:    f.boolean("detached", false),
		Wait:        f.millis("wait_ms", 0, maxWait),
	}
	deadline := f.whole("deadline_ms", 0, maxEpochMS)
	lease := f.millis("lease_ms", time.Millisecond, idempotency.MaxLease)
	if f.err != nil {
		return req, f.err
	}
	now := a.Now()
	end, exact := a.Deadlines.InvocationEnd(req.RequestID)
	req.AnswerBy = end
	switch {
	case f.has("deadline_ms") && f.has("lease_ms"):
		return req, problemf(BadRequest, "deadline_ms and lease_ms are both given; send one of them")
	case req.Detached && !f.has("lease_ms"):
		return req, problemf(BadRequest, "detached needs lease_ms: nothing else tells when the claim ends if nobody ends it")
	case f.has("lease_ms"):
		req.Lease = lease
	case f.has("deadline_ms"):
		req.Deadline = time.UnixMilli(deadline)
		switch left := req.Deadline.Sub(now); {
		case left <= 0:
			return req, problemf(BadRequest, "deadline_ms is %d, which is past: it is %d now; send the epoch time in milliseconds at which the invocation ends", deadline, now.UnixMilli())
		case left > idempotency.MaxLease:
			return req, problemf(BadRequest, "deadline_ms is %d, over 366 days from now (%d); send the epoch time in milliseconds at which the invocation ends", deadline, now.UnixMilli())
		}
		req.AnswerBy = req.Deadline
	case exact && end.After(now):
		req.Deadline = end
	}
	var err error
	if req.Key, err = a.key(f); err != nil {
		return req, err
	}
	if f.has("payload") {
		req.Validation, err = payloadHash(f.raw("payload"))
	}
	return req, err
}

// lend gives a lease to the requests that do not say when their claims end. It may
// take a moment, once for all of them.
func (a *api) lend(ctx context.Context, requests ...*idempotency.AcquireRequest) {
	var lease time.Duration
	for _, req := range requests {
		if !req.Deadline.IsZero() || req.Lease > 0 {
			continue
		}
		if lease == 0 {
			lease = a.Deadlines.Deadline(ctx).Sub(a.Now())
		}
		req.Lease = lease
	}
}

func ttl(f *fields) time.Duration {
	return time.Duration(f.whole("ttl_seconds", 1, int64(idempotency.MaxTTL/time.Second))) * time.Second
}

// inexact says why a value cannot be hashed.
func inexact(name string, err error) *problem {
	at, text := int64(0), err.Error()
	var syntax *canon.SyntaxError
	if errors.As(err, &syntax) {
		at, text = syntax.Offset, syntax.Msg
	}
	return problemf(BadRequest, "%s, at byte %d of its value: %s; send JSON that has one exact meaning: member names once each, no lone surrogates, exponents of up to 18 digits, up to %d levels and %d values", name, at, text, canon.MaxDepth, canon.MaxValues)
}

func payloadHash(raw []byte) (string, error) {
	v, err := canon.Parse(raw)
	if err != nil {
		return "", inexact("payload", err)
	}
	return canon.Hash(v), nil
}

// key makes the stored key of the body's key, or of what is selected from its
// event.
func (a *api) key(f *fields) (idempotency.Key, error) {
	var scope *string
	if f.has("scope") {
		s := f.text("scope", 0, 0)
		scope = &s
	}
	if f.err != nil {
		return idempotency.Key{}, f.err
	}
	switch {
	case f.has("key") && f.has("event"):
		return idempotency.Key{}, problemf(BadRequest, "key and event are both given; send one of them")
	case f.has("key"):
		if f.has("key_jmespath") {
			return idempotency.Key{}, problemf(BadRequest, "key_jmespath selects from event; with key, leave it out")
		}
		parts, err := keyParts(f)
		if err != nil {
			return idempotency.Key{}, err
		}
		return a.Keys.Given(scope, parts...)
	case f.has("event"):
		hash, err := a.selected(f)
		if err != nil {
			return idempotency.Key{}, err
		}
		return a.Keys.Selected(scope, hash)
	}
	return idempotency.Key{}, problemf(KeyMissing, "there is neither key nor event; send one of them")
}

// keyParts is the member key: a string, or a list of two strings.
func keyParts(f *fields) ([]string, error) {
	wrong := func() error {
		return problemf(KeyInvalid, "key is %s; it takes a string, or a list of two strings", short(string(f.raw("key"))))
	}
	raw := f.raw("key")
	switch raw[0] {
	case '"':
		s, err := canon.Unquote(raw)
		if err != nil {
			return nil, problemf(KeyInvalid, "key %s", loneSurrogate)
		}
		return []string{s}, nil
	case '[':
		items, err := canon.Elements(raw)
		if err != nil {
			return nil, err
		}
		if len(items) != 2 {
			return nil, wrong()
		}
		var parts []string
		for i, item := range items {
			if item[0] != '"' {
				return nil, wrong()
			}
			s, err := canon.Unquote(item)
			if err != nil {
				return nil, problemf(KeyInvalid, "key[%d] %s", i, loneSurrogate)
			}
			parts = append(parts, s)
		}
		return parts, nil
	}
	return nil, wrong()
}

// selected is the hash of what the expression selects from the event.
func (a *api) selected(f *fields) (string, error) {
	event, err := canon.Parse(f.raw("event"))
	if err != nil {
		return "", inexact("event", err)
	}
	text, from := a.KeyJMESPath, "IDEMPOTENCY_KEY_JMESPATH"
	if f.has("key_jmespath") {
		text, from = f.text("key_jmespath", 1, canon.MaxExpression), "key_jmespath"
		if f.err != nil {
			return "", f.err
		}
	}
	selected, err := a.selections.compile(text)
	if err != nil {
		return "", problemf(BadRequest, "%s: %v; correct the expression", from, err)
	}
	hash, err := selected.Hash(event, f.alone, func(nulls string) {
		a.Log.Warn("the key's expression selects null for some members; events that differ only there share a key", "key_jmespath", text, "null", nulls)
	})
	p, isProblem := errors.AsType[*problem](err)
	switch {
	case errors.Is(err, selection.ErrMissing) && text == "":
		return "", problemf(KeyMissing, "event is null or empty, or its members are all null, so there is nothing to make a key of; send an event that names the work")
	case errors.Is(err, selection.ErrMissing):
		return "", problemf(KeyMissing, "%s (%s) selects null, nothing, an empty value or only nulls from the event, so there is nothing to make a key of; send an event that has what it selects, or correct the expression", from, short(text))
	case isProblem:
		return "", p
	case err != nil:
		return "", problemf(KeyInvalid, "%s %v; correct the expression or the event", from, err)
	}
	return hash, nil
}

func completeMembers() []string { return []string{"token", "result", "ttl_seconds"} }

func (a *api) complete(w http.ResponseWriter, r *http.Request) error {
	f, err := a.readFields(w, r, completeMembers()...)
	if err != nil {
		return err
	}
	defer f.done()
	req, err := completeRequest(f)
	if err != nil {
		return err
	}
	f.done()
	end, err := a.Engine.Complete(r.Context(), req)
	if err != nil {
		return err
	}
	send(w, http.StatusOK, jsonType, ended(end))
	return nil
}

func completeRequest(f *fields) (idempotency.CompleteRequest, error) {
	req := idempotency.CompleteRequest{Token: token(f), Result: f.raw("result"), TTL: ttl(f)}
	return req, f.err
}

func failMembers() []string { return []string{"token", "error", "retry"} }

func (a *api) fail(w http.ResponseWriter, r *http.Request) error {
	f, err := a.readFields(w, r, failMembers()...)
	if err != nil {
		return err
	}
	defer f.done()
	req, err := failRequest(f)
	if err != nil {
		return err
	}
	f.done()
	end, err := a.Engine.Fail(r.Context(), req)
	if err != nil {
		return err
	}
	send(w, http.StatusOK, jsonType, ended(end))
	return nil
}

func failRequest(f *fields) (idempotency.FailRequest, error) {
	req := idempotency.FailRequest{Token: token(f), Error: failure(f), Retry: f.boolean("retry", true)}
	return req, f.err
}

// failure is the member error: an object of two strings.
func failure(f *fields) *idempotency.Failure {
	if !f.has("error") {
		return nil
	}
	const want = "an object with the strings type and message"
	members, err := canon.Members(f.raw("error"))
	if err != nil {
		f.wrong("error", want)
		return nil
	}
	inner := &fields{of: "error.", members: members}
	for _, m := range members {
		if m.Name != "type" && m.Name != "message" {
			f.wrong("error", want)
		}
	}
	out := &idempotency.Failure{Type: inner.text("type", 0, 0), Message: inner.text("message", 0, 0)}
	if f.err == nil {
		f.err = inner.err
	}
	return out
}

func (a *api) renew(w http.ResponseWriter, r *http.Request) error {
	f, err := a.readFields(w, r, "token", "lease_ms")
	if err != nil {
		return err
	}
	defer f.done()
	text := token(f)
	lease := f.millis("lease_ms", time.Millisecond, idempotency.MaxLease)
	if f.err != nil {
		return f.err
	}
	until := a.Now().Add(lease)
	if !f.has("lease_ms") {
		until = a.Deadlines.Deadline(r.Context())
	}
	f.done()
	renewed, err := a.Engine.Renew(r.Context(), text, until)
	if err != nil {
		return err
	}
	o := newObject().text("status", string(idempotency.OutcomeAcquired)).millis("lease_expires_at", renewed.LeaseExpiresAt)
	if renewed.Unprotected {
		o.flag("unprotected")
	}
	send(w, http.StatusOK, jsonType, o)
	return nil
}

// token is the member token, which must be there.
func token(f *fields) string {
	if !f.has("token") && f.err == nil {
		f.err = problemf(BadRequest, "token is absent; send the token of the acquire")
	}
	return f.text("token", 0, 0)
}

func ended(end idempotency.Ended) *object {
	o := newObject().text("status", strings.ToLower(string(end.Status)))
	if end.Unprotected {
		o.flag("unprotected")
	}
	return o
}

func outcome(out idempotency.Outcome) *object {
	rec := out.Record
	o := newObject().text("status", string(out.Status))
	switch out.Status {
	case idempotency.OutcomeAcquired:
		o.text("token", out.Token).number("fence", rec.Fence).number("attempt", int64(rec.Attempt)).millis("lease_expires_at", rec.LeaseExpiresAt)
		if rec.Error != nil {
			o.object("previous_error", errorObject(rec.Error))
		}
		if out.Unprotected {
			o.flag("unprotected")
		}
	case idempotency.OutcomeCompleted:
		result(o, rec).millisIf("completed_at", rec.UpdatedAt).textIf("request_id", rec.RequestID)
	case idempotency.OutcomeFailed:
		failed := rec.Error
		if failed == nil {
			failed = &idempotency.Failure{Type: "Error"}
		}
		o.object("error", errorObject(failed)).millisIf("failed_at", rec.UpdatedAt).textIf("request_id", rec.RequestID)
	case idempotency.OutcomeInProgress:
		o.number("retry_after_ms", out.RetryAfter.Milliseconds()).textIf("request_id", rec.RequestID).millis("lease_expires_at", rec.LeaseExpiresAt)
	}
	return o
}

// result writes the stored result, byte for byte, or that it was not stored.
func result(o *object, rec *idempotency.Record) *object {
	switch {
	case rec.ResultOmitted:
		return o.flag("result_omitted")
	case rec.Result == nil:
		return o.raw("result", []byte("null"))
	}
	return o.raw("result", rec.Result)
}

func errorObject(f *idempotency.Failure) *object {
	return newObject().text("type", f.Type).text("message", f.Message)
}

func (a *api) logOutcome(ctx context.Context, key idempotency.Key, out idempotency.Outcome, err error) {
	if err != nil || !a.Log.Enabled(ctx, slog.LevelDebug) {
		return // An error is told otherwise.
	}
	a.Log.Debug("acquire", "key", key.Partition, "sort", key.Sort, "key_hash", idempotency.KeyHash(key), "status", string(out.Status), "fence", out.Record.Fence, "attempt", out.Record.Attempt)
}
