package runtimeproxy

import (
	"sync"
	"time"
)

// invocation is an event on its way, and the claims on it.
type invocation struct {
	id       string
	prefix   string // of the Runtime API's path: its version and "/runtime"
	deadline time.Time
	// token is the claim's; empty: there is none.
	token string
	// batch is set instead where each record has a claim of its own.
	batch *batch
}

// flights are the invocations that the handler has. One that is never answered,
// because the runtime died, is forgotten when its time is over; its claims are
// settled by those who see the end of the environment.
type flights struct {
	mu sync.Mutex
	by map[string]*invocation
}

// pruneAt is the number of flights from which those are dropped whose time is
// over.
const pruneAt = 256

func (f *flights) add(inv *invocation, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string]*invocation{}
	}
	if len(f.by) >= pruneAt {
		for id, old := range f.by {
			if old.deadline.Before(now) {
				delete(f.by, id)
			}
		}
	}
	f.by[inv.id] = inv
}

// take ends a flight; nil: it had no claims.
func (f *flights) take(id string) *invocation {
	f.mu.Lock()
	defer f.mu.Unlock()
	inv := f.by[id]
	delete(f.by, id)
	return inv
}

// takeAll ends all flights.
func (f *flights) takeAll() []*invocation {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*invocation
	for _, inv := range f.by {
		all = append(all, inv)
	}
	clear(f.by)
	return all
}
