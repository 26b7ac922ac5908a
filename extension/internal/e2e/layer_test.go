package e2e_test

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// layerArch is what Lambda calls this machine's architecture.
var layerArch = strings.Replace(runtime.GOARCH, "amd64", "x86_64", 1)

// buildLayer builds the layer that is published, and unpacks its zip.
func buildLayer(dir, to string) error {
	cmd := exec.Command("go", "run", "./layer/build", "-arch", layerArch, "-out", dir)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the layer cannot be built; has `make test-parts` been run? %w\n%s", err, out)
	}
	return unzip(filepath.Join(dir, "lambda-idempotency-layer-"+layerArch+".zip"), to)
}

// unzip unpacks as Lambda does: with the modes that the zip tells.
func unzip(name, to string) error {
	z, err := zip.OpenReader(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = z.Close() }()
	for _, f := range z.File {
		if !filepath.IsLocal(f.Name) || !f.Mode().IsRegular() {
			return fmt.Errorf("%s has %v, of mode %v", name, f.Name, f.Mode())
		}
		if err := extract(f, filepath.Join(to, f.Name)); err != nil {
			return err
		}
	}
	return nil
}

func extract(f *zip.File, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // Managed mode's user reads it.
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		return err
	}
	return os.Chmod(to, f.Mode().Perm()) // Whatever the umask.
}
