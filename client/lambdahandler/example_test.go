package lambdahandler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/clienttest"
	"github.com/lambda-idempotency/lambda-idempotency/client/lambdahandler"
)

type Order struct {
	User, ID string
	Amount   int
}

func charge(_ context.Context, o Order) (string, error) {
	return fmt.Sprintf("charged %d", o.Amount), nil
}

func ExampleWrap() {
	lambda.Start(lambdahandler.Wrap(charge, client.AcquireRequest{KeyJMESPath: "[User, ID]"}))
}

// The same order with another amount is refused.
func ExampleWrap_perEvent() {
	lambda.Start(lambdahandler.Wrap(charge, client.AcquireRequest{}, func(o Order, req *client.AcquireRequest) {
		req.Key = client.Key{o.User, o.ID}
		req.Payload = o.Amount
	}))
}

// Each order once, whichever message it comes in.
func ExampleWrapSQS() {
	ship := func(_ context.Context, m events.SQSMessage) error {
		fmt.Println("shipping", m.Body)
		return nil
	}
	lambda.Start(lambdahandler.WrapSQS(ship, client.AcquireRequest{KeyJMESPath: "powertools_json(body).orderId"}))
}

// A handler that does more than one piece of work claims each by itself.
func ExampleWithRequestID() {
	lambda.Start(func(ctx context.Context, batch []Order) error {
		ctx = lambdahandler.WithRequestID(ctx)
		for _, o := range batch {
			receipt, err := client.Do(ctx, o.ID, func(ctx context.Context) (string, error) { return charge(ctx, o) })
			if err != nil {
				return err
			}
			fmt.Println(receipt)
		}
		return nil
	})
}

// A wrapped handler is a plain function, which a test can call.
func ExampleWrap_test() {
	sidecar := clienttest.New()
	defer sidecar.Close()
	handle := lambdahandler.Wrap(charge, client.AcquireRequest{KeyJMESPath: "[User, ID]"})
	_ = os.Setenv("IDEMPOTENCY_PORT", sidecar.URL[len("http://127.0.0.1:"):]) // What clienttest.Start does.
	defer func() { _ = os.Unsetenv("IDEMPOTENCY_PORT") }()

	for _, event := range []string{`{"User":"u","ID":"1","Amount":10}`, `{"User":"u","ID":"1","Amount":20}`} {
		answer, err := handle(context.Background(), json.RawMessage(event))
		fmt.Println(string(answer), err)
	}
	// Output:
	// "charged 10" <nil>
	// "charged 10" <nil>
}
