// Package testenv finds what the tests run against: the parts that `make test-parts` puts into .cache/.
package testenv

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Cache returns the path of something in .cache/ at the root of the repository, or an error that says how to get it.
func Cache(elem ...string) (string, error) {
	root, err := root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(append([]string{root, ".cache"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		return "", errors.New(filepath.Join(append([]string{".cache"}, elem...)...) + " is missing; run `make test-parts`")
	}
	return path, nil
}

// Unavailable ends a test that cannot have what it runs against: skipped on a developer's machine, failed where CI is "true".
func Unavailable(tb testing.TB, why string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatal(why)
	}
	tb.Skip(why)
}

// root goes up from the working folder, because `go test` runs a test in its package's folder and `go run` where it was called;
// the path a file was compiled from is not known under -trimpath.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "extension", "internal", "testenv")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("the working folder is not inside the repository")
		}
		dir = up
	}
}
