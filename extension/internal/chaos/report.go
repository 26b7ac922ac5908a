package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// violationsShown bounds the violations that a report shows in full.
const violationsShown = 10

// Report is what a run did and found.
type Report struct {
	Config     Config
	Took       time.Duration
	Operations int
	// Answers counts answers by call.
	Answers map[Kind]map[string]int
	// Requests is how many requests the store was sent.
	Requests int64
	Faults   map[Fault]int
	// BornLapsed counts grants whose lease had run out when they were answered.
	BornLapsed int
	// Died is how often a sidecar ended and was not killed; Log is then what the
	// last of those printed last.
	Died    int
	Log     string
	Verdict Verdict
	// Checked is how long judging took.
	Checked time.Duration
}

func (r *run) report(took time.Duration) *Report {
	out := &Report{Config: r.cfg, Took: took, Requests: r.proxy.passed.Load(), Died: r.died, Log: r.log, Faults: r.tally.counts(), Answers: map[Kind]map[string]int{}}
	ops := r.recorder.ops
	out.count(ops)
	began := time.Now()
	out.Verdict = Check(ops, r.witness.all())
	out.Checked = time.Since(began)
	return out
}

func (r *Report) count(ops []*Operation) {
	r.Operations = len(ops)
	for _, op := range ops {
		if r.Answers[op.Kind] == nil {
			r.Answers[op.Kind] = map[string]int{}
		}
		r.Answers[op.Kind][op.Answer.name()]++
		if op.Kind == Acquire && op.Answer.is("acquired") && op.Answer.Lease <= op.Return.Wall {
			r.BornLapsed++
		}
	}
}

// OK tells whether every promise was kept, every history was decided, and no
// sidecar ended by itself.
func (r *Report) OK() bool {
	return len(r.Verdict.Violations) == 0 && len(r.Verdict.Undecided) == 0 && r.Died == 0
}

// String is the report in words.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %d sidecars, %d handlers, %.1f s\n", r.Config.Seed, r.Config.Sidecars, r.Config.Handlers, r.Took.Seconds())
	fmt.Fprintf(&b, "operations: %d (%.0f per second) on %d keys\n", r.Operations, float64(r.Operations)/r.Took.Seconds(), r.Verdict.Keys)
	for _, kind := range []Kind{Acquire, Renew, Complete, Release, Fail} {
		answers := r.Answers[kind]
		fmt.Fprintf(&b, "  %-9s", kind)
		for n, name := range slices.Sorted(maps.Keys(answers)) {
			if n > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(&b, " %s %d", name, answers[name])
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "  grants whose lease had run out when they were answered: %d\n", r.BornLapsed)
	total := 0
	for _, n := range r.Faults {
		total += n
	}
	fmt.Fprintf(&b, "faults: %d, among %d requests to the store\n", total, r.Requests)
	for _, f := range kinds(r.Faults) {
		fmt.Fprintf(&b, "  %-40s %d\n", f, r.Faults[f])
	}
	v := r.Verdict
	fmt.Fprintf(&b, "checked: %d events in %.1f s, of them %d writes whose call was not answered so; %d keys undecided\n", v.Events, r.Checked.Seconds(), v.Unanswered, len(v.Undecided))
	fmt.Fprintf(&b, "violations: %d\n", len(v.Violations))
	for n, violation := range v.Violations {
		if n == violationsShown {
			fmt.Fprintf(&b, "  … and %d with longer histories\n", len(v.Violations)-n)
			break
		}
		fmt.Fprintf(&b, "  %s\n", violation)
	}
	if r.Died > 0 {
		fmt.Fprintf(&b, "sidecars ended by themselves %d times; the last they printed:\n%s\n", r.Died, r.Log)
	}
	if !r.OK() {
		fmt.Fprintf(&b, "repeat with seed %d\n", r.Config.Seed)
	}
	return b.String()
}
