package httpapi

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// Code is the stable name of a problem.
type Code string

// The codes.
const (
	BadRequest       Code = "bad_request"
	KeyMissing       Code = "key_missing"
	KeyInvalid       Code = "key_invalid"
	Unauthorized     Code = "unauthorized"
	ClaimUnknown     Code = "claim_unknown"
	NotFound         Code = "not_found"
	MethodNotAllowed Code = "method_not_allowed"
	ClaimLost        Code = "claim_lost"
	TooLarge         Code = "too_large"
	UnsupportedMedia Code = "unsupported_media_type"
	PayloadMismatch  Code = "payload_mismatch"
	StoreUnavailable Code = "store_unavailable"
	StoreThrottled   Code = "store_throttled"
	Internal         Code = "internal"
)

// problemPage describes each code, under a heading of its name.
const problemPage = "https://github.com/lambda-idempotency/lambda-idempotency/blob/main/docs/problems.md#"

type codeEntry struct {
	Code   Code
	Status int
	Title  string
}

// codes are all problems that the API answers.
func codes() []codeEntry {
	return []codeEntry{
		{BadRequest, http.StatusBadRequest, "The request is malformed"},
		{KeyMissing, http.StatusBadRequest, "There is nothing to make a key of"},
		{KeyInvalid, http.StatusBadRequest, "The key or scope cannot be used"},
		{Unauthorized, http.StatusUnauthorized, "The caller did not prove itself"},
		{ClaimUnknown, http.StatusNotFound, "The token names no claim"},
		{NotFound, http.StatusNotFound, "There is no such record or path"},
		{MethodNotAllowed, http.StatusMethodNotAllowed, "The path does not take this method"},
		{ClaimLost, http.StatusConflict, "The claim is no longer the caller's"},
		{TooLarge, http.StatusRequestEntityTooLarge, "The body is too large"},
		{UnsupportedMedia, http.StatusUnsupportedMediaType, "The body is not JSON"},
		{PayloadMismatch, http.StatusUnprocessableEntity, "The key was used with another payload"},
		{StoreUnavailable, http.StatusServiceUnavailable, "The store did not answer"},
		{StoreThrottled, http.StatusServiceUnavailable, "The store is throttled"},
		{Internal, http.StatusInternalServerError, "The sidecar has a fault"},
	}
}

// problem is an answer of RFC 9457.
type problem struct {
	code   Code
	detail string
	// retryAfter is sent where it is not 0.
	retryAfter time.Duration
	// allow is sent with MethodNotAllowed.
	allow string
}

func (p *problem) Error() string { return p.detail }

func problemf(code Code, format string, args ...any) *problem {
	return &problem{code: code, detail: fmt.Sprintf(format, args...)}
}

// storeRetryAfter is when to try a store again that is away.
const storeRetryAfter = time.Second

// problemOf makes any error of this package, the engine or the decoder a problem.
func problemOf(err error) *problem {
	var (
		p       *problem
		key     *idempotency.KeyError
		refused *idempotency.RefusedError
		down    *idempotency.StoreError
		syntax  *canon.SyntaxError
		large   *http.MaxBytesError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &key):
		return problemf(KeyInvalid, "%s", key.Detail)
	case errors.As(err, &refused):
		return problemf(refusals()[refused.Kind], "%s", refused.Detail)
	case errors.As(err, &down):
		code := StoreUnavailable
		if down.Throttled {
			code = StoreThrottled
		}
		return &problem{code: code, detail: down.Detail, retryAfter: storeRetryAfter}
	case errors.As(err, &syntax):
		return problemf(BadRequest, "the body, at byte %d: %s; send one JSON object in UTF-8", syntax.Offset, syntax.Msg)
	case errors.As(err, &large):
		return problemf(TooLarge, "the body has over %d bytes; complete without a result that large, or send of an event only what makes the key", large.Limit)
	}
	return problemf(Internal, "the sidecar met an error it does not know; its log has more")
}

func refusals() map[error]Code {
	return map[error]Code{
		idempotency.ErrClaimUnknown:    ClaimUnknown,
		idempotency.ErrClaimLost:       ClaimLost,
		idempotency.ErrPayloadMismatch: PayloadMismatch,
	}
}

// entry is the code's row; every code has one.
func (p *problem) entry() codeEntry {
	for _, e := range codes() {
		if e.Code == p.code {
			return e
		}
	}
	return codeEntry{Internal, http.StatusInternalServerError, "The sidecar has a fault"}
}

func (p *problem) write(w http.ResponseWriter) {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	if p.allow != "" {
		w.Header().Set("Allow", p.allow)
	}
	if p.code == Unauthorized {
		w.Header().Set("WWW-Authenticate", authHeader)
	}
	send(w, p.entry().Status, "application/problem+json", p.object())
}

// object is what every problem tells, in an answer or in an item of one.
func (p *problem) object() *object {
	e := p.entry()
	return newObject().
		text("type", problemPage+string(e.Code)).
		text("title", e.Title).
		number("status", int64(e.Status)).
		text("detail", strings.ToValidUTF8(p.detail, "\uFFFD")).
		text("code", string(e.Code))
}
