package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

// example is an example of examples/, deployed with the layer. Its work does as its
// job is named: it "fails once", or "waits" at the gate.
type example struct {
	name    string
	dir     string            // the function's folder, with the example's own files but for the work
	command []string          // the runtime
	env     map[string]string // what the runtime sets by itself
	busy    string            // what a caller is told of a job that runs
	failed  string            // of a job that failed
	again   string            // of a job that had failed for good
	away    string            // of a store that is away
}

// zipped is what the README of an example says to deploy.
var zipped = regexp.MustCompile(`(?m)^zip function\.zip (.*)$`)

// functionOf makes the folder of the function that the README of an example says to
// deploy, and puts work that does as told in the place of its own.
func functionOf(t *testing.T, name, work, text string) string {
	t.Helper()
	from, dir := filepath.Join(root, "examples", name), t.TempDir()
	readme, err := os.ReadFile(filepath.Join(from, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	files := zipped.FindSubmatch(readme)
	if files == nil {
		t.Fatalf("the README of %s does not say what to deploy", name)
	}
	for _, file := range strings.Fields(string(files[1])) {
		data, err := os.ReadFile(filepath.Join(from, file))
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(from, file))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), data, info.Mode().Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Of the mode of the file in whose place it is.
	if err := os.WriteFile(filepath.Join(dir, work), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// environment is an execution environment of an example.
type environment struct {
	*testing.T
	*emulator.Emulator
}

func (x example) deploy(t *testing.T, on, env map[string]string) environment {
	t.Helper()
	all := maps.Clone(on)
	maps.Copy(all, map[string]string{
		"IDEMPOTENCY_PORT":  strconv.Itoa(emulator.FreePort(t)),
		proxyPort:           strconv.Itoa(emulator.FreePort(t)),
		"AWS_SESSION_TOKEN": secret,
	})
	maps.Copy(all, x.env)
	maps.Copy(all, env)
	return environment{t, emulator.Start(t, emulator.Config{
		Opt: built.opt, Dir: x.dir, Command: x.command, Env: all, Timeout: 20 * time.Second, FunctionName: x.name,
	})}
}

// launch launches a job and returns the answer.
func (e environment) launch(job string) string {
	e.Helper()
	res, err := e.Invoke(e.Context(), fmt.Appendf(nil, `{"JobId":%q,"ObjKey":%q}`, job, objKey))
	if err != nil {
		e.Fatal(err)
	}
	return string(res.Body)
}

func (e environment) mustGet(job, want string) {
	e.Helper()
	if got := e.launch(job); !strings.Contains(got, want) {
		e.Errorf("a launch of job %q got %s, want %s", job, got, want)
	}
}

// mustHaveRun checks how often the work of a job has run here.
func (e environment) mustHaveRun(job string, want int) {
	e.Helper()
	text := "working on " + job
	for end := time.Now().Add(patience); strings.Count(e.Log(), text) < want && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond) // A line of the log may come after the answer.
	}
	if got := strings.Count(e.Log(), text); got != want {
		e.Errorf("job %q ran %d times, not %d", job, got, want)
	}
}

// does launches the example as its README says it may be.
func (x example) does(t *testing.T) {
	table := onTable(t)
	const processed = `{"processed":"` + objKey + `"}`

	t.Run("first and duplicate", func(t *testing.T) {
		t.Parallel()
		e := x.deploy(t, table, nil)
		event, err := os.ReadFile(filepath.Join(root, "examples", x.name, "event.json"))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if res, err := e.Invoke(t.Context(), event); err != nil || string(res.Body) != processed {
				t.Errorf("got %s, %v", res.Body, err)
			}
		}
		e.mustHaveRun("12345", 1)
		other := x.deploy(t, table, nil)
		if got := other.launch("12345"); got != processed {
			t.Errorf("another environment got %s", got)
		}
		other.mustHaveRun("12345", 0)
	})
	t.Run("failing and retried", func(t *testing.T) {
		t.Parallel()
		e := x.deploy(t, table, nil)
		for i, want := range []string{x.failed, processed, processed} {
			e.mustGet("fails once", want)
			e.mustHaveRun("fails once", min(i+1, 2))
		}
	})
	t.Run("failing for good", func(t *testing.T) {
		t.Parallel()
		e := x.deploy(t, onTable(t), map[string]string{"IDEMPOTENCY_MAX_ATTEMPTS": "1"})
		for _, want := range []string{x.failed, x.again, x.again} {
			e.mustGet("fails once", want)
			e.mustHaveRun("fails once", 1)
		}
	})
	t.Run("concurrent duplicate", func(t *testing.T) {
		t.Parallel()
		g := newGate(t)
		env := map[string]string{"GATE": g.url}
		first, second := x.deploy(t, table, env), x.deploy(t, table, env)
		done := make(chan string, 1)
		go func() {
			res, err := first.Invoke(t.Context(), []byte(`{"JobId":"waits","ObjKey":"`+objKey+`"}`))
			done <- fmt.Sprint(string(res.Body), err)
		}()
		g.await("/waits")
		second.mustGet("waits", x.busy)
		g.let("/waits")
		if got := <-done; got != processed+"<nil>" {
			t.Errorf("the first launch got %s", got)
		}
		second.mustGet("waits", processed)
		first.mustHaveRun("waits", 1)
		second.mustHaveRun("waits", 0)
	})
	t.Run("store away", func(t *testing.T) {
		t.Parallel()
		e := x.deploy(t, table, map[string]string{"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9", "AWS_LAMBDA_FUNCTION_TIMEOUT": "4"})
		e.mustGet("12345", x.away)
		e.mustHaveRun("12345", 0)
	})
}
