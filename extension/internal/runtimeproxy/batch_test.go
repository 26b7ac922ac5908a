package runtimeproxy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/runtimeproxy"
)

type message struct{ id, group string }

// sqs is an event of a queue, as its documentation shows it.
func sqs(queue string, messages ...message) string {
	var records []string
	for _, m := range messages {
		records = append(records, fmt.Sprintf(`{"messageId": %q, "receiptHandle": "h", "body": "{\"n\":12345678901234567891}",
  "attributes": {"ApproximateReceiveCount": "1", "MessageGroupId": %q}, "messageAttributes": {},
  "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:%s", "awsRegion": "us-east-1"}`, m.id, m.group, queue))
	}
	return `{ "Records" : [` + strings.Join(records, ", ") + ` ] }`
}

func queue(ids ...string) string {
	var messages []message
	for _, id := range ids {
		messages = append(messages, message{id: id})
	}
	return sqs("orders", messages...)
}

// kinesis and dynamo are events of a shard; a record's sequence number is its id's
// with a prefix.
func kinesis(ids ...string) string {
	var records []string
	for _, id := range ids {
		records = append(records, fmt.Sprintf(`{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"p","sequenceNumber":"seq-%s","data":"eA==","approximateArrivalTimestamp":1.5},
"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":%q,"eventName":"aws:kinesis:record"}`, id, id))
	}
	return `{"Records":[` + strings.Join(records, ",") + `]}`
}

func dynamo(ids ...string) string {
	var records []string
	for _, id := range ids {
		records = append(records, fmt.Sprintf(`{"eventID":%q,"eventVersion":"1.1","dynamodb":{"Keys":{"Id":{"N":"1"}},"SequenceNumber":"seq-%s","SizeBytes":26},"eventName":"INSERT","eventSource":"aws:dynamodb"}`, id, id))
	}
	return `{"Records":[` + strings.Join(records, ",") + `]}`
}

func newBatches(t *testing.T, changes ...func(*runtimeproxy.Options)) *sandbox {
	t.Helper()
	return newSandbox(t, append([]func(*runtimeproxy.Options){func(o *runtimeproxy.Options) { o.Batch = true }}, changes...)...)
}

// records are the ids in an event.
func records(t *testing.T, event string) []string {
	t.Helper()
	var e struct {
		Records []struct{ MessageID, EventID string }
	}
	if err := json.Unmarshal([]byte(event), &e); err != nil {
		t.Fatalf("%v: %s", err, event)
	}
	ids := []string{}
	for _, r := range e.Records {
		ids = append(ids, r.MessageID+r.EventID)
	}
	return ids
}

func reported(t *testing.T, response string) []string {
	t.Helper()
	var r struct {
		Failures []struct {
			ID string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal([]byte(response), &r); err != nil {
		t.Fatalf("%v: %s", err, response)
	}
	ids := []string{}
	for _, f := range r.Failures {
		ids = append(ids, f.ID)
	}
	return ids
}

func report(ids ...string) string {
	items := []string{}
	for _, id := range ids {
		items = append(items, fmt.Sprintf(`{"itemIdentifier":%q}`, id))
	}
	return `{"batchItemFailures":[` + strings.Join(items, ",") + `]}`
}

// batch sends an event, checks which records the handler gets, answers for it, and
// returns what Lambda is told.
func (s *sandbox) batch(id, body string, want []string, response string) string {
	s.t.Helper()
	s.events <- event{id: id, body: body}
	got, text, _ := s.take()
	if ids := records(s.t, text); got != id || !slices.Equal(ids, want) {
		s.t.Fatalf("the handler got %s %v, want %v", got, ids, want)
	}
	s.answers(id, response)
	told := s.next()
	if told.path != invocations+id+"/response" || told.contentLength != fmt.Sprint(len(told.body)) {
		s.t.Fatalf("Lambda was told %+v", told)
	}
	return told.body
}

// is fails the test unless the keys are so: "done", "held", "free" or "failed".
func (s *sandbox) is(want string, ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		got := "unknown"
		switch rec := s.get(idempotency.Key{Partition: id}); {
		case rec == nil:
		case rec.Status == idempotency.Completed:
			got = "done"
		case rec.Status == idempotency.Failed:
			got = "failed"
		case rec.LeaseExpiresAt.IsZero():
			got = "free"
		default:
			got = "held"
		}
		if got != want {
			s.t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
}

// elsewhere claims a record for a run in another sandbox.
func (s *sandbox) elsewhere(id string) (token string) {
	s.t.Helper()
	out, err := s.engine.Acquire(s.t.Context(), idempotency.AcquireRequest{Key: idempotency.Key{Partition: id}, Deadline: time.Now().Add(time.Minute), RequestID: "elsewhere"})
	if err != nil || out.Status != idempotency.OutcomeAcquired {
		s.t.Fatalf("%v %v", out.Status, err)
	}
	return out.Token
}

func (s *sandbox) doneElsewhere(id string) {
	s.t.Helper()
	if _, err := s.engine.Complete(s.t.Context(), idempotency.CompleteRequest{Token: s.elsewhere(id)}); err != nil {
		s.t.Fatal(err)
	}
}

// The source of a batch decides what its records are called; the rest is the same.
func TestBatchOfEachSource(t *testing.T) {
	for name, source := range map[string]struct {
		event func(ids ...string) string
		item  func(id string) string
		// again are the records that come again after b failed, of a, b, c.
		free, done []string
	}{
		"SQS":              {queue, func(id string) string { return id }, []string{"b"}, []string{"a", "c"}},
		"Kinesis":          {kinesis, func(id string) string { return "seq-" + id }, []string{"b", "c"}, []string{"a"}},
		"DynamoDB Streams": {dynamo, func(id string) string { return "seq-" + id }, []string{"b", "c"}, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBatches(t)
			// The handler reports the second of three. Of a shard, it stopped there.
			if got := s.batch("r1", source.event("a", "b", "c"), []string{"a", "b", "c"}, report(source.item("b"))); got != report(source.item("b")) {
				t.Errorf("Lambda was told %s", got)
			}
			s.is("free", source.free...)
			s.is("done", source.done...)
			// All come again: the handler gets what is not done.
			if got := s.batch("r2", source.event("a", "b", "c"), source.free, report()); got != report() {
				t.Errorf("Lambda was told %s", got)
			}
			s.is("done", "a", "b", "c")
			// An event without a record left does not reach the handler.
			if got := s.duplicate("r3", source.event("c", "a")); got.body != report() || got.path != invocations+"r3/response" {
				t.Errorf("Lambda was told %+v", got)
			}
		})
	}
}

func TestBatchPassesAsItCame(t *testing.T) {
	s := newBatches(t)
	body := queue("a", "b")
	s.events <- event{id: "r1", body: body}
	if _, text, _ := s.take(); text != body {
		t.Errorf("the handler got %s", text)
	}
	s.answers("r1", `{ "batchItemFailures" : null, "x": 1 }`)
	if got := s.next(); got.body != `{ "batchItemFailures" : null, "x": 1 }` {
		t.Errorf("Lambda was told %s", got.body)
	}
	// What is left of an event is as it came, too.
	s.events <- event{id: "r2", body: queue("a", "c")}
	_, text, _ := s.take()
	if want := queue("c"); text != strings.Replace(want, " ] }", "] }", 1) && text != want {
		t.Errorf("the handler got %s", text)
	}
}

// A record in progress elsewhere comes again, whatever the handler says of the rest.
func TestBatchInProgressElsewhere(t *testing.T) {
	for mode, want := range map[runtimeproxy.InProgress][]string{runtimeproxy.InProgressError: {"b"}, runtimeproxy.InProgressWait: {"b"}, runtimeproxy.InProgressSkip: {}} {
		t.Run(string(mode), func(t *testing.T) {
			s := newBatches(t, func(o *runtimeproxy.Options) { o.OnInProgress = mode })
			s.elsewhere("b")
			for i, response := range []string{"null", "", `"done"`, `{"statusCode":200,"batchItemFailures":[]}`} {
				own := fmt.Sprint("own-", i)
				got := s.batch(fmt.Sprint("r", i), queue(own, "b"), []string{own}, response)
				if len(want) == 0 && got != response || len(want) > 0 && !slices.Equal(reported(t, got), want) {
					t.Errorf("%q: Lambda was told %s", response, got)
				}
				s.is("done", own)
			}
			s.is("held", "b")
			if s.log.has("lambdaが多重起動したため処理を終了しました。") != (mode == runtimeproxy.InProgressSkip) {
				t.Error("the warning of a skipped record")
			}
			// It alone never reaches the handler.
			if got := s.duplicate("alone", queue("b")); !slices.Equal(reported(t, got.body), want) {
				t.Errorf("Lambda was told %s", got.body)
			}
		})
	}
}

func TestBatchKeepsTheRestOfAReport(t *testing.T) {
	s := newBatches(t)
	s.elsewhere("b")
	if got := s.batch("r1", queue("a", "b", "c"), []string{"a", "c"}, `{"statusCode":200,"batchItemFailures":[{"itemIdentifier":"c"}]}`); got != `{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"c"}],"statusCode":200}` {
		t.Errorf("Lambda was told %s", got)
	}
}

// A report that Lambda takes for the failure of all is that.
func TestBatchReportsThatFailAll(t *testing.T) {
	for _, response := range []string{
		`{"batchItemFailures":[{"itemIdentifier":""}]}`,
		`{"batchItemFailures":[{"itemIdentifier":null}]}`,
		`{"batchItemFailures":[{"id":"a"}]}`,
		`{"batchItemFailures":[{"itemIdentifier":"unknown"}]}`,
		`{"batchItemFailures":[{"itemIdentifier":7}]}`,
		`{"batchItemFailures":["a"]}`,
		`{"batchItemFailures":"a"}`,
		`{"batchItemFailures":{"itemIdentifier":"a"}}`,
	} {
		s := newBatches(t)
		s.elsewhere("c")
		if got := s.batch("r1", queue("a", "b", "c"), []string{"a", "b"}, response); got != response {
			t.Errorf("%s: Lambda was told %s", response, got)
		}
		s.is("free", "a", "b")
	}
}

// What is no JSON, such as a report that was cut off, fails all, too.
func TestBatchResponseThatIsNoJSON(t *testing.T) {
	for _, response := range []string{`{"batchItemFailures":[{"itemIdentifier":"a"}`, "done"} {
		s := newBatches(t)
		if got := s.batch("r1", queue("a", "b"), []string{"a", "b"}, response); got != response {
			t.Errorf("%s: Lambda was told %s", response, got)
		}
		s.is("free", "a", "b")
		s.elsewhere("c")
		if got := s.batch("r2", queue("a", "b", "c"), []string{"a", "b"}, response); !slices.Equal(reported(t, got), []string{"a", "b", "c"}) {
			t.Errorf("%s: Lambda was told %s", response, got)
		}
		s.is("free", "a", "b")
	}
}

func TestBatchHandlerFails(t *testing.T) {
	for onError, want := range map[bool]string{false: "free", true: "failed"} {
		s := newBatches(t, func(o *runtimeproxy.Options) { o.FailOnError = onError })
		s.doneElsewhere("a")
		s.events <- event{id: "r1", body: queue("a", "b", "c")}
		s.take()
		s.call(http.MethodPost, invocations+"r1/error", `{"errorType":"Carrier"}`, nil)
		if got := s.next(); got.path != invocations+"r1/error" || got.body != `{"errorType":"Carrier"}` {
			t.Errorf("Lambda was told %+v", got)
		}
		s.is("done", "a")
		s.is(want, "b", "c")
	}
}

// A record that failed for good is reported, and not run.
func TestBatchFailedForGood(t *testing.T) {
	s := newBatches(t, func(o *runtimeproxy.Options) { o.FailOnError = true })
	s.batch("r1", queue("a", "b"), []string{"a", "b"}, report("a"))
	s.is("failed", "a")
	if got := s.duplicate("r2", queue("a", "b")); !slices.Equal(reported(t, got.body), []string{"a"}) {
		t.Errorf("Lambda was told %+v", got)
	}
}

// Where the source keeps order, nothing overtakes a record that is held back.
func TestBatchKeepsOrder(t *testing.T) {
	fifo := func(messages ...message) string { return sqs("orders.fifo", messages...) }
	for _, attempts := range []bool{false, true} {
		t.Run(fmt.Sprint("attempts count: ", attempts), func(t *testing.T) {
			fresh := func(t *testing.T) *sandbox {
				t.Helper()
				return newBatches(t, func(o *runtimeproxy.Options) { o.CountsAttempts = attempts })
			}
			untouched := func(s *sandbox, ids ...string) {
				s.t.Helper()
				if attempts {
					s.is("unknown", ids...)
				} else {
					s.is("free", ids...)
				}
			}
			t.Run("FIFO", func(t *testing.T) {
				s := fresh(t)
				s.elsewhere("a2")
				s.doneElsewhere("a4")
				got := s.batch("r1", fifo(message{"a1", "A"}, message{"b1", "B"}, message{"a2", "A"}, message{"a3", "A"}, message{"b2", "B"}, message{"a4", "A"}), []string{"a1", "b1", "b2"}, report())
				want := []string{"a2", "a3"}
				if attempts {
					want = append(want, "a4") // Nobody has looked: it comes again, and is found done.
				}
				if ids := reported(t, got); !slices.Equal(ids, want) {
					t.Errorf("Lambda was told of %v", ids)
				}
				s.is("done", "a1", "b1", "b2", "a4")
				untouched(s, "a3")
			})
			t.Run("shard", func(t *testing.T) {
				s := fresh(t)
				s.elsewhere("b")
				got := s.batch("r1", kinesis("a", "b", "c", "d"), []string{"a"}, report())
				if ids := reported(t, got); !slices.Equal(ids, []string{"seq-b", "seq-c", "seq-d"}) {
					t.Errorf("Lambda was told of %v", ids)
				}
				s.is("done", "a")
				untouched(s, "c", "d")
			})
			t.Run("shard, none left", func(t *testing.T) {
				s := fresh(t)
				s.elsewhere("a")
				if got := s.duplicate("r1", kinesis("a", "b")); !slices.Equal(reported(t, got.body), []string{"seq-a", "seq-b"}) {
					t.Errorf("Lambda was told %+v", got)
				}
				untouched(s, "b")
			})
		})
	}
	// A queue that keeps no order holds back that record alone.
	s := newBatches(t)
	s.elsewhere("a")
	s.batch("r1", sqs("orders", message{"a", "A"}, message{"b", "A"}), []string{"b"}, report())
}

// The handler gets one of two records with the same key; both share its fate.
func TestBatchTwins(t *testing.T) {
	s := newBatches(t)
	if got := s.batch("r1", queue("a", "b", "a"), []string{"a", "b"}, report("a")); !slices.Equal(reported(t, got), []string{"a", "a"}) {
		t.Errorf("Lambda was told %s", got)
	}
	if got := s.batch("r2", queue("a", "b", "a"), []string{"a"}, report()); len(reported(t, got)) != 0 {
		t.Errorf("Lambda was told %s", got)
	}
	s.is("done", "a", "b")
}

// A key by JMESPath can be the same for messages of different ids.
func TestBatchTwinsOfDifferentIDs(t *testing.T) {
	s := newBatches(t, func(o *runtimeproxy.Options) {
		o.RecordKey = func(_ []byte, id string) (idempotency.Key, error) { return idempotency.Key{Partition: id[:1]}, nil }
	})
	if got := s.batch("r1", queue("a1", "b1", "a2"), []string{"a1", "b1"}, report("a1")); !slices.Equal(reported(t, got), []string{"a1", "a2"}) {
		t.Errorf("Lambda was told %s", got)
	}
	s.is("free", "a")
	s.is("done", "b")
}

func TestBatchMissingKey(t *testing.T) {
	without := func(o *runtimeproxy.Options) {
		o.RecordKey = func(_ []byte, id string) (idempotency.Key, error) {
			if id == "b" {
				return idempotency.Key{}, fmt.Errorf("nothing is selected")
			}
			return idempotency.Key{Partition: id}, nil
		}
	}
	s := newBatches(t, without)
	s.batch("r1", queue("a", "b"), []string{"a", "b"}, report())
	s.batch("r2", queue("a", "b"), []string{"b"}, report())
	s = newBatches(t, without, func(o *runtimeproxy.Options) { o.RequireKey = true })
	if got := s.batch("r1", queue("a", "b"), []string{"a"}, report()); !slices.Equal(reported(t, got), []string{"b"}) {
		t.Errorf("Lambda was told %s", got)
	}
}

func TestBatchStoreIsAway(t *testing.T) {
	store := &slowStore{}
	s := newSandboxOn(t, store.on(), func(o *runtimeproxy.Options) { o.Batch = true })
	store.away(true)
	if got := s.duplicateOnly("r1", queue("a", "b")); !slices.Equal(reported(t, got.body), []string{"a", "b"}) {
		t.Errorf("Lambda was told %+v", got)
	}
}

// duplicateOnly sends an event that the handler must not get, with none after it.
func (s *sandbox) duplicateOnly(id, body string) told {
	s.t.Helper()
	s.events <- event{id: id, body: body}
	leave := s.asks()
	got := s.next()
	_ = leave()
	return got
}

// A large batch is claimed as a whole before the handler sees it.
func TestBatchOfThousands(t *testing.T) {
	var ids []string
	for i := range 2000 {
		ids = append(ids, fmt.Sprint("m", i))
	}
	s := newBatches(t)
	s.batch("r1", kinesis(ids...), ids, report("seq-m1000"))
	s.is("done", ids[:1000]...)
	s.is("free", ids[1000:]...)
	s.batch("r2", kinesis(ids...), ids[1000:], report())
	s.is("done", ids...)
}

// A response too large to be read may report failures: the claims go back.
func TestBatchResponseTooLarge(t *testing.T) {
	s := newBatches(t)
	s.events <- event{id: "r1", body: queue("a")}
	s.take()
	s.call(http.MethodPost, invocations+"r1/response", strings.Repeat(" ", 6<<20+200)+report("a"), nil)
	s.next()
	s.is("free", "a")
}

// A report may be streamed, and end in an error.
func TestBatchStreamed(t *testing.T) {
	stream := http.Header{"Lambda-Runtime-Function-Response-Mode": {"streaming"}}
	s := newBatches(t)
	s.elsewhere("c")
	s.events <- event{id: "r1", body: queue("a", "b", "c")}
	s.take()
	s.chunked(invocations+"r1/response", stream, nil, true, `{"batchItemFailures":[{"item`, `Identifier":"a"}]}`)
	if got := s.next(); !slices.Equal(reported(t, got.body), []string{"a", "c"}) {
		t.Errorf("Lambda was told %+v", got)
	}
	s.is("free", "a")
	s.is("done", "b")
	s.events <- event{id: "r2", body: queue("d", "c")}
	s.take()
	s.chunked(invocations+"r2/response", stream, streamError("Broke", "{}"), true, "par")
	if got := s.next(); got.body != "par" || got.trailer.Get("Lambda-Runtime-Function-Error-Type") != "Broke" {
		t.Errorf("Lambda was told %+v", got)
	}
	s.is("free", "d")
}

// What is no batch of these sources, or of a window, is one event with one key.
func TestNoBatch(t *testing.T) {
	for _, body := range []string{
		`{"Records":[]}`,
		`{"Records":{}}`,
		`{"Records":[{"eventSource":"aws:s3","s3":{}}]}`,
		`{"Records":[{"EventSource":"aws:sns","Sns":{"MessageId":"m"}}]}`,
		`{"Records":[1]}`,
		`[{"Records":[]}]`,
		`{"records":"x","order":1}`,
		`{"Records":[{"eventSource":"aws:sqs","messageId":"a"},{"eventSource":"aws:sqs"}]}`,
		strings.TrimSuffix(kinesis("a"), "}") + `,"window":{"start":"a","end":"b"},"state":{"n":1},"isFinalInvokeForWindow":false}`,
		`{"window":{"start":"a","end":"b"},` + strings.TrimPrefix(kinesis("a"), "{"),
	} {
		s := newBatches(t)
		s.events <- event{id: "r1", body: body}
		if _, text, _ := s.take(); text != body {
			t.Errorf("the handler got %s", text)
		}
		s.held(body)
		s.answers("r1", `{"state":{"n":2}}`)
		s.next()
		if got := s.duplicate("r2", body); got.body != `{"state":{"n":2}}` {
			t.Errorf("Lambda was told %+v", got)
		}
	}
}
