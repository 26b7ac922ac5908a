package emulator

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"
)

// Result is what the caller of the function gets.
type Result struct {
	Status int
	Header http.Header
	Body   []byte
	Took   time.Duration
}

// busyLimit is how long the emulator's own refusals are tried again. Managed mode's: a worker that has just answered, or a function that has just
// started, is a moment away from asking for the next event. A refusal after that means that all workers are busy.
const busyLimit = 300 * time.Millisecond

func (r Result) busy() bool {
	return r.Status == http.StatusBadRequest && bytes.Contains(r.Body, []byte(`"Runtime.Unavailable"`))
}

// resetting tells whether the call met the end of the last environment's reset, as one that follows at once now and then does on a
// busy machine. It is tried again: no part of the function has run.
func (r Result) resetting() bool { return bytes.Contains(r.Body, []byte("Error: ErrGateCanceled")) }

// Address is host and port of the emulator's Invoke API.
func (e *Emulator) Address() string { return e.address }

// Invoke calls the function. In standard mode calls queue up, since an environment has one at a time and the emulator dies of a
// second; when ctx ends, Invoke returns, and the next one still waits until this one is over.
// Headers worth sending: X-Amzn-Trace-Id and, in managed mode, X-Amzn-RequestId.
func (e *Emulator) Invoke(ctx context.Context, payload []byte, headers ...http.Header) (Result, error) {
	if !e.managed {
		select {
		case e.invoking <- struct{}{}:
		case <-ctx.Done():
			return Result{}, ctx.Err()
		}
	}
	type answer struct {
		result Result
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		for deadline := time.Now().Add(busyLimit); ; time.Sleep(2 * time.Millisecond) {
			a.result, a.err = e.post(context.WithoutCancel(ctx), payload, headers)
			if !a.result.busy() && !a.result.resetting() || time.Now().After(deadline) || ctx.Err() != nil {
				break
			}
		}
		if !e.managed {
			<-e.invoking
		}
		done <- a
	}()
	select {
	case a := <-done:
		return a.result, a.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// client keeps no connection: leak checks of tests would find it.
var client = http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}

func (e *Emulator) post(ctx context.Context, payload []byte, headers []http.Header) (Result, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+e.address+"/2015-03-31/functions/function/invocations", bytes.NewReader(payload))
	if err != nil {
		return Result{}, err
	}
	for _, h := range headers {
		for name, values := range h {
			req.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	start := time.Now()
	res, err := client.Do(req)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return Result{Status: res.StatusCode, Header: res.Header, Body: body, Took: time.Since(start)}, err
}
