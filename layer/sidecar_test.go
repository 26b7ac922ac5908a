package layer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience bounds what a test waits for.
const patience = time.Minute

// callersSecret is what callers prove themselves with in Lambda.
const callersSecret = "session-token"

// sidecar is the extension, running.
type sidecar struct {
	*testing.T
	port string
	log  string // the file that it logs to
}

// built is the extension, built as the layer's is.
func built(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "lambda-idempotency")
	cmd := exec.Command("go", "build", "-tags", "nethttpomithttp2", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, "./extension")
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if printed, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	return binary
}

// run starts the extension with nothing but env in its environment, and returns
// when it listens.
func run(t *testing.T, binary string, env ...string) *sidecar {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	_ = listener.Close()
	s := &sidecar{T: t, port: port, log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	cmd := exec.Command(binary)
	cmd.Env = slices.Concat(env, []string{"IDEMPOTENCY_PORT=" + port, "IDEMPOTENCY_LOG_FORMAT=json", "HOME=" + t.TempDir()})
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the extension logged:\n%s", strings.Join(s.lines(), "\n"))
		}
	})
	s.until("it listens", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return s
}

func (s *sidecar) until(what string, done func() bool) {
	s.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("waited %v until %s; it logged:\n%s", patience, what, strings.Join(s.lines(), "\n"))
		}
	}
}

// lines are the whole lines that the extension has logged.
func (s *sidecar) lines() []string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		s.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	return lines[:len(lines)-1]
}

// logged waits for a line with this message, and returns it.
func (s *sidecar) logged(message string) (line string) {
	s.Helper()
	s.until(fmt.Sprintf("it logs %q", message), func() bool {
		for _, line = range s.lines() {
			var of struct{ Msg string }
			if json.Unmarshal([]byte(line), &of) == nil && of.Msg == message {
				return true
			}
		}
		return false
	})
	return line
}

// call calls the API: a path with a body is posted to.
func (s *sidecar) call(path string, body map[string]any) (status int, answer map[string]any) {
	s.Helper()
	method, sent := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		var err error
		if sent, err = json.Marshal(body); err != nil {
			s.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, "http://127.0.0.1:"+s.port+path, bytes.NewReader(sent))
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Idempotency-Auth", callersSecret)
	res, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		s.Fatalf("%s answered %d %s", path, res.StatusCode, text)
	}
	return res.StatusCode, answer
}
