package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/clienttest"
)

type Receipt struct{ ID, Card string }

func Example() {
	sidecar := clienttest.New() // In Lambda, and for client.Do: the layer's.
	defer sidecar.Close()
	order := client.AcquireRequest{Key: client.Key{"user-1", "order-1"}}

	charge := func(context.Context) (Receipt, error) {
		fmt.Println("charging")
		return Receipt{"receipt-1", "1234"}, nil
	}
	for range 2 {
		receipt, err := client.DoWith(context.Background(), sidecar.Client(), order, charge)
		fmt.Println(receipt, err)
	}
	// Output:
	// charging
	// {receipt-1 1234} <nil>
	// {receipt-1 1234} <nil>
}

// A key is selected from an event by the sidecar: its numbers keep all their
// digits, and members that the expression does not name may differ.
func ExampleDoWith_event() {
	sidecar := clienttest.New()
	defer sidecar.Close()

	for _, event := range []string{
		`{"JobId": 12345678901234567890, "ObjKey": "a/b", "sent": 1}`,
		`{"ObjKey": "a/b", "JobId": 12345678901234567890, "sent": 2}`,
		`{"JobId": 12345678901234567891, "ObjKey": "a/b", "sent": 3}`,
	} {
		done, err := client.DoWith(context.Background(), sidecar.Client(), client.AcquireRequest{
			Event:       json.RawMessage(event),
			KeyJMESPath: "[JobId, ObjKey]",
			TTL:         time.Hour,
		}, func(context.Context) (string, error) {
			return "done with " + event, nil
		})
		fmt.Println(done, err)
	}
	// Output:
	// done with {"JobId": 12345678901234567890, "ObjKey": "a/b", "sent": 1} <nil>
	// done with {"JobId": 12345678901234567890, "ObjKey": "a/b", "sent": 1} <nil>
	// done with {"JobId": 12345678901234567891, "ObjKey": "a/b", "sent": 3} <nil>
}

// What to do with each error is the caller's choice.
func ExampleDoWith_errors() {
	sidecar := clienttest.New()
	defer sidecar.Close()
	pay := func(key string, work func(context.Context) (string, error)) {
		_, err := client.DoWith(context.Background(), sidecar.Client(), client.AcquireRequest{Key: client.Key{key}}, work)
		if busy, ok := errors.AsType[*client.InProgressError](err); ok {
			fmt.Println("come again in", busy.RetryAfter)
		} else if failed, ok := errors.AsType[*client.FailedError](err); ok {
			fmt.Println("it failed before:", failed.Message)
		} else if _, ok := errors.AsType[*client.UnavailableError](err); ok {
			fmt.Println("nothing was done")
		} else {
			fmt.Println("the work's own error:", err)
		}
	}

	refuse := func(context.Context) (string, error) { return "", client.Final(errors.New("the card was stolen")) }
	pay("order-1", refuse)
	pay("order-1", refuse)
	sidecar.Hold("order-2")
	pay("order-2", refuse)
	sidecar.Unavailable(true)
	pay("order-3", refuse)
	// Output:
	// the work's own error: the card was stolen
	// it failed before: the card was stolen
	// come again in 5s
	// nothing was done
}

// Long work renews its claim, and hands its fence to the store it writes to.
func ExampleClaimFrom() {
	sidecar := clienttest.New()
	defer sidecar.Close()
	request := client.AcquireRequest{Key: client.Key{"report-1"}, Lease: time.Minute}

	report := func(ctx context.Context) (string, error) {
		claim, _ := client.ClaimFrom(ctx)
		if claim.PreviousError != nil {
			fmt.Println("the run before failed:", claim.PreviousError.Message)
		}
		if _, err := claim.Renew(ctx, time.Minute); err != nil {
			return "", err // Another run has the key by now.
		}
		if claim.Attempt == 1 {
			return "", errors.New("the disk is full")
		}
		return "written", nil
	}
	for range 2 {
		fmt.Println(client.DoWith(context.Background(), sidecar.Client(), request, report))
	}
	// Output:
	//  the disk is full
	// the run before failed: the disk is full
	// written <nil>
}

// Work that is handed on: whoever has the token ends the claim.
func ExampleClient_Acquire() {
	sidecar := clienttest.New()
	defer sidecar.Close()
	c, ctx := sidecar.Client(), context.Background()
	video := client.AcquireRequest{Key: client.Key{"video-1"}, Lease: 2 * time.Hour, Detached: true}

	claim, err := c.Acquire(ctx, video)
	fmt.Println(claim.Status, err)
	fmt.Println(c.Complete(ctx, claim.Token, map[string]int{"minutes": 90})) // Elsewhere.
	again, err := c.Acquire(ctx, video)
	fmt.Println(again.Status, string(again.Result), err)
	// Output:
	// acquired <nil>
	// <nil>
	// completed {"minutes":90} <nil>
}
