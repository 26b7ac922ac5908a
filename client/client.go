// Package client runs work once per key through the lambda-idempotency sidecar.
// It needs nothing but the standard library.
//
//	receipt, err := client.Do(ctx, "order-123", func(ctx context.Context) (Receipt, error) {
//		return charge(ctx, order)
//	})
package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// InProgressError says that another run holds the key.
type InProgressError struct {
	// RequestID is the invocation that holds it, if known.
	RequestID string
	// RetryAfter is when it may be worth to ask again.
	RetryAfter time.Duration
}

func (e *InProgressError) Error() string {
	return fmt.Sprintf("idempotency: the work is in progress in request %s; try again in %v", cmp.Or(e.RequestID, "unknown"), e.RetryAfter)
}

// FailedError says that an earlier run failed for good.
type FailedError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("idempotency: the work failed for good: %s: %s", e.Type, e.Message)
}

// ProblemError is an error answer of the sidecar. Codes:
// https://github.com/lambda-idempotency/lambda-idempotency/blob/main/docs/problems.md
type ProblemError struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (e *ProblemError) Error() string { return "idempotency: " + e.Code + ": " + e.Detail }

// Client calls one sidecar. Its methods may be called at the same time.
type Client struct {
	url    string
	secret string
	http   *http.Client
}

// defaultClient is Do's, so that calls share their connections.
var defaultClient = sync.OnceValue(New)

// New makes a client of the sidecar in this environment: on IDEMPOTENCY_PORT
// (2774), with the secret that the function's own code has.
func New() *Client {
	return &Client{
		url:    "http://127.0.0.1:" + cmp.Or(os.Getenv("IDEMPOTENCY_PORT"), "2774"),
		secret: cmp.Or(os.Getenv("IDEMPOTENCY_AUTH_TOKEN"), os.Getenv("AWS_SESSION_TOKEN"), os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")),
		// No proxy: the sidecar is on loopback.
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	}
}

// AcquireRequest asks for the claim on a key.
type AcquireRequest struct {
	Key string `json:"key"`
	// RequestID is the invocation's id; it lets the sidecar free the key when the
	// handler ends without a word.
	RequestID string `json:"request_id,omitempty"`
	// DeadlineMS is when the invocation ends, in epoch milliseconds; 0: the
	// context's deadline, if it has one.
	DeadlineMS int64 `json:"deadline_ms,omitempty"`
	// LeaseMS, instead of a deadline, is how long the claim holds.
	LeaseMS int64 `json:"lease_ms,omitempty"`
	// ClientToken makes the call repeatable; empty: a random one.
	ClientToken string `json:"client_token,omitempty"`
}

// Outcome answers an acquire.
type Outcome struct {
	// Status is "acquired", "completed", "failed" or "in_progress".
	Status       string          `json:"status"`
	Token        string          `json:"token"`
	Fence        int64           `json:"fence"`
	Attempt      int             `json:"attempt"`
	Result       json.RawMessage `json:"result"`
	Error        *FailedError    `json:"error"`
	RequestID    string          `json:"request_id"`
	RetryAfterMS int64           `json:"retry_after_ms"`
}

// Acquire asks for the claim. Errors: *ProblemError, or that the sidecar is not
// there.
func (c *Client) Acquire(ctx context.Context, req AcquireRequest) (Outcome, error) {
	if req.DeadlineMS == 0 && req.LeaseMS == 0 {
		if at, ok := ctx.Deadline(); ok {
			req.DeadlineMS = at.UnixMilli()
		}
	}
	if req.ClientToken == "" {
		req.ClientToken = rand.Text()
	}
	var out Outcome
	err := c.call(ctx, "/acquire", req, &out)
	return out, err
}

// Complete ends the claim with a result, which duplicates get. Errors: as Acquire.
func (c *Client) Complete(ctx context.Context, token string, result any) error {
	text, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("idempotency: the result is not JSON: %w", err)
	}
	return c.call(ctx, "/complete", map[string]any{"token": token, "result": json.RawMessage(text)}, nil)
}

// Fail ends the claim of work that failed. With retry the key is free again, else
// the failure is final. Errors: as Acquire.
func (c *Client) Fail(ctx context.Context, token string, cause error, retry bool) error {
	return c.call(ctx, "/fail", map[string]any{
		"token": token, "retry": retry,
		"error": map[string]string{"type": fmt.Sprintf("%T", cause), "message": cause.Error()},
	}, nil)
}

func (c *Client) call(ctx context.Context, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("idempotency: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("idempotency: %w", err)
	}
	// Each call may be repeated: the sidecar knows a claim by its client token, and
	// a claim's end by its token. A broken connection is then tried once more.
	req.Header.Set("Idempotency-Key", rand.Text())
	req.Header.Set("Content-Type", "application/json")
	if c.secret != "" {
		req.Header.Set("X-Idempotency-Auth", c.secret)
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("idempotency: no sidecar at %s (is the layer attached?): %w", c.url, err)
	case err != nil:
		return fmt.Errorf("idempotency: %s: %w", path, err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("idempotency: %s: %w", path, err)
	}
	if res.StatusCode != http.StatusOK {
		p := &ProblemError{Status: res.StatusCode}
		if json.Unmarshal(got, p) != nil || p.Code == "" {
			return fmt.Errorf("idempotency: %s answered %d; is something else on that port?", path, res.StatusCode)
		}
		return p
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(got, answer); err != nil {
		return fmt.Errorf("idempotency: %s: %w", path, err)
	}
	return nil
}

// Do runs fn once per key and returns its result; a duplicate gets the result of
// the run that was. An error of fn frees the key for a retry.
//
// Errors: fn's own; *InProgressError while another run holds the key;
// *FailedError after a final failure; *ProblemError; or that the sidecar is not
// there. Where the work was done but its end could not be stored, the result is
// returned together with the error.
func Do[T any](ctx context.Context, key string, fn func(context.Context) (T, error)) (T, error) {
	return DoWith(ctx, defaultClient(), AcquireRequest{Key: key}, fn)
}

// DoWith is Do with a client and an acquire of one's own.
func DoWith[T any](ctx context.Context, c *Client, req AcquireRequest, fn func(context.Context) (T, error)) (T, error) {
	var result T
	out, err := c.Acquire(ctx, req)
	if err != nil {
		return result, err
	}
	switch out.Status {
	case "completed":
		if out.Result == nil {
			return result, nil
		}
		if err := json.Unmarshal(out.Result, &result); err != nil {
			return result, fmt.Errorf("idempotency: the stored result does not fit %T: %w", result, err)
		}
		return result, nil
	case "failed":
		return result, out.Error
	case "in_progress":
		return result, &InProgressError{RequestID: out.RequestID, RetryAfter: time.Duration(out.RetryAfterMS) * time.Millisecond}
	}
	// The claim's end is told even if the work's own context has ended.
	end := context.WithoutCancel(ctx)
	result, err = fn(ctx)
	if err != nil {
		return result, errors.Join(err, c.Fail(end, out.Token, err, true))
	}
	return result, c.Complete(end, out.Token, result)
}
