// Package after has the same handler, run once per key.
package after

import (
	"context"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/lambdahandler"
)

type job struct {
	JobID  string `json:"JobId"`
	ObjKey string
}

type receipt struct {
	Done string `json:"done"`
}

func handle(_ context.Context, j job) (receipt, error) {
	return receipt{Done: j.JobID}, nil
}

// Handler is what lambda.Start makes of a function.
func Handler() lambda.Handler {
	return lambda.NewHandler(lambdahandler.Wrap(handle, client.AcquireRequest{KeyJMESPath: "[JobId, ObjKey]"}))
}
