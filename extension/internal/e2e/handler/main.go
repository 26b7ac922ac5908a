// Command handler is a Lambda function for the end-to-end tests: it does once
// per key what its event says.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

type event struct {
	Key string `json:"key"`
	// Do is what the handler does with the claim: "complete", "fail", "abandon",
	// "sleep" past the timeout, or "exit".
	Do string `json:"do"`
	// LeaseMS, if set, is sent in place of the invocation's deadline.
	LeaseMS int64 `json:"lease_ms"`
}

type answer struct {
	Status  string `json:"status"`
	Attempt int    `json:"attempt"`
	Result  string `json:"result,omitempty"`
}

func main() {
	c := client.New()
	// Code that runs at the function's init is served: the API is up before it.
	out, err := c.Acquire(context.Background(), client.AcquireRequest{Key: "init", LeaseMS: 1000})
	fmt.Println("at init:", out.Status, err)
	lambda.Start(func(ctx context.Context, e event) (answer, error) {
		req := client.AcquireRequest{Key: e.Key, LeaseMS: e.LeaseMS}
		if lc, ok := lambdacontext.FromContext(ctx); ok {
			req.RequestID = lc.AwsRequestID
		}
		out, err := c.Acquire(ctx, req)
		if err != nil {
			return answer{}, err
		}
		a := answer{Status: out.Status, Attempt: out.Attempt, Result: string(out.Result)}
		if out.Status != "acquired" {
			return a, nil
		}
		fmt.Println("working on", e.Key)
		switch e.Do {
		case "complete":
			return a, c.Complete(ctx, out.Token, "done by attempt "+fmt.Sprint(out.Attempt))
		case "fail":
			cause := errors.New("the work failed")
			return a, errors.Join(cause, c.Fail(ctx, out.Token, cause, true))
		case "sleep":
			time.Sleep(time.Minute)
		case "exit":
			os.Exit(1)
		case "panic":
			panic("the work panicked")
		}
		return a, nil // The claim is left open.
	})
}
