package client

import (
	"context"
	"time"
)

// Claim is the right to do the work of a key, until its lease ends.
type Claim struct {
	// Token is the only way to end or renew the claim. It is a secret.
	Token string
	// Fence is a number that only grows for a key. Handed to a downstream store, it
	// keeps out the late writes of a run that has lost its claim.
	Fence int64
	// Attempt is the number of this run of the work, from 1.
	Attempt int
	// LeaseExpiresAt is when the claim lapses; also set with InProgress, where it is
	// that of the other's claim.
	LeaseExpiresAt time.Time
	// PreviousError is what the run before this one failed with; nil if none did.
	PreviousError *Failure
	// Unprotected tells that the store was away, or idempotency disabled: nothing
	// keeps a second run out.
	Unprotected bool

	client *Client
}

// Renew gives the claim a new lease, from now on; 0: as long as the sidecar knows
// the invocation to last. It tells until when the claim holds: no renewal shortens
// a lease. Errors: as [Client.Renew].
func (c *Claim) Renew(ctx context.Context, lease time.Duration) (time.Time, error) {
	return c.client.Renew(ctx, c.Token, lease)
}

type claimInContext struct{}

// ClaimFrom is the claim under which the work runs: the context is the one that
// [Do] or [DoWith] gave to the work.
func ClaimFrom(ctx context.Context) (*Claim, bool) {
	claim, ok := ctx.Value(claimInContext{}).(*Claim)
	return claim, ok
}

type requestIDInContext struct{}

// WithRequestID tells calls with this context the id of the invocation that they
// are made in. It lets the sidecar free the key when that ends without a word.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDInContext{}, id)
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDInContext{}).(string)
	return id
}
