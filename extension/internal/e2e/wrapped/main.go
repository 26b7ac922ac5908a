// Command wrapped is a Lambda function for the end-to-end tests, made with the
// client's wrapper for handlers.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/lambdahandler"
)

type event struct{ Do string }

type answer struct {
	Attempt int
	Text    string
}

func main() {
	lambda.Start(lambdahandler.Wrap(func(ctx context.Context, e event) (answer, error) {
		claim, ok := client.ClaimFrom(ctx)
		if !ok {
			return answer{}, errors.New("there is no claim")
		}
		fmt.Println("the work runs")
		switch {
		case e.Do == "fail":
			return answer{}, client.Final(errors.New("the work failed for good"))
		case e.Do == "panic" && claim.Attempt == 1:
			panic("the work panicked")
		}
		return answer{claim.Attempt, "<done>"}, nil
	}, client.AcquireRequest{KeyJMESPath: "[id, Do]"}))
}
