package chaos

import (
	"slices"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// shrinkStep bounds the search at one step of shrinking; what cannot be decided
// in it stays.
const shrinkStep = 5 * time.Second

// shrink makes a history that fits no order shorter. Each step keeps a history
// that follows from the longer one, so what is left shows the same fault and no
// other: it ends earlier, its end being whatever was not answered by then; it
// forgets what did not change the key; or it begins at a moment at which
// nothing was under way, in a state of which nothing is known.
func shrink(events []*event) []*event {
	illegal := func(list []*event, first phase) bool {
		return linearizable(list, first, shrinkStep) == porcupine.Illegal
	}
	events = cutEnd(events, func(list []*event) bool { return illegal(list, none) })
	events = forget(events, func(list []*event) bool { return illegal(list, none) })
	for cut := len(events) - 1; cut > 0; cut-- {
		if quietBefore(events, cut) && illegal(events[cut:], anything) {
			events = events[cut:]
			return forget(events, func(list []*event) bool { return illegal(list, anything) })
		}
	}
	return events
}

// forget drops what changed nothing, in pieces first and then one by one, as
// long as the rest is bad.
func forget(events []*event, bad func([]*event) bool) []*event {
	for size := max(len(events)/2, 1); ; size /= 2 {
		for at := 0; at < len(events); {
			end := min(at+size, len(events))
			var shorter []*event
			for i, e := range events {
				if i < at || i >= end || e.changes() {
					shorter = append(shorter, e)
				}
			}
			if len(shorter) < len(events) && bad(shorter) {
				events = shorter
			} else {
				at = end
			}
		}
		if size <= 1 {
			return events
		}
	}
}

// changes tells whether the event may have changed what is stored.
func (e *event) changes() bool {
	if e.write != nil {
		return true
	}
	return e.op.Answer.Status != "" && (e.op.Kind != Acquire || e.op.Answer.is("acquired"))
}

// cutEnd finds the shortest beginning, in the order of answers, that is bad. What
// was under way at its end may have changed something by then, and need not.
func cutEnd(events []*event, bad func([]*event) bool) []*event {
	byEnd := slices.Clone(events)
	slices.SortStableFunc(byEnd, func(a, b *event) int { return int(a.finish.Mono - b.finish.Mono) })
	beginning := func(n int) []*event {
		var list []*event
		until := byEnd[n-1].finish.Mono
		for _, e := range events {
			switch {
			case e.finish.Mono <= until:
				list = append(list, e)
			case e.call.Mono <= until && e.changes():
				open := *e
				open.open = true
				list = append(list, &open)
			}
		}
		return list
	}
	n := 1 + sort.Search(len(byEnd)-1, func(i int) bool { return bad(beginning(i + 1)) })
	if list := beginning(n); bad(list) {
		return list
	}
	return events
}

// quietBefore tells whether all before the cut had ended when the rest began.
func quietBefore(events []*event, cut int) bool {
	for _, e := range events[:cut] {
		if e.finish.Mono >= events[cut].call.Mono {
			return false
		}
	}
	return true
}
