package dynamodb_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/dynamodb"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// option takes an option's value from the commands in docs/operating.md.
func option(t *testing.T, doc, name string) string {
	t.Helper()
	m := regexp.MustCompile(regexp.QuoteMeta(name) + ` '([^']*)'`).FindStringSubmatch(doc)
	if m == nil {
		t.Fatalf("docs/operating.md has no %s", name)
	}
	return m[1]
}

// TestOperatorFreesAKey runs the command of docs/operating.md, by the SDK.
func TestOperatorFreesAKey(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	local := account(t)
	table := dynamodblocal.CreateTable(t, local, dynamodblocal.Table{})
	e := idempotency.NewEngine(dynamodb.New(dynamodb.Options{Table: table, Attributes: dynamodb.DefaultAttributes()}), idempotency.Options{
		TTL: time.Hour, Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	key, err := idempotency.Keys{Scope: "SCOPE"}.Given(nil, "order-1")
	if err != nil {
		t.Fatal(err)
	}
	ask := idempotency.AcquireRequest{Key: key, Lease: time.Hour}
	stuck, err := e.Acquire(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}

	var id map[string]map[string]string
	var names map[string]string
	var values map[string]map[string]string
	for name, to := range map[string]any{"--key": &id, "--expression-attribute-names": &names, "--expression-attribute-values": &values} {
		if err := json.Unmarshal([]byte(option(t, doc, name)), to); err != nil {
			t.Fatal(err)
		}
	}
	update, condition := option(t, doc, "--update-expression"), option(t, doc, "--condition-expression")
	in := &sdk.UpdateItemInput{
		TableName: &table, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id["id"]["S"]}},
		UpdateExpression: &update, ConditionExpression: &condition, ExpressionAttributeNames: names,
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":released": &types.AttributeValueMemberN{Value: values[":released"]["N"]},
			":held":     &types.AttributeValueMemberS{Value: values[":held"]["S"]},
		},
	}
	if _, err := local.Client().UpdateItem(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	out, err := e.Acquire(t.Context(), ask)
	if err != nil || out.Status != idempotency.OutcomeAcquired || out.Record.Attempt != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, err := e.Complete(t.Context(), idempotency.CompleteRequest{Token: stuck.Token}); !errors.Is(err, idempotency.ErrClaimLost) {
		t.Fatalf("the run that was taken for dead completes with %v", err)
	}
	if _, err := e.Complete(t.Context(), idempotency.CompleteRequest{Token: out.Token}); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Client().UpdateItem(t.Context(), in); err == nil {
		t.Fatal("a completed key was freed")
	}
}

// TestOperatorFindsAnEventsKey compares the id that docs/operating.md tells to
// compute with the one that is used.
func TestOperatorFindsAnEventsKey(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `printf '["12345","sun-ada-bucket-tokyo/smallfile"]' | sha256sum`) {
		t.Fatal("docs/operating.md has another example")
	}
	const sum = "149dba960c628067cb6d50ac66cff3037bc32acb60a5a10c7cff0a6c5a750476"
	event, err := canon.Parse([]byte(`{"ObjKey": "sun-ada-bucket-tokyo/smallfile", "JobId": "12345"}`))
	if err != nil {
		t.Fatal(err)
	}
	expression, err := canon.Compile("[JobId, ObjKey]")
	if err != nil {
		t.Fatal(err)
	}
	selected, err := expression.Select(event)
	if err != nil {
		t.Fatal(err)
	}
	if got := canon.Hash(selected); got != sum {
		t.Fatalf("the key's hash is %s, want %s", got, sum)
	}
}
