package main

import (
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

func TestExitCodeIsPassedOn(t *testing.T) {
	t.Setenv(dynamodblocal.EnvEndpoint, dynamodblocal.Start(t).URL)
	for script, want := range map[string]int{
		"exit 0":                       0,
		"exit 3":                       3,
		"kill -KILL $$":                137,
		`test -n "$DYNAMODB_ENDPOINT"`: 0,
	} {
		if got := run([]string{"--", "sh", "-c", script}); got != want {
			t.Errorf("%s: exit code %d, want %d", script, got, want)
		}
	}
	if got := run(nil); got != 2 {
		t.Errorf("without a command: exit code %d, want 2", got)
	}
}
