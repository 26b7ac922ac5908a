package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/spread"
)

// target is a figure that is not to be above most.
type target struct {
	what  string
	found spread.Spread
	most  float64
	unit  string
	why   string // where it is missed
}

func (t target) verdict() string {
	switch {
	case t.found.P50 == 0:
		return "not measured"
	case t.found.P50 > t.most:
		return fmt.Sprintf("missed, by %s%s (%.0f %%)", spread.Number(t.found.P50-t.most), t.unit, 100*(t.found.P50/t.most-1))
	}
	return "reached"
}

func targets(r results) []target {
	const at = 5 * time.Millisecond
	single := func(v float64) spread.Spread { return spread.Spread{P10: v, P50: v, P90: v, P99: v} }
	var layer int64
	for _, size := range r.size.layers {
		layer = max(layer, size)
	}
	median := func(list []float64) string { return spread.Number(spread.Median(list)) }
	calls := "see below: most of it is the sidecar's call of DynamoDB (HTTP, signing, serialising, by the profile above)"
	ten := r.batches[10][batchPython]
	store := "of " + median(ten["first run"]) + " ms, the store had a request for " + median(ten["first run"+atStore]) + " ms: ten calls side by side take DynamoDB Local longer than one, " +
		"which a table in AWS would not; Powertools, one call after the other, does not meet that"
	files := "the client is a few files, each to be found, read and compiled; bundled into one it loads in " +
		median(r.cold.added("lambda", "Node.js, sidecar, bundled")) + " ms instead of " + median(r.cold.added("lambda", oursNode)) + " ms"
	ours := r.costs.units[oursPython][100]["Duplicate, done"]
	return []target{
		{"first run from Python, beyond the store / Powertools Python", r.invocations.pair(at, "first run", oursPython, theirsPython, true), 0.33, "", calls},
		{"duplicate from Python, beyond the store / Powertools Python", r.invocations.pair(at, "duplicate", oursPython, theirsPython, true), 0.33, "", calls},
		{"duplicate from Node.js, beyond the store / Powertools TypeScript", r.invocations.pair(at, "duplicate", oursNode, theirsNode, true), 0.7, "", calls},
		{"import and construction, Python / Powertools + boto3", r.cold.ratio("lambda", oursPython, "Python, Powertools + boto3"), 0.05, "", ""},
		{"import and construction, Node.js / Powertools + SDK", r.cold.ratio("lambda", oursNode, "Node.js, Powertools + SDK"), 0.05, "", files},
		{"SQS batch of 10 from Python / Powertools Python", r.batches.ratio(10, "first run", batchPython, theirBatchPython), 0.12, "", store},
		{"first run from Go through the sidecar / the SDK called directly, whole", r.invocations.pair(at, "first run", oursGo, floorGo, false), 1.25, "", calls},
		{"sidecar, exec to registered", spread.Of(r.size.starts["ms-registered"]), 30, " ms", ""},
		{"sidecar, resident idle", spread.Of(r.size.starts["MB-resident"]), 20, " MB", ""},
		{"layer zip, the larger", single(float64(layer) / 1e6), 6, " MB", ""},
		{"duplicate of a 100 KB result", single(ours.Write + ours.Read), 30, " units", ""},
	}
}

func targetSection(r results, d *document) {
	d.heading("Targets")
	d.text(fmt.Sprintf("Ratios of invocations and batches at %d ms store latency; those of loading where Lambda's runtime client is loaded.", 5))
	d.table("Measure", "Target, at most", "Measured", "")
	var missed []string
	for _, t := range targets(r) {
		verdict := t.verdict()
		if verdict != "reached" {
			missed = append(missed, "- "+t.what+": "+verdict+". Why: "+cmp.Or(t.why, "not known")+".")
		}
		measured := t.found.String()
		if t.found.P10 == t.found.P90 {
			measured = spread.Number(t.found.P50)
		}
		d.row(t.what, spread.Number(t.most)+t.unit, measured+t.unit, verdict)
	}
	if len(missed) > 0 {
		d.text(strings.Join(missed, "\n"))
	}
	r.behind(d)
}

// behind tells what is in the invocations that the targets are about.
func (r results) behind(d *document) {
	const at = 5 * time.Millisecond
	d.text("What is behind those of invocations: milliseconds beyond the store, medians. In memory is what the client, localhost and the sidecar itself\ntake, hot; the rest are the sidecar's calls of DynamoDB, and what all of it takes longer after a pause. Beside it is what the AWS SDK for Go takes\nin a handler that calls it directly.")
	d.table("", "Ours", "in memory", "the rest", "Go, AWS SDK directly", "Powertools")
	for _, kind := range kinds {
		for _, row := range [][3]string{{oursPython, inMemoryPython, theirsPython}, {oursNode, inMemoryNode, theirsNode}, {oursGo, inMemoryGo, ""}} {
			median := func(name string) float64 {
				if s := r.invocations[at][name][kind]; s != nil {
					return spread.Median(s.added)
				}
				return 0
			}
			theirs := "–"
			if row[2] != "" {
				theirs = spread.Number(median(row[2]))
			}
			ours, within := median(row[0]), median(row[1])
			d.row(row[0]+", "+kind, spread.Number(ours), spread.Number(within), spread.Number(ours-within), spread.Number(median(floorGo)), theirs)
		}
	}
}
