package e2e_test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

// shop is a table, and the functions without code of their own that work on it.
type shop struct {
	*testing.T
	local dynamodblocal.Endpoint
	table string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	local := dynamodblocal.Start(t)
	return &shop{t, local, dynamodblocal.CreateTable(t, local, dynamodblocal.Table{TTL: "expiration"})}
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
	})
	maps.Copy(all, env)
	if c.ExtensionDir == "" && c.Opt == "" {
		c.ExtensionDir = built.extensions
	}
	c.Env, c.FunctionName = all, "shop"
	return emulator.Start(s.T, c)
}

// goShop is the Go function that is idempotent by one import.
func (s *shop) goShop(timeout time.Duration, env map[string]string) *emulator.Emulator {
	s.Helper()
	return s.deploy(emulator.Config{Command: []string{buildPlain(s.T)}, Timeout: timeout}, env)
}

func buildPlain(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plain")
	if out, err := goTool("build", "-tags", "lambda.norpc", "-o", path, "./plain"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
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

func TestProxyGo(t *testing.T) {
	s := newShop(t)
	e := s.goShop(3*time.Second, nil)
	for do, check := range map[string]func(first, second string) bool{
		"return": func(first, second string) bool { return strings.Contains(first, `"request":`) && first == second },
		"large":  func(first, second string) bool { return len(first) > 6<<20-300 && first == second },
	} {
		order := strings.ReplaceAll(do, " ", "-")
		first, second := s.order(e, order, do), s.order(e, order, do)
		if !check(first, second) {
			t.Errorf("%s: first %.300s, second %.300s", do, first, second)
		}
		s.mustRun(1, order, e)
	}
	// An error is told as it is, and the retry runs.
	for _, do := range []string{"error", "panic", "exit"} {
		first := s.order(e, do, do)
		if do == "error" && !strings.Contains(first, "the carrier did not answer") {
			t.Errorf("%s: %s", do, first)
		}
		if again := s.order(e, do, "return"); !strings.Contains(again, `"request":`) {
			t.Errorf("the retry after %s: %s", do, again)
		}
		s.mustRun(2, do, e)
	}
}

func TestProxyTimeout(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	e := s.goShop(time.Second, nil)
	if got := s.order(e, "slow", "sleep"); !strings.Contains(got, "timed out") {
		t.Fatalf("the caller got %s", got)
	}
	if got := s.order(e, "slow", "return"); !strings.Contains(got, `"request":`) {
		t.Fatalf("the retry got %s", got)
	}
	s.mustRun(2, "slow", e)
}

func TestProxyResponseThatLambdaRefuses(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	e := s.goShop(3*time.Second, nil)
	if got := s.order(e, "huge", "huge"); !strings.Contains(got, "ResponseSizeTooLarge") {
		t.Fatalf("the caller got %.300s", got)
	}
	if got := s.order(e, "huge", "return"); !strings.Contains(got, `"request":`) {
		t.Fatalf("the retry got %s", got)
	}
	s.mustRun(2, "huge", e)
}

func TestProxyConcurrentDuplicate(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{"error": "Idempotency.InProgress", "skip": "null", "wait": `"request":`} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			env := map[string]string{"IDEMPOTENCY_ON_IN_PROGRESS": mode}
			a, b := s.goShop(10*time.Second, env), s.goShop(10*time.Second, env)
			first := make(chan string, 1)
			go func() { first <- s.order(a, "o", "long") }()
			a.WaitLog(t, "run of o: long", 10*time.Second)
			got := s.order(b, "o", "long")
			if !strings.Contains(got, want) {
				t.Errorf("the duplicate got %s", got)
			}
			if of := <-first; mode == "wait" && got != of {
				t.Errorf("the duplicate got %s, the first %s", got, of)
			}
			s.mustRun(1, "o", a, b)
		})
	}
}
