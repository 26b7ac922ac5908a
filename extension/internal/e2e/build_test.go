package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// built holds what TestMain built for all tests. The extension and the clients are
// those of the layer: nothing of them is taken from the source tree.
var built struct {
	opt        string // the layer, unpacked; appears as /opt
	extensions string // its folder of extensions
	goHandler  string
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	built.opt = filepath.Join(dir, "opt")
	built.extensions = filepath.Join(built.opt, "extensions")
	built.goHandler = filepath.Join(dir, "handler")
	if err := buildLayer(dir, built.opt); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if out, err := goTool("build", "-tags", "lambda.norpc", "-o", built.goHandler, "./handler"); err != nil {
		fmt.Fprintf(os.Stderr, "go build ./handler: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// goTool builds as the product is built: static.
func goTool(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.CombinedOutput()
}
