package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/lambda-idempotency/lambda-idempotency/bench/sidecar"
)

// bench has what the measurements run: built from this checkout, in a folder of its own.
type bench struct {
	root    string // of the repository
	dir     string // removed at the end
	sidecar string
}

// build makes what is measured from the repository's root.
func build(ctx context.Context, root string) (*bench, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench-clients-")
	if err != nil {
		return nil, err
	}
	b := &bench{root: root, dir: dir}
	if b.sidecar, err = sidecar.Build(ctx, dir); err != nil {
		b.remove()
		return nil, err
	}
	return b, nil
}

func (b *bench) remove() { _ = os.RemoveAll(b.dir) }

func (b *bench) path(parts ...string) string {
	return filepath.Join(append([]string{b.root}, parts...)...)
}

func (b *bench) temp(parts ...string) string {
	return filepath.Join(append([]string{b.dir}, parts...)...)
}

// quietly runs a command whose output is of interest only if it fails.
func quietly(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// firstLine is the first line that a command prints, which is where a runtime tells its version.
func firstLine(ctx context.Context, command ...string) (string, error) {
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line, err
}
