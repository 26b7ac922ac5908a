package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
)

// Do runs fn once per key, in this environment's sidecar, and returns its result;
// a duplicate gets the result of the run that was, decoded from its JSON. An error
// of fn is returned as it was, and frees the key for a retry unless it is
// [Final]; so does a panic, which goes on.
//
// The context that fn gets has the claim: [ClaimFrom].
//
// Errors: see the package's documentation.
func Do[T any](ctx context.Context, key string, fn func(context.Context) (T, error)) (T, error) {
	return DoWith(ctx, New(), AcquireRequest{Key: Key{key}}, fn)
}

// DoWith is Do with a client and an acquire of one's own.
func DoWith[T any](ctx context.Context, c *Client, req AcquireRequest, fn func(context.Context) (T, error)) (T, error) {
	var none T
	out, err := c.Acquire(ctx, req)
	if err != nil {
		return none, err
	}
	switch out.Status {
	case Acquired:
		return run(ctx, c, &out.Claim, fn)
	case Completed:
		return replay[T](ctx, out)
	}
	return none, out.refusal()
}

// refusal is the error of an outcome that leaves the work neither to do nor done.
func (out Outcome) refusal() error {
	switch out.Status {
	case Failed:
		failed := &FailedError{RequestID: out.RequestID}
		if out.Error != nil {
			failed.Type, failed.Message = out.Error.Type, out.Error.Message
		}
		return failed
	case InProgress:
		return &InProgressError{RequestID: out.RequestID, RetryAfter: out.RetryAfter, LeaseExpiresAt: out.LeaseExpiresAt}
	}
	return &ProblemError{Status: http.StatusOK, Detail: fmt.Sprintf("/acquire was answered with the status %q, which this client does not know", out.Status)}
}

// replay decodes the stored result.
func replay[T any](ctx context.Context, out Outcome) (T, error) {
	var result T
	if out.ResultOmitted {
		slog.WarnContext(ctx, "idempotency: the result of the run that was is not known: it was too large to be stored", "request_id", out.RequestID)
		return result, nil
	}
	if len(out.Result) == 0 {
		return result, nil
	}
	if err := json.Unmarshal(out.Result, &result); err != nil {
		return result, fmt.Errorf("idempotency: the stored result does not fit %T: %w", result, err)
	}
	return result, nil
}

// run does the work under the claim and ends it.
func run[T any](ctx context.Context, c *Client, claim *Claim, fn func(context.Context) (T, error)) (T, error) {
	// The claim's end is told even if the work's own context has ended.
	end := context.WithoutCancel(ctx)
	returned := false
	defer func() {
		if !returned {
			v := recover()
			logUnstored(ctx, c.fail(end, claim.Token, failureOfPanic(v), true))
			if v != nil {
				panic(v)
			}
		}
	}()
	result, err := fn(context.WithValue(ctx, claimInContext{}, claim))
	var text json.RawMessage
	if err == nil {
		if text, err = encode(result); err != nil {
			err = fmt.Errorf("idempotency: the result is not JSON: %w", err)
		}
	}
	returned = true
	if err != nil {
		// What goes wrong here must not hide the work's own error.
		logUnstored(ctx, c.Fail(end, claim.Token, err))
		return result, unmarked(err)
	}
	err = c.complete(end, claim.Token, text)
	var problem *ProblemError
	if errors.As(err, &problem) && problem.Code == "too_large" {
		slog.WarnContext(ctx, "idempotency: the result is too large to be stored; duplicates get none", "bytes", len(text))
		err = c.complete(end, claim.Token, json.RawMessage("null"))
	}
	var lost *ClaimLostError
	if errors.As(err, &lost) {
		lost.Result = result
		return result, lost
	}
	logUnstored(ctx, err)
	return result, nil
}

func logUnstored(ctx context.Context, err error) {
	if err != nil {
		slog.WarnContext(ctx, "idempotency: the work has ended, but that could not be stored", "error", err)
	}
}

// failureOfPanic is what is stored of a panic; v is nil after runtime.Goexit.
func failureOfPanic(v any) *Failure {
	if v == nil {
		return &Failure{Type: "runtime.Goexit", Message: "the work's goroutine was ended"}
	}
	return &Failure{Type: "panic", Message: fmt.Sprint(v)}
}
