package soak

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

const program = "github.com/lambda-idempotency/lambda-idempotency/extension"

// Build makes the program as it ships, in the folder.
func Build(ctx context.Context, folder string) (string, error) {
	path := filepath.Join(folder, "lambda-idempotency")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w: %s", program, err, out)
	}
	return path, nil
}

const (
	// descriptors is how many files a process in Lambda may have open:
	// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
	descriptors = 1024
	// secret is what callers prove themselves with.
	secret     = "the-secret-of-the-soak"
	startLimit = 30 * time.Second
)

// Process is the program, running under Lambda's limit of descriptors.
type Process struct {
	addr   string
	pid    int
	output string
	kill   func()
	exited chan struct{} // closed when the process has ended
}

// Start starts the program at path with env, and waits until it answers. It ends
// with Stop, or with this process. Its output goes to a file in folder.
func Start(ctx context.Context, path, folder string, env ...string) (*Process, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	output, err := os.CreateTemp(folder, "output-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = output.Close() }()
	p := &Process{addr: net.JoinHostPort("127.0.0.1", port), output: output.Name(), exited: make(chan struct{})}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0"`, descriptors), path)
	cmd.Env = append([]string{"IDEMPOTENCY_PORT=" + port, "IDEMPOTENCY_AUTH_TOKEN=" + secret}, env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		// Pdeathsig means the thread that started the child, so that one has to live
		// as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	p.pid, p.kill = cmd.Process.Pid, func() { _ = cmd.Process.Kill() }
	for end := time.Now().Add(startLimit); ; time.Sleep(10 * time.Millisecond) {
		if _, err = p.sample(ctx); err == nil {
			return p, nil
		}
		if ended := p.ended(); ended || time.Now().After(end) || ctx.Err() != nil {
			text := p.Output()
			p.Stop()
			return nil, fmt.Errorf("the program does not answer: %w: %s", err, text)
		}
	}
}

// Output is what the process wrote.
func (p *Process) Output() string {
	text, err := os.ReadFile(p.output)
	return string(text) + errorText(err)
}

// Stop ends the process.
func (p *Process) Stop() {
	p.kill()
	<-p.exited
}

func (p *Process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (p *Process) dial(ctx context.Context) (*net.TCPConn, error) {
	c, err := (&net.Dialer{Timeout: answerLimit}).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("not a TCP connection")
	}
	return tcp, nil
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return " (" + err.Error() + ")"
}

func freePort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}
