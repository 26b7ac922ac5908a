package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const program = "github.com/lambda-idempotency/lambda-idempotency/extension"

// build makes the program as it ships, in the folder.
func build(ctx context.Context, folder string) (string, error) {
	path := filepath.Join(folder, "lambda-idempotency")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w: %s", program, err, out)
	}
	return path, nil
}

// sidecar is a process that is killed and started again, on the same port.
type sidecar struct {
	path string
	env  []string
	url  string
	log  *os.File

	mu      sync.Mutex
	process *os.Process
	exited  chan struct{}
	// died counts the times that it ended and was not killed.
	died int
}

// newSidecar prepares a sidecar of its own port. It does not start it.
func newSidecar(ctx context.Context, path string, env []string, log *os.File) (*sidecar, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	if err := l.Close(); err != nil {
		return nil, err
	}
	return &sidecar{path: path, env: append(env, "IDEMPOTENCY_PORT="+port), url: "http://127.0.0.1:" + port, log: log}, nil
}

// start starts the process. The kernel ends it with the process that started it.
func (s *sidecar) start() error {
	cmd := exec.CommandContext(context.Background(), s.path) // It is ended by kill alone.
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, s.log, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started, exited := make(chan error), make(chan struct{})
	go func() {
		// Pdeathsig means the thread that started the child, so that one has to
		// live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			s.mu.Lock()
			s.process, s.exited = cmd.Process, exited
			s.mu.Unlock()
		}
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait()
		s.mu.Lock()
		if s.process == cmd.Process {
			s.died++
		}
		s.mu.Unlock()
		close(exited)
	}()
	return <-started
}

// deaths is how often the process ended and was not killed.
func (s *sidecar) deaths() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.died
}

// kill ends the process with SIGKILL and waits for its end.
func (s *sidecar) kill() {
	s.mu.Lock()
	process, exited := s.process, s.exited
	s.process = nil
	s.mu.Unlock()
	if process == nil {
		return
	}
	_ = process.Kill()
	<-exited
}

// ready waits until the sidecar answers.
func (s *sidecar) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/openapi.json", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			return res.Body.Close()
		}
		s.mu.Lock()
		exited := s.exited
		s.mu.Unlock()
		select {
		case <-exited:
			text, _ := os.ReadFile(s.log.Name())
			return errors.New("a sidecar ended by itself: " + string(text))
		default:
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return errors.New("a sidecar does not answer")
		}
	}
}

// havoc kills a sidecar now and then, and starts it again, until the context is
// done.
func havoc(ctx context.Context, p plan, sidecars []*sidecar, tally *Tally) error {
	d := p.stream("kills")
	for sleep(ctx, d.between(200*time.Millisecond, 1500*time.Millisecond)) {
		s := sidecars[d.IntN(len(sidecars))]
		s.kill()
		tally.add(SidecarKilled)
		sleep(ctx, d.between(0, 400*time.Millisecond))
		if err := s.start(); err != nil {
			return err
		}
	}
	return nil
}
