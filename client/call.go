package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// patience is how long a call is waited for. The sidecar answers long before.
const patience = 15 * time.Second

// connections are shared by all clients. No proxy: the sidecar is on loopback. No
// redirects: whoever else answers must not send the secret on.
var connections = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// call posts body and decodes the answer, unless answer is nil. It is given up
// after wait and the client's patience.
func (c *Client) call(ctx context.Context, path string, body, answer any, wait time.Duration) error {
	text, err := encodeFor(path, body)
	if err != nil {
		return err
	}
	return c.send(ctx, path, text, answer, wait)
}

// send is call with the JSON of a body.
func (c *Client) send(ctx context.Context, path string, text []byte, answer any, wait time.Duration) error {
	limit := wait + cmp.Or(c.patience, patience)
	calling, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	status, header, got, err := c.post(calling, path, text)
	if err != nil && calling.Err() == nil && !errors.Is(err, syscall.ECONNREFUSED) {
		// The connection broke. Each call may be repeated: the sidecar knows an
		// acquire by its client token, and the end of a claim by its token. After a
		// freeze more than one idle connection may be dead: take a new one.
		connections.CloseIdleConnections()
		status, header, got, err = c.post(calling, path, text)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &UnavailableError{Err: fmt.Errorf("no sidecar at %s (is the layer attached, or the local server started?): %w", c.url(), err)}
	case err != nil && ctx.Err() != nil:
		return &UnavailableError{Err: fmt.Errorf("%s was given up, because the context ended: %w", path, err)}
	case err != nil && calling.Err() != nil:
		return &UnavailableError{Err: fmt.Errorf("%s was not answered within %v: %w", path, limit, err)}
	case err != nil:
		return &UnavailableError{Err: fmt.Errorf("%s was not answered: %w", path, err)}
	case status != http.StatusOK:
		return problem(path, status, header, got)
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(got, answer); err != nil {
		return notOfSidecar(path, err)
	}
	return nil
}

// post sends one request and reads all of the answer.
func (c *Client) post(ctx context.Context, path string, body []byte) (status int, header http.Header, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url()+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if secret := c.secret(); secret != "" {
		req.Header.Set("X-Idempotency-Auth", secret)
	}
	res, err := connections.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, res.Header, answer, err
}

// problem is the error for an answer that is not 200.
func problem(path string, status int, header http.Header, body []byte) error {
	var told struct{ Code, Detail string }
	if json.Unmarshal(body, &told) != nil || told.Code == "" {
		return &ProblemError{Status: status, Detail: fmt.Sprintf("%s was answered with %d, not by a sidecar; is something else on that port?", path, status)}
	}
	seconds, _ := strconv.Atoi(header.Get("Retry-After"))
	return named(ProblemError{Status: status, Code: told.Code, Detail: told.Detail}, time.Duration(seconds)*time.Second)
}

// named is a problem as the error that it is known by.
func named(p ProblemError, retryAfter time.Duration) error {
	switch {
	case p.Status == http.StatusServiceUnavailable:
		return &UnavailableError{Code: p.Code, RetryAfter: retryAfter, Err: &p}
	case p.Code == "payload_mismatch":
		return &PayloadMismatchError{p}
	case p.Code == "claim_lost":
		return &ClaimLostError{ProblemError: p}
	}
	return &p
}

// encodeFor is the JSON of what is to be sent.
func encodeFor(path string, body any) ([]byte, error) {
	text, err := encode(body)
	var invalid *ProblemError
	if errors.As(err, &invalid) {
		return nil, invalid
	}
	if err != nil {
		return nil, fmt.Errorf("idempotency: what is sent to %s is not JSON: %w", path, err)
	}
	return text, nil
}

// encode is the JSON of v, without the escapes that only HTML needs: a stored
// result reads like the function's own response.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
