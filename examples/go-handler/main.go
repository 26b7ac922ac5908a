// Command go-handler is an AWS Lambda function that does each job once, with the
// lambda-idempotency layer.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/lambdahandler"
)

// duplicate is logged of every launch but the first: the Lambda was launched more
// than once, so processing has ended.
const duplicate = "lambdaが多重起動したため処理を終了しました。"

// job is the event. Its two fields together are the key.
type job struct {
	JobID  string `json:"JobId"`
	ObjKey string `json:"ObjKey"`
}

type response struct {
	StatusCode int    `json:"statusCode"`
	Body       string `json:"body"`
}

// jobFailed is what the caller and the record are told of a failure. What else the
// error says may be confidential, and goes to the function's log.
type jobFailed struct{}

func (jobFailed) Error() string { return "An unexpected error has occurred." }

func main() {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") == "" {
		os.Exit(local(os.Stdin, os.Stdout, os.Stderr))
	}
	slog.SetDefault(lambdacontext.NewLogger())
	lambda.Start(handle)
}

// handle does the job, unless it was done, has failed, or is being done.
func handle(ctx context.Context, j job) (response, error) {
	ctx = lambdahandler.WithRequestID(ctx)
	first := false
	res, err := client.DoWith(ctx, client.New(), client.AcquireRequest{Key: client.Key{j.JobID, j.ObjKey}}, func(ctx context.Context) (response, error) {
		first = true
		body, err := process(ctx, j)
		if err != nil {
			slog.ErrorContext(ctx, "the job failed", "error", err)
			// A failed job stays failed, so that Lambda's automatic retries do not run
			// it again. With RETRY_FAILED=1 they do.
			if os.Getenv("RETRY_FAILED") == "1" {
				return response{}, jobFailed{}
			}
			return response{}, client.Final(jobFailed{})
		}
		return respond(body)
	})
	if first {
		return res, err
	}
	// What is known of the first launch, with 200, so that Lambda does not retry.
	if busy, ok := errors.AsType[*client.InProgressError](err); ok {
		slog.WarnContext(ctx, duplicate, "running_in", busy.RequestID)
		return respond(map[string]any{"status": client.InProgress})
	}
	if failed, ok := errors.AsType[*client.FailedError](err); ok {
		slog.WarnContext(ctx, duplicate, "failed_in", failed.RequestID)
		return respond(map[string]any{"status": client.Failed, "error": client.Failure{Type: failed.Type, Message: failed.Message}})
	}
	if err == nil {
		slog.WarnContext(ctx, duplicate)
	}
	return res, err
}

func respond(body any) (response, error) {
	text, err := json.Marshal(body)
	return response{StatusCode: 200, Body: string(text)}, err
}
