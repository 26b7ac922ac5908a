package runtimeproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// parallel is how many records of a batch are at the store at once.
const parallel = 32

// record is an element of a batch.
type record struct {
	raw json.RawMessage
	// id is what a partial batch response calls it; name is what its source keeps
	// over redeliveries, the default key.
	id, name string
	// group orders records: after one that is held back, none of its group may run.
	group string
	// stream: Lambda takes up a shard again at the first record that is reported as
	// failed, with all that follow.
	stream bool

	key   idempotency.Key
	token string
	fate  fate
	// first is the record of this batch that has the same key; nil: this one has.
	first *record
}

// fate is what becomes of a record.
type fate int

const (
	run      fate = iota // the handler gets it
	done                 // an earlier run completed it
	heldBack             // it is reported as failed, and comes again
	twin                 // it shares the fate of another record of the batch
)

// batch is an event of records.
type batch struct {
	before, after []byte // the event around its records
	records       []*record
}

// parseBatch reads an event of SQS, Kinesis or DynamoDB Streams; nil: it is none.
//
// One of a tumbling window is none either: what the handler makes of a window
// depends on all of its records, and each event brings the state that goes before
// it: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-windows.html
func parseBatch(event []byte) *batch {
	decoder := json.NewDecoder(bytes.NewReader(event))
	if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var b *batch
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil || name == "window" || name == "isFinalInvokeForWindow" || name == "Records" && b != nil {
			return nil
		}
		if name != "Records" {
			var skip json.RawMessage
			if decoder.Decode(&skip) != nil {
				return nil
			}
			continue
		}
		if t, err := decoder.Token(); err != nil || t != json.Delim('[') {
			return nil
		}
		b = &batch{before: event[:decoder.InputOffset()]}
		for decoder.More() {
			var raw json.RawMessage
			if decoder.Decode(&raw) != nil {
				return nil
			}
			r := parseRecord(raw)
			if r == nil {
				return nil
			}
			b.records = append(b.records, r)
		}
		if _, err := decoder.Token(); err != nil || len(b.records) == 0 {
			return nil
		}
		b.after = event[decoder.InputOffset()-1:]
	}
	if !json.Valid(event) {
		return nil
	}
	return b
}

// parseRecord reads what the event sources call their records, as documented at
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html,
// https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html and
// https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
func parseRecord(raw json.RawMessage) *record {
	var said struct {
		EventSource    string `json:"eventSource"`
		EventSourceARN string `json:"eventSourceARN"`
		EventID        string `json:"eventID"`
		MessageID      string `json:"messageId"`
		Attributes     struct{ MessageGroupID string }
		Kinesis        struct {
			SequenceNumber string `json:"sequenceNumber"`
		} `json:"kinesis"`
		DynamoDB struct{ SequenceNumber string } `json:"dynamodb"`
	}
	if json.Unmarshal(raw, &said) != nil {
		return nil
	}
	r := &record{raw: raw}
	switch said.EventSource {
	case "aws:sqs":
		r.id, r.name = said.MessageID, said.MessageID
		if strings.HasSuffix(said.EventSourceARN, ".fifo") {
			r.group = "group " + said.Attributes.MessageGroupID
		}
	case "aws:kinesis":
		r.id, r.name, r.group, r.stream = said.Kinesis.SequenceNumber, said.EventID, "shard", true
	case "aws:dynamodb":
		r.id, r.name, r.group, r.stream = said.DynamoDB.SequenceNumber, said.EventID, "shard", true
	}
	if r.id == "" {
		return nil
	}
	return r
}

// claimBatch claims each record on its own. It returns the event with those that
// the handler is to run, or false where none is left and it answered itself.
func (p *Proxy) claimBatch(ctx context.Context, inv *invocation, event []byte, b *batch) ([]byte, bool) {
	firsts := map[idempotency.Key]*record{}
	for _, r := range b.records {
		key, err := p.RecordKey(r.raw, r.name)
		switch {
		case err != nil && p.RequireKey:
			p.Log.Warn("a record has no key, and is reported as failed", "request_id", inv.id, "record", r.id, "error", err)
			r.fate = heldBack
		case err != nil:
			p.Log.Warn("a record has no key, and runs without protection", "request_id", inv.id, "record", r.id, "error", err)
		case firsts[key] != nil:
			r.fate, r.first = twin, firsts[key]
		default:
			r.key, firsts[key] = key, r
		}
	}
	together(p, b.turns(p.CountsAttempts), func(turn []*record, store *idempotency.Batch) {
		for _, r := range turn {
			if r.key != (idempotency.Key{}) && r.fate == run {
				p.claimRecord(ctx, inv, r, store)
			}
			if r.fate == heldBack {
				return // keepOrder holds back the others.
			}
		}
	})
	p.keepOrder(b)
	inv.batch = b
	switch kept := b.with(run); len(kept) {
	case len(b.records):
		return event, true
	case 0:
	default:
		return slices.Concat(b.before, b.raw(kept), b.after), true
	}
	p.answer(ctx, inv, jsonType, b.report(nil, nil))
	return nil, false
}

// turns are the records that are claimed one after the other: each by itself, or,
// where no claim may be given up, those that are kept in order.
func (b *batch) turns(inOrder bool) [][]*record {
	var turns [][]*record
	groups := map[string]int{}
	for _, r := range b.records {
		if at, ok := groups[r.group]; ok && inOrder && r.group != "" {
			turns[at] = append(turns[at], r)
			continue
		}
		groups[r.group] = len(turns)
		turns = append(turns, []*record{r})
	}
	return turns
}

func (p *Proxy) claimRecord(ctx context.Context, inv *invocation, r *record, store *idempotency.Batch) {
	ask := p.ask(inv, r.key)
	ask.Batch = store
	out, err := p.Claims.Acquire(ctx, ask)
	switch {
	case err != nil:
		p.Log.Warn("a record could not be claimed, and is reported as failed", "request_id", inv.id, "record", r.id, "error", err)
		r.fate = heldBack
	case out.Status == idempotency.OutcomeAcquired:
		r.token = out.Token
	case out.Status == idempotency.OutcomeCompleted:
		r.fate = done
	case out.Status == idempotency.OutcomeInProgress && p.OnInProgress == InProgressSkip:
		p.Log.Warn(skipped, "request_id", inv.id, "record", r.id, "first_request_id", out.Record.RequestID)
		r.fate = done
	default:
		p.Log.Info("a record is reported as failed", "request_id", inv.id, "record", r.id, "status", string(out.Status), "first_request_id", out.Record.RequestID)
		r.fate = heldBack
	}
}

// keepOrder holds back what would overtake a record that is held back, where the
// source keeps order, and gives its claims up.
func (p *Proxy) keepOrder(b *batch) {
	stopped := map[string]bool{}
	var givenUp []*record
	for _, r := range b.records {
		held := r.fate == heldBack || r.fate == twin && r.first.fate == heldBack
		if r.group != "" && stopped[r.group] && r.fate == run {
			held = true
			if r.token != "" {
				givenUp = append(givenUp, r)
			}
			r.fate = heldBack
		}
		if held && r.group != "" {
			stopped[r.group] = true
		}
	}
	together(p, givenUp, func(r *record, store *idempotency.Batch) {
		failure := idempotency.Failure{Type: "Idempotency.HeldBack", Message: "a record before it is in progress elsewhere"}
		_, err := p.Claims.Fail(context.Background(), idempotency.FailRequest{Token: r.token, Error: &failure, Retry: true, Batch: store})
		p.ended(r.id, err)
		r.token = ""
	})
}

func (b *batch) with(f fate) []*record {
	var some []*record
	for _, r := range b.records {
		if r.fate == f {
			some = append(some, r)
		}
	}
	return some
}

// raw are the records as they came, joined.
func (b *batch) raw(records []*record) []byte {
	var parts [][]byte
	for _, r := range records {
		parts = append(parts, r.raw)
	}
	return bytes.Join(parts, []byte(","))
}

// completeBatch ends the claims as the handler's response says, and returns that
// response with the records that were held back added.
func (p *Proxy) completeBatch(inv *invocation, response []byte) []byte {
	failed, ok := failures(response, inv.batch)
	again := inv.batch.again(failed)
	together(p, inv.batch.with(run), func(r *record, store *idempotency.Batch) {
		switch {
		case r.token == "":
		case failed[r.id]:
			p.failRecord(r, idempotency.Failure{Type: "Function.BatchItemFailure", Message: "the handler reported the record as failed"}, !p.FailOnError, store)
		case again[r]:
			p.failRecord(r, idempotency.Failure{Type: "Function.BatchItemFailure", Message: "the handler reported a record before it as failed"}, true, store)
		default:
			_, err := p.Claims.Complete(context.Background(), idempotency.CompleteRequest{Token: r.token, Result: []byte("null"), Batch: store})
			p.ended(r.id, err)
		}
	})
	if !ok || len(inv.batch.with(heldBack))+len(inv.batch.with(twin)) == 0 {
		return response
	}
	return inv.batch.report(response, failed)
}

// again are the records of a shard after the first that failed. Handlers stop at
// that, as Lambda's documentation shows, and get the rest again.
func (b *batch) again(failed map[string]bool) map[*record]bool {
	again := map[*record]bool{}
	stopped := false
	for _, r := range b.records {
		if stopped && r.stream {
			again[r] = true
		}
		stopped = stopped || failed[r.id]
	}
	return again
}

func (p *Proxy) failBatch(inv *invocation, failure idempotency.Failure, retry bool) {
	together(p, inv.batch.with(run), func(r *record, store *idempotency.Batch) {
		if r.token != "" {
			p.failRecord(r, failure, retry, store)
		}
	})
}

func (p *Proxy) failRecord(r *record, failure idempotency.Failure, retry bool, store *idempotency.Batch) {
	_, err := p.Claims.Fail(context.Background(), idempotency.FailRequest{Token: r.token, Error: &failure, Retry: retry, Batch: store})
	p.ended(r.id, err)
}

// reportMember is the member of a response that reports records as failed.
const reportMember = "batchItemFailures"

// failures are the records that a response reports as failed. Where it is not a
// report that Lambda takes, all of them failed, and ok is false: the response has
// to stay what it is. A response without a report is a success of all: the handler
// has returned, and of none did it say otherwise.
func failures(response []byte, b *batch) (failed map[string]bool, ok bool) {
	failed = map[string]bool{}
	all := func() (map[string]bool, bool) {
		for _, r := range b.records {
			failed[r.id] = true
		}
		return failed, false
	}
	report, has := members(response)[reportMember]
	if len(bytes.TrimSpace(response)) > 0 && !json.Valid(response) {
		// Lambda takes it for a failure of all, and a report of all says the same.
		all()
		return failed, true
	}
	if !has {
		return failed, true
	}
	var list []map[string]json.RawMessage
	if json.Unmarshal(report, &list) != nil {
		return all()
	}
	known := map[string]bool{}
	for _, r := range b.records {
		known[r.id] = true
	}
	for _, f := range list {
		var id string
		if json.Unmarshal(f["itemIdentifier"], &id) != nil || !known[id] {
			return all()
		}
		failed[id] = true
	}
	return failed, true
}

// members are those of a response; none if it is no object.
func members(response []byte) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	_ = json.Unmarshal(response, &m) // Then it is none.
	return m
}

// report is the partial batch response: what the handler said, with the records
// that it reported, those that were held back, and what shares the fate of either.
func (b *batch) report(response []byte, failed map[string]bool) []byte {
	type item struct {
		ItemIdentifier string `json:"itemIdentifier"`
	}
	items := []item{}
	for _, r := range b.records {
		of := r
		if r.fate == twin {
			of = r.first
		}
		if of.fate == heldBack || failed[r.id] || failed[of.id] {
			items = append(items, item{r.id})
		}
	}
	said := members(response)
	if said == nil {
		said = map[string]json.RawMessage{}
	}
	said[reportMember], _ = json.Marshal(items) // Strings always can.
	text, err := json.Marshal(said)
	if err != nil {
		panic(fmt.Sprintf("runtimeproxy: %v", err)) // So can what was read.
	}
	return text
}

// together calls f for each. What they ask of the store they ask together: a few
// are there at once, and all have no longer than one has alone, so that a store
// that hangs does not take the invocation's time once for every few.
func together[T any](p *Proxy, list []T, f func(T, *idempotency.Batch)) {
	store := &idempotency.Batch{Begun: p.Now(), Slots: make(chan struct{}, parallel)}
	var group sync.WaitGroup
	for _, r := range list {
		group.Go(func() { f(r, store) })
	}
	group.Wait()
}
