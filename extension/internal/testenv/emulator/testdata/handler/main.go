// A function that does what its event says.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do    string `json:"do"`
	Sleep int    `json:"sleep"` // milliseconds
}

func main() {
	lambda.Start(func(ctx context.Context, e event) (map[string]any, error) {
		fmt.Println("function does", e.Do)
		time.Sleep(time.Duration(e.Sleep) * time.Millisecond)
		switch e.Do {
		case "fail":
			return nil, errors.New("failed as asked")
		case "exit":
			os.Exit(1)
		}
		lc, _ := lambdacontext.FromContext(ctx)
		return map[string]any{"did": e.Do, "pid": os.Getpid(), "requestId": lc.AwsRequestID}, nil
	})
}
