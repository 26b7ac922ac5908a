package idempotency_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

func TestDecide(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	rec := func(change func(*Record)) *Record {
		r := &Record{
			Status: InProgress, Secret: "theirs", Attempt: 1, Fence: 1,
			LeaseExpiresAt: now.Add(time.Millisecond), Expiration: now.Add(time.Hour),
		}
		change(r)
		return r
	}
	released := func(r *Record) { r.LeaseExpiresAt = time.Time{} }
	lapsed := func(r *Record) { r.LeaseExpiresAt = now }
	mine := func(r *Record) { r.Secret = "mine" }
	late := func(r *Record) { r.LeaseExpiresAt = now.Add(-time.Second) }
	other := func(r *Record) { r.Validation = strings.Repeat("b", 64) }
	is := func(s Status) func(*Record) { return func(r *Record) { r.Status = s } }
	all := func(changes ...func(*Record)) *Record {
		return rec(func(r *Record) {
			for _, c := range changes {
				c(r)
			}
		})
	}
	ask := Ask{Secret: "mine", Validation: strings.Repeat("a", 64)}
	for _, c := range []struct {
		name string
		rec  *Record
		ask  Ask
		want Verdict
	}{
		{"no record", nil, ask, Grant},
		{"expired to the second", all(is(Completed), func(r *Record) { r.Expiration = now }), ask, Grant},
		{"expired, other payload", all(is(Completed), other, func(r *Record) { r.Expiration = now }), ask, Grant},
		{"one millisecond before it expires", all(is(Completed), func(r *Record) { r.Expiration = now.Add(time.Millisecond) }), ask, Replay},
		{"held", all(), ask, Wait},
		{"held by me", all(mine), ask, Echo},
		{"held, other payload", all(other), ask, Mismatch},
		{"held, I gave no payload", all(other), Ask{Secret: "mine"}, Wait},
		{"lapsed to the millisecond", all(lapsed), ask, Grant},
		{"lapsed, mine", all(lapsed, mine), ask, Grant},
		{"lapsed, other payload", all(lapsed, other), ask, Grant},
		{"lapsed at the last attempt", all(lapsed), Ask{Secret: "mine", MaxAttempts: 1}, Exhaust},
		{"lapsed at the last attempt, other payload", all(lapsed, other), Ask{Secret: "mine", Validation: ask.Validation, MaxAttempts: 1}, Mismatch},
		{"lapsed at the last attempt, mine", all(lapsed, mine), Ask{Secret: "mine", MaxAttempts: 1}, Grant},
		{"released at the last attempt", all(released), Ask{Secret: "mine", MaxAttempts: 1}, Exhaust},
		{"lapsed with an attempt left", all(lapsed), Ask{Secret: "mine", MaxAttempts: 2}, Grant},
		{"lapsed, but not by every clock", all(lapsed), Ask{Secret: "mine", ClockSkew: time.Second}, Wait},
		{"lapsed, but not by every clock, other payload", all(lapsed, other), Ask{Secret: "mine", Validation: ask.Validation, ClockSkew: time.Second}, Mismatch},
		{"lapsed by every clock but for a millisecond", all(late), Ask{Secret: "mine", ClockSkew: time.Second + time.Millisecond}, Wait},
		{"lapsed by every clock", all(late), Ask{Secret: "mine", ClockSkew: time.Second}, Grant},
		{"lapsed by every clock, at the last attempt", all(late), Ask{Secret: "mine", MaxAttempts: 1, ClockSkew: time.Second}, Exhaust},
		{"lapsed, mine, whatever the clocks", all(lapsed, mine), Ask{Secret: "mine", ClockSkew: time.Second}, Grant},
		{"released, whatever the clocks", all(released), Ask{Secret: "mine", ClockSkew: time.Second}, Grant},
		{"released", all(released), ask, Grant},
		{"released, mine", all(released, mine), ask, Spent},
		{"released, no token on it", all(released, func(r *Record) { r.Secret = "" }), Ask{}, Grant},
		{"released, other payload", all(released, other), ask, Grant},
		{"completed", all(is(Completed)), ask, Replay},
		{"completed by me", all(is(Completed), mine), ask, Replay},
		{"completed, no lease", all(is(Completed), released), ask, Replay},
		{"completed, other payload", all(is(Completed), other), ask, Mismatch},
		{"failed", all(is(Failed)), ask, Report},
		{"failed, other payload", all(is(Failed), other), ask, Mismatch},
		{"a status of other software", all(is("running"), lapsed), ask, Wait},
		{"no status", all(is(""), lapsed), ask, Wait},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Decide(c.rec, now, c.ask); got != c.want {
				t.Fatalf("%s, want %s", got, c.want)
			}
		})
	}
}
