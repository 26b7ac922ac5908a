package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// A short run on the real program and the real engine. `make chaos` makes long
// ones.
func TestShortRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes ten seconds")
	}
	report, err := Run(context.Background(), Config{Seed: 1, Sidecars: 5, Handlers: 16, For: 8 * time.Second, Store: dynamodblocal.Start(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
	if !report.OK() {
		t.Error("a promise was not kept, or could not be judged")
	}
	// What nothing happened to shows nothing.
	if report.Operations < 200 || report.Answers[Acquire]["acquired"] < 20 || report.Answers[Complete]["completed"] < 5 || report.Faults[SidecarKilled] == 0 || len(report.Faults) < 6 {
		t.Error("too little happened")
	}
}
