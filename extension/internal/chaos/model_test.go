package chaos

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The clock of the tests begins at this time.
const epoch = 1_800_000_000_000

func at(ms int64) Stamp { return Stamp{Mono: ms * 1e6, Wall: epoch + ms} }

// took makes an operation of one key's history. It runs from call to done, in
// milliseconds.
func took(op Operation, call, done int64) *Operation {
	op.Key, op.Call, op.Return = "k", at(call), at(done)
	if op.TTL == 0 {
		op.TTL = 1
	}
	return &op
}

// grants is an acquire that was granted at the given time, for 100 ms.
func grants(id, caller string, call, done, granted int64, attempt int) *Operation {
	return took(Operation{ID: id, Caller: caller, Kind: Acquire, LeaseMS: 100, Answer: Answer{
		Status: "acquired", Token: "token of " + id, Fence: epoch + granted, Attempt: attempt, Lease: epoch + granted + 100,
	}}, call, done)
}

func waits(caller, holder string, call, done, lease int64) *Operation {
	return took(Operation{ID: "?", Caller: caller, Kind: Acquire, LeaseMS: 100, Answer: Answer{
		Status: "in_progress", RequestID: holder, Lease: epoch + lease,
	}}, call, done)
}

func replays(caller, holder, outcome string, call, done int64) *Operation {
	return took(Operation{ID: "?", Caller: caller, Kind: Acquire, LeaseMS: 100, Answer: Answer{
		Status: "completed", RequestID: holder, Outcome: outcome,
	}}, call, done)
}

func ends(kind Kind, caller string, granted int64, outcome, status string, call, done int64) *Operation {
	op := Operation{Caller: caller, Kind: kind, Fence: epoch + granted, Outcome: outcome, Answer: Answer{Status: status}}
	if status == "claim_lost" {
		op.Answer = Answer{Problem: status}
	}
	if status == "" {
		op.Answer = Answer{Unknown: true}
	}
	return took(op, call, done)
}

func renews(caller string, granted, lease, call, done int64) *Operation {
	return took(Operation{Caller: caller, Kind: Renew, Fence: epoch + granted, LeaseMS: 100, Answer: Answer{
		Status: "acquired", Lease: epoch + lease,
	}}, call, done)
}

func TestModel(t *testing.T) {
	first := grants("r1", "a", 0, 10, 5, 1)
	for _, test := range []struct {
		name   string
		ops    []*Operation
		writes []*Write
		want   porcupine.CheckResult
	}{
		{"a run and its replay", []*Operation{
			first, ends(Complete, "a", 5, "R", "completed", 20, 30), replays("b", "r1", "R", 40, 50),
		}, nil, porcupine.Ok},
		{"another result", []*Operation{
			first, ends(Complete, "a", 5, "R", "completed", 20, 30), replays("b", "r1", "S", 40, 50),
		}, nil, porcupine.Illegal},
		{"a replay before the complete", []*Operation{
			first, replays("b", "r1", "R", 12, 15), ends(Complete, "a", 5, "R", "completed", 20, 30),
		}, nil, porcupine.Illegal},
		{"a replay that overlaps the complete", []*Operation{
			first, replays("b", "r1", "R", 12, 25), ends(Complete, "a", 5, "R", "completed", 20, 30),
		}, nil, porcupine.Ok},
		{"a second complete changes nothing", []*Operation{
			first, ends(Complete, "a", 5, "R", "completed", 20, 30), ends(Complete, "a", 5, "S", "completed", 40, 50), replays("b", "r1", "R", 60, 70),
		}, nil, porcupine.Ok},
		{"a second complete changes the result", []*Operation{
			first, ends(Complete, "a", 5, "R", "completed", 20, 30), ends(Complete, "a", 5, "S", "completed", 40, 50), replays("b", "r1", "S", 60, 70),
		}, nil, porcupine.Illegal},
		{"in progress until the lease ends", []*Operation{first, waits("b", "r1", 90, 120, 105)}, nil, porcupine.Ok},
		{"in progress until it ends by every clock", []*Operation{first, waits("b", "r1", 124, 140, 105)}, nil, porcupine.Ok},
		{"in progress after it", []*Operation{first, waits("b", "r1", 125, 140, 105)}, nil, porcupine.Illegal},
		{"in progress behind itself", []*Operation{first, waits("a", "r1", 20, 30, 105)}, nil, porcupine.Illegal},
		{"a takeover when the lease has ended", []*Operation{first, grants("r2", "b", 90, 130, 126, 2)}, nil, porcupine.Ok},
		{"a takeover before that", []*Operation{first, grants("r2", "b", 90, 124, 120, 2)}, nil, porcupine.Illegal},
		{"a takeover before the renewed lease ends", []*Operation{
			first, renews("a", 5, 150, 40, 60), grants("r2", "b", 130, 140, 135, 2),
		}, nil, porcupine.Illegal},
		{"a takeover that overlaps the renewal", []*Operation{
			first, renews("a", 5, 205, 100, 140), grants("r2", "b", 126, 140, 135, 2),
		}, nil, porcupine.Illegal},
		{"a takeover after a release", []*Operation{
			first, ends(Release, "a", 5, "E", "released", 20, 30), grants("r2", "b", 40, 50, 45, 2),
		}, nil, porcupine.Ok},
		{"the late complete of one who lost", []*Operation{
			first, grants("r2", "b", 130, 140, 135, 2), ends(Complete, "a", 5, "R", "claim_lost", 150, 160),
		}, nil, porcupine.Ok},
		{"the late complete of one who lost succeeds", []*Operation{
			first, grants("r2", "b", 130, 140, 135, 2), ends(Complete, "a", 5, "R", "completed", 150, 160),
		}, nil, porcupine.Illegal},
		{"a complete refused that is its holder's", []*Operation{
			first, ends(Complete, "a", 5, "R", "claim_lost", 130, 140),
		}, nil, porcupine.Illegal},
		{"granted again when it expired", []*Operation{
			first, ends(Complete, "a", 5, "R", "completed", 20, 30), grants("r2", "b", 1990, 2010, 2001, 1),
		}, nil, porcupine.Ok},
		{"granted again before", []*Operation{
			first, ends(Complete, "a", 5, "R", "completed", 20, 30), grants("r2", "b", 1900, 1950, 1940, 1),
		}, nil, porcupine.Illegal},
		{"a fence that does not grow", []*Operation{
			first, ends(Release, "a", 5, "E", "released", 20, 30), grants("r2", "b", 0, 50, 5, 2),
		}, nil, porcupine.Illegal},
		{"an attempt left out", []*Operation{first, grants("r2", "b", 130, 140, 135, 3)}, nil, porcupine.Illegal},
		{"a lost answer to a complete that took effect", []*Operation{
			first, ends(Complete, "a", 5, "R", "", 20, 30), replays("b", "r1", "R", 40, 50),
		}, []*Write{{Key: "k", Kind: Complete, Fence: epoch + 5, Outcome: "R", Expiration: epoch + 2000, From: at(22), To: at(25)}}, porcupine.Ok},
		{"a replay before it took effect", []*Operation{
			first, ends(Complete, "a", 5, "R", "", 20, 30), replays("b", "r1", "R", 40, 50),
		}, []*Write{{Key: "k", Kind: Complete, Fence: epoch + 5, Outcome: "R", Expiration: epoch + 2000, From: at(60), To: at(65)}}, porcupine.Illegal},
		{"a replay of what never took effect", []*Operation{
			first, ends(Complete, "a", 5, "R", "", 20, 30), replays("b", "r1", "R", 40, 50),
		}, nil, porcupine.Illegal},
		{"a write that may not have taken effect, and did not", []*Operation{
			first, ends(Complete, "a", 5, "R", "", 20, 30), waits("b", "r1", 40, 50, 105),
		}, []*Write{{Key: "k", Kind: Complete, Fence: epoch + 5, Outcome: "R", Expiration: epoch + 2000, From: at(22), To: at(25), Doubtful: true}}, porcupine.Ok},
	} {
		t.Run(test.name, func(t *testing.T) {
			events := histories(test.ops, test.writes)[0].events()
			if got := linearizable(events, none, time.Minute); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// What is left of a long history with one fault is the fault.
func TestShrink(t *testing.T) {
	var ops []*Operation
	now := int64(0)
	for n := range int64(40) {
		caller, id := "c"+wall(n), "r"+wall(n)
		ops = append(ops,
			grants(id, caller, now, now+10, now+5, 1+int(n)),
			waits("other", id, now+12, now+14, now+105),
			waits("another", id, now+13, now+15, now+105),
			ends(Release, caller, now+5, "E", "released", now+20, now+30))
		if n == 20 {
			ops = append(ops, waits("late", id, now+40, now+50, now+105)) // It was released.
		}
		now += 60
	}
	events := histories(ops, nil)[0].events()
	if got := linearizable(events, none, time.Minute); got != porcupine.Illegal {
		t.Fatal(got)
	}
	short := shrink(events)
	if len(short) != 3 || short[2].op.Caller != "late" {
		t.Errorf("%d events are left of %d:\n%q", len(short), len(events), lines(short))
	}
}
