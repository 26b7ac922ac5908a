package dynamodb_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No test leaves a goroutine behind, but for the engine that the tests share,
// the connections to it that the SDK keeps for its next call, and a look-up of
// credentials that no caller waits for any longer: the SDK ends that by limits of
// its own.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal.(*Server).run"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("github.com/aws/aws-sdk-go-v2/aws.(*CredentialsCache).singleRetrieve"),
	)
}
