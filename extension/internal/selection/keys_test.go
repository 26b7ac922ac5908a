package selection_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/selection"
)

// deliveries are events for each expression of docs/keys.md: the same work twice,
// as its source delivers it again, and other work.
var deliveries = map[string]struct{ first, again, other string }{
	"messageId": {
		`{"messageId":"m1","receiptHandle":"A","body":"{}","attributes":{"ApproximateReceiveCount":"1"},"eventSource":"aws:sqs"}`,
		`{"messageId":"m1","receiptHandle":"B","body":"{}","attributes":{"ApproximateReceiveCount":"2"},"eventSource":"aws:sqs"}`,
		`{"messageId":"m2","receiptHandle":"A","body":"{}","attributes":{"ApproximateReceiveCount":"1"},"eventSource":"aws:sqs"}`,
	},
	"powertools_json(body).order_id": {
		`{"messageId":"m1","body":"{\"order_id\": 7}"}`,
		`{"messageId":"m2","body":"{\"order_id\":7}"}`,
		`{"messageId":"m3","body":"{\"order_id\":8}"}`,
	},
	"attributes.MessageDeduplicationId": {
		`{"messageId":"m1","attributes":{"ApproximateReceiveCount":"1","MessageDeduplicationId":"d1","MessageGroupId":"g"}}`,
		`{"messageId":"m1","attributes":{"ApproximateReceiveCount":"2","MessageDeduplicationId":"d1","MessageGroupId":"g"}}`,
		`{"messageId":"m2","attributes":{"ApproximateReceiveCount":"1","MessageDeduplicationId":"d2","MessageGroupId":"g"}}`,
	},
	"Records[0].Sns.MessageId": {
		`{"Records":[{"EventSource":"aws:sns","Sns":{"MessageId":"m1","Timestamp":"2026-11-23T10:00:00.000Z"}}]}`,
		`{"Records":[{"EventSource":"aws:sns","Sns":{"MessageId":"m1","Timestamp":"2026-11-23T10:00:00.000Z"}}]}`,
		`{"Records":[{"EventSource":"aws:sns","Sns":{"MessageId":"m2","Timestamp":"2026-11-23T10:00:00.000Z"}}]}`,
	},
	"Records[0].s3.[bucket.name, object.key, object.sequencer]": {
		`{"Records":[{"eventSource":"aws:s3","responseElements":{"x-amz-request-id":"A"},"s3":{"bucket":{"name":"b"},"object":{"key":"a/b","sequencer":"0055AED6DCD90281E5"}}}]}`,
		`{"Records":[{"eventSource":"aws:s3","responseElements":{"x-amz-request-id":"B"},"s3":{"bucket":{"name":"b"},"object":{"key":"a/b","sequencer":"0055AED6DCD90281E5"}}}]}`,
		`{"Records":[{"eventSource":"aws:s3","responseElements":{"x-amz-request-id":"A"},"s3":{"bucket":{"name":"b"},"object":{"key":"a/b","sequencer":"0055AED6DCD90281E6"}}}]}`,
	},
	"id": {
		`{"id":"e1","source":"shop","detail":{"n":1}}`, `{"id":"e1","source":"shop","detail":{"n":1}}`, `{"id":"e2","source":"shop","detail":{"n":1}}`,
	},
	"detail.[bucket.name, object.key, object.sequencer]": {
		`{"id":"e1","source":"aws.s3","detail":{"bucket":{"name":"b"},"object":{"key":"a","sequencer":"1"}}}`,
		`{"id":"e2","source":"aws.s3","detail":{"bucket":{"name":"b"},"object":{"key":"a","sequencer":"1"}}}`,
		`{"id":"e3","source":"aws.s3","detail":{"bucket":{"name":"b"},"object":{"key":"a","sequencer":"2"}}}`,
	},
	"[id, time]": {
		`{"id":"e1","time":"2026-11-23T10:00:00Z"}`, `{"id":"e1","time":"2026-11-23T10:00:00Z"}`, `{"id":"e1","time":"2026-11-23T10:05:00Z"}`,
	},
	"eventID": {
		`{"eventID":"shardId-0:49","kinesis":{"sequenceNumber":"49"}}`, `{"eventID":"shardId-0:49","kinesis":{"sequenceNumber":"49"}}`, `{"eventID":"shardId-1:49","kinesis":{"sequenceNumber":"49"}}`,
	},
	`headers.["Idempotency-Key" || "idempotency-key"]`: {
		`{"headers":{"Idempotency-Key":"k1"},"requestContext":{"requestId":"A"}}`,
		`{"headers":{"idempotency-key":"k1"},"requestContext":{"requestId":"B"}}`,
		`{"headers":{"idempotency-key":"k2"},"requestContext":{"requestId":"B"}}`,
	},
	"[execution, task]": {
		`{"execution":"arn:x","task":"Charge","attempt":0}`, `{"execution":"arn:x","task":"Charge","attempt":1}`, `{"execution":"arn:y","task":"Charge","attempt":0}`,
	},
}

// TestKeysOfTheDocumentation shows that each key that docs/keys.md advises is the
// same for work that comes again, another for other work, and none where what it
// selects is not there.
func TestKeysOfTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../../docs/keys.md")
	if err != nil {
		t.Fatal(err)
	}
	// The third cell of each row.
	rows := regexp.MustCompile("(?m)^\\| [^|]+ \\| [^|]+ \\| `((?:[^`|\\\\]|\\\\\\|)+)` \\|").FindAllStringSubmatch(string(text), -1)
	seen := map[string]bool{}
	for _, row := range rows {
		expression := strings.ReplaceAll(row[1], `\|`, "|")
		seen[expression] = true
		d, ok := deliveries[expression]
		if !ok {
			t.Errorf("%s has no events here", expression)
			continue
		}
		s, err := selection.New(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		first, again, other := hash(t, s, d.first), hash(t, s, d.again), hash(t, s, d.other)
		if first != again || first == other {
			t.Errorf("%s: first %s, again %s, other %s", expression, first, again, other)
		}
		if value, err := canon.Parse([]byte(`{"unrelated":1}`)); err != nil {
			t.Fatal(err)
		} else if _, err := s.Hash(value, nil, nil); !errors.Is(err, selection.ErrMissing) && !strings.HasPrefix(expression, "powertools_json") {
			t.Errorf("%s makes a key of an event without what it selects: %v", expression, err)
		}
	}
	for expression := range deliveries {
		if !seen[expression] {
			t.Errorf("%s is not in docs/keys.md", expression)
		}
	}
}

func hash(t *testing.T, s *selection.Selection, event string) string {
	t.Helper()
	value, err := canon.Parse([]byte(event))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Hash(value, nil, func(nulls string) { t.Errorf("%s: null in %s", nulls, event) })
	if err != nil {
		t.Fatalf("%s: %v", event, err)
	}
	return got
}

func TestHashWarnsOnceOfNulls(t *testing.T) {
	s, err := selection.New("[user, order]")
	if err != nil {
		t.Fatal(err)
	}
	event, err := canon.Parse([]byte(`{"user":"u"}`))
	if err != nil {
		t.Fatal(err)
	}
	var warned []string
	for range 2 {
		if _, err := s.Hash(event, nil, func(nulls string) { warned = append(warned, nulls) }); err != nil {
			t.Fatal(err)
		}
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "1") {
		t.Fatalf("warned: %q", warned)
	}
}

func TestWholeEvent(t *testing.T) {
	s, err := selection.New("")
	if err != nil {
		t.Fatal(err)
	}
	if hash(t, s, `{"a":1,"b":null}`) != hash(t, s, `{ "b" : null, "a" : 1.0 }`) {
		t.Error("the same event has two hashes")
	}
	for _, empty := range []string{"null", "{}", "[]", `{"a":null}`} {
		value, err := canon.Parse([]byte(empty))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Hash(value, nil, nil); !errors.Is(err, selection.ErrMissing) {
			t.Errorf("%s: %v", empty, err)
		}
	}
}
