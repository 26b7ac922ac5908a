package lambdahandler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/clienttest"
	"github.com/lambda-idempotency/lambda-idempotency/client/lambdahandler"
)

type job struct {
	JobID  string `json:"JobId"`
	ObjKey string
	Amount int
}

type receipt struct{ URL string }

var byJob = client.AcquireRequest{KeyJMESPath: "[JobId, ObjKey]"}

// invoke calls a handler as aws-lambda-go does.
func invoke(t *testing.T, handler lambdahandler.Handler, id, event string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx = lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: id})
	out, err := lambda.NewHandler(handler).Invoke(ctx, []byte(event))
	return string(out), err
}

func TestOncePerKey(t *testing.T) {
	sidecar := clienttest.Start(t)
	runs := 0
	handler := lambdahandler.Wrap(func(ctx context.Context, j job) (receipt, error) {
		runs++
		held := sidecar.Records()[0]
		if left := time.Until(held.LeaseExpiresAt); held.RequestID != "r1" || left > time.Minute {
			t.Errorf("while it runs, with %v left: %+v", left, held)
		}
		if claim, ok := client.ClaimFrom(ctx); !ok || claim.Attempt != 1 {
			t.Errorf("the claim is %+v", claim)
		}
		return receipt{"https://a/?j=" + j.JobID + "&k=<" + j.ObjKey + ">"}, nil
	}, byJob)
	const want = `{"URL":"https://a/?j=1&k=<a/b>"}`
	if got, err := invoke(t, handler, "r1", `{"JobId":"1","ObjKey":"a/b"}`); got != want || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := invoke(t, handler, "r2", `{"ObjKey":"a/b","JobId":"1","more":true}`); got != want || err != nil || runs != 1 {
		t.Errorf("%s, %v after %d runs", got, err, runs)
	}
}

// The event is given on as it came: what a float64 would merge stays apart.
func TestBigNumbers(t *testing.T) {
	sidecar := clienttest.Start(t)
	handler := lambdahandler.Wrap(func(_ context.Context, event map[string]any) (any, error) { return event["id"], nil }, client.AcquireRequest{KeyJMESPath: "id"})
	for _, id := range []string{"12345678901234567890", "12345678901234567891"} {
		if _, err := invoke(t, handler, "r", `{"id":`+id+`}`); err != nil {
			t.Fatal(err)
		}
	}
	if list := sidecar.Records(); len(list) != 2 || list[1].Selection != "12345678901234567891" {
		t.Errorf("stored %+v", list)
	}
	// Without an expression, the whole event.
	whole := lambdahandler.Wrap(func(_ context.Context, event json.RawMessage) (json.RawMessage, error) { return event, nil }, client.AcquireRequest{})
	for range 2 {
		if got, err := invoke(t, whole, "r", `[12345678901234567892]`); got != `[12345678901234567892]` || err != nil {
			t.Errorf("%s, %v", got, err)
		}
	}
}

func TestPerEvent(t *testing.T) {
	sidecar := clienttest.Start(t)
	handler := lambdahandler.Wrap(func(_ context.Context, j job) (string, error) { return j.JobID, nil }, client.AcquireRequest{TTL: time.Hour},
		func(j job, req *client.AcquireRequest) {
			req.Key = client.Key{j.JobID, j.ObjKey}
			req.Payload = j.Amount
		})
	for _, id := range []string{"1", "2"} { // What one event set is not there for the next.
		if _, err := invoke(t, handler, "r", `{"JobId":"`+id+`","ObjKey":"a","Amount":`+id+`}`); err != nil {
			t.Fatal(err)
		}
	}
	if r, ok := sidecar.Record("2", "a"); !ok || string(r.Result) != `"2"` {
		t.Errorf("stored %+v", sidecar.Records())
	}
	_, err := invoke(t, handler, "r", `{"JobId":"1","ObjKey":"a","Amount":2}`)
	if _, ok := errors.AsType[*client.PayloadMismatchError](err); !ok {
		t.Errorf("%v", err)
	}
}

var errWork = errors.New("no route")

func TestErrorOnly(t *testing.T) {
	clienttest.Start(t)
	var outcomes []error
	runs := 0
	handler := lambdahandler.WrapErr(func(context.Context, job) error {
		runs++
		if runs == 1 {
			return errWork
		}
		return nil
	}, byJob)
	for range 3 {
		out, err := invoke(t, handler, "r", `{"JobId":"1"}`)
		outcomes = append(outcomes, err)
		if err == nil && out != "null" {
			t.Errorf("returned %s", out)
		}
	}
	if outcomes[0] != errWork || outcomes[1] != nil || outcomes[2] != nil || runs != 2 { //nolint:errorlint // As it was.
		t.Errorf("%v after %d runs", outcomes, runs)
	}
}

func TestErrors(t *testing.T) {
	sidecar := clienttest.Start(t)
	final := lambdahandler.Wrap(func(context.Context, job) (int, error) { return 0, client.Final(errWork) }, byJob)
	if _, err := invoke(t, final, "r", `{"JobId":"1"}`); err != errWork { //nolint:errorlint // As it was.
		t.Errorf("%v", err)
	}
	_, err := invoke(t, final, "r", `{"JobId":"1"}`)
	if failed, ok := errors.AsType[*client.FailedError](err); !ok || failed.Message != errWork.Error() {
		t.Errorf("%v", err)
	}
	if _, err := invoke(t, final, "r", `{"JobId":1}`); err == nil || !strings.Contains(err.Error(), "cannot unmarshal number") {
		t.Errorf("%v", err)
	}
	infinite := lambdahandler.Wrap(func(context.Context, job) (func(), error) { return func() {}, nil }, byJob)
	if _, err := invoke(t, infinite, "r", `{"JobId":"2"}`); err == nil || !strings.Contains(err.Error(), "unsupported type") {
		t.Errorf("%v", err)
	}
	if list := sidecar.Records(); len(list) != 2 || list[1].Status != clienttest.Released {
		t.Errorf("stored %+v", list)
	}
}

func TestOutsideLambda(t *testing.T) {
	if ctx := lambdahandler.WithRequestID(t.Context()); ctx != t.Context() {
		t.Errorf("%v", ctx)
	}
}

// What Lambda would stream has no JSON, and {} would go out in its place.
func TestStreamingHandlersAreRefused(t *testing.T) {
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "*strings.Reader") {
			t.Errorf("Wrap panicked with %v", v)
		}
	}()
	lambdahandler.Wrap(func(context.Context, json.RawMessage) (*strings.Reader, error) { return nil, nil }, client.AcquireRequest{}) //nolint:nilnil // It is not run.
}
