package emulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

// programs are built once for all tests of the package.
var programs struct {
	extensions string // folder
	handler    string
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "emulator-test-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs.extensions = filepath.Join(dir, "extensions")
	programs.handler = filepath.Join(dir, "handler")
	for out, folder := range map[string]string{filepath.Join(programs.extensions, "printer"): "extension", programs.handler: "handler"} {
		cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", out, "./testdata/"+folder)
		if printed, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, printed)
			return 1
		}
	}
	return m.Run()
}

type answer struct {
	Did          string
	PID          int
	RequestID    string
	ErrorMessage string
	ErrorType    string
}

func invoke(t *testing.T, e *emulator.Emulator, payload string) (emulator.Result, answer) {
	t.Helper()
	res, err := e.Invoke(t.Context(), []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	_ = json.Unmarshal(res.Body, &a) // a timeout is plain text
	return res, a
}

// The same function behind two of AWS's runtime clients.
func TestStandard(t *testing.T) {
	app, err := filepath.Abs("testdata/python")
	if err != nil {
		t.Fatal(err)
	}
	for language, command := range map[string]func(*testing.T) []string{
		"go":     func(*testing.T) []string { return []string{programs.handler} },
		"python": func(t *testing.T) []string { return []string{emulator.Python(t), "-m", "awslambdaric", "app.handler"} },
	} {
		t.Run(language, func(t *testing.T) {
			config := emulator.Config{Command: command(t), Dir: app, ExtensionDir: programs.extensions, Timeout: 2 * time.Second}
			t.Parallel()
			e := emulator.Start(t, config)
			if got := e.Processes(); len(got) != 0 {
				t.Errorf("before the first invoke there are processes: %v", got)
			}

			res, a := invoke(t, e, `{"do":"return"}`)
			if res.Status != http.StatusOK || a.Did != "return" || a.RequestID == "" {
				t.Fatalf("return: %d %s", res.Status, res.Body)
			}
			if _, again := invoke(t, e, `{"do":"return"}`); again.PID != a.PID {
				t.Errorf("a second invoke had another process: %d, %d", again.PID, a.PID)
			}
			e.WaitLog(t, "function does return", time.Second)
			e.WaitLog(t, "extension event INVOKE", time.Second)

			// An error is an answer: the environment lives on.
			res, failed := invoke(t, e, `{"do":"fail"}`)
			if res.Status != http.StatusOK || failed.ErrorMessage != "failed as asked" {
				t.Errorf("fail: %d %s", res.Status, res.Body)
			}

			res, _ = invoke(t, e, `{"do":"return","sleep":5000}`)
			if !strings.Contains(string(res.Body), "timed out") || res.Took < 2*time.Second || res.Took > 4*time.Second {
				t.Errorf("timeout: %d %s after %v", res.Status, res.Body, res.Took)
			}
			e.WaitLog(t, "extension event SHUTDOWN Timeout", time.Second)

			if res, _ = invoke(t, e, `{"do":"exit"}`); res.Status != http.StatusBadGateway {
				t.Errorf("exit: %d %s", res.Status, res.Body)
			}
			if _, after := invoke(t, e, `{"do":"return"}`); after.Did != "return" || after.PID == a.PID {
				t.Errorf("after an exit: %+v, the first process was %d", after, a.PID)
			}

			processes := e.Processes()
			if len(processes) != 2 {
				t.Errorf("processes: %v", processes)
			}
			e.Stop()
			if !strings.Contains(e.Log(), "extension event SHUTDOWN SandboxTerminated") {
				t.Error("the extension did not get SHUTDOWN from Stop")
			}
			assertGone(t, processes)
		})
	}
}

// Killed in the middle of an invoke, nothing may live on either; extensions and functions have process groups of their own.
func TestKillLeavesNothing(t *testing.T) {
	t.Parallel()
	e := emulator.Start(t, emulator.Config{Command: []string{programs.handler}, ExtensionDir: programs.extensions, Timeout: 10 * time.Second})
	failed := make(chan error, 1)
	go func() {
		_, err := e.Invoke(t.Context(), []byte(`{"do":"return","sleep":9000}`))
		failed <- err
	}()
	e.WaitLog(t, "function does", 5*time.Second)
	processes := e.Processes()
	if len(processes) != 2 {
		t.Errorf("processes: %v", processes)
	}
	// A stopped process cannot be asked to end.
	if err := e.Signal("printer", syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
	e.Kill()
	assertGone(t, processes)
	if err := <-failed; err == nil {
		t.Error("the invoke was answered")
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	e := emulator.Start(t, emulator.Config{Command: []string{programs.handler}, ExtensionDir: programs.extensions})
	if err := e.Signal(emulator.Runtime, syscall.SIGKILL); err == nil {
		t.Error("signalled a function that has not started")
	}
	_, before := invoke(t, e, `{"do":"return"}`)

	// Frozen and thawed between invokes, both go on.
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		for _, name := range []string{emulator.Runtime, "printer"} {
			if err := e.Signal(name, sig); err != nil {
				t.Error(err)
			}
		}
	}
	if _, thawed := invoke(t, e, `{"do":"return"}`); thawed.PID != before.PID {
		t.Errorf("after a thaw: %+v", thawed)
	}

	if err := e.Signal(emulator.Runtime, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if res, _ := invoke(t, e, `{"do":"return"}`); res.Status != http.StatusBadGateway {
		t.Errorf("with the function killed: %d %s", res.Status, res.Body)
	}
}

func TestSideBySide(t *testing.T) {
	t.Parallel()
	const n = 2
	var started sync.WaitGroup
	started.Add(n)
	for i := range n {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("only-in-%d", i)
			opt := t.TempDir()
			if err := os.CopyFS(filepath.Join(opt, "extensions"), os.DirFS(programs.extensions)); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(opt, "extensions", "printer"), filepath.Join(opt, "extensions", name)); err != nil {
				t.Fatal(err)
			}
			e := emulator.Start(t, emulator.Config{Command: []string{programs.handler}, Opt: opt})
			started.Done()
			started.Wait()
			for range 3 {
				if _, a := invoke(t, e, `{"do":"return","sleep":50}`); a.Did != "return" {
					t.Errorf("answer: %+v", a)
				}
			}
			names := map[string]bool{}
			for _, p := range e.Processes() {
				names[p.Name] = true
			}
			if len(names) != 2 || !names[name] || !names[emulator.Runtime] {
				t.Errorf("processes: %v", e.Processes())
			}
		})
	}
}

// A caller that gives up leaves the environment busy; the emulator would die of an invoke that overlaps.
func TestInvokeAfterAnAbandonedOne(t *testing.T) {
	t.Parallel()
	e := emulator.Start(t, emulator.Config{Command: []string{programs.handler}})
	invoke(t, e, `{"do":"return"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := e.Invoke(ctx, []byte(`{"do":"return","sleep":1000}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("abandoned: %v", err)
	}
	if res, a := invoke(t, e, `{"do":"return"}`); a.Did != "return" || res.Took > time.Second {
		t.Errorf("after it: %s after %v", res.Body, res.Took)
	}
}

func TestManaged(t *testing.T) {
	t.Parallel()
	e := emulator.Start(t, emulator.Config{Command: []string{programs.handler}, ExtensionDir: programs.extensions, Managed: true, Concurrency: 3})
	invoke(t, e, `{"do":"return"}`)
	start := time.Now()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if res, a := invoke(t, e, `{"do":"return","sleep":500}`); a.Did != "return" {
				t.Errorf("answer: %d %s", res.Status, res.Body)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 1200*time.Millisecond {
		t.Errorf("three concurrent invokes of 0.5 s took %v", took)
	}

	// One more than there are workers is refused.
	for range 3 {
		wg.Go(func() { invoke(t, e, `{"do":"return","sleep":1000}`) })
	}
	time.Sleep(100 * time.Millisecond)
	if res, _ := invoke(t, e, `{"do":"return"}`); res.Status != http.StatusBadRequest {
		t.Errorf("one too many: %d %s", res.Status, res.Body)
	}
	wg.Wait()

	res, err := e.Invoke(t.Context(), []byte(`{"do":"return"}`), http.Header{"X-Amzn-RequestId": {"6f8a1c1e-0000-4000-8000-000000000001"}})
	if err != nil || !bytes.Contains(res.Body, []byte("6f8a1c1e-0000-4000-8000-000000000001")) {
		t.Errorf("with a request id: %s %v", res.Body, err)
	}
	e.WaitLog(t, "extension registered as 993", time.Second)

	processes := e.Processes()
	if len(processes) != 2 {
		t.Errorf("processes: %v", processes)
	}
	invoke(t, e, `{"do":"exit"}`)
	select {
	case <-e.Exited():
	case <-time.After(10 * time.Second):
		t.Error("the emulator did not end with its function")
	}
	assertGone(t, processes)
}

func assertGone(t *testing.T, processes []emulator.Process) {
	t.Helper()
	for _, p := range processes {
		if err := syscall.Kill(p.PID, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s (%d) lives on: %v", p.Name, p.PID, err)
		}
	}
}
