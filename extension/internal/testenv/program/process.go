// Package program runs the extension as a process of its own, for what is to be seen of it as it ships.
package program

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv"
)

// Process is the program, running. While it is started again, nothing else of it may be used.
type Process struct {
	Port int
	// Stdout and Stderr hold what it wrote, also before it was started again.
	Stdout, Stderr Output

	command, env []string
	cmd          *exec.Cmd
	ended        chan struct{} // closed when cmd has ended
}

// Start starts a command with nothing but env in its environment, and a free port unless env has one. What it writes goes to a
// folder of its own in folder.
func Start(folder string, command []string, env ...string) (*Process, error) {
	own, err := os.MkdirTemp(folder, "program-")
	if err != nil {
		return nil, err
	}
	p := &Process{Port: FreePort(), Stdout: Output(filepath.Join(own, "stdout")), Stderr: Output(filepath.Join(own, "stderr")), command: command}
	p.env = append([]string{fmt.Sprintf("IDEMPOTENCY_PORT=%d", p.Port)}, env...)
	if err := p.Restart(); err != nil {
		return nil, err
	}
	return p, nil
}

// startLimit is far above the moment that a start takes on a free core.
const startLimit = 30 * time.Second

// Serve is Start for a command that runs outside Lambda, and waits until it listens.
func Serve(ctx context.Context, folder string, command []string, env ...string) (*Process, error) {
	// Between finding a free port and using it, another process may take it.
	for attempt := 1; ; attempt++ {
		p, err := Start(folder, command, env...)
		if err != nil {
			return nil, err
		}
		if err = p.listens(ctx); err == nil {
			return p, nil
		}
		p.Kill()
		if attempt == 3 || !strings.Contains(p.Stderr.String(), "address already in use") {
			return nil, fmt.Errorf("%w; it printed: %s", err, p.Printed())
		}
	}
}

func (p *Process) listens(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for !strings.Contains(p.Stdout.String(), " listens on "+p.URL()+" ") {
		select {
		case <-p.ended:
			return fmt.Errorf("the program ended by itself: %v", p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("the program does not listen: %w", ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// Restart starts what has ended again, on the same port, and does not wait until it listens.
func (p *Process) Restart() error {
	cmd, ended, started := exec.Command(p.command[0], p.command[1:]...), make(chan struct{}), make(chan error)
	cmd.Env = p.env
	// Files, not pipes: what it wrote before it called anybody is there when the call comes.
	stdout, err := p.Stdout.open()
	if err != nil {
		return err
	}
	defer func() { _ = stdout.Close() }()
	stderr, err := p.Stderr.open()
	if err != nil {
		return err
	}
	defer func() { _ = stderr.Close() }()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// The kernel ends it with the process that started it. Its own group keeps an interrupt at the terminal from it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	go func() {
		// Pdeathsig means the thread that started the child, so that one has to live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(ended)
		}
	}()
	if err = <-started; err == nil {
		p.cmd, p.ended = cmd, ended
	}
	return err
}

// URL is where it serves, without a path.
func (p *Process) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", p.Port) }

// Pid is the number of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends it a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Ended is closed when it has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// ExitCode is what it ended with, once it has; -1 where a signal ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Kill ends it at once, waits for its end, and tells whether it had not ended by itself.
func (p *Process) Kill() bool {
	err := p.cmd.Process.Kill()
	<-p.ended
	return err == nil && p.ExitCode() == -1
}

// Printed is all that it wrote.
func (p *Process) Printed() string { return p.Stdout.String() + p.Stderr.String() }

// Output is the file with what a process wrote.
type Output string

func (o Output) open() (*os.File, error) {
	return os.OpenFile(string(o), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

func (o Output) String() string {
	text, err := os.ReadFile(string(o))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// FreePort is one that nothing listens on; 0, which the program refuses, if there is none.
func FreePort() int {
	port, err := testenv.FreePort()
	if err != nil {
		return 0
	}
	return port
}
