package e2e_test

import (
	"os"
	"os/exec"
)

// goTool builds as the product is built: static.
func goTool(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.CombinedOutput()
}
