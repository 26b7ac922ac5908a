package dynamodb_test

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/dynamodb"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/storetest"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// meter counts the units of what an engine does on one key.
type meter struct {
	*testing.T
	local  dynamodblocal.Endpoint
	table  string
	engine *idempotency.Engine
	clock  *storetest.Clock

	writes, reads float64
}

func newMeter(t *testing.T, local dynamodblocal.Endpoint) *meter {
	m := &meter{T: t, local: local, clock: storetest.NewClock(), table: dynamodblocal.CreateTable(t, local, dynamodblocal.Table{})}
	store := dynamodb.New(dynamodb.Options{Table: m.table, Attributes: dynamodb.DefaultAttributes(), OnCapacity: func(op string, units float64) {
		if strings.HasPrefix(op, "get") {
			m.reads += units
		} else {
			m.writes += units
		}
	}})
	m.engine = idempotency.NewEngine(store, idempotency.Options{
		Function: "payments-worker-production", TTL: time.Hour, History: 10,
		Now: m.clock.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	return m
}

// failed counts a condition that fails on the item that is there now.
func (m *meter) failed() {
	m.Helper()
	out, err := m.local.Client().GetItem(m.Context(), &sdk.GetItemInput{TableName: &m.table, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: key.Partition}}})
	if err != nil {
		m.Fatal(err)
	}
	m.writes += math.Ceil(float64(size(out.Item)) / 1024)
}

// size is an item's size as DynamoDB counts it:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
func size(item map[string]types.AttributeValue) int {
	n := 0
	for name, value := range item {
		n += len(name) + valueSize(value)
	}
	return n
}

func valueSize(v types.AttributeValue) int {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		return len(v.Value)/2 + 2
	case *types.AttributeValueMemberB:
		return len(v.Value)
	case *types.AttributeValueMemberL:
		n := 3
		for _, e := range v.Value {
			n += 1 + valueSize(e)
		}
		return n
	case *types.AttributeValueMemberM:
		return 3 + len(v.Value) + size(v.Value)
	}
	return 1
}

var key = idempotency.Key{Partition: "payments-worker-production#=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}

func (m *meter) acquire(want idempotency.OutcomeStatus, conflict bool) idempotency.Outcome {
	m.Helper()
	if conflict {
		m.failed()
	}
	out, err := m.engine.Acquire(m.Context(), idempotency.AcquireRequest{
		Key: key, Deadline: m.clock.Now().Add(time.Minute), RequestID: "50d363b4-b6ab-48d2-843d-aab3a0043aec", Validation: strings.Repeat("a", 64),
	})
	if err != nil || out.Status != want {
		m.Fatalf("%v, %v", out.Status, err)
	}
	return out
}

func (m *meter) complete(token string, result []byte) {
	m.Helper()
	if _, err := m.engine.Complete(m.Context(), idempotency.CompleteRequest{Token: token, Result: result}); err != nil {
		m.Fatal(err)
	}
}

// take returns the units since the last time, as "writes + reads".
func (m *meter) take() (float64, float64, string) {
	w, r := m.writes, m.reads
	m.writes, m.reads = 0, 0
	text := fmt.Sprintf("%g write", w)
	if r > 0 {
		text += fmt.Sprintf(" + %g read", r)
	}
	return w, r, text
}

// TestCosts measures the units of each course of events, and keeps the table in
// docs/costs.md.
func TestCosts(t *testing.T) {
	local := account(t)
	var b strings.Builder
	b.WriteString("| Result | First run | Duplicate, running | Duplicate, done | Retry | Takeover |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, c := range []struct {
		name string
		size int
	}{{"none", 0}, {"100 bytes", 100}, {"1 KB", 1000}, {"4 KB", 4000}, {"10 KB", 10_000}, {"100 KB", 100_000}, {"390 KB", 390_000}} {
		var result []byte
		if c.size > 0 {
			result = noise(t, c.size)
		}
		m := newMeter(t, local)
		out := m.acquire(idempotency.OutcomeAcquired, false)
		m.complete(out.Token, result)
		w, _, first := m.take()
		if c.size <= 100 && w != 2 {
			t.Errorf("%s: a first run takes %v write units, want 2", c.name, w)
		}
		m.acquire(idempotency.OutcomeCompleted, true)
		dw, dr, done := m.take()
		if c.size == 100_000 && dw+dr > 30 {
			t.Errorf("a duplicate of a 100 KB result takes %v units, want at most 30", dw+dr)
		}

		m = newMeter(t, local)
		out = m.acquire(idempotency.OutcomeAcquired, false)
		m.take()
		m.acquire(idempotency.OutcomeInProgress, true)
		_, _, running := m.take()
		if _, err := m.engine.Fail(t.Context(), idempotency.FailRequest{Token: out.Token, Error: &idempotency.Failure{Type: "RuntimeError", Message: "An unexpected error has occurred."}, Retry: true}); err != nil {
			t.Fatal(err)
		}
		m.take()
		out = m.acquire(idempotency.OutcomeAcquired, true)
		m.complete(out.Token, result)
		_, _, retry := m.take()

		m = newMeter(t, local)
		m.acquire(idempotency.OutcomeAcquired, false)
		m.clock.Advance(time.Minute)
		m.take()
		out = m.acquire(idempotency.OutcomeAcquired, true)
		m.complete(out.Token, result)
		_, _, takeover := m.take()
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", c.name, first, running, done, retry, takeover)
	}
	const path = "../../../../docs/costs.md"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(doc), "<!-- costs -->\n")
	_, after, ok := strings.Cut(rest, "<!-- /costs -->")
	if !ok {
		t.Fatal("docs/costs.md has no table")
	}
	want := before + "<!-- costs -->\n" + b.String() + "<!-- /costs -->" + after
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(doc)); diff != "" {
		t.Fatalf("docs/costs.md is not what was measured; run it with UPDATE=1:\n%s", diff)
	}
}

// noise is a JSON string of n bytes that compresses as little as ASCII can.
func noise(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	const alphabet = "!#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~"
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	b[0], b[n-1] = '"', '"'
	return b
}
