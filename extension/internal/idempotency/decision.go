package idempotency

import "time"

// Ask is what the decision needs to know of an acquire.
type Ask struct {
	// Secret is the secret of the claim that a grant would make.
	Secret string
	// Validation is the hash of the caller's payload; empty if it gave none.
	Validation string
	// MaxAttempts is the number of runs after which a failure is final; 0: no end.
	MaxAttempts int
	// ClockSkew is how far the clocks of two hosts may differ: another's claim is
	// held that much beyond its lease.
	ClockSkew time.Duration
}

// freed is when the claim on rec is free for the asker: its own at the end of its
// lease, another's when the lease has ended by every clock.
func (a Ask) freed(rec *Record) time.Time {
	if a.owns(rec) {
		return rec.LeaseExpiresAt
	}
	return rec.LeaseExpiresAt.Add(a.ClockSkew)
}

func (a Ask) owns(rec *Record) bool { return rec.Secret != "" && rec.Secret == a.Secret }

// Verdict is what an acquire may do.
type Verdict string

// The verdicts.
const (
	// Grant: the key is free, the claim can be written.
	Grant Verdict = "grant"
	// Echo: the claim on the record is the asker's own.
	Echo Verdict = "echo"
	// Replay: the work was completed, its result stands.
	Replay Verdict = "replay"
	// Report: the work failed for good.
	Report Verdict = "report"
	// Exhaust: the last attempt that is allowed lapsed; that becomes a failure for
	// good, and is told.
	Exhaust Verdict = "exhaust"
	// Wait: another claim is held.
	Wait Verdict = "wait"
	// Mismatch: the key was used with another payload.
	Mismatch Verdict = "mismatch"
	// Spent: the asker's own claim was released; its token makes no second one.
	Spent Verdict = "spent"
)

// Decide tells what an acquire may do, from the stored record (nil: none), the
// time and the request alone. It is the only place where that is decided.
func Decide(rec *Record, now time.Time, ask Ask) Verdict {
	if rec == nil || rec.Expired(now) {
		return Grant
	}
	free := rec.Status == InProgress && (rec.released() || !now.Before(ask.freed(rec)))
	switch {
	case free && !exhausted(rec, ask):
		if rec.released() && ask.owns(rec) {
			return Spent
		}
		return Grant
	case rec.mismatches(ask.Validation):
		return Mismatch
	}
	switch {
	case rec.Status == Completed:
		return Replay
	case rec.Status == Failed:
		return Report
	case free:
		return Exhaust
	}
	// A status that is not ours was written by other software: give way to it,
	// as to any claim, until the record expires.
	if ask.owns(rec) {
		return Echo
	}
	return Wait
}

// mismatches tells whether an asker's payload is another than the record's.
func (r *Record) mismatches(validation string) bool {
	return r.Validation != "" && validation != "" && r.Validation != validation
}

// exhausted tells whether a free claim was the last attempt. The asker's own claim
// that lapsed before it heard of it was none.
func exhausted(rec *Record, ask Ask) bool {
	return ask.MaxAttempts > 0 && rec.Attempt >= ask.MaxAttempts && !ask.owns(rec)
}
