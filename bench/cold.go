package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/driver"
	"github.com/lambda-idempotency/lambda-idempotency/bench/plot"
	"github.com/lambda-idempotency/lambda-idempotency/bench/spread"
)

// coldContender is what is loaded in a fresh process, and what it is held against.
type coldContender struct {
	contender
	than string // the module that has no protection
}

func coldContenders() []coldContender {
	return []coldContender{
		{contender{"Python, plain handler", "Python", "plain", false, false}, ""},
		{contender{"Python, API by urllib", "Python", "urllib_only", true, false}, "plain"},
		{contender{oursPython, "Python", "sidecar", true, false}, "plain"},
		{contender{"Python, Powertools + boto3", "Python", "powertools", false, false}, "plain"},
		{contender{"Node.js, plain handler", "Node.js", "plain", false, false}, ""},
		{contender{oursNode, "Node.js", "sidecar", true, false}, "plain"},
		{contender{"Node.js, sidecar, bundled", "Node.js", "sidecar_bundled", true, false}, "plain"},
		{contender{"Node.js, Powertools + SDK", "Node.js", "powertools", false, false}, "plain"},
		{contender{"Node.js, Powertools + SDK, bundled", "Node.js", "powertools_bundled", false, false}, "plain"},
	}
}

// fresh is what was found of fresh processes of one kind, in the order of the rounds.
type fresh struct {
	load, cpu, first []float64 // milliseconds
	resident         []float64 // MB
}

// coldStarts are by where the handler is loaded, then by name.
type coldStarts struct {
	list map[string]map[string]*fresh
}

var places = []string{"lambda", "bare"}

func (w *world) measureCold(ctx context.Context) (*coldStarts, error) {
	s, err := w.serve(ctx, w.viaRelay())
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	found := &coldStarts{list: map[string]map[string]*fresh{}}
	list, number, run := coldContenders(), 0, rand.Text()
	for _, on := range places {
		found.list[on] = map[string]*fresh{}
		for _, c := range list {
			found.list[on][c.name] = &fresh{}
		}
		// Python compiles what it imports the first time, which deployed packages are: that round does not count.
		for round := range w.plan.processes + 1 {
			for i := range list {
				c := list[(i+round)%len(list)]
				number++
				one, err := w.fresh(ctx, c.contender, s.Port, on, job(number, run))
				if err != nil {
					return nil, err
				}
				if round == 0 {
					continue
				}
				to := found.list[on][c.name]
				to.load, to.cpu, to.first, to.resident = append(to.load, one.load[0]), append(to.cpu, one.cpu[0]), append(to.first, one.first[0]), append(to.resident, one.resident[0])
			}
		}
	}
	return found, nil
}

// fresh starts one process and ends it.
func (w *world) fresh(ctx context.Context, c contender, port, on string, event any) (fresh, error) {
	d, err := w.drive(ctx, w.viaRelay(), port, c, on)
	if err != nil {
		return fresh{}, err
	}
	defer d.Stop()
	call, err := d.Do(driver.Order{Do: "handler", Events: mine([]any{event}, c), Left: 30_000})
	if err != nil {
		return fresh{}, err
	}
	if call.Ran != 1 {
		return fresh{}, fmt.Errorf("%s: the work was done %d times", c.name, call.Ran)
	}
	memory, err := d.Do(driver.Order{Do: "resident"})
	if err != nil {
		return fresh{}, err
	}
	took := func(a driver.Answer) float64 { return ms(time.Duration(a.Calls[0][1] - a.Calls[0][0])) }
	return fresh{[]float64{took(d.Loaded)}, []float64{float64(d.Loaded.CPU) / 1e6}, []float64{took(call)}, []float64{float64(memory.Resident) / 1e6}}, nil
}

// added is what loading takes more than a handler without protection does, round by round.
func (f *coldStarts) added(on, name string) []float64 {
	all := coldContenders()
	for _, c := range all {
		if c.name != name || c.than == "" {
			continue
		}
		for _, plain := range all {
			if plain.language == c.language && plain.module == c.than {
				return spread.Pairs(f.list[on][name].load, f.list[on][plain.name].load, func(a, b float64) float64 { return a - b })
			}
		}
	}
	return nil
}

func (f *coldStarts) ratio(on, one, other string) spread.Spread {
	return spread.Of(spread.Pairs(f.added(on, one), f.added(on, other), spread.Ratio))
}

func (w *world) coldSection(f *coldStarts, d *document) {
	d.heading("Cold")
	d.text(fmt.Sprintf(`%d fresh processes of each, in turn. "Load" is importing the handler's module and constructing what it needs, in milliseconds; of Python,
what was compiled before. The median, and in brackets p10–p90. "Resident" is the process's memory after its first invocation, which had a store
without delay. Where Lambda's runtime has loaded its own modules (json, http and more) a client that needs them too has to load less.`, w.plan.processes))
	for _, on := range places {
		d.subheading(map[string]string{"lambda": "Where Lambda's runtime client is loaded", "bare": "In a bare process"}[on])
		d.table("Handler", "Load", "of that, more than plain", "CPU, load", "First invocation", "Resident, MB")
		chart := plot.Bars{Title: "Load in the handler, where Lambda's runtime client is loaded", Unit: "ms, median; up to p90"}
		for _, c := range coldContenders() {
			r := f.list[on][c.name]
			more := "–"
			if c.than != "" {
				added := spread.Of(f.added(on, c.name))
				more = spread.Number(added.P50)
				chart.Add(c.name, added.P50, added.P90, c.sidecar)
			}
			d.row(c.name, spread.Of(r.load).String(), more, spread.Number(spread.Median(r.cpu)), spread.Of(r.first).String(), spread.Number(spread.Median(r.resident)))
		}
		if on == "lambda" {
			d.plot("cold", chart.SVG(), chart.Title)
		}
	}
	d.subheading("Ratios")
	d.table("More than plain, ratio", "in Lambda", "bare")
	for _, pair := range coldPairs {
		d.row(pair[0]+" / "+pair[1], f.ratio("lambda", pair[0], pair[1]).String(), f.ratio("bare", pair[0], pair[1]).String())
	}
}

var coldPairs = [][2]string{
	{oursPython, "Python, Powertools + boto3"},
	{"Python, API by urllib", "Python, Powertools + boto3"},
	{oursNode, "Node.js, Powertools + SDK"},
	{"Node.js, sidecar, bundled", "Node.js, Powertools + SDK, bundled"},
}
