package chaos

import (
	"cmp"
	"slices"
	"sync"
)

// Recorder collects operations. It is safe for concurrent use.
type Recorder struct {
	mu  sync.Mutex
	ops []*Operation
}

// add notes an operation that has ended.
func (r *Recorder) add(op *Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

// count is the number of operations so far.
func (r *Recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

// History is all that happened to one key.
type History struct {
	Key    string
	Ops    []*Operation // in the order of their calls
	Writes []*Write     // in the order of their beginnings
}

// histories sorts operations and writes by key.
func histories(ops []*Operation, writes []*Write) []*History {
	byKey := map[string]*History{}
	var list []*History
	of := func(key string) *History {
		h := byKey[key]
		if h == nil {
			h = &History{Key: key}
			byKey[key] = h
			list = append(list, h)
		}
		return h
	}
	for _, op := range ops {
		of(op.Key).Ops = append(of(op.Key).Ops, op)
	}
	for _, w := range writes {
		of(w.Key).Writes = append(of(w.Key).Writes, w)
	}
	for _, h := range list {
		slices.SortStableFunc(h.Ops, func(a, b *Operation) int { return cmp.Compare(a.Call.Mono, b.Call.Mono) })
		slices.SortStableFunc(h.Writes, func(a, b *Write) int { return cmp.Compare(a.From.Mono, b.From.Mono) })
	}
	slices.SortFunc(list, func(a, b *History) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// events is what the model is asked about: each answered operation, and each
// write that no answered operation accounts for.
func (h *History) events() []*event {
	requests := map[string]*Operation{}
	for _, op := range h.Ops {
		requests[op.ID] = op
	}
	callers := map[string]string{} // by secret
	for _, w := range h.Writes {
		if w.Kind == Acquire && requests[w.Request] != nil {
			callers[w.Secret] = requests[w.Request].Caller
		}
	}
	var list []*event
	for _, op := range h.Ops {
		if !op.Answer.Unknown {
			list = append(list, &event{op: op, caller: op.Caller, call: op.Call, finish: op.Return})
		}
	}
	for _, w := range h.Writes {
		cause := h.cause(w, requests, callers)
		if cause != nil && accounts(cause, w) {
			continue
		}
		e := &event{write: w, cause: cause, caller: callers[w.Secret], call: w.From, finish: w.To}
		if cause != nil {
			e.caller = cause.Caller
		}
		list = append(list, e)
	}
	slices.SortStableFunc(list, func(a, b *event) int { return cmp.Compare(a.call.Mono, b.call.Mono) })
	return list
}

// cause finds the operation that made a write: one that accounts for it, if
// there is one.
func (h *History) cause(w *Write, requests map[string]*Operation, callers map[string]string) *Operation {
	if w.Kind == Acquire {
		return requests[w.Request]
	}
	var found *Operation
	for _, op := range h.Ops {
		if op.Kind != w.Kind || op.Call.Mono > w.To.Mono {
			continue
		}
		same := w.Outcome != "" && op.Outcome == w.Outcome || w.Outcome == "" && op.Caller == callers[w.Secret]
		if !same {
			continue
		}
		if accounts(op, w) {
			return op
		}
		if w.Kind != Renew {
			found = op
		}
	}
	return found
}

// accounts tells whether the operation, by its answer alone, explains the write:
// it had this effect, and the write took effect while it ran.
func accounts(op *Operation, w *Write) bool {
	a := op.Answer
	if a.Unknown || w.Doubtful || op.Call.Mono > w.From.Mono || op.Return.Mono < w.To.Mono {
		return false
	}
	switch op.Kind {
	case Acquire:
		return a.is("acquired") && a.Fence == w.Fence
	case Renew:
		return a.is("acquired") && a.Lease == w.Lease
	}
	// The write of an earlier call of the same end has an earlier expiration.
	return a.Status != "" && w.Expiration >= wholeSecond(op.Call.Wall+op.TTL*1000) && w.Expiration <= wholeSecond(op.Return.Wall+1+op.TTL*1000)
}
