// Package lambdahandler runs handlers of aws-lambda-go once per key.
//
//	type Job struct{ JobID, ObjKey string }
//
//	func handle(ctx context.Context, job Job) (Receipt, error) { … }
//
//	func main() {
//		lambda.Start(lambdahandler.Wrap(handle, client.AcquireRequest{KeyJMESPath: "[JobID, ObjKey]"}))
//	}
//
// The invocation's request id and its deadline are those of the context. The
// sidecar gets the event as it came, so that numbers keep all their digits, and a
// duplicate is answered with the JSON that the first run was answered with.
//
// A duplicate of a run that is still going on, or that failed for good, fails with
// *client.InProgressError or *client.FailedError: Lambda then retries what was
// invoked asynchronously, or comes from a queue. A handler that would rather answer
// those calls client.DoWith with the context of [WithRequestID] itself.
package lambdahandler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

// Handler is what lambda.Start takes.
type Handler = func(context.Context, json.RawMessage) (json.RawMessage, error)

// Wrap makes handle run once per key. The request says what the key is and what
// else is asked for; without a key and an event in it, the invocation's event is
// what the key is selected from, with KeyJMESPath or whole. What differs from one
// event to the next, such as the payload, perEvent sets.
//
// A handler that returns an io.Reader, which Lambda streams, cannot be wrapped: its
// response would not be stored. Wrap panics.
//
// Errors: those of client.DoWith, or that the event is not an E.
func Wrap[E, R any](handle func(context.Context, E) (R, error), request client.AcquireRequest, perEvent ...func(E, *client.AcquireRequest)) Handler {
	if result := reflect.TypeFor[R](); result.Implements(reflect.TypeFor[io.Reader]()) {
		panic(fmt.Sprintf("lambdahandler: a handler that returns %v streams its response, which cannot be stored; put client.Do around the part of it that must not be done twice", result))
	}
	c := client.New()
	return func(ctx context.Context, raw json.RawMessage) (json.RawMessage, error) {
		var event E
		if err := json.Unmarshal(raw, &event); err != nil {
			return nil, err
		}
		req := request
		for _, set := range perEvent {
			set(event, &req)
		}
		if req.Key == nil && req.Event == nil {
			req.Event = raw
		}
		return client.DoWith(WithRequestID(ctx), c, req, func(ctx context.Context) (json.RawMessage, error) {
			result, err := handle(ctx, event)
			if err != nil {
				return nil, err
			}
			return encode(result)
		})
	}
}

// WrapErr is Wrap for a handler that returns nothing but an error.
func WrapErr[E any](handle func(context.Context, E) error, request client.AcquireRequest, perEvent ...func(E, *client.AcquireRequest)) Handler {
	return Wrap(func(ctx context.Context, event E) (any, error) { return nil, handle(ctx, event) }, request, perEvent...)
}

// WithRequestID tells the client's calls with this context in which invocation they
// are made. The context is the one that the handler got.
func WithRequestID(ctx context.Context) context.Context {
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		return client.WithRequestID(ctx, lc.AwsRequestID)
	}
	return ctx
}

// encode writes a response as aws-lambda-go does: without escapes for HTML.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
