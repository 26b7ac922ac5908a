package lambdahandler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/clienttest"
	"github.com/lambda-idempotency/lambda-idempotency/client/lambdahandler"
)

const batch = `{"Records":[{"messageId":"m1","body":"1"},{"messageId":"m2","body":"2"}]}`

func TestSQS(t *testing.T) {
	sidecar := clienttest.Start(t)
	handler := lambdahandler.WrapSQS(func(ctx context.Context, m events.SQSMessage) error {
		r, _ := sidecar.Record(m.MessageId)
		if left := time.Until(r.LeaseExpiresAt); r.Status != client.InProgress || r.RequestID != "r1" || left > time.Minute {
			t.Errorf("while it runs: %+v", r)
		}
		if m.Body == "2" {
			return errWork
		}
		return nil
	}, client.AcquireRequest{})
	if got, err := invoke(t, handler, "r1", batch); got != `{"batchItemFailures":[{"itemIdentifier":"m2"}]}` || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if r, _ := sidecar.Record("m1"); r.Status != client.Completed {
		t.Errorf("stored %+v", sidecar.Records())
	}
	sidecar.Unavailable(true)
	_, err := invoke(t, handler, "r2", batch)
	if away, ok := errors.AsType[*client.UnavailableError](err); !ok || away.RetryAfter != time.Second {
		t.Errorf("%v", err)
	}
}

func TestSQSPerRecord(t *testing.T) {
	sidecar := clienttest.Start(t)
	handler := lambdahandler.WrapSQS(func(context.Context, events.SQSMessage) error { return nil }, client.AcquireRequest{TTL: time.Hour},
		func(m events.SQSMessage, req *client.AcquireRequest) {
			req.Key, req.Payload = client.Key{"order", m.Body[:1]}, m.Body
		})
	for event, want := range map[string]string{
		`{"Records":[{"messageId":"m1","body":"1"},{"messageId":"m2","body":"2"},{"messageId":"m3","body":"1 changed"}]}`: `{"batchItemFailures":[{"itemIdentifier":"m3"}]}`,
	} {
		if got, err := invoke(t, handler, "r1", event); got != want || err != nil {
			t.Errorf("%s, %v", got, err)
		}
	}
	if r, ok := sidecar.Record("order", "2"); !ok || r.Status != client.Completed {
		t.Errorf("stored %+v", sidecar.Records())
	}
}

// A record that cannot be read fails by itself, and in its place of a FIFO queue.
func TestSQSRecordThatCannotBeRead(t *testing.T) {
	clienttest.Start(t)
	var runs []string
	type record struct {
		ID   string `json:"messageId"`
		Body int    `json:"body"`
	}
	handler := lambdahandler.WrapSQS(func(_ context.Context, r record) error {
		runs = append(runs, r.ID)
		return nil
	}, client.AcquireRequest{})
	event := `{"Records":[`
	for i, body := range []string{"1", `"x"`, "3"} {
		event += fmt.Sprintf(`{"messageId":"m%d","body":%s,"eventSourceARN":"arn:aws:sqs:eu-west-1:123456789012:q.fifo"},`, i+1, body)
	}
	event = strings.TrimSuffix(event, ",") + "]}"
	if got, err := invoke(t, handler, "r1", event); got != `{"batchItemFailures":[{"itemIdentifier":"m2"},{"itemIdentifier":"m3"}]}` || err != nil || fmt.Sprint(runs) != "[m1]" {
		t.Errorf("%s, %v after %q", got, err, runs)
	}
}

func TestSQSRefusesOtherEvents(t *testing.T) {
	sidecar := clienttest.Start(t)
	handler := lambdahandler.WrapSQS(func(context.Context, any) error { t.Error("it ran"); return nil }, client.AcquireRequest{})
	for event, want := range map[string]string{
		`{"JobId":"1"}`:                      "has no Records",
		`[]`:                                 "has no Records",
		`{"Records":{}}`:                     "has no Records",
		`{"Records":[{"kinesis":{}}]}`:       "record 0 of this one has no messageId",
		`{"Records":[{"messageId":"m1"},5]}`: "record 1 of this one has no messageId",
	} {
		if _, err := invoke(t, handler, "r1", event); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", event, err)
		}
	}
	if list := sidecar.Records(); len(list) != 0 {
		t.Errorf("stored %+v", list)
	}
}
