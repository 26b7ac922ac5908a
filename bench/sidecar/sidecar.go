// Package sidecar builds the extension and runs it as the local server.
package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const extension = "github.com/lambda-idempotency/lambda-idempotency/extension"

// Build makes the program as the layer has it, in a folder, and returns its path. It builds from any folder of the
// repository. Further flags are go build's and override these: "-ldflags=" keeps the symbols.
func Build(ctx context.Context, folder string, flags ...string) (string, error) {
	path := filepath.Join(folder, "lambda-idempotency")
	args := append([]string{"build", "-tags", "nethttpomithttp2", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, extension)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the extension: %w: %s", err, out)
	}
	return path, nil
}

// Sidecar is a running one.
type Sidecar struct {
	Port   string
	Secret string // that Get proves itself with, if any

	cmd    *exec.Cmd
	exited chan struct{}
	log    bytes.Buffer
}

// patience is how long it may take to start. On a free machine it takes milliseconds.
const patience = 30 * time.Second

// Start starts it on a free port and waits until its store answers.
func Start(ctx context.Context, path string, env ...string) (*Sidecar, error) {
	port, err := FreePort(ctx)
	if err != nil {
		return nil, err
	}
	s := &Sidecar{Port: port, cmd: exec.CommandContext(ctx, path), exited: make(chan struct{})}
	s.cmd.Env = append([]string{"IDEMPOTENCY_PORT=" + port}, env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err = s.Get(ctx, "/health"); err == nil {
			return s, nil
		}
		select {
		case <-s.exited:
			return nil, fmt.Errorf("the sidecar ended: %s", s.log.String())
		default:
		}
		if time.Now().After(deadline) {
			s.Stop()
			return nil, fmt.Errorf("the sidecar did not get ready: %w: %s", err, s.log.String())
		}
	}
}

// URL is where it serves.
func (s *Sidecar) URL() string { return "http://127.0.0.1:" + s.Port }

// PID is the number of its process.
func (s *Sidecar) PID() int { return s.cmd.Process.Pid }

// Signal sends it a signal.
func (s *Sidecar) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

// Stop ends it.
func (s *Sidecar) Stop() {
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// Log is what it printed. It is whole once the sidecar has been stopped, and must not be asked for before.
func (s *Sidecar) Log() string { return s.log.String() }

// Get is what it answers, if that is a success.
func (s *Sidecar) Get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+path, http.NoBody)
	if err != nil {
		return "", err
	}
	if s.Secret != "" {
		req.Header.Set("X-Idempotency-Auth", s.Secret)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s was answered with %d: %s", path, res.StatusCode, text)
	}
	return string(text), err
}

// FreePort is one of loopback that nobody listens on.
func FreePort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
