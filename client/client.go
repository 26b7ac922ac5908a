package client

import (
	"cmp"
	"os"
	"time"
)

// Client calls one sidecar. Its methods may be called at the same time. The zero
// Client calls that of this environment. All clients share their connections.
type Client struct {
	// URL is where the sidecar listens. Empty: at http://127.0.0.1, on the port
	// that IDEMPOTENCY_PORT (2774) names at the time of the call.
	URL string
	// Secret is what callers prove themselves with. Empty: IDEMPOTENCY_AUTH_TOKEN,
	// AWS_SESSION_TOKEN or AWS_CONTAINER_AUTHORIZATION_TOKEN, the first that is set
	// at the time of the call.
	Secret string

	// patience is how long a call is waited for, besides what it asks to wait.
	patience time.Duration
}

// New makes a client of the sidecar in this environment.
func New() *Client { return &Client{} }

func (c *Client) url() string {
	return cmp.Or(c.URL, "http://127.0.0.1:"+cmp.Or(os.Getenv("IDEMPOTENCY_PORT"), "2774"))
}

func (c *Client) secret() string {
	return cmp.Or(c.Secret, os.Getenv("IDEMPOTENCY_AUTH_TOKEN"), os.Getenv("AWS_SESSION_TOKEN"), os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
}

// disabled tells whether the work is to run without a sidecar: in unit tests.
func disabled() bool { return os.Getenv("IDEMPOTENCY_DISABLED") == "true" }
