package client_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestImports keeps the client and the sidecar for tests to the standard library,
// and the wrapper for handlers to what each of its functions has anyway.
func TestImports(t *testing.T) {
	const own, aws = "github.com/lambda-idempotency/lambda-idempotency/client", "github.com/aws/aws-lambda-go/lambdacontext"
	for dir, allowed := range map[string][]string{".": {own}, "./clienttest": {own, own + "/clienttest"}, "./lambdahandler": {own, own + "/lambdahandler", aws}} {
		list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", dir)
		out, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Fields(string(out))
		slices.Sort(got)
		slices.Sort(allowed)
		if !slices.Equal(got, allowed) {
			t.Errorf("%s links %q, want %q", dir, got, allowed)
		}
	}
}
