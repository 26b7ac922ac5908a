// Package e2e_test runs the built extension under Lambda's Runtime Interface
// Emulator, with the runtime clients and the DynamoDB engine that are used in
// earnest.
package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/link"
)

// function is a deployed function with the extension.
type function struct {
	*testing.T
	*emulator.Emulator
	port  int
	table string
	local dynamodblocal.Endpoint
	link  *link.Link // the sidecar's way to the table
}

const (
	secret = "the-session-token"
	// proxyPort is another port of the sidecar's, to be different where many run
	// side by side.
	proxyPort = "IDEMPOTENCY_RUNTIME_PROXY_PORT"
)

// deployGo deploys the Go handler; env is added to the environment.
func deployGo(t *testing.T, timeout time.Duration, env map[string]string) *function {
	t.Helper()
	return deploy(t, emulator.Config{Timeout: timeout, Env: env})
}

// deploy deploys the Go handler to an environment of the kind that c says.
func deploy(t *testing.T, c emulator.Config) *function {
	t.Helper()
	local := dynamodblocal.Start(t)
	table := dynamodblocal.CreateTable(t, local, dynamodblocal.Table{TTL: "expiration"})
	f := &function{T: t, port: emulator.FreePort(t), table: table, local: local, link: link.Start(t, local.URL)}
	all := local.Env()
	maps.Copy(all, map[string]string{
		"AWS_ENDPOINT_URL_DYNAMODB": f.link.URL,
		"IDEMPOTENCY_TABLE_NAME":    table,
		"IDEMPOTENCY_PORT":          strconv.Itoa(f.port),
		proxyPort:                   strconv.Itoa(emulator.FreePort(t)),
		"AWS_SESSION_TOKEN":         secret,
	})
	maps.Copy(all, c.Env)
	if c.Command == nil {
		c.Opt, c.Command = built.opt, []string{built.goHandler}
	}
	c.Env, c.FunctionName = all, "jobs"
	f.Emulator = emulator.Start(t, c)
	return f
}

type answer struct {
	Status  string
	Attempt int
	Result  string
}

// invoke invokes the function with what the handler is to do with a key.
func (f *function) invoke(key, do string) (answer, string) {
	f.Helper()
	payload, err := json.Marshal(map[string]string{"key": key, "do": do})
	if err != nil {
		f.Fatal(err)
	}
	res, err := f.Invoke(f.Context(), payload)
	if err != nil {
		f.Fatal(err)
	}
	var a answer
	_ = json.Unmarshal(res.Body, &a) // An error of the handler has another shape.
	return a, string(res.Body)
}

// record asks the sidecar for a record, while it lives.
func (f *function) record(key string) map[string]any {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/record?key=%s", f.port, key), nil)
	if err != nil {
		f.Fatal(err)
	}
	req.Header.Set("X-Idempotency-Auth", secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var rec map[string]any
	if err := json.NewDecoder(res.Body).Decode(&rec); err != nil {
		f.Fatal(err)
	}
	return rec
}

func TestSuccessAndDuplicate(t *testing.T) {
	f := deployGo(t, 5*time.Second, nil)
	if a, body := f.invoke("k", "complete"); a.Status != "acquired" || a.Attempt != 1 {
		t.Fatal(body)
	}
	if !strings.Contains(f.Log(), "at init: acquired <nil>") {
		t.Fatal("the function's init code was not served")
	}
	if a, body := f.invoke("k", "complete"); a.Status != "completed" || a.Result != `"done by attempt 1"` {
		t.Fatal(body)
	}
	if n := strings.Count(f.Log(), "working on k"); n != 1 {
		t.Fatalf("the work ran %d times", n)
	}
}

func TestFailureIsRetried(t *testing.T) {
	f := deployGo(t, 5*time.Second, nil)
	if _, body := f.invoke("k", "fail"); !strings.Contains(body, "the work failed") {
		t.Fatal(body)
	}
	if a, body := f.invoke("k", "complete"); a.Status != "acquired" || a.Attempt != 2 {
		t.Fatal(body)
	}
}

// TestLeftOpen shows that a claim which its handler ended neither way is free
// again long before its lease would have ended, and that the retry runs.
func TestLeftOpen(t *testing.T) {
	const timeout = 2 * time.Second
	for do, want := range map[string]string{
		"abandon":    "Handler.Abandoned",
		"error":      "Handler.Abandoned",
		"sleep":      "Sandbox.Timedout",
		"exit":       "Runtime.ExitError",
		"exit 0":     "Runtime.ExitError",
		"panic":      "Runtime.ExitError",
		"huge":       "Runtime.ExitError", // Lambda takes no answer above 6 MB.
		"deaf sleep": "Sandbox.Timedout",  // SIGTERM is ignored, so that SHUTDOWN comes late.
	} {
		t.Run(do, func(t *testing.T) {
			t.Parallel()
			f := deployGo(t, timeout, nil)
			payload := fmt.Appendf(nil, `{"key":"k","do":%q,"lease_ms":600000}`, do)
			if _, err := f.Invoke(t.Context(), payload); err != nil {
				t.Fatal(err)
			}
			a, body := f.invoke("k", "complete")
			if a.Status != "acquired" || a.Attempt != 2 {
				t.Fatalf("the retry got %s", body)
			}
			rec := f.record("k")
			history, err := json.Marshal(rec["history"])
			if err != nil {
				t.Fatal(err)
			}
			if rec["status"] != "COMPLETED" || !bytes.Contains(history, []byte(`"status":"RELEASED"`)) {
				t.Fatalf("the record is %v", rec)
			}
			f.WaitLog(t, want, 5*time.Second)
		})
	}
}

func TestTimeoutCanBeFinal(t *testing.T) {
	f := deployGo(t, time.Second, map[string]string{"IDEMPOTENCY_ON_TIMEOUT": "fail"})
	if _, body := f.invoke("k", "sleep"); !strings.Contains(body, "timed out") {
		t.Fatal(body)
	}
	if a, body := f.invoke("k", "complete"); a.Status != "failed" {
		t.Fatal(body)
	}
	if rec := f.record("k"); rec["status"] != "FAILED" || rec["error"].(map[string]any)["type"] != "Sandbox.Timedout" {
		t.Fatalf("the record is %v", rec)
	}
}

// TestDeadline shows until when a claim holds that the handler gave no deadline.
func TestDeadline(t *testing.T) {
	f := deployGo(t, 7*time.Second, nil)
	if a, body := f.invoke("k", "abandon"); a.Status != "acquired" {
		t.Fatal(body)
	}
	rec := f.record("k")
	lease := time.UnixMilli(int64(rec["in_progress_expiration"].(float64)))
	if left := time.Until(lease); left < 4*time.Second || left > 7*time.Second {
		t.Fatalf("the claim holds for %v, with a timeout of 7s", left)
	}
}

func TestMissingTable(t *testing.T) {
	f := deployGo(t, 5*time.Second, map[string]string{"IDEMPOTENCY_TABLE_NAME": "absent"})
	if _, body := f.invoke("k", "complete"); !strings.Contains(body, "store_unavailable: table absent does not exist") {
		t.Fatalf("the handler is told %s", body)
	}
	if strings.Contains(f.Log(), "working on k") {
		t.Fatal("the work ran without a claim")
	}
	f.WaitLog(t, "create it, or set IDEMPOTENCY_TABLE_NAME", time.Second)
}

func TestBadConfiguration(t *testing.T) {
	f := deployGo(t, 5*time.Second, map[string]string{"IDEMPOTENCY_TTL": "a day"})
	payload := []byte(`{"key":"k","do":"complete"}`)
	if res, err := f.Invoke(t.Context(), payload); err == nil && res.Status == http.StatusOK {
		t.Fatalf("the function runs without its guard: %s", res.Body)
	}
	f.WaitLog(t, `IDEMPOTENCY_TTL=\"a day\": use a duration from 1s`, time.Second)
	f.WaitLog(t, "Extension.InitError", time.Second)
}
