package program

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	source = "github.com/lambda-idempotency/lambda-idempotency/extension"
	// Version is what a program that Build made says of itself.
	Version = "1.2.3"
)

// Build makes the program as it ships, in the folder, and returns its path. It builds from any folder of the repository.
func Build(ctx context.Context, folder string, flags ...string) (string, error) {
	path := filepath.Join(folder, "lambda-idempotency")
	args := append([]string{"build", "-tags", "nethttpomithttp2", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=" + Version, "-o", path}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, source)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w: %s", source, err, out)
	}
	return path, nil
}

// Main builds the program for all tests of a package, runs them, and returns the exit code.
func Main(m *testing.M, binary *string) int {
	folder, err := os.MkdirTemp("", "lambda-idempotency-")
	if err == nil {
		defer func() { _ = os.RemoveAll(folder) }()
		*binary, err = Build(context.Background(), folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// FewDescriptors is the command that starts the program at path, which may then have so many files open.
func FewDescriptors(path string, most int) []string {
	return []string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0"`, most), path}
}
