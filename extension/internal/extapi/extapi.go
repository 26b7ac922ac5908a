// Package extapi is a client of Lambda's Extensions API:
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
package extapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// The events.
const (
	Invoke   = "INVOKE"
	Shutdown = "SHUTDOWN"
)

const (
	nameHeader      = "Lambda-Extension-Name"
	idHeader        = "Lambda-Extension-Identifier"
	errorTypeHeader = "Lambda-Extension-Function-Error-Type"
	// maxAnswer is far above the few hundred bytes of an event, and maxShown is
	// how much of an answer an error tells.
	maxAnswer = 1 << 20
	maxShown  = 512
)

// Event is an answer to Next.
type Event struct {
	Type string `json:"eventType"`
	// DeadlineMS is when the invocation, or the shutdown, must be over, in epoch
	// milliseconds.
	DeadlineMS int64  `json:"deadlineMs"`
	RequestID  string `json:"requestId"`
	// ShutdownReason is why the environment ends. Its spelling differs between
	// the service and the emulator: compare it without case.
	ShutdownReason string `json:"shutdownReason"`
}

// Deadline is DeadlineMS as a time.
func (e Event) Deadline() time.Time { return time.UnixMilli(e.DeadlineMS) }

// StatusError is an answer of the API that is not a success.
type StatusError struct {
	Call   string
	Status int
	// Body is the answer's beginning.
	Body string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("extensions API: %s answered %d: %s", e.Call, e.Status, e.Body)
}

// Refused tells whether Register was refused for an event: on Lambda Managed
// Instances an extension gets no INVOKE.
// https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html
func Refused(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Status == http.StatusForbidden
}

// Client talks to the Extensions API. Register comes before all other calls.
type Client struct {
	base string
	name string
	id   string
	http *http.Client
}

// New makes a client for the API at address (AWS_LAMBDA_RUNTIME_API). The name
// must be the file name of the extension's binary. The transport carries the
// calls in tests; nil: one made for Lambda.
func New(address, name string, transport http.RoundTripper) *Client {
	if transport == nil {
		// One of its own: no proxy, and no timeout on an answer that may be hours away.
		transport = &http.Transport{MaxIdleConnsPerHost: 2}
	}
	return &Client{
		base: "http://" + address + "/2020-01-01/extension/",
		name: name,
		http: &http.Client{Transport: transport},
	}
}

// Register tells Lambda of the extension and the events it wants.
func (c *Client) Register(ctx context.Context, events ...string) error {
	body, err := json.Marshal(map[string][]string{"events": events})
	if err != nil {
		return err
	}
	header, _, err := c.call(ctx, http.MethodPost, "register", body, nameHeader, c.name)
	if err != nil {
		return err
	}
	c.id = header.Get(idHeader)
	if c.id == "" {
		return fmt.Errorf("extensions API: register answered without %s", idHeader)
	}
	return nil
}

// Next says that the extension is ready and waits for the next event, without
// a time limit: the environment may be frozen for hours.
func (c *Client) Next(ctx context.Context) (Event, error) {
	_, body, err := c.call(ctx, http.MethodGet, "event/next", nil, idHeader, c.id)
	if err != nil {
		return Event{}, err
	}
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, fmt.Errorf("extensions API: event/next answered what is not an event: %w", err)
	}
	return e, nil
}

// InitError reports that the extension cannot start; the process must then end.
func (c *Client) InitError(ctx context.Context, errorType string, cause error) error {
	return c.report(ctx, "init/error", errorType, cause)
}

// ExitError reports that the extension cannot go on; the process must then end.
func (c *Client) ExitError(ctx context.Context, errorType string, cause error) error {
	return c.report(ctx, "exit/error", errorType, cause)
}

func (c *Client) report(ctx context.Context, call, errorType string, cause error) error {
	body, err := json.Marshal(map[string]any{"errorType": errorType, "errorMessage": cause.Error(), "stackTrace": []string{}})
	if err != nil {
		return err
	}
	_, _, err = c.call(ctx, http.MethodPost, call, body, idHeader, c.id, errorTypeHeader, errorType)
	return err
}

func (c *Client) call(ctx context.Context, method, call string, body []byte, headers ...string) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+call, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("extensions API: %s: %w", call, err)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("extensions API: %s: %w", call, err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case res.StatusCode/100 != 2:
		return nil, nil, &StatusError{Call: call, Status: res.StatusCode, Body: strings.ToValidUTF8(string(answer[:min(len(answer), maxShown)]), "")}
	case err != nil:
		return nil, nil, fmt.Errorf("extensions API: %s: %w", call, err)
	case len(answer) > maxAnswer:
		return nil, nil, fmt.Errorf("extensions API: %s answered with over %d bytes", call, maxAnswer)
	}
	return res.Header, answer, nil
}
