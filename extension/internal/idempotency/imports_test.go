package idempotency_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImports keeps the heart free of transport, cloud and metrics.
func TestImports(t *testing.T) {
	for _, pkg := range []string{".", "../canon"} {
		out, err := exec.Command("go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		for dep := range strings.Lines(string(out)) {
			dep = strings.TrimSpace(dep)
			for _, bad := range []string{"net/http", "github.com/aws/", "github.com/prometheus/", "github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/"} {
				if strings.HasPrefix(dep, bad) {
					t.Errorf("%s imports %s", pkg, dep)
				}
			}
		}
	}
}
