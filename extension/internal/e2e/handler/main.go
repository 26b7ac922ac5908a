// Command handler is a Lambda function for the end-to-end tests: it does once
// per key what its event says.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

type event struct {
	Key string `json:"key"`
	// Do is what the handler does with the claim: "complete", "fail", "abandon",
	// "error" without a word to the sidecar, "sleep" past the timeout, "deaf sleep"
	// past SIGTERM as well, "exit", "exit 0", "panic", "huge" for an answer that
	// Lambda does not take, "done, huge" for one after the claim's end, "many" for
	// twenty claims more and no end, or "wait" until the test lets it complete.
	Do string `json:"do"`
	// LeaseMS, if set, is sent in place of the invocation's deadline.
	LeaseMS int64 `json:"lease_ms"`
}

type answer struct {
	Status  string `json:"status"`
	Attempt int    `json:"attempt"`
	Result  string `json:"result,omitempty"`
}

const many = 20

// failInit ends the process as often as there are files in a folder for it.
func failInit() {
	list, _ := os.ReadDir(os.Getenv("FAIL_INIT"))
	if len(list) > 0 {
		_ = os.Remove(filepath.Join(os.Getenv("FAIL_INIT"), list[0].Name()))
		fmt.Println("the init fails")
		os.Exit(1)
	}
}

// wait returns when the test lets it.
func wait(key string, attempt int) error {
	// Without the invocation's deadline.
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, fmt.Sprintf("%s/%s/%d", os.Getenv("GATE"), key, attempt), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func main() {
	c := client.New()
	// Code that runs at the function's init is served: the API is up before it.
	out, err := c.Acquire(context.Background(), client.AcquireRequest{Key: client.Key{"init"}, Lease: time.Second})
	fmt.Println("at init:", out.Status, err)
	failInit()
	lambda.Start(func(ctx context.Context, e event) (answer, error) {
		req := client.AcquireRequest{Key: client.Key{e.Key}, Lease: time.Duration(e.LeaseMS) * time.Millisecond}
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
			return a, errors.Join(cause, c.Fail(ctx, out.Token, cause))
		case "error":
			return answer{}, errors.New("the work failed, and nobody told the sidecar")
		case "deaf sleep":
			signal.Ignore(syscall.SIGTERM)
			time.Sleep(time.Minute)
		case "sleep":
			time.Sleep(time.Minute)
		case "exit":
			os.Exit(1)
		case "exit 0":
			os.Exit(0)
		case "huge", "done, huge":
			if e.Do != "huge" {
				if err := c.Complete(ctx, out.Token, "done"); err != nil {
					return a, err
				}
			}
			a.Result = strings.Repeat("x", 7<<20)
		case "many":
			var all sync.WaitGroup
			for i := range many {
				all.Go(func() {
					req := req
					req.Key = client.Key{e.Key + fmt.Sprint(i)}
					if out, err := c.Acquire(ctx, req); err != nil || out.Status != "acquired" {
						fmt.Println("claim", i, out.Status, err)
					}
				})
			}
			all.Wait()
			fmt.Println("holding", many)
			time.Sleep(time.Minute)
		case "wait":
			err := wait(e.Key, out.Attempt)
			if err == nil {
				// The invocation may be over.
				err = c.Complete(context.WithoutCancel(ctx), out.Token, "done by attempt "+fmt.Sprint(out.Attempt))
			}
			fmt.Printf("attempt %d of %s ended: %v\n", out.Attempt, e.Key, err)
			return a, err
		case "panic":
			panic("the work panicked")
		}
		return a, nil // The claim is left open.
	})
}
