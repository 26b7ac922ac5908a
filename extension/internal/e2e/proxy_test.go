package e2e_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

// shop is a table, and the functions without code of their own that work on it.
type shop struct {
	*testing.T
	local dynamodblocal.Endpoint
	table string
	// gate is the file that lets a handler end which waits for it.
	gate string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	local := dynamodblocal.Start(t)
	// Managed mode's functions run as another user.
	dir, err := os.MkdirTemp("", "shop-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // As said.
		t.Fatal(err)
	}
	return &shop{t, local, dynamodblocal.CreateTable(t, local, dynamodblocal.Table{TTL: "expiration"}), filepath.Join(dir, "gate")}
}

func (s *shop) openGate() {
	s.Helper()
	if err := os.WriteFile(s.gate, nil, 0o644); err != nil { //nolint:gosec // Another user's function looks for it.
		s.Fatal(err)
	}
}

// deploy starts an environment of a function; env is added to its variables.
func (s *shop) deploy(c emulator.Config, env map[string]string) *emulator.Emulator {
	s.Helper()
	all := s.local.Env()
	maps.Copy(all, map[string]string{
		"IDEMPOTENCY_TABLE_NAME":   s.table,
		"IDEMPOTENCY_KEY_JMESPATH": "order",
		"IDEMPOTENCY_PORT":         strconv.Itoa(emulator.FreePort(s.T)),
		proxyPort:                  strconv.Itoa(emulator.FreePort(s.T)),
		"AWS_SESSION_TOKEN":        secret,
		"GATE":                     s.gate,
	})
	maps.Copy(all, env)
	if c.Opt == "" {
		c.Opt = layer(s.T)
	}
	c.Env, c.FunctionName = all, "shop"
	return emulator.Start(s.T, c)
}

// layer is what the layer puts below /opt.
func layer(t *testing.T) string {
	t.Helper()
	opt := t.TempDir()
	for from, to := range map[string]string{
		filepath.Join(built.extensions, "lambda-idempotency"):           filepath.Join("extensions", "lambda-idempotency"),
		filepath.Join("..", "..", "..", "layer", "idempotency-wrapper"): "idempotency-wrapper",
	} {
		install(t, from, filepath.Join(opt, to))
	}
	return opt
}

func install(t *testing.T, from, to string) {
	t.Helper()
	program, err := os.ReadFile(from) //nolint:gosec // It was built for the tests.
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755) //nolint:gosec // Another user's function may run it.
	}
	if err == nil {
		err = os.WriteFile(to, program, 0o755) //nolint:gosec // It is a program.
	}
	if err != nil {
		t.Fatal(err)
	}
}

// runtimeClient is one of AWS's runtime clients, with a handler of plain's behaviour.
type runtimeClient struct {
	name string
	// command runs the handler; dir is its folder.
	command func(t *testing.T) []string
	dir     string
}

// wrapped calls the layer's wrapper as Lambda does for AWS_LAMBDA_EXEC_WRAPPER.
func wrapped(command ...string) []string {
	return append([]string{"/usr/bin/env", "/opt/idempotency-wrapper"}, command...)
}

func python(t *testing.T, handler string) []string {
	t.Helper()
	return wrapped(emulator.Python(t), "-m", "awslambdaric", handler)
}

func node(t *testing.T, handler string) []string {
	t.Helper()
	ric, err := testenv.Cache("node-ric", "node_modules", "aws-lambda-ric", "bin", "index.mjs")
	if err != nil {
		testenv.Unavailable(t, "Node.js runtime client: "+err.Error())
	}
	program, err := testenv.Cache("node", "bin", "node")
	if err != nil {
		program, err = exec.LookPath("node")
	}
	if err != nil {
		testenv.Unavailable(t, "Node.js: "+err.Error())
	}
	return wrapped(program, ric, handler)
}

var runtimeClients = []runtimeClient{
	{"Go", func(t *testing.T) []string { return []string{buildPlain(t)} }, ""},
	{"Python", func(t *testing.T) []string { return python(t, "app.handler") }, "plain"},
	{"Node", func(t *testing.T) []string { return node(t, "index.handler") }, "plain"},
}

func (c runtimeClient) deploy(s *shop, timeout time.Duration, env map[string]string) *emulator.Emulator {
	s.Helper()
	dir := ""
	if c.dir != "" {
		var err error
		if dir, err = filepath.Abs(c.dir); err != nil {
			s.Fatal(err)
		}
	}
	return s.deploy(emulator.Config{Command: c.command(s.T), Dir: dir, Timeout: timeout}, env)
}

var plainBinary struct {
	once sync.Once
	path string
	err  error
}

// buildPlain builds the Go function that is idempotent by one import.
func buildPlain(t *testing.T) string {
	t.Helper()
	plainBinary.once.Do(func() {
		plainBinary.path = filepath.Join(filepath.Dir(built.goHandler), "plain")
		var out []byte
		if out, plainBinary.err = goTool("build", "-tags", "lambda.norpc", "-o", plainBinary.path, "./plain"); plainBinary.err != nil {
			t.Log(string(out))
		}
	})
	if plainBinary.err != nil {
		t.Fatal(plainBinary.err)
	}
	return plainBinary.path
}

// each runs a test with each runtime client.
func each(t *testing.T, test func(s *shop, c runtimeClient)) {
	t.Helper()
	t.Parallel()
	for _, c := range runtimeClients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			test(newShop(t), c)
		})
	}
}

// order sends an order to the function and returns its answer.
func (s *shop) order(e *emulator.Emulator, order, do string) string {
	s.Helper()
	payload, err := json.Marshal(map[string]string{"order": order, "do": do})
	if err != nil {
		s.Fatal(err)
	}
	res, err := e.Invoke(s.Context(), payload)
	if err != nil {
		s.Fatal(err)
	}
	return string(res.Body)
}

// succeed fails the test unless an order is answered by a handler that ran for it
// once.
func (s *shop) succeed(e *emulator.Emulator, order string) {
	s.Helper()
	if got := s.order(e, order, "return"); !strings.Contains(got, `"request":`) {
		s.Errorf("order %s got %.300s", order, got)
	}
}

// ran is how often the handler ran for an order.
func ran(order string, list ...*emulator.Emulator) int {
	n := 0
	for _, e := range list {
		n += strings.Count(e.Log(), "run of "+order+":")
	}
	return n
}

func (s *shop) mustRun(want int, order string, list ...*emulator.Emulator) {
	s.Helper()
	if got := ran(order, list...); got != want {
		s.Errorf("the handler ran %d times for %s, not %d", got, order, want)
	}
}

func TestProxy(t *testing.T) {
	each(t, func(s *shop, c runtimeClient) {
		e := c.deploy(s, 5*time.Second, nil)
		for do, check := range map[string]func(answer string) bool{
			"return":  func(a string) bool { return strings.Contains(a, `"request":`) || strings.Contains(a, `"request": "`) },
			"large":   func(a string) bool { return len(a) > 6<<20-300 },
			"nothing": func(a string) bool { return a == "null" },
		} {
			first, second := s.order(e, do, do), s.order(e, do, do)
			if !check(first) || first != second {
				s.Errorf("%s: first %.300s, second %.300s", do, first, second)
			}
			s.mustRun(1, do, e)
		}
		// An error is told as it is, and the retry runs.
		failures := []string{"error", "exit"}
		if c.name == "Go" {
			failures = append(failures, "panic")
		}
		for _, do := range failures {
			if first := s.order(e, do, do); do == "error" && !strings.Contains(first, "the carrier did not answer") || strings.Contains(first, `"request":`) {
				s.Errorf("%s: %s", do, first)
			}
			s.succeed(e, do)
			s.mustRun(2, do, e)
		}
		// Lambda does not take what is too large.
		if got := s.order(e, "huge", "huge"); !strings.Contains(got, "ResponseSizeTooLarge") {
			s.Errorf("the caller got %.300s", got)
		}
		s.succeed(e, "huge")
		s.mustRun(2, "huge", e)
	})
}

func TestProxyFailsForGood(t *testing.T) {
	each(t, func(s *shop, c runtimeClient) {
		e := c.deploy(s, 5*time.Second, map[string]string{"IDEMPOTENCY_ON_ERROR": "fail"})
		for do, message := range map[string]string{"error": "the carrier did not answer", "huge": ""} {
			s.order(e, do, do)
			if got := s.order(e, do, "return"); strings.Contains(got, `"request":`) || !strings.Contains(got, message) || !strings.Contains(got, "errorType") {
				s.Errorf("the duplicate of %s got %.300s", do, got)
			}
			s.mustRun(1, do, e)
		}
	})
}

func TestProxyTimeout(t *testing.T) {
	each(t, func(s *shop, c runtimeClient) {
		e := c.deploy(s, 2*time.Second, nil)
		if got := s.order(e, "slow", "sleep"); !strings.Contains(got, "timed out") {
			s.Fatalf("the caller got %s", got)
		}
		s.succeed(e, "slow")
		s.mustRun(2, "slow", e)
	})
}

func TestProxyInitError(t *testing.T) {
	each(t, func(s *shop, c runtimeClient) {
		e := c.deploy(s, 5*time.Second, map[string]string{"FAIL_INIT": "1"})
		got := s.order(e, "o", "return")
		if strings.Contains(got, `"request":`) || c.name != "Go" && !strings.Contains(got, "the init fails") {
			s.Errorf("the caller got %s", got)
		}
		// No claim was made: another environment runs the work.
		s.succeed(c.deploy(s, 5*time.Second, nil), "o")
	})
}

func TestProxyConcurrentDuplicate(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{"error": "Idempotency.InProgress", "skip": "null", "wait": `"request":`} {
		t.Run(mode, func(t *testing.T) {
			each(t, func(s *shop, c runtimeClient) {
				env := map[string]string{"IDEMPOTENCY_ON_IN_PROGRESS": mode}
				a, b := c.deploy(s, 20*time.Second, env), c.deploy(s, 20*time.Second, env)
				first, second := make(chan string, 1), make(chan string, 1)
				go func() { first <- s.order(a, "o", "gate") }()
				a.WaitLog(s.T, "run of o: gate", patience)
				go func() { second <- s.order(b, "o", "gate") }()
				if mode != "wait" {
					second <- <-second // It is answered while the first goes on.
				} else {
					time.Sleep(200 * time.Millisecond)
				}
				s.openGate()
				got, of := <-second, <-first
				if !strings.Contains(got, want) || mode == "wait" && got != of || !strings.Contains(of, `"request":`) {
					s.Errorf("the duplicate got %s, the first %s", got, of)
				}
				s.mustRun(1, "o", a, b)
				if mode == "skip" {
					b.WaitLog(s.T, duplicate, patience)
				}
				// The work is done: the next duplicate has its result, in any mode.
				if got := s.order(b, "o", "return"); got != of {
					s.Errorf("a later duplicate got %s, the first %s", got, of)
				}
			})
		})
	}
}

// A response that no item can hold is known to be done all the same.
func TestProxyResponseThatIsNotKept(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	e := runtimeClients[0].deploy(s, 5*time.Second, nil)
	if got := s.order(e, "o", "random"); len(got) < 800<<10 {
		t.Fatalf("the caller got %.300s", got)
	}
	if got := s.order(e, "o", "random"); got != "null" {
		t.Errorf("the duplicate got %.300s", got)
	}
	s.mustRun(1, "o", e)
	e.WaitLog(t, "a duplicate is answered with null", patience)
}

// The examples are deployed as their README says.
func TestZeroCodeExamples(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Abs("../../../examples/zero-code")
	if err != nil {
		t.Fatal(err)
	}
	order, err := os.ReadFile(filepath.Join(examples, "event.json")) //nolint:gosec // The sources are ours.
	if err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string]func(t *testing.T) []string{
		"python": func(t *testing.T) []string { return python(t, "app.handler") },
		"node":   func(t *testing.T) []string { return node(t, "index.handler") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			shipped := filepath.Join(t.TempDir(), "shipped")
			e := s.deploy(emulator.Config{Command: command(t), Dir: filepath.Join(examples, name), Timeout: 5 * time.Second}, map[string]string{"SHIPPED": shipped})
			var answers []string
			for range 3 {
				res, err := e.Invoke(t.Context(), order)
				if err != nil {
					t.Fatal(err)
				}
				answers = append(answers, string(res.Body))
			}
			if !strings.Contains(answers[0], `"tracking"`) || answers[1] != answers[0] || answers[2] != answers[0] {
				t.Errorf("answers: %q", answers)
			}
			if text, err := os.ReadFile(shipped); err != nil || strings.Count(string(text), "\n") != 1 { //nolint:gosec // The test's own.
				t.Errorf("shipped %q %v", text, err)
			}
		})
	}
}
