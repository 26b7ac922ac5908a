package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// undecidedAfter bounds the search for one key's linearization.
const undecidedAfter = time.Minute

// Checker is one of the two ways in which histories are judged.
type Checker string

// The checkers.
const (
	ByModel   Checker = "linearizability"
	ByPromise Checker = "promise"
)

// Violation is a broken promise and the shortest history found that shows it.
type Violation struct {
	Checker Checker
	Key     string
	// Promise is what was broken, in one sentence.
	Promise string
	// Lines are the events, one line each, in the order of their calls.
	Lines []string
}

func (v Violation) String() string {
	return fmt.Sprintf("key %s, %s: %s\n    %s", v.Key, v.Checker, v.Promise, strings.Join(v.Lines, "\n    "))
}

// Verdict is what the checkers found.
type Verdict struct {
	Keys       int
	Events     int // what porcupine was asked about
	Unanswered int // writes of calls that were not answered
	Undecided  []string
	Violations []Violation // those with the shortest history first
}

// Check judges all that happened: each key's history against the model, and
// against the promise itself.
func Check(ops []*Operation, writes []*Write) Verdict {
	var v Verdict
	for _, h := range histories(ops, writes) {
		events := h.events()
		v.Keys++
		v.Events += len(events)
		for _, e := range events {
			if e.write != nil {
				v.Unanswered++
			}
		}
		v.Violations = append(v.Violations, promises(h)...)
		v.Violations = append(v.Violations, untaken(h)...)
		switch linearizable(events, none, undecidedAfter) {
		case porcupine.Unknown:
			v.Undecided = append(v.Undecided, h.Key)
		case porcupine.Illegal:
			v.Violations = append(v.Violations, Violation{
				Checker: ByModel,
				Key:     h.Key,
				Promise: "no order of these events, each between its call and its answer, fits the claim's specification",
				Lines:   lines(shrink(events)),
			})
		}
	}
	slices.SortStableFunc(v.Violations, func(a, b Violation) int { return cmp.Compare(len(a.Lines), len(b.Lines)) })
	return v
}

// linearizable asks porcupine whether the events fit the model that begins in
// the given phase.
func linearizable(events []*event, first phase, limit time.Duration) porcupine.CheckResult {
	history := make([]porcupine.Operation, len(events))
	for i, e := range events {
		history[i] = porcupine.Operation{ClientId: i, Input: e, Call: e.call.Mono, Return: e.finish.Mono}
	}
	return porcupine.CheckOperationsTimeout(model(first), history, limit)
}

func lines(events []*event) []string {
	list := make([]string, len(events))
	for i, e := range events {
		list[i] = e.String()
	}
	return list
}
