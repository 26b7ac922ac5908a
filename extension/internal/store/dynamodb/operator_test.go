package dynamodb_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
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

// operating is what docs/operating.md says.
func operating(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// command is a command of docs/operating.md, up to the end of its block.
func command(t *testing.T, begin string) string {
	t.Helper()
	_, rest, found := strings.Cut(operating(t), begin)
	text, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatalf("docs/operating.md has no %s", begin)
	}
	return begin + text
}

// option takes an option's value from a command.
func option(t *testing.T, command, name string) string {
	t.Helper()
	m := regexp.MustCompile(regexp.QuoteMeta(name) + ` '([^']*)'`).FindStringSubmatch(command)
	if m == nil {
		t.Fatalf("there is no %s in %s", name, command)
	}
	return m[1]
}

// TestOperatorFreesAKey runs the commands of docs/operating.md, by the SDK.
func TestOperatorFreesAKey(t *testing.T) {
	local := account(t)
	table := dynamodblocal.CreateTable(t, local, dynamodblocal.Table{})
	e := idempotency.NewEngine(dynamodb.New(dynamodb.Options{Table: table, Attributes: dynamodb.DefaultAttributes()}), idempotency.Options{
		TTL: time.Hour, Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	key, err := idempotency.Keys{Scope: "SCOPE"}.Given(nil, "order-1")
	if err != nil {
		t.Fatal(err)
	}
	ask := idempotency.AcquireRequest{Key: key, Lease: time.Hour, RequestID: "REQUEST_ID"}
	stuck, err := e.Acquire(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}

	scan := command(t, "aws dynamodb scan")
	var sought map[string]map[string]string
	if err := json.Unmarshal([]byte(option(t, scan, "--expression-attribute-values")), &sought); err != nil {
		t.Fatal(err)
	}
	filter := option(t, scan, "--filter-expression")
	found, err := local.Client().Scan(t.Context(), &sdk.ScanInput{
		TableName: &table, FilterExpression: &filter,
		ExpressionAttributeValues: map[string]types.AttributeValue{":r": &types.AttributeValueMemberS{Value: sought[":r"]["S"]}},
	})
	if err != nil || found.Count != 1 {
		t.Fatalf("the scan found %+v, %v", found, err)
	}

	doc := command(t, "aws dynamodb update-item")
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
	if !strings.Contains(operating(t), `printf '["12345","sun-ada-bucket-tokyo/smallfile"]' | sha256sum`) {
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

// TestOperatorFindsALogLine compares the key_hash that docs/operating.md tells to
// compute with the one that is logged.
func TestOperatorFindsALogLine(t *testing.T) {
	key, err := idempotency.Keys{Scope: "SCOPE"}.Given(nil, "order-1")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", command(t, `printf 'SCOPE#order-1\0'`)).Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != idempotency.KeyHash(key) {
		t.Fatalf("the key_hash is %s, %v, want %s", got, err, idempotency.KeyHash(key))
	}
}
