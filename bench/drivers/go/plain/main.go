// Command plain drives a handler without protection.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/lambda-idempotency/lambda-idempotency/bench/drivers/go/turns"
)

func main() { turns.Serve(lambda.NewHandler(turns.Work)) }
