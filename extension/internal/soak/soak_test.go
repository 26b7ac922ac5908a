package soak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

// binary is the program, built as it ships.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	code := program.Main(m, &binary)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// started is the program on a store in memory.
func started(t *testing.T, env ...string) *Process {
	t.Helper()
	p, err := Start(t.Context(), binary, t.TempDir(), append([]string{"IDEMPOTENCY_STORE=memory"}, env...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Log(p.Printed())
		}
	})
	return p
}

// Thousands of requests, good and bad, leave nothing behind in the process.
func TestNothingGrows(t *testing.T) {
	p := started(t)
	report, err := Run(t.Context(), p, Config{Requests: 20_000, Rows: 5, Callers: 16, Seed: 1}, func(r Row) { t.Log(strings.TrimSpace(r.String())) })
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range report.Rows {
		if row.Sent < 4000-100 || row.Peak.Goroutines <= row.Quiet.Goroutines {
			t.Errorf("there was no load: %+v", row)
		}
	}
	// So few requests say nothing of memory: it goes where the collector lets it.
	for i := range report.Rows {
		report.Rows[i].Quiet.Resident = 1
	}
	for _, leak := range report.Leaks() {
		t.Error(leak)
	}
}

// What grows is seen.
func TestLeaksAreSeen(t *testing.T) {
	for name, c := range map[string]struct {
		kept  int
		at    func(i int) Sample
		leaks string
	}{
		"nothing":                 {0, func(int) Sample { return Sample{10, 11, 40e6, 5} }, ""},
		"memory swings":           {0, func(i int) Sample { return Sample{10, 11, 40e6 + int64(i%3)*5e6, 5} }, ""},
		"warm-up":                 {0, func(i int) Sample { return Sample{10, 11, 40e6 + int64(min(i, 1))*90e6, 5} }, ""},
		"a goroutine in a row":    {0, func(i int) Sample { return Sample{10 + i, 11, 40e6, 5} }, "4 goroutines more after 5 requests than after 1"},
		"a descriptor in a row":   {0, func(i int) Sample { return Sample{10, 11 + i, 40e6, 5} }, "4 descriptors more after 5 requests than after 1"},
		"for a while":             {0, func(i int) Sample { return Sample{10 + 20*(i%2), 11, 40e6, 5} }, "20 goroutines more"},
		"memory":                  {0, func(i int) Sample { return Sample{10, 11, 40e6 + int64(i)*2e6, 5} }, "54.0 MB resident at the least at the end, 46.0 MB at the most at the beginning"},
		"connections to a store":  {2, func(i int) Sample { return Sample{10 + 4*(i%2), 11 + 2*(i%2), 40e6, 5} }, ""},
		"more of them than it is": {2, func(i int) Sample { return Sample{10 + i, 11 + i, 40e6, 5} }, "8 goroutines more"},
	} {
		report := &Report{Config: Config{Kept: c.kept}}
		for i := range 10 {
			report.Rows = append(report.Rows, Row{Requests: i + 1, Quiet: c.at(i)})
		}
		leaks := strings.Join(report.Leaks(), "; ")
		if (leaks == "") != (c.leaks == "") || !strings.Contains(leaks, c.leaks) {
			t.Errorf("%s: %q, want %q", name, leaks, c.leaks)
		}
	}
	if leaks := (&Report{Rows: make([]Row, 3)}).Leaks(); len(leaks) == 0 {
		t.Error("three rows are said to show something")
	}
}

// An answer that is not as it must be ends a run, and so does the process's end.
func TestWrongAnswersAreSeen(t *testing.T) {
	const few = 2000
	p := started(t, "IDEMPOTENCY_MAX_ATTEMPTS=1")
	_, err := Run(t.Context(), p, Config{Requests: few, Rows: 4, Callers: 4, Seed: 1}, func(Row) {})
	if err == nil || !strings.Contains(err.Error(), "want 200 released") {
		t.Errorf("got %v", err)
	}
	p = started(t)
	_, err = Run(t.Context(), p, Config{Requests: few, Rows: 4, Callers: 4, Seed: 1}, func(Row) { p.Kill() })
	if err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A program that cannot start is told of.
func TestStartThatFails(t *testing.T) {
	p, err := Start(t.Context(), binary, t.TempDir(), "IDEMPOTENCY_STORE=nonsense")
	if err == nil {
		p.Kill()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), "IDEMPOTENCY_STORE") {
		t.Error(err)
	}
}
