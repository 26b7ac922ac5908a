// Command clients measures what each client costs its handler: in lines, when it is loaded, at the first call and at
// each further one. It prints docs/clients.md's tables, or with UPDATE=1 writes them there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/machine"
)

// document has the tables, between markers.
const document = "docs/clients.md"

// plan is how much is measured.
type plan struct {
	processes   int           // fresh processes of each kind
	warm        int           // rounds that are not counted; a round is four calls: plain, first run, plain, duplicate
	rounds      int           // rounds that are
	storeRounds int           // rounds with a store that takes its time
	storeDelay  time.Duration // how long it takes besides DynamoDB Local's own time
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-clients:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var p plan
	flags := flag.NewFlagSet("clients", flag.ContinueOnError)
	flags.IntVar(&p.processes, "processes", 25, "fresh processes of each kind")
	flags.IntVar(&p.warm, "warm", 300, "rounds that are not counted")
	flags.IntVar(&p.rounds, "rounds", 2000, "rounds that are")
	flags.IntVar(&p.storeRounds, "store-rounds", 300, "rounds with a store that takes its time")
	flags.DurationVar(&p.storeDelay, "store-delay", 5*time.Millisecond, "how long that is, besides DynamoDB Local's own time")
	only := flags.String("only", "", "names of clients, as in the tables, separated by commas; none: all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if _, err := os.Stat(document); err != nil {
		return errors.New("run this in the repository's root")
	}
	b, err := build(ctx, ".")
	if err != nil {
		return err
	}
	defer b.remove()

	s, why, err := openStore(ctx, p.storeDelay)
	if err != nil {
		return err
	}
	if s != nil {
		defer s.close()
	}
	r := report{plan: p, machine: machine.This(), storeMissing: why}
	for _, lang := range languages() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), lang.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, "measuring", lang.name, "...")
		row, err := b.measure(ctx, lang, p, s)
		if err != nil {
			return fmt.Errorf("%s: %w", lang.name, err)
		}
		r.rows = append(r.rows, row)
	}
	if s != nil {
		r.storeTook = s.median()
	}
	r.machine.LoadAfter = machine.Load()
	if os.Getenv("UPDATE") == "" {
		fmt.Print(r.markdown())
		return nil
	}
	return update(document, r.markdown())
}
