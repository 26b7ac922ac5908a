package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// patience is how long the sidecar may take to start. On a free machine it takes milliseconds.
const patience = 30 * time.Second

// sidecar is a running one, on a port of its own.
type sidecar struct {
	port   string
	cmd    *exec.Cmd
	exited chan struct{}
	log    bytes.Buffer
}

func (b *bench) start(ctx context.Context, settings ...string) (*sidecar, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &sidecar{port: port, exited: make(chan struct{})}
	s.cmd = exec.CommandContext(ctx, b.sidecar)
	s.cmd.Env = append(environment(), "IDEMPOTENCY_PORT="+port)
	s.cmd.Env = append(s.cmd.Env, settings...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err = s.get(ctx, "/health"); err == nil {
			return s, nil
		}
		select {
		case <-s.exited:
			return nil, fmt.Errorf("the sidecar ended: %s", s.log.String())
		default:
		}
		if time.Now().After(deadline) {
			s.stop()
			return nil, fmt.Errorf("the sidecar did not get ready: %w: %s", err, s.log.String())
		}
	}
}

func (s *sidecar) stop() {
	_ = s.cmd.Process.Kill()
	<-s.exited
}

func (s *sidecar) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+s.port+path, http.NoBody)
	if err != nil {
		return "", err
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

var acquires = regexp.MustCompile(`(?m)^idempotency_acquires_total\{status="(\w+)"\} (\d+)$`)

// answered tells how many acquires were answered with each status.
func (s *sidecar) answered(ctx context.Context) (map[string]int, error) {
	text, err := s.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, found := range acquires.FindAllStringSubmatch(text, -1) {
		if counts[found[1]], err = strconv.Atoi(found[2]); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// environment is this process's, without what would direct a sidecar or a client elsewhere.
func environment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "IDEMPOTENCY_") && !strings.HasPrefix(entry, "AWS_") {
			kept = append(kept, entry)
		}
	}
	return kept
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // It is closed at once.
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
