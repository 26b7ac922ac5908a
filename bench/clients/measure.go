package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/sidecar"
)

// row is what was found of one client.
type row struct {
	language      language
	missing       string // why nothing else is known, or empty
	version       string
	before, after int // lines

	loadBare, loadInLambda added         // loading the handler with its client, more than without
	initialised            time.Duration // of a program that has it all in it
	cold                   added         // the first call of a process
	plain                  time.Duration // a call of the handler without protection
	first, duplicate       added
	rounds, storeRounds    int
	// With a store that takes its time; nil without one.
	stored *stored
}

type stored struct{ first, duplicate added }

func (b *bench) measure(ctx context.Context, lang language, p plan, s *store) (row, error) {
	r := row{language: lang, rounds: p.rounds / lang.fewer, storeRounds: p.storeRounds / lang.fewer}
	var err error
	if r.before, err = codeLines(b.path("bench", "clients", lang.before)); err != nil {
		return r, err
	}
	if r.after, err = codeLines(b.path("bench", "clients", lang.after)); err != nil {
		return r, err
	}
	d, err := lang.prepare(ctx, b)
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	if err != nil {
		r.missing = err.Error()
		return r, nil
	}
	r.version = d.version

	inMemory, err := b.start(ctx, "IDEMPOTENCY_STORE=memory")
	if err != nil {
		return r, err
	}
	defer inMemory.Stop()
	if err := d.measureCold(ctx, &r, inMemory, p.processes); err != nil {
		return r, err
	}
	warm := p.warm / lang.fewer
	times, err := d.measureCalls(ctx, inMemory, warm, r.rounds)
	if err != nil {
		return r, err
	}
	r.plain, r.first, r.duplicate = times.compared()

	if s == nil {
		return r, nil
	}
	slow, err := b.start(ctx, s.settings()...)
	if err != nil {
		return r, err
	}
	defer slow.Stop()
	if times, err = d.measureCalls(ctx, slow, min(warm, r.storeRounds/10), r.storeRounds); err != nil {
		return r, err
	}
	r.stored = &stored{}
	_, r.stored.first, r.stored.duplicate = times.compared()
	return r, nil
}

// ran runs the driver and decodes what it prints on standard output. It returns what it printed on standard error.
func (d driver) ran(ctx context.Context, s *sidecar.Sidecar, answer any, args ...string) (printed string, err error) {
	cmd := exec.CommandContext(ctx, d.command[0], append(d.command[1:], args...)...)
	cmd.Env = append(append(environment(), "IDEMPOTENCY_PORT="+s.Port), d.env...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("the driver: %w: %s", err, strings.TrimSpace(problems.String()))
	}
	if err := json.Unmarshal(out.Bytes(), answer); err != nil {
		return "", fmt.Errorf("the driver printed %q: %w", out.String(), err)
	}
	return problems.String(), nil
}

// coldStart is what a fresh process tells.
type coldStart struct {
	Load time.Duration `json:"load_ns"`
	Call time.Duration `json:"call_ns"`
}

// measureCold starts fresh processes, of each kind in turn, so that a slower moment of the machine is one of all kinds.
func (d driver) measureCold(ctx context.Context, r *row, s *sidecar.Sidecar, processes int) error {
	ons := []string{"bare"}
	if r.language.preloads {
		ons = append(ons, "lambda")
	}
	loads, calls := map[string][]time.Duration{}, map[string][]time.Duration{}
	for process := range processes + 1 {
		for _, on := range ons {
			for _, which := range []string{"before", "after"} {
				var found coldStart
				if _, err := d.ran(ctx, s, &found, "cold", which, on); err != nil {
					return err
				}
				if process == 0 {
					continue // Files come from the disk, and Python compiles.
				}
				loads[which+on] = append(loads[which+on], found.Load)
				calls[which+on] = append(calls[which+on], found.Call)
			}
		}
	}
	last := ons[len(ons)-1]
	r.loadBare = compare(loads["beforebare"], loads["afterbare"])
	r.loadInLambda = compare(loads["before"+last], loads["after"+last])
	r.cold = compare(calls["before"+last], calls["after"+last])
	if r.language.loadedByMain {
		var err error
		r.initialised, err = d.initialisation(ctx, s)
		return err
	}
	return nil
}

var initialised = regexp.MustCompile(`(?m)^init github\.com/lambda-idempotency/lambda-idempotency/client\S* @\S+ ms, (\S+) ms clock`)

// initialisation is how long Go says that the client's packages took. Those that have nothing to do it does not tell of.
func (d driver) initialisation(ctx context.Context, s *sidecar.Sidecar) (time.Duration, error) {
	d.env = append(d.env, "GODEBUG=inittrace=1")
	var ignored coldStart
	trace, err := d.ran(ctx, s, &ignored, "cold", "after", "bare")
	if err != nil {
		return 0, err
	}
	if !strings.Contains(trace, "init runtime @") {
		return 0, fmt.Errorf("Go printed no trace of its initialisation: %q", trace) //nolint:staticcheck // A name begins it.
	}
	var sum float64
	for _, found := range initialised.FindAllStringSubmatch(trace, -1) {
		ms, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			return 0, err
		}
		sum += ms
	}
	return time.Duration(sum * float64(time.Millisecond)), nil
}

// callTimes are those of rounds of calls: plain, first run, plain, duplicate.
type callTimes struct {
	Plain     []time.Duration `json:"plain"`
	First     []time.Duration `json:"first"`
	Duplicate []time.Duration `json:"duplicate"`
}

func (d driver) measureCalls(ctx context.Context, s *sidecar.Sidecar, warm, rounds int) (callTimes, error) {
	var times callTimes
	before, err := answered(ctx, s)
	if err != nil {
		return times, err
	}
	if _, err := d.ran(ctx, s, &times, "calls", strconv.Itoa(warm), strconv.Itoa(rounds)); err != nil {
		return times, err
	}
	if len(times.Plain) != 2*rounds || len(times.First) != rounds || len(times.Duplicate) != rounds {
		return times, fmt.Errorf("the driver told of %d plain calls, %d first runs and %d duplicates, not of %d rounds",
			len(times.Plain), len(times.First), len(times.Duplicate), rounds)
	}
	// Figures count only if the calls were what they are taken for.
	after, err := answered(ctx, s)
	if err != nil {
		return times, err
	}
	for _, status := range []string{"acquired", "completed"} {
		if n := after[status] - before[status]; n != warm+rounds {
			return times, fmt.Errorf("the sidecar answered %d acquires with %s, not %d", n, status, warm+rounds)
		}
	}
	return times, nil
}

// compared pairs each protected call with the plain one that was made just before it.
func (t callTimes) compared() (plain time.Duration, first, duplicate added) {
	var one, other []time.Duration
	for i := 0; i < len(t.Plain); i += 2 {
		one, other = append(one, t.Plain[i]), append(other, t.Plain[i+1])
	}
	none := make([]time.Duration, len(t.Plain))
	return compare(none, t.Plain).p50, compare(one, t.First), compare(other, t.Duplicate)
}
