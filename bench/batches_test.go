package main

import (
	"encoding/json"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/bench/driver"
)

// A batch of which records were lost, or done twice, is no measurement.
func TestCheckBatch(t *testing.T) {
	ours, theirs := contender{name: "ours", sidecar: true}, contender{name: "theirs"}
	const none, one = `{"batchItemFailures":[]}`, `{"batchItemFailures":[{"itemIdentifier":"a"}]}`
	for _, test := range []struct {
		of     contender
		kind   string
		ran    int
		answer string
		failed int
		wrong  bool
	}{
		{ours, "first run", 3, none, 0, false},
		{ours, "first run", 2, none, 0, true},
		{ours, "first run", 2, one, 0, true},
		{ours, "first run", 3, `"done"`, 0, true},
		{ours, "duplicate", 0, none, 0, false},
		{ours, "duplicate", 1, none, 0, true},
		{theirs, "first run", 2, one, 1, false},
		{theirs, "first run", 2, none, 0, true},
		{theirs, "duplicate", 1, none, 0, false},
	} {
		failed, err := checkBatch(test.of, test.kind, 3, driver.Answer{Ran: test.ran, Results: []json.RawMessage{json.RawMessage(test.answer)}})
		if failed != test.failed || (err != nil) != test.wrong {
			t.Errorf("%+v: %d failed, %v", test, failed, err)
		}
	}
}
