package outage_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/outage"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// margin is what the sidecar promises to leave to the handler.
const margin = 500 * time.Millisecond

// slack is what an answer may need beyond what the machine's own delays account
// for.
const slack = 100 * time.Millisecond

// TestOutage measures all conditions at once, and holds what was seen against
// what is promised.
func TestOutage(t *testing.T) {
	store := dynamodblocal.Start(t)
	delay := watchDelay(t)
	rows, err := outage.Measure(t.Context(), outage.Config{Store: store, Left: 2500 * time.Millisecond, Parallel: 22})
	if err != nil {
		t.Fatal(err)
	}
	late := delay()
	t.Logf("the machine's longest delay: %v", late)
	for _, r := range rows {
		t.Run(r.Condition.Name, func(t *testing.T) {
			c := check{t, r, r.Condition.Want, late + slack}
			c.inTime()
			c.answers()
			c.acquired()
			c.ended()
			c.proceeded()
		})
	}
}

// watchDelay measures how late timers fire on this machine, until the function
// that it returns is called, which returns the longest delay.
func watchDelay(t *testing.T) (longest func() time.Duration) {
	var most atomic.Int64
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		const every = 5 * time.Millisecond
		for {
			start := time.Now()
			select {
			case <-done:
				return
			case <-time.After(every):
				most.Store(max(most.Load(), int64(time.Since(start)-every)))
			}
		}
	}()
	stop := func() { close(done); <-stopped }
	t.Cleanup(func() {
		if stop != nil {
			stop()
		}
	})
	return func() time.Duration {
		stop()
		stop = nil
		return time.Duration(most.Load())
	}
}

// check holds a row against what is promised.
type check struct {
	*testing.T
	row  *outage.Row
	want outage.Want
	// late is how much later than it should an answer may come.
	late time.Duration
}

// inTime: the handler has half a second left, and is answered at once where less
// was left.
func (c check) inTime() {
	early, late, p := c.row.Early, c.row.Late, c.row.Proceed
	for name, a := range map[string]outage.Answer{
		"acquire": early.Acquire, "complete": early.Complete, "fail": early.Fail,
		"acquire that proceeds": p.Acquire, "another": p.Other, "complete of a protected claim": p.Protected,
	} {
		if a.Left+c.late < margin {
			c.Errorf("%s: answered %v before the deadline", name, a.Left)
		}
	}
	for name, a := range map[string]outage.Answer{
		"late acquire": late.Acquire, "late complete": late.Complete, "late fail": late.Fail,
		"late acquire that proceeds": p.Late, "complete of what proceeded": p.Complete, "fail of what proceeded": p.Fail,
	} {
		if a.Left+c.late <= slack {
			c.Errorf("%s: answered %v before the deadline", name, a.Left)
		}
	}
}

// refused: the answer is a problem that names what is wrong and the mend. Where
// little time was left, there may have been none to find out.
func (c check) refused(name string, a outage.Answer, detail string, short bool) {
	c.Helper()
	code := "store_unavailable"
	if c.want.Throttled {
		code = "store_throttled"
	}
	if short && strings.Contains(a.Detail, " in time; try again") {
		code, detail = "store_unavailable", ""
	}
	if a.HTTP != 503 || a.Code != code || a.RetryAfter != "1" || !strings.Contains(a.Detail, detail) {
		c.Errorf("%s: answered %v, Retry-After %q, %q; want 503 %s, 1, %q", name, a, a.RetryAfter, a.Detail, code, detail)
	}
}

// answers: what the calls are told.
func (c check) answers() {
	for _, calls := range []struct {
		name   string
		got    outage.Calls
		early  bool
		detail string
	}{{"early", c.row.Early, true, c.want.Detail}, {"late", c.row.Late, false, c.want.ShortDetail}} {
		for name, call := range map[string]struct {
			got  outage.Answer
			want string
		}{"acquire": {calls.got.Acquire, "acquired"}, "complete": {calls.got.Complete, "completed"}, "fail": {calls.got.Fail, "released"}} {
			name = calls.name + " " + name
			switch {
			case c.want.Served && call.got.OK():
				if call.got.Status != call.want || call.got.Unprotected {
					c.Errorf("%s: answered %v", name, call.got)
				}
			case c.want.Served && calls.early:
				c.Errorf("%s: answered %v %q", name, call.got, call.got.Detail)
			default:
				c.refused(name, call.got, calls.detail, !calls.early)
			}
		}
	}
}

// acquired: nothing is recorded as run that was not, and the caller who asks
// again with its client token gets the claim.
func (c check) acquired() {
	switch got := c.row.Asked; {
	case c.row.Early.Acquire.OK() && got != outage.Claimed:
		c.Errorf("of a claim that was granted, the table holds %s", got)
	case !c.row.Early.Acquire.OK() && got != outage.Nothing && (!c.want.Taken || got != outage.Claimed):
		c.Errorf("of a claim that was refused, the table holds %s", got)
	}
	for _, a := range c.row.Again {
		if a.Status != "acquired" || a.Attempt != 1 || a.Unprotected || a.Token == "" {
			c.Errorf("acquire, repeated: %v, attempt %d, %q", a, a.Attempt, a.Detail)
		}
	}
	if len(c.row.Again) != 2 {
		c.Errorf("%d acquires were repeated", len(c.row.Again))
	}
}

// ended: what the handler did stays protected until its deadline, and its end is
// stored without it.
func (c check) ended() {
	r := c.row
	if c.want.TableGone {
		if gone := (outage.Ends{Complete: outage.Nothing, Fail: outage.Nothing}); r.After != gone || r.AfterLate != gone {
			c.Errorf("the new table holds %v, %v", r.After, r.AfterLate)
		}
		if r.Repeated.HTTP != 404 || r.Repeated.Code != "claim_unknown" || r.Duplicate.Status != "acquired" {
			c.Errorf("complete, repeated: %v; a duplicate: %v", r.Repeated, r.Duplicate)
		}
		return
	}
	for _, a := range r.Others {
		stored := a.Status == "completed" && string(a.Result) == outage.WorkResult && (r.Early.Complete.OK() || c.want.Taken)
		if a.Status != "in_progress" && !stored || r.Early.Complete.OK() && !stored {
			c.Errorf("another host that asks for the key: %v", a)
		}
	}
	if len(r.Others) != 2 {
		c.Errorf("%d others asked", len(r.Others))
	}
	settled := outage.Ends{Complete: outage.Completed, Fail: outage.Free}
	switch {
	case c.want.NotOwed:
		if held := (outage.Ends{Complete: outage.Claimed, Fail: outage.Claimed}); r.During != held || r.AfterLate != held {
			c.Errorf("the table holds %v, %v", r.During, r.AfterLate)
		}
		if r.After.Complete != outage.Completed {
			c.Errorf("after the complete was repeated, the table holds %v", r.After)
		}
	case r.After != settled || r.AfterLate != settled:
		c.Errorf("once the store is back, the table holds %v, %v", r.After, r.AfterLate)
	}
	if r.Repeated.Status != "completed" || r.Duplicate.Status != "completed" || string(r.Duplicate.Result) != outage.WorkResult {
		c.Errorf("complete, repeated: %v; a duplicate: %v %s", r.Repeated, r.Duplicate, r.Duplicate.Result)
	}
}

// proceeded: where the sidecar is told to proceed, the work runs, and the
// answers, the log and the metric say that nothing protects it.
func (c check) proceeded() {
	p := c.row.Proceed
	grants := []outage.Answer{p.Acquire, p.Other, p.Late}
	unprotected := 0
	for _, a := range grants {
		if a.Status != "acquired" || a.Token == "" {
			c.Errorf("proceed: acquire answered %v %q", a, a.Detail)
		}
		if a.Unprotected {
			unprotected++
		}
	}
	if p.Logged != unprotected || p.Counted != unprotected {
		c.Errorf("%d grants are unprotected, %d lines of the log and a metric of %d say so", unprotected, p.Logged, p.Counted)
	}
	if c.want.Served {
		if p.Acquire.Unprotected || p.Other.Unprotected {
			c.Errorf("proceed: acquire answered %v and %v", p.Acquire, p.Other)
		}
		// Half of the time is over when the slowest claims are granted.
		if !p.Complete.OK() {
			c.refused("proceed: complete", p.Complete, c.want.ShortDetail, true)
		} else if p.Complete.Unprotected || p.Stored != outage.Completed {
			c.Errorf("proceed: complete answered %v, and the table holds %s", p.Complete, p.Stored)
		}
		return
	}
	if p.Complete.Status != "completed" || p.Fail.Status != "released" {
		c.Errorf("proceed: the ends answered %v and %v", p.Complete, p.Fail)
	}
	if unprotected != len(grants) {
		c.Errorf("proceed: %v are granted as if they were protected", grants)
	}
	c.refused("proceed: complete of a protected claim", p.Protected, c.want.Detail, false)
	if !c.want.Taken && (!p.Complete.Unprotected || !p.Fail.Unprotected || p.Stored != outage.Nothing) {
		c.Errorf("proceed: the ends answered %v and %v, and the table holds %s", p.Complete, p.Fail, p.Stored)
	}
	if !c.want.TableGone && !c.want.NotOwed && p.ProtectedStored != outage.Completed {
		c.Errorf("proceed: of the protected claim the table holds %s", p.ProtectedStored)
	}
}
