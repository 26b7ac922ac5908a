package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

const sidecar = "lambda-idempotency"

// stored is a key's item as it is in the table.
func (f *function) stored(key string) map[string]any {
	f.Helper()
	out, err := f.local.Client().GetItem(context.Background(), &dynamodb.GetItemInput{
		TableName: &f.table, ConsistentRead: aws.Bool(true),
		Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "jobs#" + key}},
	})
	if err != nil {
		f.Fatal(err)
	}
	if out.Item == nil {
		return nil
	}
	return plain(&types.AttributeValueMemberM{Value: out.Item}).(map[string]any)
}

// released tells whether a stored claim is free, and why.
func released(item map[string]any, cause string) bool {
	text, _ := item["error"].(string)
	return item["status"] == "INPROGRESS" && item["in_progress_expiration"] == json.Number("0") && strings.Contains(text, `"`+cause+`"`)
}

// awaitReleased waits for the release, which may come after the caller's answer.
func (f *function) awaitReleased(key, cause string) {
	f.Helper()
	for end := time.Now().Add(patience); !released(f.stored(key), cause); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			f.Fatalf("the item of %s is %v, want it released with %s", key, f.stored(key), cause)
		}
	}
}

func (f *function) mustAcquire(key, do string, attempt int) {
	f.Helper()
	if a, body := f.invoke(key, do); a.Status != "acquired" || a.Attempt != attempt {
		f.Fatalf("attempt %d at %s got %s", attempt, key, body)
	}
}

// going invokes the function, which answers later.
func (f *function) going(payload string, header http.Header) <-chan emulator.Result {
	done := make(chan emulator.Result, 1)
	go func() {
		res, err := f.Invoke(context.WithoutCancel(f.Context()), []byte(payload), header)
		if err != nil {
			res.Body = []byte(err.Error())
		}
		done <- res
	}()
	return done
}

func (f *function) pids() map[string]int {
	pids := map[string]int{}
	for _, p := range f.Processes() {
		pids[p.Name] = p.PID
	}
	return pids
}

func (f *function) kill(name string) {
	f.Helper()
	if err := f.Signal(name, syscall.SIGKILL); err != nil {
		f.Fatal(err)
	}
}

// The runtime is killed in the middle of a handler, as it is when the memory is
// used up. Lambda resets the environment: SHUTDOWN, and new processes in the same
// sandbox.
func TestRuntimeIsKilled(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	f := deployGo(t, 30*time.Second, map[string]string{"GATE": g.url})
	first := f.going(`{"key":"k","do":"wait","lease_ms":600000}`, nil)
	g.await("/k/1")
	before := f.pids()
	f.kill(emulator.Runtime)
	if res := <-first; res.Status != http.StatusBadGateway {
		t.Errorf("the caller got %d %s", res.Status, res.Body)
	}
	f.awaitReleased("k", "Runtime.ExitError")
	f.mustAcquire("k", "complete", 2)
	for name, pid := range f.pids() {
		if pid == before[name] {
			t.Errorf("%s is the same process", name)
		}
	}
	if n := strings.Count(f.Log(), "at init: acquired <nil>") + strings.Count(f.Log(), "at init: in_progress <nil>"); n != 2 {
		t.Errorf("%d inits were served", n)
	}
}

// The runtime dies while nobody calls. Lambda notices at the next invocation,
// which fails without having run.
func TestRuntimeIsKilledWhileIdle(t *testing.T) {
	t.Parallel()
	f := deployGo(t, 30*time.Second, nil)
	f.mustAcquire("done", "complete", 1)
	if _, err := f.Invoke(t.Context(), []byte(`{"key":"left","do":"abandon","lease_ms":600000}`)); err != nil {
		t.Fatal(err)
	}
	f.kill(emulator.Runtime)
	if _, body := f.invoke("left", "complete"); !strings.Contains(body, "Runtime.ExitError") {
		t.Fatalf("the next caller got %s", body)
	}
	f.mustAcquire("left", "complete", 2)
	if a, body := f.invoke("done", "complete"); a.Status != "completed" {
		t.Errorf("a duplicate got %s", body)
	}
}

// The sidecar is killed in the middle of a handler. Lambda fails the invocation
// and resets the environment. Nobody could release the claim, which holds until
// the invocation's deadline.
func TestSidecarIsKilled(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	f := deployGo(t, 3*time.Second, map[string]string{"GATE": g.url, "IDEMPOTENCY_CLOCK_SKEW": "0s"})
	f.mustAcquire("done", "complete", 1)
	first := f.going(`{"key":"k","do":"wait"}`, nil)
	g.await("/k/1")
	f.kill(sidecar)
	if res := <-first; !strings.Contains(string(res.Body), "Extension.Crash") && res.Status == http.StatusOK {
		t.Errorf("the caller got %d %s", res.Status, res.Body)
	}
	item := f.stored("k")
	lapses, err := item["in_progress_expiration"].(json.Number).Int64()
	if item["status"] != "INPROGRESS" || err != nil || lapses == 0 {
		t.Fatalf("the item is %v", item)
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		a, body := f.invoke("k", "complete")
		now := time.Now().UnixMilli()
		if a.Status == "acquired" && a.Attempt == 2 && now >= lapses {
			break
		}
		if a.Status != "in_progress" || time.Now().After(end) {
			t.Fatalf("%d ms after the deadline the next caller got %s", now-lapses, body)
		}
	}
	if a, body := f.invoke("done", "complete"); a.Status != "completed" {
		t.Errorf("a duplicate got %s", body)
	}
}

// The sidecar dies while nobody calls. The next handler still runs, and finds no
// sidecar: its work does not.
func TestSidecarIsKilledWhileIdle(t *testing.T) {
	t.Parallel()
	f := deployGo(t, 10*time.Second, nil)
	f.mustAcquire("warm-up", "complete", 1)
	f.kill(sidecar)
	if _, body := f.invoke("k", "complete"); strings.Contains(body, "acquired") {
		t.Errorf("the caller got %s", body)
	}
	if strings.Contains(f.Log(), "working on k") || f.stored("k") != nil {
		t.Fatal("the work ran without a claim")
	}
	f.mustAcquire("k", "complete", 1)
}

// The answer is too large for Lambda, which ends the runtime. The work is done
// all the same.
func TestAnswerIsTooLarge(t *testing.T) {
	t.Parallel()
	f := deployGo(t, 10*time.Second, nil)
	if _, body := f.invoke("k", "done, huge"); !strings.Contains(body, "ResponseSizeTooLarge") {
		t.Fatalf("the caller got %.200s", body)
	}
	if a, body := f.invoke("k", "complete"); a.Status != "completed" || a.Result != `"done"` {
		t.Errorf("a duplicate got %.200s", body)
	}
}

// The function times out with twenty claims and one more open, and the table is
// slow. Lambda gives the extension two seconds for all of them.
func TestTimeoutWithManyClaimsAndASlowTable(t *testing.T) {
	t.Parallel()
	const claims = 20
	f := deployGo(t, 3*time.Second, nil)
	first := f.going(`{"key":"k","do":"many","lease_ms":600000}`, nil)
	f.WaitLog(t, fmt.Sprint("holding ", claims), patience)
	f.link.Delay(300 * time.Millisecond)
	if res := <-first; !strings.Contains(string(res.Body), "timed out") {
		t.Fatalf("the caller got %s", res.Body)
	}
	// Nothing is waited for: when the caller has its answer, the sidecar has ended.
	for i := range claims {
		key := fmt.Sprint("k", i)
		if item := f.stored(key); !released(item, "Sandbox.Timedout") {
			t.Errorf("the item of %s is %v", key, item)
		}
	}
	f.link.Delay(0)
	f.mustAcquire("k", "complete", 2)
}

// Two initialisations in a row fail, after the init code has made a claim; the
// third one succeeds.
func TestThirdInitSucceeds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 2 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := deployGo(t, 10*time.Second, map[string]string{"FAIL_INIT": dir})
	for range 2 {
		if a, body := f.invoke("k", "complete"); a.Status != "" {
			t.Fatalf("a caller of what cannot start got %s", body)
		}
	}
	f.mustAcquire("k", "complete", 1)
	if n := strings.Count(f.Log(), "the init fails"); n != 2 {
		t.Errorf("%d inits failed", n)
	}
	// What a failed init left open is released, so that the next one is not held up.
	if n := strings.Count(f.Log(), "at init: acquired <nil>"); n != 3 {
		t.Errorf("%d inits got the claim", n)
	}
}

// Frozen after an invocation that left its claim open, and thawed for the next.
func TestFrozenEnvironment(t *testing.T) {
	t.Parallel()
	f := deployGo(t, 10*time.Second, nil)
	if _, err := f.Invoke(t.Context(), []byte(`{"key":"left","do":"abandon","lease_ms":600000}`)); err != nil {
		t.Fatal(err)
	}
	f.mustAcquire("done", "complete", 1)
	names := []string{emulator.Runtime, sidecar}
	before := f.pids()
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		for _, name := range names {
			if err := f.Signal(name, sig); err != nil {
				t.Fatal(err)
			}
		}
		slices.Reverse(names)
		time.Sleep(time.Second)
	}
	f.mustAcquire("left", "complete", 2)
	if a, body := f.invoke("done", "complete"); a.Status != "completed" {
		t.Errorf("a duplicate got %s", body)
	}
	for name, pid := range f.pids() {
		if pid != before[name] {
			t.Errorf("%s is another process", name)
		}
	}
}
