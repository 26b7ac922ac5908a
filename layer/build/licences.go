package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// licences are the texts that have to go with the binary: ours, and those of the
// modules and of the language that are linked into it.
func licences(ctx context.Context, root string) ([]file, error) {
	own, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		return nil, err
	}
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Module,Standard", "./extension")
	list.Dir = root
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	var stderr bytes.Buffer
	list.Stderr = &stderr
	printed, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing what is linked: %w\n%s", err, &stderr)
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	var third strings.Builder
	if err := texts(&third, "The Go programming language", strings.TrimSpace(string(goroot))); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for decoder := json.NewDecoder(bytes.NewReader(printed)); ; {
		var linked struct {
			Standard bool
			Module   *struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		if err := decoder.Decode(&linked); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		m := linked.Module
		if linked.Standard || m == nil || m.Main || seen[m.Path] {
			continue
		}
		seen[m.Path] = true
		if err := texts(&third, m.Path+" "+m.Version, m.Dir); err != nil {
			return nil, err
		}
	}
	return []file{
		{"licenses/lambda-idempotency/LICENSE", 0o644, own},
		{"licenses/lambda-idempotency/THIRD-PARTY", 0o644, []byte(third.String())},
	}, nil
}

// texts appends the licence and notice files of one work.
func texts(to *strings.Builder, of, dir string) error {
	found := false
	for _, pattern := range []string{"LICENSE*", "LICENCE*", "COPYING*", "NOTICE*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			text, err := os.ReadFile(name) //nolint:gosec // Of the module cache.
			if err != nil {
				continue // A folder of that name.
			}
			found = true
			_, _ = fmt.Fprintf(to, "==== %s: %s ====\n\n%s\n\n", of, filepath.Base(name), strings.TrimSpace(string(text)))
		}
	}
	if !found {
		return fmt.Errorf("%s has no licence file in its module; find out its terms before it is shipped", of)
	}
	return nil
}
