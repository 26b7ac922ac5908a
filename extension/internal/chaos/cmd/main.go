// Command cmd runs the history checker against real sidecars and DynamoDB Local, and prints what it found:
//
//	go run ./extension/internal/chaos/cmd -seconds 30 -seed 1
//
// It exits with 1 if a promise was broken, or could not be judged, and with 2 if the run could not be made. A DynamoDB Local
// that runs already is used if DYNAMODB_ENDPOINT names it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/chaos"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

func main() { os.Exit(run()) }

func run() int {
	var cfg chaos.Config
	seconds := flag.Float64("seconds", 30, "how long the handlers run, in seconds; 0: until -operations are done")
	flag.Uint64Var(&cfg.Seed, "seed", 1, "what all random choices are made from")
	flag.IntVar(&cfg.Sidecars, "sidecars", 5, "how many sidecar processes")
	flag.IntVar(&cfg.Handlers, "handlers", 16, "how many handlers call at once")
	flag.IntVar(&cfg.Operations, "operations", 0, "end after so many calls; 0: only by -seconds")
	flag.Parse()
	cfg.For = time.Duration(*seconds * float64(time.Second))
	if flag.NArg() > 0 || cfg.For <= 0 && cfg.Operations <= 0 || cfg.Sidecars < 1 || cfg.Handlers < 1 {
		flag.Usage()
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	store, end, err := program.Store()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	defer end()
	cfg.Store = store
	report, err := chaos.Run(ctx, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	fmt.Print(report)
	if !report.OK() {
		return 1
	}
	return 0
}
