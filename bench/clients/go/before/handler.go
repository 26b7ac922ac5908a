// Package before has a handler without protection.
package before

import (
	"context"

	"github.com/aws/aws-lambda-go/lambda"
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
	return lambda.NewHandler(handle)
}
