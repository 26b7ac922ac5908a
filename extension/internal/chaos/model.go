package chaos

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// phase is what is stored under a key, as far as the model tells states apart.
type phase string

const (
	none      phase = "none"
	held      phase = "held"
	released  phase = "released"
	completed phase = "completed"
	failed    phase = "failed"
	// anything is the state before a history that was cut at its beginning.
	anything phase = "anything"
)

// clockSkew is how far beyond its lease a claim is held against others, in
// milliseconds: the sidecars' IDEMPOTENCY_CLOCK_SKEW.
const clockSkew = 20

// state is the model's record of one key. It is comparable: porcupine merges
// equal states. Times are epoch milliseconds.
type state struct {
	phase   phase
	request string // the acquire that made the claim
	caller  string
	payload int
	fence   int64
	attempt int
	lease   int64
	// expLo and expHi bound the record's expiration.
	expLo, expHi int64
	// outcome is the stored result or error; empty: not known yet.
	outcome string
	// now is the earliest time that it can be: that of the latest operation.
	now int64
}

// event is an element of a key's history: an answered operation, or a write
// whose call was not answered.
type event struct {
	op    *Operation
	write *Write
	// caller is whose claim the write concerns.
	caller string
	// cause is the operation that the write belongs to, if it is known.
	cause        *Operation
	call, finish Stamp
	// open tells that the history ends before this did: it may have had its
	// effect or not.
	open bool
}

func (e *event) String() string {
	if e.op != nil && e.open {
		return e.op.String() + " (later: it may have happened by then)"
	}
	if e.op != nil {
		return e.op.String()
	}
	return fmt.Sprintf("%s caller %s (its call was not answered so)", e.write, e.caller)
}

// model is the claim's sequential specification, for one key.
func model(first phase) porcupine.Model {
	nondeterministic := porcupine.NondeterministicModel{
		Init: func() []any { return []any{state{phase: first}} },
		Step: func(s, input, _ any) []any {
			var next []any
			for _, n := range step(s.(state), input.(*event)) {
				next = append(next, n)
			}
			return next
		},
	}
	return nondeterministic.ToModel()
}

// step returns the states in which the event can leave s; none, if the event
// cannot happen in s.
func step(s state, e *event) []state {
	was := s
	s.now = max(s.now, e.call.Wall)
	var next []state
	switch {
	case e.write != nil:
		next = applied(s, e)
	case e.op.Kind == Acquire:
		next = acquired(s, e)
	case e.op.Kind == Complete:
		next = ended(s, e, completed)
	case e.op.Kind == Release:
		next = ended(s, e, released)
	case e.op.Kind == Fail:
		next = ended(s, e, failed)
	case e.op.Kind == Renew:
		next = renewed(s, e)
	}
	if e.open || e.write != nil && e.write.Doubtful {
		next = append(next, was)
	}
	return next
}

// acquired is the step of an answered acquire.
func acquired(s state, e *event) []state {
	op, a := e.op, e.op.Answer
	if a.is("acquired") {
		if s.phase == held && s.fence == a.Fence { // The same claim, told again.
			ok := s.caller == op.Caller && s.now < s.lease && a.Lease == s.lease && a.Attempt == s.attempt
			return only(ok, s)
		}
		// The sidecar's clock was read between the call and the answer.
		ok := a.Fence >= e.call.Wall && a.Lease >= e.call.Wall+op.LeaseMS && a.Lease <= e.finish.Wall+op.LeaseMS
		if !ok {
			return nil
		}
		// The deadline is rounded down to the lease, and up to the expiration.
		return granted(s, e, grant{
			request: op.ID, caller: op.Caller, payload: op.Payload, fence: a.Fence, attempt: a.Attempt, lease: a.Lease,
			expLo: wholeSecond(a.Lease + op.TTL*1000), expHi: wholeSecond(a.Lease + 1 + op.TTL*1000), asked: e.call.Wall,
		})
	}
	if s.phase == anything {
		return []state{s}
	}
	// What is told was stored and not expired; a claim's lease had not run out.
	fits := op.Payload == 0 || s.payload == 0 || op.Payload == s.payload
	switch {
	case a.is("in_progress"):
		return only(fits && s.phase == held && s.request == a.RequestID && s.lease == a.Lease && s.now < s.lease+clockSkew && s.caller != op.Caller, s)
	case a.is("completed"):
		return replayed(s, e, fits && s.phase == completed)
	case a.is("failed"):
		return replayed(s, e, fits && s.phase == failed)
	case a.Problem == "payload_mismatch" && s.phase == held:
		return only(!fits && s.now < s.lease+clockSkew, s)
	case a.Problem == "payload_mismatch":
		return unexpired(s, !fits && (s.phase == completed || s.phase == failed))
	case a.Problem == "claim_lost": // Its own claim was released.
		return unexpired(s, s.phase == released && s.caller == op.Caller)
	}
	return nil
}

func replayed(s state, e *event, ok bool) []state {
	a := e.op.Answer
	if !ok || s.request != a.RequestID || s.outcome != "" && s.outcome != a.Outcome {
		return nil
	}
	s.outcome = a.Outcome
	return unexpired(s, true)
}

// unexpired is s after it was seen at a time at which it had not expired.
func unexpired(s state, ok bool) []state {
	if !ok || s.now >= s.expHi {
		return nil
	}
	s.expLo = max(s.expLo, s.now+1)
	return []state{s}
}

func only(ok bool, s state) []state {
	if !ok {
		return nil
	}
	return []state{s}
}

// grant is a new claim.
type grant struct {
	request, caller     string
	payload             int
	fence               int64
	attempt             int
	lease, expLo, expHi int64
	// asked is the earliest time at which the sidecar can have judged the record
	// that the claim replaces.
	asked int64
}

// granted is the step of a grant: the key was free at some time up to the end of
// the event, which is as late as it has to be and no later.
func granted(s state, e *event, g grant) []state {
	if s.phase != anything {
		if g.fence <= s.fence || g.fence > max(s.fence+1, e.finish.Wall) {
			return nil
		}
		again := g.attempt == s.attempt+1 && g.asked < s.expHi
		switch {
		case s.phase == none:
			if g.attempt != 1 {
				return nil
			}
		case s.phase == held && s.caller == g.caller && g.attempt == s.attempt && g.asked < s.expHi:
			// The caller's own claim had lapsed before it heard of it: the same run.
			s.now = max(s.now, s.lease)
		case g.attempt == 1: // What was stored had expired.
			s.now = max(s.now, s.expLo)
		case s.phase == held && again && s.caller != g.caller: // The lease had run out, by every clock.
			s.now = max(s.now, s.lease+clockSkew)
		case s.phase == released && again && s.caller != g.caller:
		default:
			return nil
		}
		if s.now > e.finish.Wall {
			return nil
		}
	}
	return []state{{
		phase: held, request: g.request, caller: g.caller, payload: g.payload, fence: g.fence, attempt: g.attempt,
		lease: g.lease, expLo: g.expLo, expHi: g.expHi, now: s.now,
	}}
}

// ended is the step of an answered complete or fail, which leaves the claim in
// the phase to. Neither lease nor expiry is asked for: a claim that nobody took
// is still its holder's.
func ended(s state, e *event, to phase) []state {
	op, a := e.op, e.op.Answer
	mine := s.caller == op.Caller && s.fence == op.Fence
	switch {
	case s.phase == anything:
		return []state{s}
	case a.Problem == "claim_lost":
		return only(!mine || s.phase != held && s.phase != to, s)
	case a.Status == "":
		return nil
	case mine && s.phase == to: // Repeated: it is as it was.
		return []state{s}
	case mine && s.phase == held:
		s.phase, s.lease, s.outcome = to, 0, op.Outcome
		s.expLo, s.expHi = wholeSecond(e.call.Wall+op.TTL*1000), wholeSecond(e.finish.Wall+1+op.TTL*1000)
		return []state{s}
	}
	return nil
}

// renewed is the step of an answered renewal. An answered lease is a promise, so
// none is ever shortened.
func renewed(s state, e *event) []state {
	op, a := e.op, e.op.Answer
	mine := s.phase == held && s.caller == op.Caller && s.fence == op.Fence
	switch {
	case s.phase == anything:
		return []state{s}
	case a.Problem == "claim_lost":
		return only(!mine, s)
	case a.Status == "" || !mine:
		return nil
	}
	asked := a.Lease >= e.call.Wall+op.LeaseMS && a.Lease <= e.finish.Wall+op.LeaseMS
	if !asked && a.Lease != s.lease {
		return nil
	}
	return extended(s, a.Lease, wholeSecond(a.Lease+op.TTL*1000), wholeSecond(a.Lease+1+op.TTL*1000))
}

func extended(s state, lease, expLo, expHi int64) []state {
	if lease > s.lease {
		s.lease, s.expLo, s.expHi = lease, expLo, expHi
	}
	return []state{s}
}

// applied is the step of a write that took effect for a call without an answer.
func applied(s state, e *event) []state {
	w := e.write
	if w.Kind == Acquire {
		g := grant{request: w.Request, caller: e.caller, fence: w.Fence, attempt: w.Attempt, lease: w.Lease, expLo: w.Expiration, expHi: w.Expiration, asked: e.call.Wall}
		if e.cause != nil {
			g.payload, g.asked = e.cause.Payload, e.cause.Call.Wall
		}
		return granted(s, e, g)
	}
	switch {
	case s.phase == anything:
		return []state{s}
	case s.phase != held || s.caller != e.caller || s.fence != w.Fence:
		return nil
	case w.Kind == Renew:
		return extended(s, w.Lease, w.Expiration, w.Expiration)
	}
	s.phase = map[Kind]phase{Complete: completed, Release: released, Fail: failed}[w.Kind]
	s.lease, s.expLo, s.expHi, s.outcome = 0, w.Expiration, w.Expiration, w.Outcome
	return []state{s}
}

// wholeSecond rounds up to the second that records expire in.
func wholeSecond(ms int64) int64 { return (ms + 999) / 1000 * 1000 }
