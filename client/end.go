package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Complete ends the claim with a result, any JSON, which duplicates get; nil is
// null. It can be repeated.
//
// Errors: *ClaimLostError, *UnavailableError, *ProblemError, or that the result is
// not JSON.
func (c *Client) Complete(ctx context.Context, token string, result any) error {
	text, err := encode(result)
	if err != nil {
		return fmt.Errorf("idempotency: the result is not JSON: %w", err)
	}
	return c.complete(ctx, token, text)
}

func (c *Client) complete(ctx context.Context, token string, result json.RawMessage) error {
	if disabled() {
		return nil
	}
	return c.call(ctx, "/complete", struct {
		Token  string          `json:"token"`
		Result json.RawMessage `json:"result"`
	}{token, result}, nil, 0)
}

// Fail ends the claim of work that failed, and keeps the type and the message of
// the error. The key is free again, or, if cause is [Final], the failure is.
// It can be repeated.
//
// Errors: as [Client.Complete].
func (c *Client) Fail(ctx context.Context, token string, cause error) error {
	if cause == nil {
		return c.fail(ctx, token, nil, true)
	}
	return c.fail(ctx, token, failureOf(cause), !isFinal(cause))
}

func (c *Client) fail(ctx context.Context, token string, failure *Failure, retry bool) error {
	if disabled() {
		return nil
	}
	return c.call(ctx, "/fail", failBody{token, retry, failure}, nil, 0)
}

type failBody struct {
	Token string   `json:"token"`
	Retry bool     `json:"retry"`
	Error *Failure `json:"error,omitempty"`
}

// Renew gives the claim a new lease, from now on; 0: as long as the sidecar knows
// the invocation to last. It tells until when the claim holds: no renewal shortens
// a lease.
//
// Errors: *ClaimLostError, *UnavailableError, *ProblemError.
func (c *Client) Renew(ctx context.Context, token string, lease time.Duration) (time.Time, error) {
	if disabled() {
		return time.Now().Add(lease), nil
	}
	var told struct {
		LeaseExpiresAt int64 `json:"lease_expires_at"`
	}
	err := c.call(ctx, "/renew", struct {
		Token string `json:"token"`
		Lease int64  `json:"lease_ms,omitempty"`
	}{token, whole(lease, time.Millisecond)}, &told, 0)
	return moment(told.LeaseExpiresAt), err
}
