// Package emulator runs AWS's Runtime Interface Emulator with extensions and a function, for end-to-end tests.
//
// Each emulator has a process namespace of its own, so that ending it ends everything it started, and a mount namespace of its
// own, because the emulator reads extensions from /opt/extensions and nowhere else. It shares the network: what runs in it reaches
// servers of the test on loopback, and what two emulators listen on has to differ (FreePort).
package emulator

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv"
)

// Config says what to run. The zero value of each field but Command has a meaning.
type Config struct {
	ExtensionDir string            // appears as /opt/extensions; every file in it has to be executable
	Opt          string            // instead: a layer's content, appears as /opt
	Command      []string          // the function: bootstrap (an absolute path or a name in PATH) and arguments
	Dir          string            // its working folder; in managed mode it appears as /var/task and has to be readable for everyone
	Env          map[string]string // for the emulator, which passes it to the function and the extensions; nothing else is inherited
	Timeout      time.Duration     // of the function; whole seconds; 3 s if zero, as on the service
	FunctionName string            // "function" if empty
	Managed      bool              // Lambda Managed Instances: started at once, concurrent invokes, all run as user 993 (a Command with arguments has to be readable for it)
	Concurrency  int               // of managed mode; 4 if zero
	SnapStart    bool              // there is an endpoint for credentials, with a token of its own, besides those in the environment; not in managed mode
}

// Emulator is one execution environment.
type Emulator struct {
	cmd      *exec.Cmd
	address  string
	managed  bool
	log      logBuffer
	invoking chan struct{} // holds one token where invokes have to be one at a time
	exited   chan struct{}
}

// readyLimit is far above the 0.1 s that a start takes.
const readyLimit = 30 * time.Second

// Start runs an emulator until the end of the test, which prints the log if it failed. In standard mode extensions and function
// start with the first invoke, in managed mode at once. A test that cannot have an emulator is skipped with the reason, and
// fails where CI is "true".
func Start(tb testing.TB, c Config) *Emulator {
	tb.Helper()
	if c.Timeout%time.Second != 0 || c.Timeout < 0 {
		tb.Fatalf("timeout %v is not a number of whole seconds", c.Timeout)
	}
	if len(c.Command) == 0 {
		tb.Fatal("no command to run as the function")
	}
	command := slices.Clone(c.Command)
	path, err := exec.LookPath(command[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		tb.Fatalf("command of the function: %v", err)
	}
	command[0] = path
	rie, err := testenv.Cache("emulator", "aws-lambda-rie-"+strings.Replace(runtime.GOARCH, "amd64", "x86_64", 1))
	if err != nil {
		testenv.Unavailable(tb, "Runtime Interface Emulator: "+err.Error())
	}
	if c.Managed && os.Geteuid() != 0 {
		testenv.Unavailable(tb, "Runtime Interface Emulator: managed mode needs root, because it runs the function as user 993")
	}

	// Between finding a free port and using it, another process may take it.
	var e *Emulator
	for range 3 {
		e, err = launch(tb, c, rie, command)
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	if errors.Is(err, syscall.EPERM) {
		testenv.Unavailable(tb, "Runtime Interface Emulator: namespaces are not allowed here ("+err.Error()+"); run as root, in a container with --privileged")
	}
	if err != nil {
		tb.Fatalf("Runtime Interface Emulator: %v", err)
	}
	tb.Cleanup(func() {
		e.Stop()
		if tb.Failed() {
			tb.Logf("the emulator, its function and its extensions printed:\n%s", e.Log())
		}
	})
	return e
}

var (
	errPortTaken = errors.New("port taken")
	portTaken    = regexp.MustCompile(`address already in use`)
)

func launch(tb testing.TB, c Config, rie string, command []string) (*Emulator, error) {
	e := &Emulator{
		address:  "127.0.0.1:" + strconv.Itoa(FreePort(tb)),
		managed:  c.Managed,
		invoking: make(chan struct{}, 1),
		exited:   make(chan struct{}),
	}
	args := []string{"-c", enterScript, "emulator", tb.TempDir(), c.Opt, c.ExtensionDir, c.Dir, managedBootstrap(tb, c, command),
		rie, "--runtime-interface-emulator-address", e.address, "--runtime-api-address", "127.0.0.1:" + strconv.Itoa(FreePort(tb))}
	if c.SnapStart {
		args = append(args, "--enable-init-caching")
	}
	if !c.Managed {
		args = append(args, command...)
	}
	e.cmd = exec.Command("/bin/sh", args...)
	e.cmd.Env = c.environ()
	e.cmd.Stdout, e.cmd.Stderr = &e.log, &e.log
	e.cmd.SysProcAttr = namespaces()

	started := make(chan error)
	go e.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	if err := e.waitReady(); err != nil {
		e.Stop()
		if portTaken.MatchString(e.Log()) {
			err = errPortTaken
		}
		return nil, fmt.Errorf("%w; it printed:\n%s", err, e.Log())
	}
	return e, nil
}

// environ is what the function and the extensions see, less what the emulator adds by itself.
func (c Config) environ() []string {
	env := map[string]string{
		"PATH":                        "/usr/local/bin:/usr/bin:/bin:/opt/bin",
		"LANG":                        "C.UTF-8",
		"TZ":                          ":UTC",
		"PYTHONDONTWRITEBYTECODE":     "1", // the working folder is the source tree
		"AWS_REGION":                  "us-east-1",
		"AWS_DEFAULT_REGION":          "us-east-1",
		"AWS_ACCESS_KEY_ID":           "test",
		"AWS_SECRET_ACCESS_KEY":       "test",
		"AWS_LAMBDA_FUNCTION_NAME":    "function",
		"AWS_LAMBDA_FUNCTION_TIMEOUT": "3",
	}
	if c.Managed {
		// Its presence is what puts the emulator into managed mode.
		env["AWS_LAMBDA_MAX_CONCURRENCY"] = "4"
		if c.Concurrency > 0 {
			env["AWS_LAMBDA_MAX_CONCURRENCY"] = strconv.Itoa(c.Concurrency)
		}
	}
	if c.Timeout > 0 {
		env["AWS_LAMBDA_FUNCTION_TIMEOUT"] = strconv.Itoa(int(c.Timeout / time.Second))
	}
	if c.FunctionName != "" {
		env["AWS_LAMBDA_FUNCTION_NAME"] = c.FunctionName
	}
	for name, value := range c.Env {
		env[name] = value
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// run starts the process and waits for its end.
func (e *Emulator) run(started chan<- error) {
	// Pdeathsig means the thread that started the child, so that one has to live as long as the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := e.cmd.Start()
	started <- err
	if err == nil {
		_ = e.cmd.Wait()
		close(e.exited)
	}
}

func (e *Emulator) waitReady() error {
	for deadline := time.Now().Add(readyLimit); time.Now().Before(deadline); {
		if conn, err := net.DialTimeout("tcp", e.address, time.Second); err == nil {
			return conn.Close()
		}
		select {
		case <-e.exited:
			return fmt.Errorf("it ended by itself: %v", e.cmd.ProcessState)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("it did not listen within %v", readyLimit)
}

// Stop shuts the environment down as the service does (the function is signalled, extensions get SHUTDOWN), kills after five
// seconds what is left, and returns when nothing is left.
func (e *Emulator) Stop() {
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.exited:
	case <-time.After(5 * time.Second):
		e.Kill()
	}
}

// Kill ends everything at once, without a shutdown, and returns when nothing is left.
func (e *Emulator) Kill() {
	_ = e.cmd.Process.Kill()
	<-e.exited
}

// Exited is closed when the emulator has ended. In managed mode it ends by itself when the function or an extension does.
func (e *Emulator) Exited() <-chan struct{} { return e.exited }

// FreePort returns a port on loopback that nothing listens on.
func FreePort(tb testing.TB) int {
	tb.Helper()
	port, err := testenv.FreePort()
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

// Python returns the interpreter that has AWS's runtime client: Command: []string{Python(tb), "-m", "awslambdaric", "app.handler"}.
func Python(tb testing.TB) string {
	tb.Helper()
	path, err := testenv.Cache("python", "bin", "python")
	if err == nil {
		_, err = testenv.Cache("python", ".requirements")
	}
	if err != nil {
		testenv.Unavailable(tb, "Python runtime client: "+err.Error())
	}
	return path
}

// Build compiles the Go program in a folder, as a function or an extension, to a file.
func Build(tb testing.TB, dir, out string) {
	tb.Helper()
	cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if printed, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", dir, err, printed)
	}
}
