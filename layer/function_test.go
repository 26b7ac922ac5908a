package layer_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTemplatesFunction launches the templates' function twice for one job, with
// the client that the layer brings.
func TestTemplatesFunction(t *testing.T) {
	s := run(t, built(t), "IDEMPOTENCY_STORE=memory")
	client, err := filepath.Abs(filepath.Join("..", "client", "python"))
	if err != nil {
		t.Fatal(err)
	}
	const launches = `
import app
print(app.handler({"JobId": "1", "ObjKey": "a"}, None))
print(app.handler({"ObjKey": "a", "JobId": "1", "more": 2}, None))
print(app.handler({"JobId": "2", "ObjKey": "a"}, None))
`
	cmd := exec.Command("python3", "-c", launches)
	cmd.Dir = filepath.Join("templates", "function")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+client, "IDEMPOTENCY_PORT="+s.port, "PYTHONDONTWRITEBYTECODE=1",
		"AWS_SESSION_TOKEN=", "IDEMPOTENCY_AUTH_TOKEN=", "IDEMPOTENCY_DISABLED=")
	printed, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	if want := "{'done': '1'}\n{'done': '1'}\n{'done': '2'}\n"; string(printed) != want {
		t.Errorf("it printed %q, want %q", printed, want)
	}
	res, err := http.Get("http://127.0.0.1:" + s.port + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	counts := regexp.MustCompile(`(?m)^idempotency_acquires_total\{status="(acquired|completed)"\} (\d+)$`).FindAllStringSubmatch(string(metrics), -1)
	if got := strings.TrimSpace(join(counts)); got != "acquired 2 completed 1" {
		t.Errorf("the acquires were %q", got)
	}
}

func join(matches [][]string) (text string) {
	for _, m := range matches {
		text += m[1] + " " + m[2] + " "
	}
	return text
}
