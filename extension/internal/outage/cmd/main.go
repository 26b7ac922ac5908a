// Command cmd measures what a handler is told while DynamoDB is slow or away, and prints it as Markdown:
//
//	go run ./extension/internal/outage/cmd
//
// A DynamoDB Local that runs already is used if DYNAMODB_ENDPOINT names it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/outage"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

func main() { os.Exit(run()) }

func run() int {
	var cfg outage.Config
	flag.DurationVar(&cfg.Left, "left", 3*time.Second, "what the invocation has left when the store fails")
	flag.StringVar(&cfg.Only, "only", "", "measure the conditions alone that have this in their names")
	flag.IntVar(&cfg.Parallel, "parallel", 6, "how many conditions are measured at once")
	flag.Parse()
	if flag.NArg() > 0 || cfg.Left < time.Second || cfg.Parallel < 1 {
		flag.Usage()
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	store, end, err := program.Store()
	if err != nil {
		fmt.Fprintln(os.Stderr, "outage:", err)
		return 1
	}
	defer end()
	cfg.Store = store
	rows, err := outage.Measure(ctx, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, "outage:", err)
		return 1
	}
	outage.WriteTable(os.Stdout, cfg, rows)
	return 0
}
