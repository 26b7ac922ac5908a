package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi/extapitest"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

const session = "the-session-token"

// lambdaEnv is what Lambda gives an extension.
func lambdaEnv(api string, more ...string) []string {
	return append([]string{
		fmt.Sprintf("IDEMPOTENCY_RUNTIME_PROXY_PORT=%d", program.FreePort()),
		"AWS_LAMBDA_RUNTIME_API=" + api, "AWS_LAMBDA_FUNCTION_NAME=orders", "AWS_REGION=eu-west-1",
		"AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "AWS_SESSION_TOKEN=" + session,
	}, more...)
}

// extension starts the program as an extension, and waits until it asks for the
// first event.
func extension(t *testing.T, api *extapitest.Server, env ...string) *sidecar {
	t.Helper()
	p := start(t, []string{binary}, lambdaEnv(api.Start(t), env...)...)
	p.token = session
	api.AwaitNext(t)
	return p
}

// logged are the lines of a JSON log from a level on.
func logged(t *testing.T, p *sidecar, levels ...string) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(p.Stderr.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("not a line of JSON: %q", line)
		}
		for _, level := range levels {
			if entry["level"] == level {
				lines = append(lines, entry)
			}
		}
	}
	return lines
}

func TestLifeInLambda(t *testing.T) {
	api := extapitest.New()
	p := extension(t, api, "IDEMPOTENCY_STORE=memory")
	want := []string{`POST register {"events":["INVOKE","SHUTDOWN"]}`, "GET event/next"}
	if diff := cmp.Diff(want, api.Called()); diff != "" {
		t.Error(diff)
	}
	if name := api.Calls()[0].Header.Get("Lambda-Extension-Name"); name != "lambda-idempotency" {
		t.Errorf("it is registered as %q", name)
	}
	api.Invoke(t, "a", time.Now().Add(3*time.Second))
	api.AwaitNext(t)
	status, answer := p.post("/acquire", `{"key":"k","request_id":"a"}`)
	if status != http.StatusOK || answer["status"] != "acquired" {
		t.Fatal(status, answer)
	}
	api.Invoke(t, "b", time.Now().Add(3*time.Second))
	api.AwaitNext(t)
	if _, answer := p.post("/acquire", `{"key":"k","request_id":"b"}`); answer["attempt"] != 2.0 {
		t.Errorf("the next invocation got %v", answer)
	}
	start := time.Now()
	api.Shutdown(t, "spindown")
	if code := p.exit(patience); code != 0 || time.Since(start) > time.Second {
		t.Errorf("ended with %d after %v", code, time.Since(start))
	}
	// One for each claim that its handler left open.
	if lines := logged(t, p, "INFO", "WARN", "ERROR"); len(lines) != 2 || p.Stdout.String() != "" {
		t.Errorf("said %q and logged %v", p.Stdout, lines)
	}
	if strings.Contains(p.Stderr.String(), session) {
		t.Error("the log shows the secret")
	}
}

// Lambda starts the runtime once every extension has registered.
func TestListensBeforeItRegisters(t *testing.T) {
	api, port, checked := extapitest.New(), program.FreePort(), make(chan error, 1)
	api.OnRegister = func() {
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/health", port))
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				err = fmt.Errorf("health answered %s", res.Status)
			}
		}
		checked <- err
	}
	extension(t, api, fmt.Sprintf("IDEMPOTENCY_PORT=%d", port), "IDEMPOTENCY_STORE=memory")
	if err := <-checked; err != nil {
		t.Error(err)
	}
}

// Lambda looks for the name of the file in extensions/.
func TestNameIsTheLinks(t *testing.T) {
	api, link := extapitest.New(), filepath.Join(t.TempDir(), "guard")
	if err := os.Symlink(binary, link); err != nil {
		t.Fatal(err)
	}
	start(t, []string{link}, lambdaEnv(api.Start(t), "IDEMPOTENCY_STORE=memory")...)
	api.AwaitNext(t)
	if name := api.Calls()[0].Header.Get("Lambda-Extension-Name"); name != "guard" {
		t.Errorf("it is registered as %q", name)
	}
}

// An extension that ends, for whatever reason but SHUTDOWN, fails the function.
func TestOnlyShutdownEndsAnExtension(t *testing.T) {
	api := extapitest.New()
	p := extension(t, api, "IDEMPOTENCY_STORE=memory")
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt, syscall.SIGTERM} {
		p.signal(s)
		time.Sleep(20 * time.Millisecond)
		p.acquired("after " + s.String() + fmt.Sprint(time.Now().UnixNano()))
	}
	api.Shutdown(t, "spindown")
	if code := p.exit(patience); code != 0 {
		t.Errorf("ended with %d", code)
	}
}

func TestStartThatCannotSucceedIsReported(t *testing.T) {
	taken := local(t)
	tests := map[string]struct {
		env  []string
		want []string
	}{
		"bad values": {
			[]string{"IDEMPOTENCY_TTL=soon", "IDEMPOTENCY_AUTH_TOKEN=my secret"},
			[]string{`IDEMPOTENCY_AUTH_TOKEN: use visible ASCII characters, which a header can carry; IDEMPOTENCY_TTL="soon": use a duration from 1s`, "; IDEMPOTENCY_TABLE_NAME is not set"},
		},
		"a taken port": {
			[]string{fmt.Sprintf("IDEMPOTENCY_PORT=%d", taken.Port), "IDEMPOTENCY_STORE=memory"},
			[]string{fmt.Sprintf("cannot listen on port %d", taken.Port), "set IDEMPOTENCY_PORT to a free one"},
		},
		"a file that cannot be made": {
			[]string{"IDEMPOTENCY_STORE=file:/proc/nowhere/x.db"},
			[]string{"IDEMPOTENCY_STORE: cannot make the folder"},
		},
		"on Managed Instances": {
			[]string{"AWS_LAMBDA_INITIALIZATION_TYPE=lambda-managed-instances", "IDEMPOTENCY_TABLE_NAME=a b"},
			[]string{`IDEMPOTENCY_TABLE_NAME="a b": use a table's name`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			api := extapitest.New()
			api.RefuseInvoke = strings.Contains(strings.Join(tt.env, " "), "managed-instances")
			p := start(t, []string{binary}, lambdaEnv(api.Start(t), tt.env...)...)
			if code := p.exit(patience); code != 1 {
				t.Errorf("ended with %d", code)
			}
			calls := api.Calls()
			if len(calls) != 2 || calls[0].String() != `POST register {"events":["SHUTDOWN"]}` || calls[1].Path != "/2020-01-01/extension/init/error" {
				t.Fatalf("called %q", api.Called())
			}
			var report struct{ ErrorType, ErrorMessage string }
			if err := json.Unmarshal([]byte(calls[1].Body), &report); err != nil {
				t.Fatal(err)
			}
			if header := calls[1].Header.Get("Lambda-Extension-Function-Error-Type"); report.ErrorType != "Idempotency.ConfigError" || header != report.ErrorType {
				t.Errorf("reported as %q, %q", report.ErrorType, header)
			}
			lines := logged(t, p, "ERROR")
			if len(lines) != 1 || strings.Count(p.Stderr.String(), "\n") != 1 || lines[0]["msg"] != report.ErrorMessage {
				t.Fatalf("logged %s, reported %s", p.Stderr, report.ErrorMessage)
			}
			contains(t, report.ErrorMessage, append(tt.want, "the extension cannot start: ")...)
			for _, secret := range []string{session, "my secret", "\n"} {
				if strings.Contains(report.ErrorMessage, secret) {
					t.Errorf("the report holds %q: %s", secret, report.ErrorMessage)
				}
			}
		})
	}
}

func TestNobodyToReportTo(t *testing.T) {
	for name, env := range map[string][]string{
		"good": {"IDEMPOTENCY_STORE=memory"},
		"bad":  {"IDEMPOTENCY_TTL=soon"},
	} {
		p := start(t, []string{binary}, lambdaEnv(fmt.Sprintf("127.0.0.1:%d", program.FreePort()), env...)...)
		if code := p.exit(patience); code != 1 {
			t.Errorf("%s: ended with %d", name, code)
		}
		contains(t, p.Stderr.String(), "extensions API: register", "connection refused")
	}
}

func TestDisabledIsTold(t *testing.T) {
	p := extension(t, extapitest.New(), "IDEMPOTENCY_DISABLED=true")
	lines := logged(t, p, "INFO", "WARN", "ERROR")
	if len(lines) != 1 || lines[0]["level"] != "WARN" {
		t.Fatalf("logged %v", lines)
	}
	contains(t, lines[0]["msg"].(string), "stores nothing, because IDEMPOTENCY_DISABLED is true")
	p.acquired("k")
	p.acquired("k")
}

// dynamoDB answers each call with a status and a body, as DynamoDB does.
func dynamoDB(tb testing.TB, status int, body string) (env string) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	tb.Cleanup(srv.Close)
	return "AWS_ENDPOINT_URL_DYNAMODB=" + srv.URL
}

// A table can be made, and a permission given, while the function lives.
func TestTableCannotBeUsed(t *testing.T) {
	tests := map[string]struct {
		body string
		want []string
	}{
		"missing": {
			`{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`,
			[]string{"table records does not exist", "create it, or set IDEMPOTENCY_TABLE_NAME"},
		},
		"not permitted": {
			`{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"User: arn:aws:sts::123456789012:assumed-role/r/orders is not authorized to perform: dynamodb:GetItem on resource: arn:aws:dynamodb:eu-west-1:123456789012:table/records"}`,
			[]string{"access to table records is denied", "give the function's role dynamodb:GetItem, dynamodb:PutItem, dynamodb:UpdateItem"},
		},
		"another key": {
			`{"__type":"com.amazon.coral.validate#ValidationException","message":"The provided key element does not match the schema"}`,
			[]string{"table records does not fit", "IDEMPOTENCY_ATTR_ID"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			api := extapitest.New()
			p := extension(t, api, "IDEMPOTENCY_TABLE_NAME=records", dynamoDB(t, http.StatusBadRequest, tt.body))
			lines := logged(t, p, "INFO", "WARN", "ERROR")
			if len(lines) != 1 || lines[0]["level"] != "ERROR" {
				t.Fatalf("logged %v", lines)
			}
			contains(t, fmt.Sprint(lines[0]["msg"], ": ", lines[0]["error"]), append(tt.want, "the store cannot be used")...)

			status, answer := p.post("/acquire", `{"key":"k","lease_ms":1000}`)
			if status != http.StatusServiceUnavailable || answer["code"] != "store_unavailable" {
				t.Fatalf("an acquire was answered %d %v", status, answer)
			}
			contains(t, answer["detail"].(string), tt.want...)
			if status, answer, err := p.call(context.Background(), http.MethodGet, "/health", ""); err != nil || status != http.StatusServiceUnavailable {
				t.Errorf("health answered %d %v, error %v", status, answer, err)
			}
			api.Shutdown(t, "spindown")
			if code := p.exit(patience); code != 0 {
				t.Errorf("ended with %d", code)
			}
		})
	}
}

// Labels whose values callers choose would make metrics grow without end.
func TestMetricLabelsAreBounded(t *testing.T) {
	p := local(t)
	count := func() int {
		res, err := http.Get(p.URL() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(text, []byte("\n"))
	}
	calls := func(i int) {
		for _, method := range []string{http.MethodGet, http.MethodPost, fmt.Sprint("M", i)} {
			for _, path := range []string{"/nothing", "/acquire", "/record", "/complete"} {
				_, _, _ = p.call(t.Context(), method, fmt.Sprintf("%s?key=%d", path, i), fmt.Sprintf(`{"key":"k%d","payload":%d}`, i, i))
				_, _, _ = p.call(t.Context(), method, fmt.Sprintf("%s/%d", path, i), "")
			}
		}
	}
	count() // A call of /metrics is counted once it is answered.
	calls(0)
	calls(0)
	before := count()
	for i := range 20 {
		calls(i + 1)
	}
	if after := count(); after != before {
		t.Errorf("%d lines became %d", before, after)
	}
}
