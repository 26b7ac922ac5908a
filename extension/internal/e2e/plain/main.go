// Command plain is a Lambda function for the end-to-end tests of the runtime
// proxy. It knows nothing of idempotency but for one import.
package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	_ "github.com/lambda-idempotency/lambda-idempotency/client/autoproxy"
)

type event struct {
	Order string `json:"order"`
	// Do is what the handler does: "return", "error", "panic", "exit", "sleep" past
	// the timeout, "gate" until the file GATE is there, "large" for an answer of nearly 6 MB,
	// "huge" for one that Lambda does not take, "nothing" for null, "random" for one
	// that no table can keep, "stream", or "broken stream".
	Do string `json:"do"`
}

func handle(ctx context.Context, e event) (any, error) {
	// Each run leaves a line that the tests count.
	fmt.Printf("run of %s: %s\n", e.Order, e.Do)
	lc, _ := lambdacontext.FromContext(ctx)
	answer := map[string]string{"order": e.Order, "request": lc.AwsRequestID}
	switch e.Do {
	case "error":
		return nil, errors.New("the carrier did not answer")
	case "panic":
		panic("the work panicked")
	case "exit":
		os.Exit(1)
	case "sleep":
		time.Sleep(time.Minute)
	case "gate":
		for _, err := os.Stat(os.Getenv("GATE")); err != nil; _, err = os.Stat(os.Getenv("GATE")) {
			time.Sleep(5 * time.Millisecond)
		}
	case "large":
		answer["pad"] = strings.Repeat("x", 6<<20-200)
	case "huge":
		answer["pad"] = strings.Repeat("x", 7<<20)
	case "nothing":
		return nil, nil //nolint:nilnil // That is what it is for.
	case "random":
		b := make([]byte, 600<<10)
		_, _ = rand.Read(b)
		answer["pad"] = base64.StdEncoding.EncodeToString(b)
	case "stream":
		return io.MultiReader(strings.NewReader("part one, "), strings.NewReader("part two")), nil
	case "broken stream":
		return io.MultiReader(strings.NewReader("part one, "), broken{}), nil
	}
	return answer, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the stream broke") }

func main() {
	if os.Getenv("FAIL_INIT") != "" {
		panic("the init fails")
	}
	lambda.Start(handle)
}
