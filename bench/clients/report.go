package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/machine"
)

// The lines in the document between which the tables are.
const (
	opening = "<!-- clients: made by UPDATE=1 make bench-clients -->\n"
	closing = "<!-- /clients -->\n"
)

type report struct {
	plan         plan
	machine      machine.Machine
	rows         []row
	storeMissing string
	storeTook    time.Duration
}

func (r report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s: %s.%s\n", time.Now().UTC().Format("2006-01-02"), r.machine, r.busy())

	b.WriteString("\n| Client | Handler's lines before | after | Load, bare | Load, in Lambda's runtime | First call |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, row := range r.rows {
		name := fmt.Sprintf("[%s](%s)", row.language.name, row.language.readme)
		switch {
		case row.missing != "":
			fmt.Fprintf(&b, "| %s | %d | %d | not measured: %s | | |\n", name, row.before, row.after, row.missing)
		case row.language.loadedByMain:
			fmt.Fprintf(&b, "| %s | %d | %d | %s | the same | %s |\n", name, row.before, row.after, ms(row.initialised), row.cold.around())
		case row.language.preloads:
			fmt.Fprintf(&b, "| %s | %d | %d | %s | %s | %s |\n", name, row.before, row.after, row.loadBare.around(), row.loadInLambda.around(), row.cold.around())
		default:
			fmt.Fprintf(&b, "| %s | %d | %d | %s | the same | %s |\n", name, row.before, row.after, row.loadBare.around(), row.cold.around())
		}
	}
	fmt.Fprintf(&b, "\nMilliseconds more than the plain handler takes: the median of %d fresh processes each, and in brackets p10 to p90.\n", r.plan.processes)

	b.WriteString("\n| Client | Plain handler | First run, p50 | p99 | Spread | Duplicate, p50 | p99 | Spread |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, row := range r.measured() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", row.language.name, ms(row.plain),
			ms(row.first.p50), ms(row.first.p99), row.first.spread(), ms(row.duplicate.p50), ms(row.duplicate.p99), row.duplicate.spread())
	}
	fmt.Fprintf(&b, "\nMilliseconds, with a store in memory; of the plain handler its median, of the others what they take more. %s.\n", r.counted(r.plan.rounds, func(r row) int { return r.rounds }))

	if r.storeMissing != "" {
		fmt.Fprintf(&b, "\nWith a slower store nothing was measured: %s.\n", r.storeMissing)
	} else {
		b.WriteString("\n| Client | First run, p50 | p90 | Duplicate, p50 | p90 |\n| --- | --- | --- | --- | --- |\n")
		for _, row := range r.measured() {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.language.name,
				ms(row.stored.first.p50), ms(row.stored.first.p90), ms(row.stored.duplicate.p50), ms(row.stored.duplicate.p90))
		}
		fmt.Fprintf(&b, "\nThe same with DynamoDB Local behind a delay of %s ms, in %s: one call of the store took %s ms in the median, and a first run makes two.\n",
			ms(r.plan.storeDelay), r.counted(r.plan.storeRounds, func(r row) int { return r.storeRounds }), ms(r.storeTook))
	}

	b.WriteString("\nVersions: ")
	var versions []string
	for _, row := range r.measured() {
		versions = append(versions, row.version)
	}
	b.WriteString(strings.Join(versions, ", ") + ".\n")
	return b.String()
}

// busy says what to make of figures that were taken beside other work.
func (r report) busy() string {
	if !r.machine.Busy() {
		return ""
	}
	return " **The machine was busy with other work:** what fresh processes take is several times too large, and so is each p99."
}

func (r report) measured() []row {
	var rows []row
	for _, row := range r.rows {
		if row.missing == "" {
			rows = append(rows, row)
		}
	}
	return rows
}

// counted says how many rounds there were, and where there were fewer.
func (r report) counted(rounds int, of func(row) int) string {
	text := fmt.Sprintf("%d rounds of four calls", rounds)
	for _, row := range r.measured() {
		if of(row) != rounds {
			text += fmt.Sprintf(" (%s: %d)", row.language.name, of(row))
		}
	}
	return text
}

// around is the median with what most processes are within.
func (a added) around() string {
	return fmt.Sprintf("%s (%s to %s)", ms(a.p50), ms(a.p10), ms(a.p90))
}

// spread is how far from the median most calls are, as parts of it.
func (a added) spread() string {
	if a.p50 <= 0 {
		return "none to tell"
	}
	return fmt.Sprintf("×%.2f to ×%.2f", float64(a.p10)/float64(a.p50), float64(a.p90)/float64(a.p50))
}

// ms writes milliseconds with as many digits as are worth reading.
func ms(d time.Duration) string {
	value := float64(d) / float64(time.Millisecond)
	switch {
	case d == 0:
		return "0"
	case value >= 10 || value <= -10:
		return fmt.Sprintf("%.1f", value)
	case value >= 0.1 || value <= -0.1:
		return fmt.Sprintf("%.2f", value)
	case value >= 0.01 || value <= -0.01:
		return fmt.Sprintf("%.3f", value)
	}
	return fmt.Sprintf("%.4f", value)
}

// update puts the tables between the document's markers.
func update(file, tables string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, opened := strings.Cut(string(text), opening)
	_, after, closed := strings.Cut(rest, closing)
	if !opened || !closed {
		return errors.New(file + " has not the lines that the tables go between")
	}
	return os.WriteFile(file, []byte(before+opening+tables+closing+after), 0o644)
}
