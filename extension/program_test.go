package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// binary is the program, built as it ships.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lambda-idempotency-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "lambda-idempotency")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=1.2.3", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// patience bounds what a test waits for.
const patience = 10 * time.Second

// program is the program, running.
type program struct {
	testing.TB
	cmd            *exec.Cmd
	port           int
	stdout, stderr output
	ended          chan struct{} // closed when the process has ended
	token          string        // what its callers prove themselves with
}

// start starts a command with nothing but env in its environment, and a free
// port unless env has one.
func start(tb testing.TB, command []string, env ...string) *program {
	tb.Helper()
	p := &program{TB: tb, cmd: exec.Command(command[0], command[1:]...), stdout: newOutput(tb), stderr: newOutput(tb), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.stdout.File, p.stderr.File
	p.port = freePort(tb)
	p.cmd.Env = append([]string{fmt.Sprintf("IDEMPOTENCY_PORT=%d", p.port)}, env...)
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.ended) }()
	tb.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if tb.Failed() {
			tb.Logf("stdout:\n%s\nstderr:\n%s", p.stdout, p.stderr)
		}
	})
	return p
}

// local starts the program outside Lambda and waits until it listens.
func local(t *testing.T, env ...string) *program {
	t.Helper()
	p := start(t, []string{binary}, append([]string{"HOME=" + t.TempDir()}, env...)...)
	p.wait("it listens", func() bool { return strings.HasSuffix(p.stdout.String(), "\n") })
	return p
}

// refused starts the program with what it cannot start with, and returns the
// exit code and what it said.
func refused(t *testing.T, args []string, env ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, append([]string{binary}, args...), env...)
	code = p.exit(patience)
	return code, p.stdout.String(), p.stderr.String()
}

// exit waits for the end of the process, and returns its exit code.
func (p *program) exit(limit time.Duration) int {
	p.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.Fatalf("the program has not ended after %v", limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *program) signal(s os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Fatal(err)
	}
}

func (p *program) wait(what string, done func() bool) {
	p.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		select {
		case <-p.ended:
			p.Fatalf("the program ended before %s", what)
		default:
		}
		if time.Now().After(end) {
			p.Fatalf("waited %v until %s", patience, what)
		}
	}
}

func (p *program) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", p.port, path) }

// call calls the API.
func (p *program) call(ctx context.Context, method, path, body string) (status int, answer map[string]any, err error) {
	req, err := http.NewRequestWithContext(ctx, method, p.url(path), strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Idempotency-Auth", p.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, err
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, nil, fmt.Errorf("%w: %s", err, text)
	}
	return res.StatusCode, answer, nil
}

// post is a call that must be answered.
func (p *program) post(path, body string) (status int, answer map[string]any) {
	p.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, answer, err := p.call(ctx, http.MethodPost, path, body)
	if err != nil {
		p.Fatal(err)
	}
	return status, answer
}

// acquired makes a claim, and returns its token.
func (p *program) acquired(key string) string {
	p.Helper()
	status, answer := p.post("/acquire", `{"key":"`+key+`"}`)
	if status != http.StatusOK || answer["status"] != "acquired" {
		p.Fatalf("acquire of %s answered %d %v", key, status, answer)
	}
	return answer["token"].(string)
}

// output is what a process wrote. It is a file, not a pipe: what the process
// wrote before it called anybody is there when the call comes.
type output struct{ *os.File }

func newOutput(tb testing.TB) output {
	tb.Helper()
	f, err := os.Create(filepath.Join(tb.TempDir(), "output"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	return output{f}
}

func (o output) String() string {
	text, err := os.ReadFile(o.Name())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// contains tells of the parts that a text lacks.
func contains(tb testing.TB, text string, parts ...string) {
	tb.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			tb.Errorf("%q does not hold %q", text, part)
		}
	}
}

// gone tells whether an error is that of a connection whose other end is gone.
func gone(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op)
}
