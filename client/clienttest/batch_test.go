package clienttest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/clienttest"
	"github.com/lambda-idempotency/lambda-idempotency/client/lambdahandler"
)

// TestBatchesAlike runs batches of SQS on the sidecar itself and on its stand-in.
func TestBatchesAlike(t *testing.T) {
	standIn := clienttest.Start(t)
	for name, url := range map[string]string{"the sidecar": sidecar(t), "the stand-in": standIn.URL} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("IDEMPOTENCY_PORT", url[strings.LastIndexByte(url, ':')+1:])
			t.Run("more than one call takes", manyRecords)
			t.Run("FIFO", fifoTwice)
			t.Run("bodies alike", bodiesAlike)
		})
	}
}

type record struct {
	MessageID string `json:"messageId"`
	Body      string `json:"body"`
	Source    string `json:"eventSourceARN"`
	// Attributes are told by their names in SQS.
	Attributes map[string]string `json:"attributes"`
}

// invoke hands records to a handler and returns those that it reports.
func invoke(t *testing.T, handler lambdahandler.Handler, records []record) []string {
	t.Helper()
	event, _ := json.Marshal(map[string]any{"Records": records})
	out, err := handler(client.WithRequestID(t.Context(), "r1"), event)
	var told struct {
		Failures []struct{ ItemIdentifier string } `json:"batchItemFailures"`
	}
	if err != nil || json.Unmarshal(out, &told) != nil {
		t.Fatalf("%s, %v", out, err)
	}
	ids := []string{}
	for _, f := range told.Failures {
		ids = append(ids, f.ItemIdentifier)
	}
	return ids
}

func manyRecords(t *testing.T) {
	const n = 2500
	records := make([]record, n)
	for i := range records {
		records[i].MessageID = fmt.Sprintf("many-%d", i)
	}
	runs := map[string]int{}
	handler := lambdahandler.WrapSQS(func(_ context.Context, r record) error {
		if runs[r.MessageID]++; r.MessageID == "many-1234" && runs[r.MessageID] == 1 {
			return errors.New("no route")
		}
		return nil
	}, client.AcquireRequest{})
	for _, want := range []string{"many-1234", "", ""} {
		if got := strings.Join(invoke(t, handler, records), ","); got != want {
			t.Fatalf("reported were %s, want %s", got, want)
		}
	}
	for id, times := range runs {
		if want := 1; id == "many-1234" && times != 2 || id != "many-1234" && times != want {
			t.Errorf("%s ran %d times", id, times)
		}
	}
	if len(runs) != n {
		t.Errorf("%d records ran", len(runs))
	}
}

func fifoTwice(t *testing.T) {
	var records []record
	for _, id := range []string{"a1", "b1", "a2", "b2", "a3"} {
		records = append(records, record{MessageID: id, Source: "arn:aws:sqs:eu-west-1:123456789012:q.fifo", Attributes: map[string]string{"MessageGroupId": id[:1]}})
	}
	var runs []string
	broken := true
	handler := lambdahandler.WrapSQS(func(_ context.Context, r record) error {
		runs = append(runs, r.MessageID)
		if r.MessageID == "a2" && broken {
			return errors.New("no route")
		}
		return nil
	}, client.AcquireRequest{})
	if got := fmt.Sprint(invoke(t, handler, records), runs); got != "[a2 a3] [a1 b1 a2 b2]" {
		t.Errorf("reported and run were %s", got)
	}
	broken, runs = false, nil
	if got := fmt.Sprint(invoke(t, handler, records), runs); got != "[] [a2 a3]" {
		t.Errorf("reported and run the second time were %s", got)
	}
}

func bodiesAlike(t *testing.T) {
	records := []record{{MessageID: "m1", Body: "x"}, {MessageID: "m2", Body: "y"}, {MessageID: "m3", Body: "x"}, {MessageID: "m4", Body: "y"}}
	var runs []string
	handler := lambdahandler.WrapSQS(func(_ context.Context, r record) error {
		runs = append(runs, r.MessageID)
		if r.Body == "y" {
			return client.Final(errors.New("never"))
		}
		return nil
	}, client.AcquireRequest{KeyJMESPath: "[body]"})
	for _, want := range []string{"[m2 m4] [m1 m2]", "[m2 m4] [m1 m2]"} {
		if got := fmt.Sprint(invoke(t, handler, records), runs); got != want {
			t.Errorf("reported and run were %s, want %s", got, want)
		}
	}
}
