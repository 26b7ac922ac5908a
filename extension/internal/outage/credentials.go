package outage

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"time"
)

// credentialsEndpoint gives out credentials as a container's agent does; Lambda
// has one under SnapStart:
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
type credentialsEndpoint struct {
	url    string
	server *http.Server
	done   chan struct{}

	mu     sync.Mutex
	id     string // the access key's
	lasts  time.Duration
	silent bool
}

// Access keys' ids; DynamoDB Local takes letters and digits only.
const (
	firstKey  = "first"
	secondKey = "second"
)

func startCredentials(ctx context.Context, lasts time.Duration) (*credentialsEndpoint, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &credentialsEndpoint{url: "http://" + l.Addr().String(), done: make(chan struct{}), id: firstKey, lasts: lasts}
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: time.Minute}
	go func() { _ = c.server.Serve(l) }()
	return c, nil
}

func (c *credentialsEndpoint) stop() {
	close(c.done)
	_ = c.server.Close()
}

// set says what is given out from now on.
func (c *credentialsEndpoint) set(id string, silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id, c.silent = id, silent
}

func (c *credentialsEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	id, lasts, silent := c.id, c.lasts, c.silent
	c.mu.Unlock()
	if silent {
		select {
		case <-r.Context().Done():
		case <-c.done:
		}
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{
		"AccessKeyId": id, "SecretAccessKey": "secret", "Token": "session",
		"Expiration": time.Now().Add(lasts).UTC().Format(time.RFC3339),
	})
}

func (c *credentialsEndpoint) env() []string {
	return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + c.url, "AWS_CONTAINER_AUTHORIZATION_TOKEN=token"}
}
