package lambdahandler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

// WrapSQS makes a handler for the batches of an SQS queue, which runs handle once
// per record, one after the other, and reports those that are not done as batch item
// failures; the event source mapping has to have ReportBatchItemFailures. M is what
// a record is read into: events.SQSMessage, or anything else. All records are claimed
// in one call and their claims ended in one: see [client.DoBatch].
//
// The key is the record's messageId. With KeyJMESPath it is selected from the record;
// what differs from one record to the next, such as a key of one's own, perRecord
// sets.
//
// Of a FIFO queue, after a record that is not done the rest of its message group is
// not run, and reported, too. A record that cannot be run, or not claimed, or fails,
// is logged, and does not keep the others from being run. Errors: that the store is
// away, or that the event is not one of SQS; then all of it comes again.
func WrapSQS[M any](handle func(context.Context, M) error, request client.AcquireRequest, perRecord ...func(M, *client.AcquireRequest)) Handler {
	c := client.New()
	return func(ctx context.Context, raw json.RawMessage) (json.RawMessage, error) {
		records, err := recordsOf(raw)
		if err != nil {
			return nil, err
		}
		items := make([]client.BatchItem, len(records))
		for i, r := range records {
			req := request
			var m M
			unread := json.Unmarshal(r.raw, &m)
			if unread == nil {
				for _, set := range perRecord {
					set(m, &req)
				}
			}
			switch {
			case req.Key != nil || req.Event != nil:
			case req.KeyJMESPath != "":
				req.Event = r.raw
			default:
				req.Key = client.Key{r.MessageID}
			}
			items[i] = client.BatchItem{Acquire: req, Group: r.group(), Run: func(ctx context.Context) error {
				if unread != nil { // It fails at its place in its group.
					return unread
				}
				return handle(ctx, m)
			}}
		}
		fates, err := client.DoBatch(WithRequestID(ctx), c, items)
		if err != nil {
			return nil, err
		}
		return report(ctx, records, fates)
	}
}

// record is what WrapSQS reads of an SQS record.
type record struct {
	MessageID      string `json:"messageId"`
	EventSourceARN string `json:"eventSourceARN"`
	Attributes     struct{ MessageGroupID string }

	raw json.RawMessage
}

// group is what SQS keeps in order; empty: nothing.
func (r *record) group() string {
	if !strings.HasSuffix(r.EventSourceARN, ".fifo") {
		return ""
	}
	return "group " + r.Attributes.MessageGroupID
}

func recordsOf(event json.RawMessage) ([]*record, error) {
	var told struct{ Records []json.RawMessage }
	err := json.Unmarshal(event, &told)
	if err == nil && told.Records == nil {
		err = errors.New("they are absent")
	}
	if err != nil {
		return nil, fmt.Errorf("idempotency: WrapSQS takes events of SQS, and this one has no Records: %w", err)
	}
	records := make([]*record, len(told.Records))
	for i, raw := range told.Records {
		r := &record{raw: raw}
		err := json.Unmarshal(raw, r)
		if err == nil && r.MessageID == "" {
			err = errors.New("it is absent")
		}
		if err != nil {
			return nil, fmt.Errorf("idempotency: WrapSQS takes events of SQS, and record %d of this one has no messageId: %w", i, err)
		}
		records[i] = r
	}
	return records, nil
}

// report is the partial batch response.
func report(ctx context.Context, records []*record, fates []error) (json.RawMessage, error) {
	type failure struct {
		ItemIdentifier string `json:"itemIdentifier"`
	}
	failures := []failure{}
	reported := map[string]bool{}
	for i, err := range fates {
		if id := records[i].MessageID; err != nil && !reported[id] {
			reported[id] = true
			failures = append(failures, failure{id})
		}
	}
	warn(ctx, records, fates)
	return json.Marshal(map[string]any{"batchItemFailures": failures})
}

// warn logs each error once, with the records that it is of: the same can be that of
// many.
func warn(ctx context.Context, records []*record, fates []error) {
	of := map[string][]string{}
	var order []error
	for i, err := range fates {
		if err == nil {
			continue
		}
		text := kind(err)
		if of[text] == nil {
			order = append(order, err)
		}
		of[text] = append(of[text], records[i].MessageID)
	}
	for _, err := range order {
		ids := of[kind(err)]
		slog.WarnContext(ctx, "idempotency: records are reported as batch item failures", "records", len(ids), "messageIds", ids[:min(len(ids), mostTold)], "error", err)
	}
}

// mostTold is how many records a warning names.
const mostTold = 20

// kind is the same for errors that one warning tells of.
func kind(err error) string {
	var busy *client.InProgressError
	var problem *client.ProblemError
	switch {
	case errors.As(err, &busy):
		return "in progress"
	case errors.As(err, &problem):
		return problem.Code
	}
	return err.Error()
}
