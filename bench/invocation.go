package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/clock"
	"github.com/lambda-idempotency/lambda-idempotency/bench/delay"
	"github.com/lambda-idempotency/lambda-idempotency/bench/driver"
	"github.com/lambda-idempotency/lambda-idempotency/bench/plot"
	"github.com/lambda-idempotency/lambda-idempotency/bench/sidecar"
	"github.com/lambda-idempotency/lambda-idempotency/bench/spread"
)

// perTurn is how many invocations a contender makes before it is the next one's turn.
const perTurn = 10

var kinds = []string{"first run", "duplicate"}

// samples are the invocations of one kind that a contender made, at one latency. Times are milliseconds.
type samples struct {
	total, added       []float64 // of each invocation; the latter beyond the store's time
	turns, addedTurns  []float64 // the median of each turn, to be set beside the other contenders' of the same round
	trips              int
	handlerCPU, ourCPU int64 // nanoseconds, of all of them
}

func (s *samples) take(calls [][2]int64, trips []delay.Trip) {
	var total, added []float64
	for _, c := range calls {
		store, n := delay.Within(trips, c[0], c[1])
		s.trips += n
		took := time.Duration(c[1] - c[0])
		total, added = append(total, ms(took)), append(added, ms(took-store))
	}
	s.total, s.added = append(s.total, total...), append(s.added, added...)
	s.turns, s.addedTurns = append(s.turns, spread.Median(total)), append(s.addedTurns, spread.Median(added))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// invocations are what was found: by latency, contender and kind.
type invocations map[time.Duration]map[string]map[string]*samples

func job(number int, run string, more ...any) map[string]any {
	event := map[string]any{"JobId": fmt.Sprintf("%s-%d", run, number), "ObjKey": "a/b"}
	for i := 0; i < len(more); i += 2 {
		event[more[i].(string)] = more[i+1]
	}
	return event
}

func (w *world) measureInvocations(ctx context.Context) (invocations, error) {
	s, err := w.serve(ctx, w.viaRelay())
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	inMemory, err := w.serve(ctx, w.viaRelay(), "IDEMPOTENCY_STORE=memory")
	if err != nil {
		return nil, err
	}
	defer inMemory.Stop()
	of := func(c contender) *sidecar.Sidecar {
		if c.memory {
			return inMemory
		}
		return s
	}
	list := handlers()
	crew, err := w.hire(ctx, w.viaRelay(), func(c contender) string { return of(c).Port }, list)
	if err != nil {
		return nil, err
	}
	defer crew.stop()

	found, number, run := invocations{}, 0, rand.Text()
	// round has each contender make a turn of first runs and one of their duplicates.
	round := func(at int, into map[string]map[string]*samples) error {
		events := make([]any, perTurn)
		for i := range events {
			number++
			events[i] = job(number, run)
		}
		for _, kind := range kinds {
			for _, i := range crew.turn(at) {
				c, d := list[i], crew.drivers[i]
				w.relay.Take()
				used := clock.CPU(of(c).PID())
				// What is alike for all and what is not: the same keys, in tables and scopes of their own.
				answer, err := d.Do(driver.Order{Do: "handler", Events: mine(events, c), Left: 30_000})
				if err != nil {
					return err
				}
				used = clock.CPU(of(c).PID()) - used
				want := perTurn
				if kind == "duplicate" && c.module != "plain" {
					want = 0
				}
				if answer.Ran != want || len(answer.Calls) != perTurn {
					return fmt.Errorf("%s: the work of %d calls, each a %s, was done %d times, not %d", c.name, len(answer.Calls), kind, answer.Ran, want)
				}
				if into == nil {
					continue
				}
				if into[c.name] == nil {
					into[c.name] = map[string]*samples{"first run": {}, "duplicate": {}}
				}
				to := into[c.name][kind]
				to.take(answer.Calls, w.relay.Take())
				to.handlerCPU += answer.CPU
				if c.sidecar {
					to.ourCPU += used
				}
			}
		}
		return nil
	}
	for at := range w.plan.warmTurns {
		if err := round(at, nil); err != nil {
			return nil, err
		}
	}
	for _, l := range w.plan.latencies {
		w.relay.SetDelay(l.delay)
		found[l.delay] = map[string]map[string]*samples{}
		for at := range l.turns {
			if err := round(at, found[l.delay]); err != nil {
				return nil, err
			}
		}
	}
	w.relay.SetDelay(0)
	return found, nil
}

// mine makes a contender's keys its own: the handlers of three languages share the sidecar's table, and two that of
// Powertools.
func mine(events []any, c contender) []any {
	list := make([]any, len(events))
	for i, e := range events {
		event := map[string]any{}
		for name, value := range e.(map[string]any) {
			event[name] = value
		}
		event["ObjKey"] = c.name
		list[i] = event
	}
	return list
}

func (f invocations) pair(at time.Duration, kind, one, other string, beyond bool) spread.Spread {
	a, b := f[at][one][kind], f[at][other][kind]
	if a == nil || b == nil {
		return spread.Spread{}
	}
	if beyond {
		return spread.Of(spread.Pairs(a.addedTurns, b.addedTurns, spread.Ratio))
	}
	return spread.Of(spread.Pairs(a.turns, b.turns, spread.Ratio))
}

// comparisons are the pairs that have a target, or that a reader will ask for.
var comparisons = []struct {
	one, other string
	beyond     bool
}{
	{oursPython, theirsPython, true},
	{oursNode, theirsNode, true},
	{oursGo, floorGo, true},
	{oursPython, theirsPython, false},
	{oursNode, theirsNode, false},
	{oursGo, floorGo, false},
}

func (w *world) invocationSection(f invocations, d *document) {
	d.heading("Per invocation")
	d.text(`Times are milliseconds, as the handler's process sees them, in a process that is warm. A store latency of 5 ms is an answer that is
passed on 5 ms after its request, or as soon as DynamoDB Local has it if that takes longer. "Beyond the store" is what is left of an invocation
when the time is taken away during which a request was at the store: the relay before DynamoDB Local saw its first byte, and had not yet seen the
last of the answer. The work itself does nothing. CPU is the processor time of one invocation: the handler's process, and what the sidecar adds.
"In memory" is a sidecar that calls no store: what is left is the client, the way to the sidecar and back, and its own work, hot: without the
pause that the store's answer is.`)
	for _, l := range w.plan.latencies {
		for _, kind := range kinds {
			d.subheading(fmt.Sprintf("%s, store latency %d ms (%d invocations each)", strings.ToUpper(kind[:1])+kind[1:], l.delay.Milliseconds(), l.turns*perTurn))
			d.table("Handler", "p50", "p99", "Beyond the store, p50", "p99", "Store calls", "CPU, handler", "CPU, sidecar")
			for _, c := range handlers() {
				s := f[l.delay][c.name][kind]
				total, added, n := spread.Of(s.total), spread.Of(s.added), float64(len(s.total))
				ours := "–"
				if c.sidecar {
					ours = spread.Number(float64(s.ourCPU) / n / 1e6)
				}
				d.row(c.name, spread.Number(total.P50), spread.Number(total.P99), spread.Number(added.P50), spread.Number(added.P99),
					spread.Number(float64(s.trips)/n), spread.Number(float64(s.handlerCPU)/n/1e6), ours)
			}
		}
	}
	d.subheading("Ratios")
	d.text(fmt.Sprintf(`Contenders take turns of %d invocations, in changing order. A ratio is that of two turns of the same round: the median of all rounds,
and in brackets what eight rounds of ten are within.`, perTurn))
	header := []string{"Ratio", "Of"}
	for _, kind := range kinds {
		for _, l := range w.plan.latencies {
			header = append(header, fmt.Sprintf("%s, %d ms", kind, l.delay.Milliseconds()))
		}
	}
	d.table(header...)
	for _, c := range comparisons {
		of := "all of it"
		if c.beyond {
			of = "beyond the store"
		}
		row := []string{c.one + " / " + strings.TrimPrefix(c.other, strings.SplitAfter(c.one, ", ")[0]), of}
		for _, kind := range kinds {
			for _, l := range w.plan.latencies {
				row = append(row, f.pair(l.delay, kind, c.one, c.other, c.beyond).String())
			}
		}
		d.row(row...)
	}
	for _, kind := range kinds {
		chart := plot.Bars{Title: "Beyond the store, per " + kind, Unit: "ms, median; up to p90"}
		for _, l := range w.plan.latencies {
			for _, c := range handlers() {
				if c.module == "plain" || c.memory {
					continue
				}
				s := spread.Of(f[l.delay][c.name][kind].added)
				chart.Add(fmt.Sprintf("%s, %d ms", c.name, l.delay.Milliseconds()), s.P50, s.P90, c.sidecar)
			}
		}
		d.plot("invocation-"+strings.ReplaceAll(kind, " ", "-"), chart.SVG(), chart.Title)
	}
}
