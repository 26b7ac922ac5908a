package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

// goClient starts a local server, in memory, and makes it that of the environment.
func goClient(t *testing.T) *client.Client {
	t.Helper()
	port := localServer(t, "IDEMPOTENCY_STORE=memory "+built.extensions+"/lambda-idempotency")
	t.Setenv("IDEMPOTENCY_PORT", port)
	t.Setenv("IDEMPOTENCY_AUTH_TOKEN", "")
	t.Setenv("AWS_SESSION_TOKEN", "")
	return client.New()
}

func works(result string, err error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return result, err }
}

// TestGoClient runs the Go client against a local server.
func TestGoClient(t *testing.T) {
	c := goClient(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	once := func(key string, fn func(context.Context) (string, error)) (string, error) {
		return client.Do(ctx, key, fn)
	}

	for _, result := range []string{"first", "second"} {
		if got, err := once("done", works(result, nil)); err != nil || got != "first" {
			t.Errorf("%q, %v", got, err)
		}
	}

	// An error of the work frees the key, and so does a panic. The next run is told.
	broken := errors.New("the work is broken")
	if _, err := once("retried", works("", broken)); err != broken { //nolint:errorlint // As it was.
		t.Errorf("%v, want the work's own error", err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = once("retried", func(context.Context) (string, error) { panic("the work panicked") })
	}()
	got, err := once("retried", func(ctx context.Context) (string, error) {
		claim, ok := client.ClaimFrom(ctx)
		if !ok || claim.Attempt != 3 || *claim.PreviousError != (client.Failure{Type: "panic", Message: "the work panicked"}) {
			t.Errorf("the claim is %+v", claim)
		}
		return "mended", nil
	})
	if err != nil || got != "mended" {
		t.Errorf("%q, %v", got, err)
	}

	// While it runs, others are told so.
	_, err = once("running", func(context.Context) (string, error) {
		_, err := once("running", works("", nil))
		if running, ok := errors.AsType[*client.InProgressError](err); !ok || running.RetryAfter <= 0 {
			t.Errorf("%v, want that it is in progress", err)
		}
		return "", nil
	})
	if err != nil {
		t.Error(err)
	}

	if _, err := once("final", works("", client.Final(broken))); err != broken { //nolint:errorlint // As it was.
		t.Errorf("%v, want the work's own error", err)
	}
	_, err = once("final", works("", nil))
	if failed, ok := errors.AsType[*client.FailedError](err); !ok || failed.Message != broken.Error() {
		t.Errorf("%v, want that it failed for good", err)
	}

	_, err = once("", works("", nil))
	if problem, ok := errors.AsType[*client.ProblemError](err); !ok || problem.Code != "key_invalid" {
		t.Errorf("%v, want a problem", err)
	}
	err = c.Complete(ctx, "no token", nil)
	if problem, ok := errors.AsType[*client.ProblemError](err); !ok || problem.Code != "claim_unknown" {
		t.Errorf("%v, want a problem", err)
	}

	t.Setenv("IDEMPOTENCY_PORT", strconv.Itoa(emulator.FreePort(t)))
	if _, err := once("k", works("", nil)); err == nil || !strings.Contains(err.Error(), "is the layer attached, or the local server started?") {
		t.Errorf("%v, want that no sidecar is there", err)
	}
}

// TestGoClientOptions shows what each member of a request does.
func TestGoClientOptions(t *testing.T) {
	c := goClient(t)
	ctx := client.WithRequestID(t.Context(), "r1")
	do := func(req client.AcquireRequest, result string) (string, error) {
		return client.DoWith(ctx, c, req, works(result, nil))
	}
	pair := client.AcquireRequest{Key: client.Key{"user", "order"}, Payload: map[string]int{"amount": 10}}
	for _, result := range []string{"first", "second"} {
		if got, err := do(pair, result); got != "first" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	other := pair
	other.Payload = map[string]int{"amount": 11}
	if _, err := do(other, ""); !isA[*client.PayloadMismatchError](err) {
		t.Errorf("%v", err)
	}
	other.Scope = new("shop")
	if got, err := do(other, "in another scope"); got != "in another scope" || err != nil {
		t.Errorf("%q, %v", got, err)
	}

	for _, id := range []string{"12345678901234567890", "12345678901234567891"} {
		event := client.AcquireRequest{Event: json.RawMessage(`{"id":` + id + `}`), KeyJMESPath: "id"}
		if got, err := do(event, id); got != id || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}

	// The claim holds until the context's deadline, unless something else is asked.
	within, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	deadline, _ := within.Deadline()
	out, err := c.Acquire(within, client.AcquireRequest{Key: client.Key{"held"}})
	if err != nil || out.LeaseExpiresAt.UnixMilli() != deadline.UnixMilli() || out.Fence == 0 {
		t.Errorf("%+v, %v; the deadline is %v", out, err, deadline)
	}
	until, err := out.Renew(ctx, 2*time.Hour)
	if err != nil || !until.After(deadline) {
		t.Errorf("renewed until %v, %v", until, err)
	}
	busy, err := c.Acquire(within, client.AcquireRequest{Key: client.Key{"held"}, Lease: time.Second})
	if err != nil || busy.Status != client.InProgress || busy.RequestID != "r1" || !busy.LeaseExpiresAt.Equal(until) {
		t.Errorf("%+v, %v", busy, err)
	}
	if err := c.Complete(ctx, out.Token, "<&>"); err != nil {
		t.Error(err)
	}
	done, err := c.Acquire(ctx, client.AcquireRequest{Key: client.Key{"held"}})
	if err != nil || string(done.Result) != `"<&>"` || done.RequestID != "r1" || done.EndedAt.IsZero() {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := out.Renew(ctx, time.Hour); !isA[*client.ClaimLostError](err) {
		t.Errorf("%v", err)
	}

	// The outcome is forgotten after its TTL.
	brief := client.AcquireRequest{Key: client.Key{"brief"}, TTL: time.Millisecond}
	if _, err := do(brief, "first"); err != nil {
		t.Error(err)
	}
	time.Sleep(2100 * time.Millisecond)
	if got, err := do(brief, "second"); got != "second" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestGoClientClaimLost runs work that outlasts its claim.
func TestGoClientClaimLost(t *testing.T) {
	c := goClient(t)
	req := client.AcquireRequest{Key: client.Key{"k"}, Lease: 100 * time.Millisecond, Wait: time.Minute}
	got, err := client.DoWith(t.Context(), c, req, func(ctx context.Context) (string, error) {
		// Another run takes the key when the lease has ended by every clock.
		return "late", onlyError(client.DoWith(ctx, c, req, works("in time", nil)))
	})
	lost, ok := errors.AsType[*client.ClaimLostError](err)
	if !ok || lost.Result != "late" || got != "late" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := client.DoWith(t.Context(), c, req, works("", nil)); got != "in time" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestGoClientAtOnce runs the same work many times at once: it is done once, and
// all are told its result.
func TestGoClientAtOnce(t *testing.T) {
	c := goClient(t)
	var runs atomic.Int32
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			got, err := client.DoWith(t.Context(), c, client.AcquireRequest{Key: client.Key{"k"}, Wait: time.Minute}, func(context.Context) (int32, error) {
				time.Sleep(50 * time.Millisecond)
				return runs.Add(1), nil
			})
			if got != 1 || err != nil {
				t.Error(got, err)
			}
		})
	}
	callers.Wait()
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func onlyError[T any](_ T, err error) error { return err }
