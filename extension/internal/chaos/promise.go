package chaos

import (
	"cmp"
	"fmt"
	"slices"
)

// claim is one caller's claim as the caller knows it.
type claim struct {
	caller string
	grants []*Operation // answered acquires with the status acquired
	renews []*Operation // answered renewals
	ends   []*Operation // completes and fails, answered or not
	// unsure: an acquire was not answered, so there may be a grant that the
	// caller does not know of.
	unsure bool
}

// fence is the highest that the caller was told.
func (c *claim) fence() int64 {
	highest := int64(0)
	for _, g := range c.grants {
		highest = max(highest, g.Answer.Fence)
	}
	return highest
}

// claims collects the claims of one key, in the order of their first grants.
func claims(h *History) []*claim {
	byCaller := map[string]*claim{}
	var list []*claim
	for _, op := range h.Ops {
		c := byCaller[op.Caller]
		if c == nil {
			c = &claim{caller: op.Caller}
			byCaller[op.Caller] = c
			list = append(list, c)
		}
		switch {
		case op.Kind == Acquire && op.Answer.is("acquired"):
			c.grants = append(c.grants, op)
		case op.Kind == Acquire && op.Answer.Unknown:
			c.unsure = true
		case op.Kind == Renew && op.Answer.is("acquired"):
			c.renews = append(c.renews, op)
		case op.Kind == Complete || op.Kind == Release || op.Kind == Fail:
			c.ends = append(c.ends, op)
		}
	}
	return slices.DeleteFunc(list, func(c *claim) bool { return len(c.grants) == 0 })
}

// interval is a time in which a caller works under a live claim: from an answer
// that says it may, until the lease of that answer ends or it calls an end.
type interval struct {
	claim    *claim
	by       *Operation
	from, to int64 // epoch milliseconds; to is not within
}

// work returns the claim's intervals. They count in whole milliseconds, as
// leases do, so one begins at the millisecond in which the answer came.
func (c *claim) work() []interval {
	var list []interval
	for _, op := range slices.Concat(c.grants, c.renews) {
		i := interval{claim: c, by: op, from: op.Return.Wall, to: op.Answer.Lease}
		for _, end := range c.ends {
			i.to = min(i.to, end.Call.Wall)
		}
		if i.from < i.to {
			list = append(list, i)
		}
	}
	return list
}

// promises checks what the sidecar promises, without a model, by what callers
// were told alone.
func promises(h *History) []Violation {
	var found []Violation
	report := func(promise string, ops ...*Operation) {
		slices.SortStableFunc(ops, func(a, b *Operation) int { return cmp.Compare(a.Call.Mono, b.Call.Mono) })
		v := Violation{Checker: ByPromise, Key: h.Key, Promise: promise}
		for _, op := range slices.Compact(ops) {
			v.Lines = append(v.Lines, op.String())
		}
		found = append(found, v)
	}
	list := claims(h)
	overlaps(list, report)
	results(h, report)
	fences(list, report)
	kept(h, list, report)
	tokens(h, report)
	for _, op := range h.Ops {
		if op.Answer.Problem == "internal" {
			report("the sidecar has a fault", op)
		}
	}
	return found
}

type reporter func(promise string, ops ...*Operation)

// overlaps: the work of two callers on one key never overlaps.
func overlaps(list []*claim, report reporter) {
	var all []interval
	for _, c := range list {
		all = append(all, c.work()...)
	}
	slices.SortFunc(all, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
	for n, a := range all {
		for _, b := range all[n+1:] {
			if b.from >= a.to {
				break
			}
			if a.claim != b.claim {
				report(fmt.Sprintf("two callers work at once, from %s to %s", wall(b.from), wall(min(a.to, b.to))),
					slices.Concat([]*Operation{a.by, b.by}, firstEnd(a.claim), firstEnd(b.claim))...)
			}
		}
	}
}

func firstEnd(c *claim) []*Operation {
	if len(c.ends) == 0 {
		return nil
	}
	return c.ends[:1]
}

// results: all duplicates of a completed run get one and the same result, which
// is one that its caller sent; once a complete was answered, a later one changes
// nothing.
func results(h *History, report reporter) {
	callers := map[string]string{} // by acquire
	sent := map[string][]*Operation{}
	for _, op := range h.Ops {
		switch op.Kind {
		case Acquire:
			callers[op.ID] = op.Caller
		case Complete:
			sent[op.Caller] = append(sent[op.Caller], op)
		}
	}
	first := map[string]*Operation{} // the first duplicate, by the acquire whose claim it tells of
	for _, op := range h.Ops {
		if op.Kind != Acquire || !op.Answer.is("completed") {
			continue
		}
		of := op.Answer.RequestID
		other := first[of]
		if other == nil {
			first[of] = op
		} else if other.Answer.Outcome != op.Answer.Outcome {
			report("two duplicates of one run got different results", other, op)
			continue
		}
		completes := sent[callers[of]]
		if !slices.ContainsFunc(completes, func(c *Operation) bool { return c.Outcome == op.Answer.Outcome && c.Call.Mono <= op.Return.Mono }) {
			report("a duplicate got a result that nobody had sent for this claim", append([]*Operation{op}, completes...)...)
			continue
		}
		for _, c := range completes {
			if c.Outcome != op.Answer.Outcome && c.Answer.is("completed") && !slices.ContainsFunc(completes, func(o *Operation) bool {
				return o.Outcome == op.Answer.Outcome && o.Call.Mono < c.Return.Mono
			}) {
				report("a completed result was changed later", append([]*Operation{op}, completes...)...)
				break
			}
		}
	}
}

// fences: a later grant has a higher fence, and no two callers have the same.
func fences(list []*claim, report reporter) {
	var grants []*Operation
	for _, c := range list {
		grants = append(grants, c.grants...)
	}
	slices.SortFunc(grants, func(a, b *Operation) int { return cmp.Compare(a.Answer.Fence, b.Answer.Fence) })
	var latest *Operation // the call that began last, of the lower fences
	for n, g := range grants {
		if n > 0 && grants[n-1].Answer.Fence == g.Answer.Fence && grants[n-1].Caller != g.Caller {
			report("two callers have the same fence", grants[n-1], g)
		}
		if latest != nil && g.Return.Mono < latest.Call.Mono && latest.Answer.Fence < g.Answer.Fence {
			report("a later grant has a lower fence", g, latest)
		}
		if latest == nil || g.Call.Mono > latest.Call.Mono {
			latest = g
		}
	}
}

// kept: what was completed is told to every later acquire and never granted
// again, until it expires.
func kept(h *History, list []*claim, report reporter) {
	for _, c := range list {
		for _, done := range c.ends {
			if done.Kind != Complete || !done.Answer.is("completed") {
				continue
			}
			// A repeated complete does not begin its time anew.
			began := done
			for _, other := range c.ends {
				if other.Kind == Complete && other.Call.Mono < began.Call.Mono {
					began = other
				}
			}
			until := began.Call.Wall + ttlOf(c, done)*1000
			// Nobody took the claim before it was completed, so whoever has a higher
			// fence was granted the key after that.
			for _, later := range list {
				for _, g := range later.grants {
					if later != c && !c.unsure && g.Answer.Fence > c.fence() && g.Return.Wall < until {
						report("a completed run was granted again before it expired", c.grants[0], done, g)
					}
				}
			}
			for _, op := range h.Ops {
				if op.Kind != Acquire || op.Call.Mono <= done.Return.Mono || op.Return.Wall >= until {
					continue
				}
				told := op.Answer.Unknown || op.Answer.is("completed") || op.Answer.Problem == "payload_mismatch"
				if !told || op.Answer.is("completed") && !slices.ContainsFunc(c.ends, func(o *Operation) bool { return o.Outcome == op.Answer.Outcome }) {
					report("a completed run was forgotten before its time", c.grants[0], done, op)
					break
				}
			}
		}
	}
}

// ttlOf is the shortest time, in seconds, that any complete of the claim asked
// its result to be kept.
func ttlOf(c *claim, done *Operation) int64 {
	ttl := done.TTL
	for _, o := range c.ends {
		if o.Kind == Complete {
			ttl = min(ttl, o.TTL)
		}
	}
	return ttl
}

// tokens: no two callers are given the same token.
func tokens(h *History, report reporter) {
	holders := map[string]*Operation{}
	for _, op := range h.Ops {
		if !op.Answer.is("acquired") || op.Kind != Acquire {
			continue
		}
		other := holders[op.Answer.Token]
		if other != nil && other.Caller != op.Caller {
			report("two callers have the same token", other, op)
		}
		holders[op.Answer.Token] = op
	}
}
