package clienttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

// poll is how often a wait for the end of another's claim looks for it.
const poll = 2 * time.Millisecond

// problem is an answer that is an error.
type problem struct {
	status       int
	code, detail string
}

// The codes that a client of this sidecar can meet.
var (
	badRequest       = problem{status: http.StatusBadRequest, code: "bad_request"}
	keyMissing       = problem{status: http.StatusBadRequest, code: "key_missing"}
	keyInvalid       = problem{status: http.StatusBadRequest, code: "key_invalid"}
	claimUnknown     = problem{status: http.StatusNotFound, code: "claim_unknown"}
	notFound         = problem{status: http.StatusNotFound, code: "not_found"}
	claimLost        = problem{status: http.StatusConflict, code: "claim_lost"}
	tooLarge         = problem{status: http.StatusRequestEntityTooLarge, code: "too_large"}
	payloadMismatch  = problem{status: http.StatusUnprocessableEntity, code: "payload_mismatch"}
	storeUnavailable = problem{status: http.StatusServiceUnavailable, code: "store_unavailable"}
)

func refuse(p problem, detail string) *problem {
	p.detail = detail
	return &p
}

// body has what any call sends.
type body struct {
	Key         json.RawMessage `json:"key"`
	Event       json.RawMessage `json:"event"`
	KeyJMESPath *string         `json:"key_jmespath"`
	Payload     json.RawMessage `json:"payload"`
	Scope       *string         `json:"scope"`
	TTL         *int64          `json:"ttl_seconds"`
	Wait        *int64          `json:"wait_ms"`
	Deadline    *int64          `json:"deadline_ms"`
	Lease       *int64          `json:"lease_ms"`
	RequestID   string          `json:"request_id"`
	Detached    bool            `json:"detached"`
	ClientToken *string         `json:"client_token"`
	Token       *string         `json:"token"`
	Result      json.RawMessage `json:"result"`
	Error       *client.Failure `json:"error"`
	Retry       *bool           `json:"retry"`
}

func (s *Sidecar) serve(w http.ResponseWriter, r *http.Request) {
	if path, ok := strings.CutSuffix(r.URL.Path, "/batch"); ok {
		s.serveBatch(w, r, path)
		return
	}
	b, err := readBody(r.Body)
	if err == nil {
		err = b.check(r.URL.Path)
	}
	var answer any
	if err == nil {
		answer, err = s.answer(r, r.URL.Path, b)
	}
	send(w, answer, err)
}

func readBody(from io.Reader) (*body, *problem) {
	var b body
	dec := json.NewDecoder(from)
	dec.DisallowUnknownFields()
	if wrong := dec.Decode(&b); wrong != nil {
		return nil, refuse(badRequest, wrong.Error())
	}
	return &b, nil
}

func send(w http.ResponseWriter, answer any, err *problem) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.Header().Set("Content-Type", "application/problem+json")
		if err.status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(err.status)
		answer = err.members()
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // A result is told as it was stored.
	_ = e.Encode(answer)
}

// members are those of a problem's answer.
func (p *problem) members() map[string]any {
	return map[string]any{"status": p.status, "code": p.code, "detail": p.detail}
}

// check looks at what can be wrong with the members alone.
func (b *body) check(path string) *problem {
	for name, n := range map[string]*int64{"ttl_seconds": b.TTL, "lease_ms": b.Lease, "deadline_ms": b.Deadline, "wait_ms": b.Wait} {
		if least := int64(1); n != nil && (*n < 0 || *n < least && name != "wait_ms") {
			return refuse(badRequest, fmt.Sprintf("%s is %d", name, *n))
		}
	}
	if t := b.ClientToken; t != nil && (len(*t) < 16 || len(*t) > 128) {
		return refuse(badRequest, "client_token takes a string of 16 to 128 bytes")
	}
	switch path {
	case "/acquire":
		switch {
		case b.Deadline != nil && b.Lease != nil:
			return refuse(badRequest, "deadline_ms and lease_ms are both given")
		case b.Detached && b.Lease == nil:
			return refuse(badRequest, "detached needs lease_ms")
		}
	case "/complete", "/fail", "/renew":
		if b.Token == nil {
			return refuse(badRequest, "token is absent")
		}
	default:
		return refuse(notFound, "there is no such path")
	}
	return nil
}

func (s *Sidecar) answer(r *http.Request, path string, b *body) (any, *problem) {
	if path == "/acquire" {
		return s.acquire(r, b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, refuse(storeUnavailable, "the test says that the store is away")
	}
	switch path {
	case "/complete":
		return s.end(*b.Token, client.Completed, seconds(b.TTL), b.Result, nil)
	case "/renew":
		lease := defaultLease
		if b.Lease != nil {
			lease = millis(b.Lease)
		}
		return s.renew(*b.Token, lease)
	}
	as, failure := Released, b.Error
	if b.Retry != nil && !*b.Retry {
		as = client.Failed
	}
	if failure == nil {
		failure = &client.Failure{Type: "Error"}
	}
	return s.end(*b.Token, as, 0, nil, failure)
}

// acquire decides, again and again as long as the caller wants to wait.
func (s *Sidecar) acquire(r *http.Request, b *body) (any, *problem) {
	n, err := b.name()
	if err != nil {
		return nil, err
	}
	a := acquire{RequestID: b.RequestID, TTL: seconds(b.TTL)}
	if b.ClientToken != nil {
		a.ClientToken = *b.ClientToken
	}
	if b.Payload != nil {
		if a.payload, err = canonical("payload", b.Payload); err != nil {
			return nil, err
		}
	}
	for until := time.Now().Add(millis(b.Wait)); ; time.Sleep(poll) {
		answer, decided, err := s.try(n, a, b)
		if err != nil || decided || !time.Now().Before(until) || r.Context().Err() != nil {
			return answer, err
		}
	}
}

func (s *Sidecar) try(n name, a acquire, b *body) (answer any, decided bool, err *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.lapses = s.now().Add(defaultLease)
	switch {
	case b.Lease != nil:
		a.lapses = s.now().Add(millis(b.Lease))
	case b.Deadline != nil:
		// It is by the caller's clock, which goes on by itself.
		left := time.Until(time.UnixMilli(*b.Deadline))
		if left <= 0 {
			return nil, true, refuse(badRequest, "deadline_ms is past")
		}
		a.lapses = s.now().Add(left.Truncate(time.Millisecond))
	}
	if s.away {
		return nil, true, refuse(storeUnavailable, "the test says that the store is away")
	}
	return s.decide(n, a)
}

// name is what the body names: its key, or what is selected from its event.
func (b *body) name() (name, *problem) {
	n := name{Scope: defaultScope}
	if b.Scope != nil {
		n.Scope = *b.Scope
	}
	if bytes.ContainsRune([]byte(n.Scope), '#') || len(n.Scope) > 255 {
		return n, refuse(keyInvalid, `a scope takes up to 255 bytes and no "#"`)
	}
	switch {
	case b.Key != nil && b.Event != nil:
		return n, refuse(badRequest, "key and event are both given")
	case b.Key != nil && b.KeyJMESPath != nil:
		return n, refuse(badRequest, "key_jmespath selects from event")
	case b.Key == nil && b.Event == nil:
		return n, refuse(keyMissing, "there is neither key nor event")
	case b.Event != nil:
		var err *problem
		n.Selection, err = selection(b.Event, b.KeyJMESPath)
		return n, err
	}
	var one string
	if json.Unmarshal(b.Key, &one) == nil && b.Key[0] == '"' {
		n.Key = client.Key{one}
	} else if json.Unmarshal(b.Key, (*[]string)(&n.Key)) != nil || len(n.Key) != 2 {
		return n, refuse(keyInvalid, "key takes a string, or a list of two strings")
	}
	for _, part := range n.Key {
		if part == "" || len(part) > 1024 {
			return n, refuse(keyInvalid, "key takes 1 to 1,024 bytes")
		}
		if n.Scope == "" && bytes.ContainsRune([]byte(part), '#') {
			return n, refuse(keyInvalid, `key holds "#" and has no scope`)
		}
	}
	return n, nil
}

func seconds(n *int64) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(*n) * time.Second
}

func millis(n *int64) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(*n) * time.Millisecond
}
