package runtimeproxy

import (
	"slices"
	"sync"
	"time"
)

// invocation is an event on its way, and the claims on it.
type invocation struct {
	id string
	// nonce is what tells two invocations of one id apart; empty where Lambda does
	// not say.
	nonce    string
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
//
// An id does not name one invocation: Lambda repeats an asynchronous event under
// its old id, and on Managed Instances the handler that ran out of time may go on
// meanwhile. Lambda then tells them apart by the header
// Lambda-Runtime-Invocation-Id, which runtimes send back. One that does not is
// taken to answer the older one first: its claim has lapsed, and is no harm.
type flights struct {
	mu sync.Mutex
	by map[string][]*invocation // the oldest first
	n  int
}

// pruneAt is the number of flights from which those are dropped whose time has
// been over for pruneAfter: a handler that is late answers within that.
const (
	pruneAt    = 256
	pruneAfter = 15 * time.Minute
)

func (f *flights) add(inv *invocation, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string][]*invocation{}
	}
	if f.n >= pruneAt {
		f.n = 0
		for id, list := range f.by {
			list = slices.DeleteFunc(list, func(old *invocation) bool { return old.deadline.Add(pruneAfter).Before(now) })
			if f.n += len(list); len(list) == 0 {
				delete(f.by, id)
				continue
			}
			f.by[id] = list
		}
	}
	f.by[inv.id] = append(f.by[inv.id], inv)
	f.n++
}

// take ends a flight; nil: it had no claims. nonce is empty where the runtime does
// not send it.
func (f *flights) take(id, nonce string) *invocation {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.by[id]
	i := slices.IndexFunc(list, func(inv *invocation) bool { return nonce == "" || inv.nonce == nonce })
	if i < 0 {
		return nil
	}
	inv := list[i]
	f.remove(id, i)
	return inv
}

// drop ends the flight of an invocation; it tells whether that was there.
func (f *flights) drop(inv *invocation) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.Index(f.by[inv.id], inv)
	if i >= 0 {
		f.remove(inv.id, i)
	}
	return i >= 0
}

func (f *flights) remove(id string, i int) {
	f.n--
	if list := slices.Delete(f.by[id], i, i+1); len(list) > 0 {
		f.by[id] = list
	} else {
		delete(f.by, id)
	}
}

// takeAll ends all flights.
func (f *flights) takeAll() []*invocation {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*invocation
	for _, list := range f.by {
		all = append(all, list...)
	}
	clear(f.by)
	f.n = 0
	return all
}
