package dynamodblocal

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv"
)

// startLimit is far above the second that a start takes on two free cores: they may not be free.
const startLimit = 60 * time.Second

// Server is a DynamoDB Local of its own process.
type Server struct {
	Endpoint Endpoint

	cmd    *exec.Cmd
	exited chan struct{}
	output *os.File // unlinked; to be read after exited
}

// Launch starts a DynamoDB Local from .cache/ on a free port and waits until it answers. It ends when Stop is called and also
// when this process ends. It holds its data in memory and listens on every address: it has no setting for that.
func Launch() (*Server, error) {
	lib, err := testenv.Cache("dynamodblocal", "lib")
	if err != nil {
		return nil, err
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, errors.New("java is missing; run `make test-parts`")
	}
	// Between finding a free port and using it, another process may take it.
	for attempt := 1; ; attempt++ {
		s, err := launch(java, lib)
		if err == nil || attempt == 3 {
			return s, err
		}
	}
}

func launch(java, lib string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	// The native SQLite library is unpacked into the temporary folder at each start.
	tmp := filepath.Join(filepath.Dir(lib), "tmp")
	if err := os.MkdirAll(tmp, 0o777); err != nil {
		return nil, err
	}
	s := &Server{
		Endpoint: Endpoint{URL: "http://127.0.0.1:" + strconv.Itoa(port)},
		exited:   make(chan struct{}),
		// The first two flags cut the start from 1.3 s to 0.9 s; the process stays below 400 MB with the heap full.
		cmd: exec.Command(java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms64m", "-Xmx256m",
			"-XX:-UsePerfData", "-Djava.io.tmpdir="+tmp, "-cp", filepath.Join(lib, "*"),
			"software.amazon.dynamodb.services.local.main.ServerRunner", "-inMemory", "-disableTelemetry", "-port", strconv.Itoa(port)),
	}
	// A file, because a pipe would take a goroutine that every leak check would have to know.
	if s.output, err = os.CreateTemp(tmp, "output-"); err != nil {
		return nil, err
	}
	_ = os.Remove(s.output.Name())
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	// The kernel ends it with the process that started it, also after a panic or SIGKILL; on SIGTERM Java removes what it
	// unpacked. Its own group keeps an interrupt at the terminal from ending it before the tests that use it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}

	started := make(chan error)
	go s.run(started)
	if err := <-started; err != nil {
		return nil, err
	}
	if err := s.waitReady(); err != nil {
		s.Stop()
		printed, _ := io.ReadAll(io.NewSectionReader(s.output, 0, 1<<16))
		return nil, fmt.Errorf("%w; it printed: %s", err, strings.TrimSpace(string(printed)))
	}
	return s, nil
}

// run starts the process and waits for its end. Where goroutines are checked for leaks, this is the one to let pass.
func (s *Server) run(started chan<- error) {
	// Pdeathsig means the thread that started the child, so that one has to live as long as the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := s.cmd.Start()
	started <- err
	if err == nil {
		_ = s.cmd.Wait()
		close(s.exited)
	}
}

// waitReady polls until it answers anything: to a plain GET that is an error of the API.
func (s *Server) waitReady() error {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); {
		if res, err := client.Get(s.Endpoint.URL); err == nil {
			return res.Body.Close()
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended by itself: %v", s.cmd.ProcessState)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("it did not answer within %v", startLimit)
}

// Stop ends the process and waits for its end.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(5 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
