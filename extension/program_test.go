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
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

// binary is the program, built as it ships.
var binary string

func TestMain(m *testing.M) { os.Exit(program.Main(m, &binary)) }

// patience bounds what a test waits for.
const patience = 10 * time.Second

// sidecar is the program, running.
type sidecar struct {
	testing.TB
	*program.Process
	token string // what its callers prove themselves with
}

// start starts a command with nothing but env in its environment, and a free
// port unless env has one.
func start(tb testing.TB, command []string, env ...string) *sidecar {
	tb.Helper()
	p, err := program.Start(tb.TempDir(), command, env...)
	return started(tb, p, err)
}

// local starts the program outside Lambda and waits until it listens.
func local(t *testing.T, env ...string) *sidecar {
	t.Helper()
	return serve(t, []string{binary}, append([]string{"HOME=" + t.TempDir()}, env...)...)
}

func serve(t *testing.T, command []string, env ...string) *sidecar {
	t.Helper()
	p, err := program.Serve(t.Context(), t.TempDir(), command, env...)
	return started(t, p, err)
}

// started ends a process with the test.
func started(tb testing.TB, p *program.Process, err error) *sidecar {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			tb.Logf("stdout:\n%s\nstderr:\n%s", p.Stdout, p.Stderr)
		}
	})
	return &sidecar{TB: tb, Process: p}
}

// refused starts the program with what it cannot start with, and returns the
// exit code and what it said.
func refused(t *testing.T, args []string, env ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := start(t, append([]string{binary}, args...), env...)
	code = p.exit(patience)
	return code, p.Stdout.String(), p.Stderr.String()
}

// exit waits for the end of the process, and returns its exit code.
func (p *sidecar) exit(limit time.Duration) int {
	p.Helper()
	select {
	case <-p.Ended():
	case <-time.After(limit):
		p.Fatalf("the program has not ended after %v", limit)
	}
	return p.ExitCode()
}

func (p *sidecar) signal(s os.Signal) {
	p.Helper()
	if err := p.Signal(s); err != nil {
		p.Fatal(err)
	}
}

func (p *sidecar) wait(what string, done func() bool) {
	p.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		select {
		case <-p.Ended():
			p.Fatalf("the program ended before %s", what)
		default:
		}
		if time.Now().After(end) {
			p.Fatalf("waited %v until %s", patience, what)
		}
	}
}

// call calls the API.
func (p *sidecar) call(ctx context.Context, method, path, body string) (status int, answer map[string]any, err error) {
	req, err := http.NewRequestWithContext(ctx, method, p.URL()+path, strings.NewReader(body))
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
func (p *sidecar) post(path, body string) (status int, answer map[string]any) {
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
func (p *sidecar) acquired(key string) string {
	p.Helper()
	status, answer := p.post("/acquire", `{"key":"`+key+`"}`)
	if status != http.StatusOK || answer["status"] != "acquired" {
		p.Fatalf("acquire of %s answered %d %v", key, status, answer)
	}
	return answer["token"].(string)
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
