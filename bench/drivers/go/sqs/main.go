// Command sqs drives a handler of a queue's batches with the client's batch helper.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/lambda-idempotency/lambda-idempotency/bench/drivers/go/turns"
	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/lambdahandler"
)

func main() {
	turns.Serve(lambda.NewHandler(lambdahandler.WrapSQS(turns.RecordWork, client.AcquireRequest{})))
}
