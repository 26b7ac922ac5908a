package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

const goExampleDir = root + "/examples/go-handler"

// goStage gives the example, which stays as it is, work that does as its job is
// named, and that can be counted in the log.
const goStage = `package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

func process(ctx context.Context, j job) (any, error) {
	fmt.Println("working on", j.JobID)
	claim, ok := client.ClaimFrom(ctx)
	switch {
	case !ok:
		return nil, errors.New("there is no claim")
	case j.JobID == "fails once" && claim.Attempt == 1:
		return nil, errors.New("` + realError + `")
	case j.JobID == "waits":
		res, err := http.Get(os.Getenv("GATE"))
		if err != nil {
			return nil, err
		}
		_ = res.Body.Close()
	}
	return map[string]string{"processed": j.ObjKey}, nil
}
`

func goExampleReadme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goExampleDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// buildGoExample builds the example as its README says, with the work that does as
// told, and returns the bootstrap.
func buildGoExample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	process, err := filepath.Abs(filepath.Join(goExampleDir, "process.go"))
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{process: filepath.Join(dir, "stage.go")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"stage.go": goStage, "overlay.json": string(overlay)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := regexp.MustCompile(`(?m)^GOOS=linux GOARCH=amd64 .*go build .*$`).FindString(goExampleReadme(t))
	command := strings.NewReplacer("GOARCH=amd64 ", "", "go build", "go build -overlay "+filepath.Join(dir, "overlay.json"), "-o bootstrap", "-o "+filepath.Join(dir, "bootstrap")).Replace(said)
	shell(t, command)
	return filepath.Join(dir, "bootstrap")
}

// goFunction is a Go function in one execution environment.
type goFunction struct {
	*testing.T
	*emulator.Emulator
}

func deployFunction(t *testing.T, bootstrap string, on, env map[string]string) *goFunction {
	t.Helper()
	all := maps.Clone(on)
	maps.Copy(all, map[string]string{
		"IDEMPOTENCY_PORT":  strconv.Itoa(emulator.FreePort(t)),
		proxyPort:           strconv.Itoa(emulator.FreePort(t)),
		"AWS_SESSION_TOKEN": secret,
	})
	maps.Copy(all, env)
	return &goFunction{t, emulator.Start(t, emulator.Config{
		Opt: built.opt, Command: []string{bootstrap}, Env: all, Timeout: 20 * time.Second, FunctionName: "go-handler",
	})}
}

// onTable is the environment of functions that share a new table.
func onTable(t *testing.T) map[string]string {
	t.Helper()
	local := dynamodblocal.Start(t)
	env := local.Env()
	env["IDEMPOTENCY_TABLE_NAME"] = dynamodblocal.CreateTable(t, local, dynamodblocal.Table{TTL: "expiration"})
	return env
}

func (f *goFunction) launch(event string) string {
	f.Helper()
	res, err := f.Invoke(f.Context(), []byte(event))
	if err != nil {
		f.Fatal(err)
	}
	return string(res.Body)
}

// mustGet launches a job and checks its answer, how often it has run here since the
// start, and how many duplicates were warned of.
func (f *goFunction) mustGet(job, want string, runs, warned int) {
	f.Helper()
	got := f.launch(fmt.Sprintf(`{"JobId":%q,"ObjKey":%q}`, job, objKey))
	if !strings.Contains(got, want) {
		f.Errorf("a launch of job %q got %s, want %s", job, got, want)
	}
	for text, n := range map[string]int{"working on " + job: runs, duplicate: warned} {
		if n > 0 {
			f.WaitLog(f.T, text, 5*time.Second)
		}
		for end := time.Now().Add(5 * time.Second); strings.Count(f.Log(), text) < n && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		if got := strings.Count(f.Log(), text); got != n {
			f.Errorf("after a launch of job %q the log has %q %d times, want %d", job, text, got, n)
		}
	}
}

const (
	goProcessed  = `{"statusCode":200,"body":"{\"processed\":\"` + objKey + `\"}"}`
	goInProgress = `{"statusCode":200,"body":"{\"status\":\"in_progress\"}"}`
	goFailed     = `{"statusCode":200,"body":"{\"error\":{\"type\":\"main.jobFailed\",\"message\":\"` + jobFailed + `\"},\"status\":\"failed\"}"}`
	goError      = `"errorMessage":"` + jobFailed + `","errorType":"jobFailed"`
)

func TestGoExample(t *testing.T) {
	t.Parallel()
	table := onTable(t) // First, as a test without it is skipped.
	bootstrap := buildGoExample(t)

	t.Run("first and duplicate", func(t *testing.T) {
		t.Parallel()
		f := deployFunction(t, bootstrap, table, nil)
		event, err := os.ReadFile(filepath.Join(goExampleDir, "event.json"))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.launch(string(event)); got != goProcessed {
			t.Errorf("got %s", got)
		}
		f.mustGet("12345", goProcessed, 1, 1)
		f.mustGet("12345", goProcessed, 1, 2)
		// Another environment.
		deployFunction(t, bootstrap, table, nil).mustGet("12345", goProcessed, 0, 1)
	})
	t.Run("failing", func(t *testing.T) {
		t.Parallel()
		f := deployFunction(t, bootstrap, onTable(t), nil)
		f.mustGet("fails once", goError, 1, 0)
		f.WaitLog(t, realError, 5*time.Second)
		f.mustGet("fails once", goFailed, 1, 1)
	})
	t.Run("failing and retried", func(t *testing.T) {
		t.Parallel()
		f := deployFunction(t, bootstrap, onTable(t), map[string]string{"RETRY_FAILED": "1"})
		f.mustGet("fails once", goError, 1, 0)
		f.mustGet("fails once", goProcessed, 2, 0)
		f.mustGet("fails once", goProcessed, 2, 1)
	})
	t.Run("concurrent duplicate", func(t *testing.T) {
		t.Parallel()
		working, open := make(chan struct{}), make(chan struct{})
		gate := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			close(working)
			<-open
		}))
		t.Cleanup(gate.Close)
		env := map[string]string{"GATE": gate.URL}
		first, second := deployFunction(t, bootstrap, table, env), deployFunction(t, bootstrap, table, env)
		done := make(chan string, 1)
		go func() {
			res, err := first.Invoke(t.Context(), []byte(`{"JobId":"waits","ObjKey":"`+objKey+`"}`))
			done <- fmt.Sprint(string(res.Body), err)
		}()
		select {
		case <-working:
		case got := <-done:
			close(open)
			t.Fatalf("the first launch got %s", got)
		}
		second.mustGet("waits", goInProgress, 0, 1)
		close(open)
		if got := <-done; got != goProcessed+"<nil>" {
			t.Errorf("the first launch got %s", got)
		}
		second.mustGet("waits", goProcessed, 0, 2)
	})
}

// TestGoExampleQuickStart runs what the README says to run without AWS.
func TestGoExampleQuickStart(t *testing.T) {
	readme := goExampleReadme(t)
	runs := regexp.MustCompile(`(?m)^go run .*$`).FindAllString(readme, -1)
	if len(runs) != 2 || !strings.Contains(readme, goProcessed) {
		t.Fatalf("the README says to run %q", runs)
	}
	port := localServer(t, "IDEMPOTENCY_STORE=memory "+built.extensions+"/lambda-idempotency")
	for i, command := range runs {
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", command)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "IDEMPOTENCY_PORT="+port, "IDEMPOTENCY_AUTH_TOKEN=", "AWS_SESSION_TOKEN=", "AWS_LAMBDA_RUNTIME_API=")
		var log strings.Builder
		cmd.Stderr = &log
		out, err := cmd.Output()
		if err != nil || string(out) != goProcessed+"\n" || strings.Count(log.String(), duplicate) != i {
			t.Errorf("run %d: %v\n%s%s", i, err, out, log.String())
		}
	}
}

// TestWrappedHandler runs the client's wrapper for handlers behind the runtime
// client that it is made for.
func TestWrappedHandler(t *testing.T) {
	t.Parallel()
	table := onTable(t)
	bootstrap := filepath.Join(t.TempDir(), "bootstrap")
	emulator.Build(t, "wrapped", bootstrap)
	f := deployFunction(t, bootstrap, table, nil)
	for i, step := range []struct{ event, want string }{
		{`{"id":12345678901234567890,"Do":""}`, `{"Attempt":1,"Text":"<done>"}`},
		{`{"Do":"","id":12345678901234567890,"more":1}`, `{"Attempt":1,"Text":"<done>"}`},
		{`{"id":12345678901234567891,"Do":""}`, `{"Attempt":1,"Text":"<done>"}`},
		{`{"id":1,"Do":"fail"}`, `{"errorMessage":"the work failed for good","errorType":"errorString"}`},
		{`{"id":1,"Do":"fail"}`, `{"errorMessage":"idempotency: the work failed for good: *errors.errorString: the work failed for good","errorType":"FailedError"}`},
		{`{"id":1,"Do":"panic"}`, `the work panicked`},
		{`{"id":1,"Do":"panic"}`, `{"Attempt":2,"Text":"<done>"}`},
	} {
		if got := f.launch(step.event); !strings.Contains(got, step.want) {
			t.Errorf("step %d: %s got %s, want %s", i, step.event, got, step.want)
		}
	}
	if n := strings.Count(f.Log(), "the work runs"); n != 5 {
		t.Errorf("the work ran %d times", n)
	}
}
