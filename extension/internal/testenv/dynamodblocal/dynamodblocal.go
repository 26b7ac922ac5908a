// Package dynamodblocal runs DynamoDB Local, AWS's own engine, for tests.
package dynamodblocal

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv"
)

// EnvEndpoint names the environment variable with the URL of a DynamoDB Local that runs already.
const EnvEndpoint = "DYNAMODB_ENDPOINT"

// What every client of a test uses. DynamoDB Local keeps a separate database for each pair of region and access key id, and checks no signature.
const (
	Region          = "us-east-1"
	AccessKeyID     = "test"
	SecretAccessKey = "test"
)

// Endpoint is a DynamoDB Local that answers.
type Endpoint struct {
	URL string // no trailing slash
}

// Env returns the variables that point an AWS SDK of any language, in another process, at the endpoint.
func (e Endpoint) Env() map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL_DYNAMODB": e.URL,
		"AWS_REGION":                Region,
		"AWS_DEFAULT_REGION":        Region,
		"AWS_ACCESS_KEY_ID":         AccessKeyID,
		"AWS_SECRET_ACCESS_KEY":     SecretAccessKey,
	}
}

// shared starts one process for the whole test binary; it ends with the binary, however that ends.
var shared = sync.OnceValues(Launch)

// Start returns the endpoint that DYNAMODB_ENDPOINT names or else one that the whole test binary shares. A test that can have
// neither is skipped with the reason, and fails where CI is "true".
func Start(tb testing.TB) Endpoint {
	tb.Helper()
	if url := os.Getenv(EnvEndpoint); url != "" {
		return Endpoint{URL: strings.TrimRight(url, "/")}
	}
	s, err := shared()
	if err != nil {
		testenv.Unavailable(tb, "DynamoDB Local: "+err.Error())
	}
	return s.Endpoint
}
