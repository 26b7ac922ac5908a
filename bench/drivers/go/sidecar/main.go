// Command sidecar drives a handler that the sidecar protects.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/lambda-idempotency/lambda-idempotency/bench/drivers/go/turns"
	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/lambdahandler"
)

func main() {
	turns.Serve(lambda.NewHandler(lambdahandler.Wrap(turns.Work, client.AcquireRequest{KeyJMESPath: "[JobId, ObjKey]"})))
}
