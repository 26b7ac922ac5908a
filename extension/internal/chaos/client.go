package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// client calls sidecars as a handler does, and records what it is told.
type client struct {
	http  *http.Client
	urls  []string // by sidecar
	clock clock
	into  *Recorder
}

func newClient(urls []string, c clock, into *Recorder) *client {
	return &client{
		http:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		urls:  urls,
		clock: c,
		into:  into,
	}
}

// request is the body of any call.
type request struct {
	Key         string          `json:"key,omitempty"`
	Payload     json.RawMessage `json:"payload,omitempty"`
	TTLSeconds  int64           `json:"ttl_seconds,omitempty"`
	LeaseMS     int64           `json:"lease_ms,omitempty"`
	WaitMS      int64           `json:"wait_ms,omitempty"`
	RequestID   string          `json:"request_id,omitempty"`
	ClientToken string          `json:"client_token,omitempty"`
	Token       string          `json:"token,omitempty"`
	Result      json.RawMessage `json:"result,omitempty"`
	Error       *failure        `json:"error,omitempty"`
	Retry       *bool           `json:"retry,omitempty"`
}

type failure struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// response is the body of any answer.
type response struct {
	Status      string          `json:"status"`
	Token       string          `json:"token"`
	Fence       int64           `json:"fence"`
	Attempt     int             `json:"attempt"`
	Lease       int64           `json:"lease_expires_at"`
	RequestID   string          `json:"request_id"`
	Result      json.RawMessage `json:"result"`
	Error       *failure        `json:"error"`
	Unprotected bool            `json:"unprotected"`
}

// paths are where the calls go.
var paths = map[Kind]string{Acquire: "/acquire", Complete: "/complete", Release: "/fail", Fail: "/fail", Renew: "/renew"}

// do carries out an operation, waits at most patience for its answer, and
// records both.
func (c *client) do(ctx context.Context, op *Operation, body request, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // It is made of what marshals.
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.urls[op.Sidecar]+paths[op.Kind], bytes.NewReader(text))
	if err != nil {
		panic(err) // So is the URL.
	}
	req.Header.Set("Content-Type", "application/json")
	op.Call = c.clock.stamp()
	op.Answer = c.answer(req)
	op.Return = c.clock.stamp()
	c.into.add(op)
}

func (c *client) answer(req *http.Request) Answer {
	unknown := func(err error) Answer {
		why := err.Error()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			why = "no answer in time"
		case errors.Is(err, syscall.ECONNREFUSED):
			why = "the sidecar is down"
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
			why = "connection broken"
		}
		var dial *net.OpError
		return Answer{Unknown: true, Why: why, Refused: errors.As(err, &dial) && dial.Op == "dial"}
	}
	res, err := c.http.Do(req)
	if err != nil {
		return unknown(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return unknown(err)
	}
	if res.StatusCode != http.StatusOK {
		var problem struct{ Code, Detail string }
		if err := json.Unmarshal(text, &problem); err != nil {
			return Answer{Unknown: true, Why: "not JSON: " + short(string(text))}
		}
		if res.StatusCode >= http.StatusInternalServerError {
			return Answer{Unknown: true, Problem: problem.Code, Why: problem.Detail}
		}
		return Answer{Problem: problem.Code, Why: problem.Detail}
	}
	var r response
	if err := json.Unmarshal(text, &r); err != nil {
		return Answer{Unknown: true, Why: "not JSON: " + short(string(text))}
	}
	a := Answer{
		Status: r.Status, Token: r.Token, Fence: r.Fence, Attempt: r.Attempt, Lease: r.Lease, RequestID: r.RequestID,
		Outcome: string(r.Result), Unprotected: r.Unprotected,
	}
	if r.Error != nil {
		a.Outcome = r.Error.Message
	}
	return a
}
