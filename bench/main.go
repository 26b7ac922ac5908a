// Command bench measures what idempotency costs, beside everything else that gives it, and writes docs/benchmarks.md:
//
//	go run ./extension/internal/testenv/dynamodblocal/cmd -- go run ./bench
//
// which is make bench. With -only or -quick it prints what it would have written, unless -out names a folder.
package main

import (
	"context"
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

// plan is how much is measured.
type plan struct {
	warmTurns int // of all contenders, not counted
	latencies []latency
	processes int           // fresh ones of each kind
	batches   []batchSize   // of records
	point     time.Duration // for one number of callers
	starts    int
	// profileTurns are of 100 invocations.
	profileTurns int
	goBench      string // go test's -benchtime
}

// latency is what is put before the store.
type latency struct {
	delay time.Duration
	turns int
}

type batchSize struct{ records, rounds int }

func full() plan {
	return plan{
		warmTurns: 30,
		latencies: []latency{{0, 80}, {5 * time.Millisecond, 44}, {20 * time.Millisecond, 20}},
		processes: 20,
		batches:   []batchSize{{1, 30}, {10, 20}, {100, 4}, {1000, 2}},
		point:     1500 * time.Millisecond,
		starts:    10, profileTurns: 15,
		goBench: "1s",
	}
}

func quick() plan {
	return plan{
		warmTurns: 2,
		latencies: []latency{{0, 6}, {5 * time.Millisecond, 4}, {20 * time.Millisecond, 2}},
		processes: 3,
		batches:   []batchSize{{1, 4}, {10, 2}, {100, 1}},
		point:     200 * time.Millisecond,
		starts:    2, profileTurns: 2,
		goBench: "50x",
	}
}

// part is one of the document's sections.
type part struct {
	name string
	run  func(context.Context, *world, *document, *results) error
}

// results are what the targets are held against; nil where a part was not run.
type results struct {
	invocations invocations
	cold        *coldStarts
	batches     batches
	size        *sizes
	costs       *costs
}

func parts() []part {
	return []part{
		{"invocation", func(ctx context.Context, w *world, d *document, r *results) (err error) {
			if r.invocations, err = w.measureInvocations(ctx); err == nil {
				w.invocationSection(r.invocations, d)
			}
			return err
		}},
		{"cold", func(ctx context.Context, w *world, d *document, r *results) (err error) {
			if r.cold, err = w.measureCold(ctx); err == nil {
				w.coldSection(r.cold, d)
			}
			return err
		}},
		{"sqs", func(ctx context.Context, w *world, d *document, r *results) (err error) {
			if r.batches, err = w.measureBatches(ctx); err == nil {
				w.batchSection(r.batches, d)
			}
			return err
		}},
		{"throughput", func(ctx context.Context, w *world, d *document, _ *results) error {
			found, err := w.measureThroughput(ctx)
			if err == nil {
				w.throughputSection(found, d)
			}
			return err
		}},
		{"profile", func(ctx context.Context, w *world, d *document, _ *results) error {
			found, err := w.measureProfile(ctx)
			if err == nil {
				found.section(d)
			}
			return err
		}},
		{"cost", func(ctx context.Context, w *world, d *document, r *results) (err error) {
			if r.costs, err = w.measureCosts(ctx); err == nil {
				w.costSection(r.costs, d)
			}
			return err
		}},
		{"size", func(ctx context.Context, w *world, d *document, r *results) (err error) {
			if r.size, err = w.measureSize(ctx); err == nil {
				w.sizeSection(r.size, d)
			}
			return err
		}},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "parts to run, separated by commas: "+strings.Join(names, ", ")+"; none: all, and the targets")
	less := flags.Bool("quick", false, "measure so little that the figures say nothing: to see that it works")
	out := flags.String("out", "", "the folder to write benchmarks.md and its plots to; a full run: docs, otherwise none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var chosen []string
	if *only != "" {
		chosen = strings.Split(*only, ",")
	}
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no part %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	p := full()
	if *less {
		p = quick()
	}
	begun, m := time.Now(), machine.This()
	w, err := open(ctx, p)
	if err != nil {
		return err
	}
	defer w.close()
	versions, err := w.versions(ctx)
	if err != nil {
		return err
	}
	var body document
	var found results
	for _, part := range parts() {
		if chosen != nil && !slices.Contains(chosen, part.name) {
			continue
		}
		start := time.Now()
		if err := part.run(ctx, w, &body, &found); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s took %v\n", part.name, time.Since(start).Round(time.Second))
	}
	if chosen == nil {
		targetSection(found, &body)
	}
	m.LoadAfter = machine.Load()
	doc := document{plots: body.plots}
	doc.introduce(m, versions, time.Since(begun), *less, chosen)
	doc.WriteString(body.String())
	if *out == "" && (*less || chosen != nil) {
		fmt.Print(doc.String())
		return nil
	}
	if *out == "" {
		*out = "docs"
	}
	return doc.write(*out)
}
