package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// language is one whose handlers are measured.
type language struct {
	name          string
	before, after string // the handlers' files, in bench/clients
	readme        string // seen from docs/
	// preloads says that its Lambda client loads modules that the client needs as well, and that its driver can do so.
	preloads bool
	// loadedByMain says that nothing is loaded when a handler is: the program has it in it.
	loadedByMain bool
	// fewer divides the number of rounds: more than 1 where a call takes many times as long as elsewhere.
	fewer int
	// prepare makes the driver ready. Its error says what is missing.
	prepare func(context.Context, *bench) (driver, error)
}

// driver is a command that takes what to measure as further arguments and prints it as JSON.
type driver struct {
	version string
	command []string
	env     []string
}

func languages() []language {
	return []language{
		{name: "Python", before: "python/before.py", after: "python/after.py", readme: "../client/python/README.md", preloads: true, prepare: python, fewer: 1},
		{name: "Node.js", before: "node/before.mjs", after: "node/after.mjs", readme: "../client/node/README.md", preloads: true, prepare: node, fewer: 1},
		{name: "Go", before: "go/before/handler.go", after: "go/after/handler.go", readme: "../client", loadedByMain: true, prepare: golang, fewer: 1},
		{name: "Ruby", before: "ruby/before.rb", after: "ruby/after.rb", readme: "../client/ruby/README.md", preloads: true, prepare: ruby, fewer: 1},
		{name: "Java", before: "java/Before.java", after: "java/After.java", readme: "../client/java/README.md", prepare: java, fewer: 1},
		{name: "curl", before: "curl/before.sh", after: "curl/after.sh", readme: "../README.md#the-api", prepare: curl, fewer: 4},
	}
}

func python(ctx context.Context, b *bench) (driver, error) {
	bin := b.path(".cache", "python", "bin", "python")
	version, err := firstLine(ctx, bin, "-c", "import platform, awslambdaric; print('Python', platform.python_version(), 'with awslambdaric', awslambdaric.__version__)")
	if err != nil {
		return driver{}, errors.New("Python with Lambda's runtime client is missing: make part-python") //nolint:staticcheck // A name begins it.
	}
	return driver{
		version: version,
		command: []string{bin, b.path("bench", "clients", "python", "driver.py")},
		env: []string{
			"PYTHONPATH=" + b.path("client", "python"),
			// Compiled ahead, as packages are deployed, by the first process, which is not counted.
			"PYTHONDONTWRITEBYTECODE=",
			"PYTHONPYCACHEPREFIX=" + b.temp("pycache"),
		},
	}, nil
}

func node(ctx context.Context, b *bench) (driver, error) {
	bin := b.path(".cache", "node", "bin", "node")
	version, err := firstLine(ctx, bin, "--version")
	if err != nil {
		return driver{}, errors.New("Node.js is missing: make part-nodejs") //nolint:staticcheck // A name begins it.
	}
	// A deployed function: its files, and the package in node_modules.
	dir := b.temp("node")
	if err := os.MkdirAll(filepath.Join(dir, "node_modules"), 0o755); err != nil {
		return driver{}, err
	}
	if err := os.CopyFS(dir, os.DirFS(b.path("bench", "clients", "node"))); err != nil {
		return driver{}, err
	}
	if err := os.Symlink(b.path("client", "node"), filepath.Join(dir, "node_modules", "lambda-idempotency")); err != nil {
		return driver{}, err
	}
	return driver{version: "Node.js " + version, command: []string{bin, filepath.Join(dir, "driver.mjs")}}, nil
}

func golang(ctx context.Context, b *bench) (driver, error) {
	version, err := firstLine(ctx, "go", "env", "GOVERSION")
	if err != nil {
		return driver{}, err
	}
	bin := b.temp("go-driver")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "./bench/clients/go/driver")
	cmd.Dir = b.root
	if err := quietly(cmd); err != nil {
		return driver{}, err
	}
	return driver{version: "Go " + strings.TrimPrefix(version, "go"), command: []string{bin}}, nil
}

func ruby(ctx context.Context, b *bench) (driver, error) {
	version, err := firstLine(ctx, "ruby", "-e", "puts %(Ruby #{RUBY_VERSION})")
	if err != nil {
		return driver{}, errors.New("Ruby is missing: make part-ruby") //nolint:staticcheck // A name begins it.
	}
	return driver{version: version, command: []string{"ruby", "-I" + b.path("client", "ruby", "lib"), b.path("bench", "clients", "ruby", "driver.rb")}}, nil
}

func java(ctx context.Context, b *bench) (driver, error) {
	version, err := firstLine(ctx, "javac", "-version")
	if err != nil {
		return driver{}, errors.New("a JDK is missing: make part-java-client")
	}
	if err := quietly(exec.CommandContext(ctx, b.path("client", "java", "build.sh"), "jar")); err != nil {
		return driver{}, err
	}
	core, err := filepath.Glob(b.path(".cache", "java-client", "aws-lambda-java-core-*.jar"))
	if err != nil || len(core) != 1 {
		return driver{}, errors.New("aws-lambda-java-core is missing: make part-java-client")
	}
	classes := b.temp("java")
	path := strings.Join([]string{b.path("client", "java", "target", "lambda-idempotency.jar"), core[0]}, string(filepath.ListSeparator))
	sources, err := filepath.Glob(b.path("bench", "clients", "java", "*.java"))
	if err != nil {
		return driver{}, err
	}
	if err := quietly(exec.CommandContext(ctx, "javac", append([]string{"--release", "17", "-d", classes, "-cp", path}, sources...)...)); err != nil {
		return driver{}, err
	}
	path += string(filepath.ListSeparator) + classes
	return driver{
		version: "Java " + strings.TrimPrefix(version, "javac "),
		command: []string{"java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", path, "Driver"},
	}, nil
}

func curl(ctx context.Context, b *bench) (driver, error) {
	var versions []string
	for _, tool := range []string{"bash", "curl", "jq"} {
		version, err := firstLine(ctx, tool, "--version")
		if err != nil {
			return driver{}, fmt.Errorf("%s is missing; Debian: apt-get install %s", tool, tool)
		}
		versions = append(versions, versionOf(version))
	}
	return driver{
		version: fmt.Sprintf("bash %s with curl %s and jq %s", versions[0], versions[1], versions[2]),
		command: []string{"bash", b.path("bench", "clients", "curl", "driver.sh")},
	}, nil
}

// versionOf is the number in a line that a tool tells its version in.
func versionOf(line string) string {
	at := strings.IndexAny(line, "0123456789")
	if at < 0 {
		return line
	}
	end := strings.IndexFunc(line[at:], func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		return line[at:]
	}
	return line[at : at+end]
}
