package chaos

import (
	"fmt"
	"sync"
)

// Write is a write that took effect in the store, as seen on the only way to it.
// It tells what became of calls that were never answered.
type Write struct {
	Key  string
	Kind Kind
	// Secret and Fence name the claim. Request is the acquire that made it, if the
	// write is a grant.
	Secret  string
	Fence   int64
	Request string
	Attempt int
	// Lease is the new lease's end of a grant or renewal, Expiration the end of
	// the record's life; both in epoch milliseconds.
	Lease      int64
	Expiration int64
	// Outcome is the result or the error's message; empty: not to be seen.
	Outcome string

	// From and To are the moments between which it took effect. Doubtful tells
	// that it may not have.
	From, To Stamp
	Doubtful bool
}

// String is the write on one line.
func (w *Write) String() string {
	s := fmt.Sprintf("%s store     applied %s %s", span(w.From, w.To), w.Kind, w.Request)
	if w.Doubtful {
		s = fmt.Sprintf("%s store     perhaps applied %s %s", span(w.From, w.To), w.Kind, w.Request)
	}
	if w.Attempt > 0 {
		s += fmt.Sprintf(" attempt %d", w.Attempt)
	}
	s += fmt.Sprintf(" fence %d", w.Fence)
	if w.Lease != 0 {
		s += " lease until " + wall(w.Lease)
	}
	if w.Outcome != "" {
		s += " " + short(w.Outcome)
	}
	return s
}

// Witness notes the writes that took effect. It is safe for concurrent use.
type Witness struct {
	mu     sync.Mutex
	writes []*Write
}

// note adds a write.
func (w *Witness) note(write *Write) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, write)
}

// all returns what was noted so far.
func (w *Witness) all() []*Write {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*Write(nil), w.writes...)
}
