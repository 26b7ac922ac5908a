package outage

import (
	"bytes"
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
	"runtime"
	"slices"
	"strconv"
	"strings"
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

// patience bounds what is waited for and has no other bound.
const patience = 30 * time.Second

// sidecar is the program, running outside Lambda.
type sidecar struct {
	url    string
	log    string // the file that it prints to
	client *http.Client
	kill   context.CancelFunc
	ended  chan struct{}
}

// startSidecar starts a sidecar and waits until it listens. Between finding a
// free port and using it, another process may take it.
func startSidecar(ctx context.Context, binary, folder string, env []string) (*sidecar, error) {
	for try := 1; ; try++ {
		s, err := trySidecar(ctx, binary, folder, env)
		if err == nil || try == 3 {
			return s, err
		}
	}
}

// trySidecar starts a process. The kernel ends it with this one.
func trySidecar(ctx context.Context, binary, folder string, env []string) (*sidecar, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	if err := l.Close(); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(folder, port+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	running, kill := context.WithCancel(context.Background())
	s := &sidecar{
		url: "http://127.0.0.1:" + port, log: log.Name(), kill: kill, ended: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	}
	cmd := exec.CommandContext(running, binary)
	cmd.Env = slices.Concat(env, []string{"IDEMPOTENCY_PORT=" + port, "HOME=" + folder})
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		// Pdeathsig means the thread that started the child, so that one has to
		// live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(s.ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		kill()
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *sidecar) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if strings.Contains(s.printed(), " listens on "+s.url+" ") {
			return nil
		}
		select {
		case <-s.ended:
			return errors.New("a sidecar ended by itself: " + s.printed())
		case <-ctx.Done():
			return errors.New("a sidecar does not answer: " + s.printed())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *sidecar) stop() {
	s.kill()
	<-s.ended
	s.client.CloseIdleConnections()
}

func (s *sidecar) printed() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (s *sidecar) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return "", err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// Answer is what the sidecar answered to a call.
type Answer struct {
	// Took is the time that passed until the answer was there, and Left what was
	// left then until the caller's deadline.
	Took, Left time.Duration
	HTTP       int
	RetryAfter string
	// Body's members that matter.
	Status      string          `json:"-"`
	Code        string          `json:"code"`
	Detail      string          `json:"detail"`
	Token       string          `json:"token"`
	Attempt     int             `json:"attempt"`
	Result      json.RawMessage `json:"result"`
	Unprotected bool            `json:"unprotected"`
}

// OK tells whether the call was carried out.
func (a Answer) OK() bool { return a.HTTP == http.StatusOK }

// String is the answer in the words of the API.
func (a Answer) String() string {
	switch {
	case !a.OK():
		return fmt.Sprintf("%d %s", a.HTTP, a.Code)
	case a.Unprotected:
		return fmt.Sprintf("%d %s, unprotected", a.HTTP, a.Status)
	}
	return fmt.Sprintf("%d %s", a.HTTP, a.Status)
}

// post makes a call whose caller's invocation ends at the deadline, and waits
// for its answer however long that takes.
func (s *sidecar) post(ctx context.Context, path string, body any, deadline time.Time) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(text))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	start := time.Now()
	res, err := s.client.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w: %s", path, err, s.printed())
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Took: time.Since(start), Left: time.Until(deadline), HTTP: res.StatusCode, RetryAfter: res.Header.Get("Retry-After")}
	if err := json.Unmarshal(got, &a); err != nil {
		return Answer{}, fmt.Errorf("%s answered %w: %s", path, err, got)
	}
	if a.OK() { // A problem's status is the number that HTTP has.
		var ok struct{ Status string }
		if err := json.Unmarshal(got, &ok); err != nil {
			return Answer{}, fmt.Errorf("%s answered %w: %s", path, err, got)
		}
		a.Status = ok.Status
	}
	return a, nil
}
