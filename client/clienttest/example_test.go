package clienttest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/clienttest"
)

// A test has a *testing.T and calls Start, so that client.Do is served as well.
func Example() {
	sidecar := clienttest.New()
	defer sidecar.Close()
	pay := func() (string, error) {
		return client.DoWith(context.Background(), sidecar.Client(), client.AcquireRequest{Key: client.Key{"order-1"}},
			func(context.Context) (string, error) { return "receipt-1", nil })
	}

	sidecar.Hold("order-1")
	_, err := pay()
	fmt.Println(err)

	sidecar.Advance(15*time.Minute + time.Second) // The other run has died.
	fmt.Println(pay())

	record, _ := sidecar.Record("order-1")
	fmt.Println(record.Status, string(record.Result), "at attempt", record.Attempt)
	// Output:
	// idempotency: the work is in progress in request another; try again in 5s
	// receipt-1 <nil>
	// completed "receipt-1" at attempt 2
}
