package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

// managedShop is the Go function on Managed Instances, with four workers. (The
// emulator runs it as a user who may not be able to read a Python; what that does
// at once is in the tests of package runtimeproxy.)
func (s *shop) managedShop(env map[string]string) *emulator.Emulator {
	s.Helper()
	return s.deploy(emulator.Config{Command: []string{buildPlain(s.T)}, Timeout: 20 * time.Second, Managed: true, Concurrency: 4}, env)
}

func (s *shop) ordering(e *emulator.Emulator, order, do string) <-chan string {
	done := make(chan string, 1)
	go func() { done <- s.order(e, order, do) }()
	return done
}

// Three invocations at once in one environment, and a duplicate of one.
func TestProxyManaged(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	e := s.managedShop(nil)
	s.succeed(e, "first")
	var calls []<-chan string
	for i := range 3 {
		calls = append(calls, s.ordering(e, fmt.Sprint("o", i), "gate"))
	}
	for i := range 3 {
		e.WaitLog(t, fmt.Sprintf("run of o%d:", i), patience)
	}
	if got := s.order(e, "o1", "gate"); !strings.Contains(got, "Idempotency.InProgress") {
		t.Errorf("the duplicate got %s", got)
	}
	s.openGate()
	for i, call := range calls {
		first := <-call
		if !strings.Contains(first, fmt.Sprintf(`"o%d"`, i)) || !strings.Contains(first, `"request":`) {
			t.Errorf("order %d got %s", i, first)
		}
		if got := s.order(e, fmt.Sprint("o", i), "gate"); got != first {
			t.Errorf("the duplicate of order %d got %s, the first %s", i, got, first)
		}
		s.mustRun(1, fmt.Sprint("o", i), e)
	}
}

// A response that breaks within is an error to the caller and to the claim. The
// emulator looks at trailers in managed mode alone.
func TestProxyManagedStream(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	e := s.managedShop(nil)
	if got := s.order(e, "o", "broken stream"); !strings.Contains(got, "errorMessage") || !strings.Contains(got, "the stream broke") {
		t.Errorf("the caller got %s", got)
	}
	if got := s.order(e, "o", "stream"); got != "part one, part two" {
		t.Errorf("the retry got %s", got)
	}
	if got := s.order(e, "o", "stream"); got != "part one, part two" {
		t.Errorf("the duplicate got %s", got)
	}
	s.mustRun(2, "o", e)
}

// Lambda repeats an asynchronous event under its id.
func TestProxyManagedRequestID(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	e := s.managedShop(map[string]string{"IDEMPOTENCY_KEY": "request-id"})
	send := func(id, order string) string {
		t.Helper()
		res, err := e.Invoke(t.Context(), []byte(`{"order":"`+order+`","do":"return"}`), http.Header{"X-Amzn-RequestId": {id}})
		if err != nil {
			t.Fatal(err)
		}
		return string(res.Body)
	}
	const one, two = "6f8a1c1e-0000-4000-8000-000000000001", "6f8a1c1e-0000-4000-8000-000000000002"
	first := send(one, "o")
	if again := send(one, "o"); !strings.Contains(first, one) || again != first {
		t.Errorf("first %s, again %s", first, again)
	}
	if other := send(two, "o"); !strings.Contains(other, two) {
		t.Errorf("another event got %s", other)
	}
	s.mustRun(2, "o", e)
}
