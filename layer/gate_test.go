package layer_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// gate stands before a table of the real engine and judges calls as IAM would:
// what the policy does not allow is denied.
type gate struct {
	url   string // the gate's
	local string // DynamoDB Local's, past the gate
	table string

	mu     sync.Mutex
	allows []string
	down   bool     // every call breaks
	denied []string // the actions that were
	used   []string // the actions that were allowed
}

// dynamoDB is the URL of a DynamoDB Local: the one that runs, or one for this test.
func dynamoDB(t *testing.T) string {
	t.Helper()
	if running := os.Getenv("DYNAMODB_ENDPOINT"); running != "" {
		return running
	}
	// It runs until its command ends, which the end of standard input does.
	cmd := exec.Command("go", "run", "./extension/internal/testenv/dynamodblocal/cmd", "--", "sh", "-c", `echo "$DYNAMODB_ENDPOINT"; cat`)
	cmd.Dir, cmd.Stderr = "..", os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	var line []byte
	for one := make([]byte, 1); ; line = append(line, one[0]) {
		if _, err := stdout.Read(one); err != nil || one[0] == '\n' {
			break
		}
	}
	if len(line) == 0 {
		unavailable(t, "there is no DynamoDB Local; run `make test-parts`")
	}
	return string(line)
}

// tableOf makes the table of the CloudFormation template, and a gate before it
// that allows what the template's policy allows.
func tableOf(t *testing.T) *gate {
	t.Helper()
	templateTool(t, "python", "bin", "python")
	resources, err := plainStack()
	if err != nil {
		t.Fatal(err)
	}
	local, err := url.Parse(dynamoDB(t))
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{local: local.String(), table: "template-" + strings.ToLower(rand.Text())}
	table, _ := resources["Table"]["Properties"].(map[string]any)
	// These are members of the template's alone; the API takes the rest as it is.
	made := map[string]any{"TableName": g.table}
	for _, member := range []string{"BillingMode", "AttributeDefinitions", "KeySchema"} {
		made[member] = table[member]
	}
	operate(t, g.local, "CreateTable", made)
	t.Cleanup(func() { operate(t, g.local, "DeleteTable", map[string]any{"TableName": g.table}) })
	operate(t, g.local, "UpdateTimeToLive", map[string]any{"TableName": g.table, "TimeToLiveSpecification": table["TimeToLiveSpecification"]})
	for _, action := range plainFacts(t)["policy Action"].([]any) {
		g.allows = append(g.allows, action.(string))
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(local) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !g.lets(w, r, body) {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

// lets judges a call: the action by its operation, the resource by its table.
func (g *gate) lets(w http.ResponseWriter, r *http.Request, body []byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.down {
		w.WriteHeader(http.StatusInternalServerError)
		return false
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	action := "dynamodb:" + operation
	var to struct{ TableName string }
	if err := json.Unmarshal(body, &to); err == nil && slices.Contains(g.allows, action) && to.TableName == g.table {
		g.used = append(g.used, action)
		return true
	}
	g.denied = append(g.denied, action)
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = fmt.Fprintf(w, `{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"User is not authorized to perform: %s"}`, action)
	return false
}

func (g *gate) fall() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = true
}

// seen are the actions that were used and denied, each once.
func (g *gate) seen() (used, denied []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	once := func(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
	return once(g.used), once(g.denied)
}

// env points a sidecar at the gate.
func (g *gate) env() []string {
	return []string{"IDEMPOTENCY_TABLE_NAME=" + g.table, "AWS_ENDPOINT_URL_DYNAMODB=" + g.url,
		"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "IDEMPOTENCY_CLOCK_SKEW=10ms"}
}

// operate calls an operation of DynamoDB Local, which checks no signature, with
// the members as they are in the template.
func operate(t *testing.T, endpoint, operation string, members map[string]any) map[string]any {
	t.Helper()
	body, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=none")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", operation, res.Status, text, err)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}
