package runtimeproxy

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

const (
	// maxResponse is what Lambda takes of a response that is not streamed: 6 MB
	// and a little. A longer one is refused with 413.
	// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
	maxResponse = 6<<20 + 100
	// maxError is how much of an error is read for its type and message.
	maxError = 256 << 10

	modeHeader = "Lambda-Runtime-Function-Response-Mode"
	// integration is the content type of responses that go to a function URL as
	// they come.
	integration = "application/vnd.awslambda.http-integration-response"
)

var errTooLarge = idempotency.Failure{Type: "Function.ResponseSizeTooLarge", Message: "the Runtime API refused the response for its size"}

// response passes the handler's response upstream, and ends the claim.
func (p *Proxy) response(w http.ResponseWriter, r *http.Request, id string) {
	inv := p.flights.take(id, r.Header.Get(nonceHeader))
	if inv == nil {
		p.pass(w, r, nil)
		return
	}
	known := false // what became of the handler
	defer func() {
		if !known {
			p.flights.add(inv, p.Now()) // The response broke off: the handler's end may be told in another way.
		}
	}()
	keepTrailers(r)
	if inv.batch == nil && streamed(r.Header) {
		p.unread(w, r, inv, "it was streamed", &known)
		return
	}
	// The response is stored before it goes upstream, so that a caller who was
	// answered is always remembered.
	body, rest, err := read(r, maxResponse)
	if err != nil || rest {
		p.unread(w, r, inv, "it was too large", &known) // Or it broke off, and upstream sees that, too.
		return
	}
	known = true
	if failure := trailerError(r.Trailer); failure != nil {
		p.fail(inv, *failure, !p.FailOnError)
	} else if inv.batch != nil {
		replace(r, p.completeBatch(inv, body))
	} else {
		p.complete(inv, stored(r.Header.Get("Content-Type"), body))
	}
	p.pass(w, r, func(status int) {
		if status/100 != 2 {
			p.Log.Warn("the Runtime API refused the answer of a handler, whose end is stored", "request_id", inv.id, "status", status)
		}
	})
}

func streamed(header http.Header) bool {
	return strings.EqualFold(header.Get(modeHeader), "streaming") || strings.HasPrefix(header.Get("Content-Type"), integration)
}

// unread lets a response through as it comes. What became of it is known when
// upstream has answered; the claim ends before the runtime hears of that and asks
// for the next event, with which Lambda would count the claim as abandoned.
func (p *Proxy) unread(w http.ResponseWriter, r *http.Request, inv *invocation, why string, known *bool) {
	body := watch(r)
	p.pass(w, r, func(status int) {
		if status == http.StatusRequestEntityTooLarge {
			p.fail(inv, errTooLarge, !p.FailOnError)
			*known = true
			return
		}
		// Its trailers come at the end of the body. An answer that refuses it may
		// come before, and the rest may never be read.
		if status/100 != 2 && !body.over() || !body.read() {
			return
		}
		*known = true
		switch failure := trailerError(r.Trailer); {
		case failure != nil:
			p.fail(inv, *failure, !p.FailOnError)
		case inv.batch != nil:
			p.fail(inv, errTooLarge, true) // It may report failures, and nobody has read it.
		default:
			p.complete(inv, notKept(why))
		}
	})
}

// failure passes the handler's error upstream, and ends the claim.
func (p *Proxy) failure(w http.ResponseWriter, r *http.Request, id string) {
	if inv := p.flights.take(id, r.Header.Get(nonceHeader)); inv != nil {
		body, _, err := read(r, maxError)
		if err == nil {
			p.fail(inv, errorOf(r.Header, body), !p.FailOnError)
		} else {
			p.flights.add(inv, p.Now()) // It may be told again.
		}
	}
	p.pass(w, r, nil)
}

// initError: a runtime that cannot go on ends what it had. Where others of its
// kind go on, upstream does not take its word.
func (p *Proxy) initError(w http.ResponseWriter, r *http.Request) {
	body, _, err := read(r, maxError)
	p.pass(w, r, func(status int) {
		if err != nil || status/100 != 2 {
			return
		}
		for _, inv := range p.flights.takeAll() {
			p.fail(inv, errorOf(r.Header, body), !p.FailOnError)
		}
	})
}

// complete ends the claim of an invocation whose handler is done. The runtime's
// connection may be gone by now; the claim ends all the same.
func (p *Proxy) complete(inv *invocation, result []byte) {
	_, err := p.Claims.Complete(context.Background(), idempotency.CompleteRequest{Token: inv.token, Result: result})
	p.ended(inv.id, err)
}

// fail ends the claims of an invocation that failed.
func (p *Proxy) fail(inv *invocation, failure idempotency.Failure, retry bool) {
	if inv.batch != nil {
		p.failBatch(inv, failure, retry)
		return
	}
	_, err := p.Claims.Fail(context.Background(), idempotency.FailRequest{Token: inv.token, Error: &failure, Retry: retry})
	p.ended(inv.id, err)
}

// ended logs an end that was not stored. The caller gets its answer: the work is
// done, and an error would only have it done again.
func (p *Proxy) ended(id string, err error) {
	var refused *idempotency.RefusedError
	switch {
	case err == nil:
	case errors.As(err, &refused):
		p.Log.Warn("the outcome was not stored", "request_id", id, "error", err)
	default:
		p.Log.Warn("the outcome is not stored yet; the extension goes on trying", "request_id", id, "error", err)
	}
}
