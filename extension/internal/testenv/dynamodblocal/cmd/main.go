// Command cmd runs another command with a DynamoDB Local beside it, which it can find in DYNAMODB_ENDPOINT:
//
//	go run ./extension/internal/testenv/dynamodblocal/cmd -- go test ./...
//
// It exits with that command's exit code. One that was started already (DYNAMODB_ENDPOINT is set) is used and left alone.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: cmd -- command [argument ...]")
		return 2
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr

	// Before the first child: a signal must not end this process and leave the child. An interrupt at the terminal reaches
	// the child by itself; the others are passed on.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)

	if os.Getenv(dynamodblocal.EnvEndpoint) == "" {
		server, err := dynamodblocal.Launch()
		switch {
		case err == nil:
			defer server.Stop()
			cmd.Env = append(os.Environ(), dynamodblocal.EnvEndpoint+"="+server.Endpoint.URL)
		case os.Getenv("CI") == "true":
			fmt.Fprintln(os.Stderr, "DynamoDB Local:", err)
			return 1
		default:
			// The tests will say what they skip.
			fmt.Fprintln(os.Stderr, "going on without DynamoDB Local:", err)
		}
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 127
	}
	go func() {
		for sig := range signals {
			if sig != os.Interrupt {
				_ = cmd.Process.Signal(sig)
			}
		}
	}()
	err := cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal())
		}
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
