package runtimeproxy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

// app waits until its order may end, so that several are under way at once.
const app = `
import os
import time


def handler(event, context):
    open(os.environ["HERE"] + "/began-" + event["order"], "w").close()
    while not os.path.exists(os.environ["HERE"] + "/end-" + event["order"]):
        time.sleep(0.005)
    return {"order": event["order"], "worker": os.getpid()}
`

// AWS's Python client, as on Managed Instances: a process for each invocation at
// once. The emulator at hand cannot run it so, and sends no invocation ids.
func TestPythonOnManagedInstances(t *testing.T) {
	if _, err := testenv.Cache("python"); err != nil {
		testenv.Unavailable(t, "Python runtime client: "+err.Error())
	}
	here := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(here, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("app.py", app)
	s := newSandbox(t)
	runtime := exec.CommandContext(t.Context(), emulator.Python(t), "-m", "awslambdaric", "app.handler")
	runtime.Dir = here
	var printed logLines
	runtime.Stdout, runtime.Stderr = &printed, &printed
	runtime.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(s.proxy, "http://"), "AWS_LAMBDA_MAX_CONCURRENCY=3", "HERE="+here, "PYTHONDONTWRITEBYTECODE=1")
	ownGroup(runtime)
	if err := runtime.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		endGroup(runtime)
		_ = runtime.Wait()
		if t.Failed() {
			t.Log(printed.text.String())
		}
	})
	soon(t, "three workers ask", func() bool { return s.questions() == 3 })
	order := func(n int) string { return fmt.Sprintf(`{"order":"%d"}`, n) }
	send := func(id, body string) {
		s.events <- event{id: id, body: body, header: map[string][]string{"Content-Type": {"application/json"}, "Lambda-Runtime-Invocation-Id": {"nonce-" + id}}}
	}
	began := func(n int) {
		t.Helper()
		soon(t, fmt.Sprint("order ", n, " begins"), func() bool {
			_, err := os.Stat(filepath.Join(here, fmt.Sprint("began-", n)))
			return err == nil
		})
	}
	for i := range 2 {
		send(fmt.Sprint("r", i), order(i))
	}
	began(0)
	began(1)
	// A duplicate comes to the third worker, which does not see it, and goes on to
	// the next event.
	send("d1", order(1))
	if got := s.next(); got.path != invocations+"d1/error" {
		t.Fatalf("Lambda was told %+v", got)
	}
	send("r2", order(2))
	began(2)
	results := map[int]string{}
	for _, n := range []int{2, 0, 1} {
		write(fmt.Sprint("end-", n), "")
		got := s.next()
		if got.path != fmt.Sprintf("%sr%d/response", invocations, n) || got.header.Get("Lambda-Runtime-Invocation-Id") != fmt.Sprint("nonce-r", n) {
			t.Fatalf("Lambda was told %+v", got)
		}
		results[n] = got.body
		if rec := s.record(order(n)); string(rec.Result) != got.body {
			t.Errorf("order %d is %+v", n, rec)
		}
	}
	if results[0] == "" || strings.SplitAfter(results[0], "worker")[1] == strings.SplitAfter(results[1], "worker")[1] {
		t.Errorf("the orders were not worked on at once: %v", results)
	}
	for n, result := range results {
		send(fmt.Sprint("again", n), order(n))
		if got := s.next(); got.body != result || got.header.Get("Lambda-Runtime-Invocation-Id") != fmt.Sprint("nonce-again", n) {
			t.Errorf("Lambda was told %+v, the first time %s", got, result)
		}
	}
}
