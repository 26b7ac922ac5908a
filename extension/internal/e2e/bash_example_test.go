package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv"
)

// bashWork takes the place of the example's program.
const bashWork = `#!/bin/bash
read -r -d '' event
[[ $event =~ \"JobId\":\ *\"([^\"]*)\" ]]
job=${BASH_REMATCH[1]}
echo "working on $job, attempt $ATTEMPT, fence $FENCE" >&2
case $job in
"fails once") [ "$ATTEMPT" -gt 1 ] || exit 3 ;;
waits) curl -sS "$GATE/waits" ;;
*result) cat "$RESULT"; exit ;;
esac
printf '{"processed":"` + objKey + `"}'
`

func bashExample(t *testing.T) example {
	t.Helper()
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			testenv.Unavailable(t, tool+" is missing; run `make test-parts`")
		}
	}
	dir := functionOf(t, "bash-handler", "process", bashWork)
	return example{
		name: "bash-handler", dir: dir, command: []string{filepath.Join(dir, "bootstrap")},
		busy:   `{"errorType":"InProgress","errorMessage":"another run does the job"}`,
		failed: `{"errorType":"JobFailed","errorMessage":"the job failed; why is in the log"}`,
		again:  `{"errorType":"JobFailed","errorMessage":"the job failed"}`,
		away:   `{"errorType":"SidecarError","errorMessage":"DynamoDB cannot be reached`,
	}
}

func TestBashExample(t *testing.T) {
	t.Parallel()
	bashExample(t).does(t)
}

// TestBashExampleResults shows that a duplicate gets the result byte for byte,
// whatever it holds, and what becomes of what cannot be a result.
func TestBashExampleResults(t *testing.T) {
	t.Parallel()
	x := bashExample(t)
	file := filepath.Join(t.TempDir(), "result")
	e := x.deploy(t, onTable(t), map[string]string{"RESULT": file})
	for i, result := range []string{
		`"冪等性 \" \\ ,\"completed_at\":1}"`,
		`{"status":"completed","result":{"a":[1, 2 ]},"completed_at":5,"request_id":"x"}`,
		"9007199254740993", "{}", `""`, "[\n null ]", `"%s $(exit) * \u0000"`,
		`"` + strings.Repeat("冪", 700_000) + `"`, // Larger than an argument may be.
	} {
		if err := os.WriteFile(file, []byte(result), 0o600); err != nil {
			t.Fatal(err)
		}
		job := fmt.Sprint("job ", i, " result")
		for range 2 {
			if got := e.launch(job); got != result {
				t.Errorf("%s: got %.200s, want %.200s", job, got, result)
			}
		}
		e.mustHaveRun(job, 1)
	}
	for what, c := range map[string]struct{ result, first, duplicate string }{
		"nothing":                 {"", "null", "null"},
		"no JSON":                 {"done", `{"errorType":"ResultError","errorMessage":"the job is done, but what it printed is no JSON"}`, "null"},
		"more than an item holds": {noise(900_000), noise(900_000), "null"},
	} {
		if err := os.WriteFile(file, []byte(c.result), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{c.first, c.duplicate} {
			if got := e.launch(what + " result"); got != want {
				t.Errorf("%s: got %.200s, want %.200s", what, got, want)
			}
		}
		e.mustHaveRun(what+" result", 1)
	}
}

// noise is a string of JSON that does not compress well.
func noise(n int) string {
	var text strings.Builder
	for x := uint64(1); text.Len() < n; x = x*6364136223846793005 + 1442695040888963407 {
		fmt.Fprintf(&text, "%016x", x)
	}
	return `"` + text.String() + `"`
}

// TestBashExampleWithoutLayer shows that without a sidecar nothing runs.
func TestBashExampleWithoutLayer(t *testing.T) {
	t.Parallel()
	x := bashExample(t)
	e := x.deploy(t, onTable(t), nil)
	e.mustGet("warm-up", objKey)
	if err := e.Signal(sidecar, 9); err != nil {
		t.Fatal(err)
	}
	// The environment is told of the end of the sidecar, or the handler meets it first.
	got := e.launch("12345")
	if !strings.Contains(got, "is the layer attached, or the local server started?") && !strings.Contains(got, "Extension.Crash") {
		t.Errorf("the caller got %s", got)
	}
	time.Sleep(10 * time.Millisecond)
	e.mustHaveRun("12345", 0)
}
