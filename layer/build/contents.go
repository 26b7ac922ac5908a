package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// file is a file of the layer, at a path below /opt.
type file struct {
	path string
	mode fs.FileMode
	data []byte
}

// places are where the managed runtimes look for what a layer brings:
// https://docs.aws.amazon.com/lambda/latest/dg/packaging-layers.html
var places = []struct{ from, to string }{
	{"client/python/lambda_idempotency", "python/lambda_idempotency"},
	{"client/node", "nodejs/node_modules/lambda-idempotency"},
	{"client/ruby/lib", "ruby/lib"},
}

// sharedFiles are the files that do not depend on the architecture.
func sharedFiles(ctx context.Context, root string) ([]file, error) {
	var files []file
	for _, place := range places {
		client, err := shipped(filepath.Join(root, place.from), place.to)
		if err != nil {
			return nil, err
		}
		files = append(files, client...)
	}
	jar, err := javaArchive(ctx, root)
	if err != nil {
		return nil, err
	}
	texts, err := licences(ctx, root)
	if err != nil {
		return nil, err
	}
	wrapper, err := os.ReadFile(filepath.Join(root, "layer", "idempotency-wrapper")) //nolint:gosec // The sources are ours.
	if err != nil {
		return nil, err
	}
	return append(append(files, jar, file{"idempotency-wrapper", 0o755, wrapper}), texts...), nil
}

// shipped are the files of a client that its users need: what is neither for its
// tests nor for its makers, nor made by running it.
func shipped(from, to string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() && name != from && (base == "test" || base == "tests" || base == "types-test" || base == "node_modules" || base == "__pycache__" || strings.HasPrefix(base, ".")) {
			return fs.SkipDir
		}
		if entry.IsDir() || !wanted(base) {
			return nil
		}
		data, err := os.ReadFile(name) //nolint:gosec // The sources are ours.
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		files = append(files, file{path.Join(to, filepath.ToSlash(below)), 0o644, data})
		return nil
	})
	return files, err
}

// wanted tells whether a client's file is for those who use it.
func wanted(name string) bool {
	switch path.Ext(name) {
	case ".py", ".typed", ".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".rb", ".rbs":
		return !strings.Contains(name, ".test.") && !strings.HasPrefix(name, "tsconfig")
	}
	return name == "package.json"
}

// extension builds the binary. It stays in the folder of the results, so that the
// next build finds it up to date.
func extension(ctx context.Context, root, out, version, arch string) (file, error) {
	binary, err := filepath.Abs(filepath.Join(out, "build", arch, "lambda-idempotency"))
	if err != nil {
		return file{}, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-tags", "nethttpomithttp2", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+version, "-o", binary, "./extension") //nolint:gosec // The version is the caller's.
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-mod=readonly")
	if printed, err := build.CombinedOutput(); err != nil {
		return file{}, fmt.Errorf("building the extension: %w\n%s", err, printed)
	}
	data, err := os.ReadFile(binary) //nolint:gosec // It was just built.
	return file{"extensions/lambda-idempotency", 0o755, data}, err
}

// javaArchive builds the Java client's jar.
func javaArchive(ctx context.Context, root string) (file, error) {
	if printed, err := exec.CommandContext(ctx, filepath.Join(root, "client/java/build.sh"), "jar").CombinedOutput(); err != nil { //nolint:gosec // The script is ours.
		return file{}, fmt.Errorf("building the Java client: %w\n%s", err, printed)
	}
	jar, err := os.ReadFile(filepath.Join(root, "client/java/target/lambda-idempotency.jar")) //nolint:gosec // It was just made.
	return file{"java/lib/lambda-idempotency.jar", 0o644, jar}, err
}
