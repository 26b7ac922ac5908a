// Command cmd sends many requests to the program and prints what the process holds meanwhile:
//
//	go run ./extension/internal/soak/cmd -requests 1000000 -dynamodb-requests 100000
//
// It exits with 1 if an answer was wrong or something grew, and with 2 if the run could not be made. A DynamoDB Local that
// runs already is used if DYNAMODB_ENDPOINT names it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/soak"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

func main() { os.Exit(run()) }

func run() int {
	cfg := soak.Config{}
	flag.IntVar(&cfg.Requests, "requests", 1_000_000, "how many requests, on the store in memory")
	dynamodb := flag.Int("dynamodb-requests", 0, "how many requests besides, on DynamoDB Local")
	flag.IntVar(&cfg.Rows, "rows", 10, "after how many parts the process is looked at")
	flag.IntVar(&cfg.Callers, "callers", 16, "how many callers call at once")
	flag.Uint64Var(&cfg.Seed, "seed", 1, "what all random choices are made from")
	flag.Parse()
	if flag.NArg() > 0 || cfg.Requests < 0 || *dynamodb < 0 || cfg.Rows < 4 || cfg.Callers < 1 {
		flag.Usage()
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	folder, err := os.MkdirTemp("", "soak-")
	if err != nil {
		return unable(err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	path, err := program.Build(ctx, folder)
	if err != nil {
		return unable(err)
	}
	code := 0
	if cfg.Requests > 0 {
		code = part(ctx, "the store in memory", path, folder, cfg, "IDEMPOTENCY_STORE=memory")
	}
	if *dynamodb > 0 && code == 0 {
		env, end, err := table(ctx)
		if err != nil {
			return unable(err)
		}
		defer end()
		cfg.Requests = *dynamodb
		// DynamoDB Local keeps all items in memory, so the keys are taken in turn; and
		// the SDK keeps connections, at most one for each caller.
		cfg.Keys, cfg.Kept = 20_000, cfg.Callers
		code = part(ctx, "DynamoDB Local", path, folder, cfg, env...)
	}
	return code
}

func unable(err error) int {
	fmt.Fprintln(os.Stderr, "soak:", err)
	return 2
}

// part is a run on one store. It returns the exit code.
func part(ctx context.Context, store, path, folder string, cfg soak.Config, env ...string) int {
	p, err := soak.Start(ctx, path, folder, env...)
	if err != nil {
		return unable(err)
	}
	defer p.Kill()
	fmt.Printf("%d callers, on %s:\n\n%s", cfg.Callers, store, soak.Heading())
	report, err := soak.Run(ctx, p, cfg, func(r soak.Row) { fmt.Print(r) })
	fmt.Println()
	if err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	if leaks := report.Leaks(); len(leaks) > 0 {
		fmt.Println("not flat: " + strings.Join(leaks, "; "))
		return 1
	}
	fmt.Println("flat: nothing grew after the first row, and every answer was as it must be")
	return 0
}

// table makes a table, and returns the environment that points the program at it.
func table(ctx context.Context) (env []string, end func(), err error) {
	store, end, err := program.Store()
	if err != nil {
		return nil, nil, err
	}
	name, err := soak.CreateTable(ctx, store)
	if err != nil {
		end()
		return nil, nil, err
	}
	env = []string{"IDEMPOTENCY_TABLE_NAME=" + name}
	for k, v := range store.Env() {
		env = append(env, k+"="+v)
	}
	return env, end, nil
}
