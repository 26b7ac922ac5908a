package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

// On Lambda Managed Instances an environment serves several requests at once,
// the extension gets no INVOKE, and a handler whose time is over goes on.
func deployManaged(t *testing.T, timeout time.Duration, g *gate) *function {
	t.Helper()
	f := deploy(t, emulator.Config{Timeout: timeout, Managed: true, Env: map[string]string{"GATE": g.url, "IDEMPOTENCY_CLOCK_SKEW": "0s"}})
	f.WaitLog(t, "at init: acquired <nil>", patience)
	return f
}

func (f *function) got(done <-chan emulator.Result) answer {
	f.Helper()
	res := <-done
	var a answer
	if err := json.Unmarshal(res.Body, &a); err != nil {
		f.Fatalf("%d %s", res.Status, res.Body)
	}
	return a
}

const managedTimeout = 20 * time.Second

func TestManagedDifferentKeysAtOnce(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	f := deployManaged(t, managedTimeout, g)
	var calls []<-chan emulator.Result
	for i := range 4 {
		calls = append(calls, f.going(fmt.Sprintf(`{"key":"k%d","do":"wait","lease_ms":600000}`, i), nil))
	}
	for i := range 4 {
		g.await(fmt.Sprintf("/k%d/1", i))
	}
	// All four claims are held now. None is an earlier invocation's left-over.
	for i := range 4 {
		if item := f.stored(fmt.Sprint("k", i)); item["status"] != "INPROGRESS" || item["in_progress_expiration"] == json.Number("0") {
			t.Errorf("the item of k%d is %v", i, item)
		}
		g.let(fmt.Sprintf("/k%d/1", i))
		if a := f.got(calls[i]); a.Status != "acquired" || a.Attempt != 1 {
			t.Errorf("a caller got %v", a)
		}
	}
	for i := range 4 {
		if a, body := f.invoke(fmt.Sprint("k", i), "complete"); a.Status != "completed" {
			t.Errorf("a duplicate got %s", body)
		}
	}
}

func TestManagedSameKeyAtOnce(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	f := deployManaged(t, managedTimeout, g)
	first := f.going(`{"key":"k","do":"wait","lease_ms":600000}`, nil)
	g.await("/k/1")
	var calls []<-chan emulator.Result
	for range 3 {
		calls = append(calls, f.going(`{"key":"k","do":"complete","lease_ms":600000}`, nil))
	}
	for _, call := range calls {
		if a := f.got(call); a.Status != "in_progress" {
			t.Errorf("a duplicate got %v", a)
		}
	}
	g.let("/k/1")
	if a := f.got(first); a.Status != "acquired" {
		t.Errorf("the first caller got %v", a)
	}
	if a, body := f.invoke("k", "complete"); a.Status != "completed" {
		t.Errorf("a duplicate got %s", body)
	}
	if n := strings.Count(f.Log(), "working on k"); n != 1 {
		t.Errorf("the work ran %d times", n)
	}
}

// A handler outlives its deadline: its caller has been told of the timeout, and
// another run has taken over, when it completes.
func TestManagedHandlerOutlivesItsDeadline(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second
	g := newGate(t)
	f := deployManaged(t, timeout, g)
	first := f.going(fmt.Sprintf(`{"key":"k","do":"wait","lease_ms":%d}`, timeout.Milliseconds()), nil)
	g.await("/k/1")
	if res := <-first; !strings.Contains(string(res.Body), "Sandbox.Timedout") {
		t.Fatalf("the caller got %d %s", res.Status, res.Body)
	}
	// The claim was made a moment after the invocation's time began.
	var second <-chan emulator.Result
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		second = f.going(`{"key":"k","do":"wait","lease_ms":600000}`, nil)
		select {
		case res := <-second:
			if time.Now().After(end) {
				t.Fatalf("the second caller got %d %s", res.Status, res.Body)
			}
			continue
		case <-g.name("/k/2").came:
		}
		break
	}
	before := f.stored("k")
	g.let("/k/1")
	f.WaitLog(t, "attempt 1 of k ended: idempotency: claim_lost", patience)
	after := f.stored("k")
	if fmt.Sprint(after) != fmt.Sprint(before) || after["attempt"] != json.Number("2") || after["status"] != "INPROGRESS" {
		t.Errorf("the new holder's item was %v and became %v", before, after)
	}
	g.let("/k/2")
	f.WaitLog(t, "attempt 2 of k ended: <nil>", patience)
	<-second
	if item := f.stored("k"); item["status"] != "COMPLETED" || item["data"] != `"done by attempt 2"` {
		t.Errorf("the item is %v", item)
	}
}

// The process ends with several requests under way: all claims are released, but
// for those that were ended.
func TestManagedProcessEnds(t *testing.T) {
	for _, do := range []string{"exit", "kill", "panic"} {
		t.Run(do, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			f := deployManaged(t, managedTimeout, g)
			if a, body := f.invoke("done", "complete"); a.Status != "acquired" {
				t.Fatal(body)
			}
			var calls []<-chan emulator.Result
			for i := range 3 {
				calls = append(calls, f.going(fmt.Sprintf(`{"key":"k%d","do":"wait","lease_ms":600000}`, i), nil))
				g.await(fmt.Sprintf("/k%d/1", i))
			}
			left := []string{"k0", "k1", "k2"}
			switch do {
			case "kill":
				f.kill(emulator.Runtime)
			default:
				res := <-f.going(fmt.Sprintf(`{"key":"k","do":%q,"lease_ms":600000}`, do), nil)
				if res.Header.Get("Error-Type") == "" && res.Status == http.StatusOK {
					t.Errorf("the caller got %d %s", res.Status, res.Body)
				}
				left = append(left, "k")
			}
			if do == "panic" {
				// The runtime client lets the other requests end first.
				for i := range 3 {
					g.let(fmt.Sprintf("/k%d/1", i))
				}
				left = []string{"k"}
			}
			for _, call := range calls {
				<-call
			}
			for _, key := range left {
				f.awaitReleased(key, "Runtime.ExitError")
			}
			select {
			case <-f.Exited():
			case <-time.After(patience):
				t.Error("the environment has not ended")
			}
			if item := f.stored("done"); item["status"] != "COMPLETED" {
				t.Errorf("the item is %v", item)
			}
			if item := f.stored("k0"); do == "panic" && item["status"] != "COMPLETED" {
				t.Errorf("the item of a request that ended well is %v", item)
			}
		})
	}
}
