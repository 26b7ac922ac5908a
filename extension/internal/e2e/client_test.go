package e2e_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

// TestGoClient runs the Go client against a local server.
func TestGoClient(t *testing.T) {
	port := localServer(t, "IDEMPOTENCY_STORE=memory "+built.extensions+"/lambda-idempotency")
	t.Setenv("IDEMPOTENCY_PORT", port)
	t.Setenv("IDEMPOTENCY_AUTH_TOKEN", "")
	t.Setenv("AWS_SESSION_TOKEN", "")
	c := client.New()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	work := func(result string, err error) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return result, err }
	}
	once := func(key string, fn func(context.Context) (string, error)) (string, error) {
		return client.DoWith(ctx, c, client.AcquireRequest{Key: key}, fn)
	}

	for _, result := range []string{"first", "second"} {
		if got, err := once("done", work(result, nil)); err != nil || got != "first" {
			t.Errorf("%q, %v", got, err)
		}
	}

	// An error of the work frees the key.
	broken := errors.New("the work is broken")
	if _, err := once("retried", work("", broken)); !errors.Is(err, broken) {
		t.Errorf("%v, want the work's own error", err)
	}
	if got, err := once("retried", work("mended", nil)); err != nil || got != "mended" {
		t.Errorf("%q, %v", got, err)
	}

	// While it runs, others are told so.
	_, err := once("running", func(context.Context) (string, error) {
		_, err := once("running", work("", nil))
		var running *client.InProgressError
		if !errors.As(err, &running) || running.RetryAfter <= 0 {
			t.Errorf("%v, want that it is in progress", err)
		}
		return "", nil
	})
	if err != nil {
		t.Error(err)
	}

	out, err := c.Acquire(ctx, client.AcquireRequest{Key: "final"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Fail(ctx, out.Token, broken, false); err != nil {
		t.Fatal(err)
	}
	var failed *client.FailedError
	if _, err := once("final", work("", nil)); !errors.As(err, &failed) || failed.Message != broken.Error() {
		t.Errorf("%v, want that it failed for good", err)
	}

	var problem *client.ProblemError
	if _, err := once("", work("", nil)); !errors.As(err, &problem) || problem.Code != "key_invalid" {
		t.Errorf("%v, want a problem", err)
	}
	if err := c.Complete(ctx, "no token", nil); !errors.As(err, &problem) || problem.Code != "claim_unknown" {
		t.Errorf("%v, want a problem", err)
	}

	t.Setenv("IDEMPOTENCY_PORT", strconv.Itoa(emulator.FreePort(t)))
	if _, err := client.DoWith(ctx, client.New(), client.AcquireRequest{Key: "k"}, work("", nil)); err == nil || !strings.Contains(err.Error(), "is the layer attached?") {
		t.Errorf("%v, want that no sidecar is there", err)
	}
}
