package httpapi_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind, but for the engine that the tests share and the
// connections to it that the SDK keeps for its next call.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal.(*Server).run"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}
