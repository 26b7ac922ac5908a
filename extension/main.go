// Command lambda-idempotency is an AWS Lambda external extension that serves
// duplicate suppression over localhost. Outside Lambda it is a local server of
// the same API.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/config"
)

func main() {
	if processors := processors(os.Getenv); processors > 0 {
		runtime.GOMAXPROCS(processors)
	}
	os.Exit(run(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// processors is how many the program uses at a time; 0: as Go decides. Lambda
// runs one invocation at a time, which waits for one call of the sidecar. To
// spread that over processors wakes threads for nothing, and takes processors
// from the handler: a first run took 1.33 ms of processor time instead of 1.83,
// on two cores. Managed
// Instances run many invocations at a time. Outside Lambda it is as in Lambda.
func processors(getenv func(string) string) int {
	if getenv("GOMAXPROCS") != "" || getenv("AWS_LAMBDA_INITIALIZATION_TYPE") == config.ManagedInstances {
		return 0
	}
	return 1
}

const usage = `lambda-idempotency %s: duplicate suppression for AWS Lambda functions, over localhost.

In Lambda it runs as an external extension (put the binary into a layer, at
extensions/lambda-idempotency). Elsewhere it serves the same API until it is
stopped with Ctrl-C.

Usage: lambda-idempotency [--help | --version]

Settings are environment variables:

%s
AWS's own variables (AWS_REGION, AWS_ENDPOINT_URL_DYNAMODB, AWS_MAX_ATTEMPTS …)
keep their meaning.
`

// run is the program. It returns the exit code: 0 done, 1 failed, 2 called
// wrongly.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "--help", "-h", "help":
			_, _ = fmt.Fprintf(stdout, usage, version, config.Help())
			return 0
		case "--version", "version":
			_, _ = fmt.Fprintln(stdout, "lambda-idempotency", version)
			return 0
		}
		_, _ = fmt.Fprintf(stderr, "lambda-idempotency: unknown argument %q; settings are environment variables, see lambda-idempotency --help\n", args[0])
		return 2
	}
	// In Lambda too, where they must not end the process.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := config.Load(environ)
	log := newLog(cfg, stderr)
	if cfg.InLambda() {
		err = runExtension(context.WithoutCancel(ctx), cfg, log, err)
		switch {
		case err == nil:
			return 0
		case !errors.Is(err, errLogged):
			log.Error(onOneLine(err))
		}
		return 1
	}
	if err = runLocal(ctx, cfg, stdout, log, err); err != nil {
		for line := range strings.Lines(err.Error()) {
			_, _ = fmt.Fprintf(stderr, "lambda-idempotency: %s\n", strings.TrimSpace(line))
		}
		return 1
	}
	return 0
}

// errLogged is an error that was logged already.
var errLogged = errors.New("see the log")

// onOneLine is an error's text with the lines of joined errors one after the other.
func onOneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
