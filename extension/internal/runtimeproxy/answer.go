package runtimeproxy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
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
	// maxHeaderBytes: aws-lambda-go sends a cause of up to 1 MB in a header.
	maxHeaderBytes = 4 << 20

	modeHeader = "Lambda-Runtime-Function-Response-Mode"
	// errorBodyTrailer holds a streamed response's error, in base64.
	errorBodyTrailer = "Lambda-Runtime-Function-Error-Body"
	// integration is the content type of responses that go to a function URL as
	// they come.
	integration = "application/vnd.awslambda.http-integration-response"
)

var errTooLarge = idempotency.Failure{Type: "Function.ResponseSizeTooLarge", Message: "the Runtime API refused the response for its size"}

// response passes the handler's response upstream, and ends the claim.
func (p *Proxy) response(w http.ResponseWriter, r *http.Request, id string) {
	inv := p.flights.take(id)
	if inv == nil {
		p.forward.ServeHTTP(w, r)
		return
	}
	if strings.EqualFold(r.Header.Get(modeHeader), "streaming") || strings.HasPrefix(r.Header.Get("Content-Type"), integration) {
		p.passed(w, r, inv, "it was streamed")
		return
	}
	// The response is stored before it goes upstream, so that a caller who was
	// answered is always remembered.
	body, rest, err := read(r, maxResponse)
	if err != nil || rest {
		p.passed(w, r, inv, "it was too large") // Or broke off, and upstream sees that, too.
		return
	}
	if failure := trailerError(r.Trailer); failure != nil {
		p.fail(inv, *failure, !p.FailOnError)
	} else if inv.batch != nil {
		body = p.completeBatch(inv, body)
		replace(r, body)
	} else {
		p.complete(inv, stored(r.Header.Get("Content-Type"), body))
	}
	p.forward.ServeHTTP(w, r)
}

// passed lets a response through as it comes. What became of it is known when
// upstream has answered.
func (p *Proxy) passed(w http.ResponseWriter, r *http.Request, inv *invocation, why string) {
	seen := &statusWriter{ResponseWriter: w}
	p.forward.ServeHTTP(seen, r) // Panics where either side broke off: then nobody knows, and the claim is settled as of a crash.
	if seen.status == http.StatusRequestEntityTooLarge {
		p.fail(inv, errTooLarge, !p.FailOnError) // The rest of the body may not have been read, and its trailers not known.
		return
	}
	switch failure := trailerError(r.Trailer); {
	case failure != nil:
		p.fail(inv, *failure, !p.FailOnError)
	case inv.batch != nil:
		p.completeBatch(inv, nil)
	default:
		p.complete(inv, notKept(why))
	}
}

// failure passes the handler's error upstream, and ends the claim.
func (p *Proxy) failure(w http.ResponseWriter, r *http.Request, id string) {
	if inv := p.flights.take(id); inv != nil {
		body, _, err := read(r, maxError)
		if err == nil {
			p.fail(inv, errorOf(r.Header, body), !p.FailOnError)
		} else {
			p.flights.add(inv, p.Now()) // It may be told again.
		}
	}
	p.forward.ServeHTTP(w, r)
}

// initError: a runtime that cannot go on ends what it had.
func (p *Proxy) initError(w http.ResponseWriter, r *http.Request) {
	body, _, err := read(r, maxError)
	for _, inv := range p.flights.takeAll() {
		if err == nil {
			p.fail(inv, errorOf(r.Header, body), !p.FailOnError)
		}
	}
	p.forward.ServeHTTP(w, r)
}

// read reads the body up to most bytes, and puts it back for upstream, with what
// is left of it and the error that ended it.
func read(r *http.Request, most int64) (body []byte, rest bool, err error) {
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(min(r.ContentLength, most)) + bytes.MinRead)
	}
	_, err = b.ReadFrom(io.LimitReader(r.Body, most+1))
	left := io.Reader(r.Body)
	if err != nil {
		left = broken{err}
	}
	rest = int64(b.Len()) > most
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b.Bytes()), left), r.Body}
	return b.Bytes(), rest, err
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// replace gives a request another body, in the framing that it came with.
func replace(r *http.Request, body []byte) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	if r.ContentLength >= 0 {
		r.ContentLength = int64(len(body))
		r.Header.Del("Content-Length")
	}
}

// trailerError is the error that a response ended in; nil: none. Trailers that
// are announced and stay empty are of a normal one.
func trailerError(trailer http.Header) *idempotency.Failure {
	kind := trailer.Get(errorHeader)
	if kind == "" {
		return nil
	}
	body, _ := base64.StdEncoding.DecodeString(trailer.Get(errorBodyTrailer))
	failure := errorOf(trailer, body)
	return &failure
}

// errorOf reads what a runtime says of an error:
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-invokeerror
func errorOf(header http.Header, body []byte) idempotency.Failure {
	var said struct {
		ErrorType    string `json:"errorType"`
		ErrorMessage string `json:"errorMessage"`
	}
	_ = json.Unmarshal(body, &said) // It is only told; a runtime may send anything.
	return idempotency.Failure{Type: cmp.Or(said.ErrorType, header.Get(errorHeader), "Error"), Message: said.ErrorMessage}
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

// statusWriter remembers the status that upstream answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap gives http.ResponseController the writer.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
