// Package autoproxy sends a Go function's events through the extension's runtime
// proxy, so that the function is idempotent without a line of its own but this:
//
//	import _ "github.com/lambda-idempotency/lambda-idempotency/client/autoproxy"
//
// Go functions run on OS-only runtimes, where Lambda does not honour
// AWS_LAMBDA_EXEC_WRAPPER:
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html
// The import does what the wrapper does elsewhere. Outside Lambda it does nothing.
package autoproxy

import (
	"cmp"
	"os"
)

// runtimeAPI is read by lambda.Start, after the package is initialised.
const runtimeAPI = "AWS_LAMBDA_RUNTIME_API"

func init() { //nolint:gochecknoinits // To need no other line is what this package is for.
	if os.Getenv(runtimeAPI) == "" {
		return
	}
	// The only error is a name that cannot be set.
	_ = os.Setenv(runtimeAPI, "127.0.0.1:"+cmp.Or(os.Getenv("IDEMPOTENCY_RUNTIME_PROXY_PORT"), "2775"))
}
