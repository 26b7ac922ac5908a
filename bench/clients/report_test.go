package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/machine"
)

func TestReport(t *testing.T) {
	all := languages()
	measured := row{
		language: all[0], version: "Python 3", before: 2, after: 4, rounds: 2000, storeRounds: 300, plain: 300,
		loadBare: added{p10: 1e6, p50: 2e6, p90: 3e6}, loadInLambda: added{p50: 15e5},
		first:  added{p10: 1e5, p50: 2e5, p90: 3e5, p99: 12345678},
		stored: &stored{first: added{p50: 11e6}},
	}
	seldom := row{language: all[5], version: "curl 8", rounds: 500, storeRounds: 75, stored: &stored{}}
	r := report{plan: plan{processes: 25, rounds: 2000, storeRounds: 300, storeDelay: 5 * time.Millisecond}, rows: []row{measured, {language: all[3], missing: "Ruby is missing: make part-ruby"}, seldom}}
	text := r.markdown()
	for _, want := range []string{
		"| [Python](../client/python/README.md) | 2 | 4 | 2.00 (1.00 to 3.00) | 1.50 (",
		"| Python | 0.0003 | 0.20 | 12.3 | ×0.50 to ×1.50 |",
		"not measured: Ruby is missing: make part-ruby",
		"| Python | 11.0 |",
		"2000 rounds of four calls (curl: 500).",
		"a delay of 5.00 ms, in 300 rounds of four calls (curl: 75)",
		"Versions: Python 3, curl 8.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "| Ruby |") {
		t.Error("what is missing has figures")
	}

	r.storeMissing = "there is no DynamoDB Local"
	for i := range r.rows {
		r.rows[i].stored = nil
	}
	if text := r.markdown(); !strings.Contains(text, "nothing was measured: there is no DynamoDB Local.") || strings.Contains(text, "a delay of") {
		t.Errorf("without a store:\n%s", text)
	}
}

func TestUpdate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clients.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("above\n" + opening + "old\n" + closing + "below\n")
	for range 2 { // It can be done again.
		if err := update(file, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if want := "above\n" + opening + "new\n" + closing + "below\n"; err != nil || string(got) != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
	for _, text := range []string{"nothing", opening + "no end", closing + opening} {
		write(text)
		if err := update(file, "new\n"); err == nil {
			t.Errorf("%q was taken", text)
		}
		if got, _ := os.ReadFile(file); string(got) != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestDocumentHasThePlace(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", document))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), opening) || !strings.Contains(string(text), closing) {
		t.Errorf("%s has not the lines that the tables go between", document)
	}
}

func TestReportTellsOfABusyMachine(t *testing.T) {
	for load, want := range map[string]bool{"0.90": false, "2.10": true} {
		r := report{machine: machine.Machine{Cores: 2, LoadBefore: load}}
		if got := strings.Contains(r.markdown(), "The machine was busy"); got != want {
			t.Errorf("a load of %s on 2 cores: told %v, want %v", load, got, want)
		}
	}
}
