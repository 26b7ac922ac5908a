package outage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

// patience bounds what is waited for and has no other bound.
const patience = 30 * time.Second

// sidecar is the program, running outside Lambda.
type sidecar struct {
	*program.Process
	client *http.Client
}

func startSidecar(ctx context.Context, binary, folder string, env []string) (*sidecar, error) {
	p, err := program.Serve(ctx, folder, []string{binary}, append([]string{"HOME=" + folder}, env...)...)
	if err != nil {
		return nil, err
	}
	return &sidecar{p, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}, nil
}

func (s *sidecar) stop() {
	s.Kill()
	s.client.CloseIdleConnections()
}

func (s *sidecar) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+path, nil)
	if err != nil {
		return "", err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// Answer is what the sidecar answered to a call.
type Answer struct {
	// Took is the time that passed until the answer was there, and Left what was
	// left then until the caller's deadline.
	Took, Left time.Duration
	HTTP       int
	RetryAfter string
	// Body's members that matter.
	Status      string          `json:"-"`
	Code        string          `json:"code"`
	Detail      string          `json:"detail"`
	Token       string          `json:"token"`
	Attempt     int             `json:"attempt"`
	Result      json.RawMessage `json:"result"`
	Unprotected bool            `json:"unprotected"`
}

// OK tells whether the call was carried out.
func (a Answer) OK() bool { return a.HTTP == http.StatusOK }

// String is the answer in the words of the API.
func (a Answer) String() string {
	switch {
	case !a.OK():
		return fmt.Sprintf("%d %s", a.HTTP, a.Code)
	case a.Unprotected:
		return fmt.Sprintf("%d %s, unprotected", a.HTTP, a.Status)
	}
	return fmt.Sprintf("%d %s", a.HTTP, a.Status)
}

// post makes a call whose caller's invocation ends at the deadline, and waits
// for its answer however long that takes.
func (s *sidecar) post(ctx context.Context, path string, body any, deadline time.Time) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+path, bytes.NewReader(text))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	start := time.Now()
	res, err := s.client.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w: %s", path, err, s.Printed())
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Took: time.Since(start), Left: time.Until(deadline), HTTP: res.StatusCode, RetryAfter: res.Header.Get("Retry-After")}
	if err := json.Unmarshal(got, &a); err != nil {
		return Answer{}, fmt.Errorf("%s answered %w: %s", path, err, got)
	}
	if a.OK() { // A problem's status is the number that HTTP has.
		var ok struct{ Status string }
		if err := json.Unmarshal(got, &ok); err != nil {
			return Answer{}, fmt.Errorf("%s answered %w: %s", path, err, got)
		}
		a.Status = ok.Status
	}
	return a, nil
}
