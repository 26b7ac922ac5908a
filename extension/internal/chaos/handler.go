package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// workload is what the handlers do, together.
type workload struct {
	plan     plan
	client   *client
	sidecars int
	hot      []*slot // keys that give way to fresh ones
	lasting  []string
	// stop is asked before each run of a handler.
	stop func() bool
}

// slot is a place for a hot key. A fresh key takes it after so many runs, so
// histories stay short enough to be judged.
type slot struct {
	name string
	runs atomic.Int64
}

// runsPerKey is the number of runs that meet on a hot key.
const runsPerKey = 40

func (s *slot) key() string { return fmt.Sprintf("%s-%d", s.name, s.runs.Add(1)/runsPerKey) }

const (
	hotKeys     = 6
	lastingKeys = 2
)

func newWorkload(p plan, c *client, sidecars int, stop func() bool) *workload {
	w := &workload{plan: p, client: c, sidecars: sidecars, stop: stop}
	for n := range hotKeys {
		w.hot = append(w.hot, &slot{name: fmt.Sprintf("hot-%d-%d", p.seed, n)})
	}
	for n := range lastingKeys {
		w.lasting = append(w.lasting, fmt.Sprintf("lasting-%d-%d", p.seed, n))
	}
	return w
}

// handler is one caller after another, on one goroutine.
type handler struct {
	*workload
	*dice
	number int
	calls  int
}

// run acts as a handler until it is told to stop.
func (w *workload) run(ctx context.Context, number int) {
	h := &handler{workload: w, dice: w.plan.stream(fmt.Sprintf("handler %d", number)), number: number}
	for n := 0; !h.stop() && ctx.Err() == nil; n++ {
		h.invocation(ctx, n)
	}
}

// invocation is one run of a handler: an acquire and, if the claim was granted,
// work and one of the ways in which it can end.
func (h *handler) invocation(ctx context.Context, n int) {
	in := &invocation{handler: h, caller: fmt.Sprintf("c%d-%d", h.number, n)}
	if h.percent(20) {
		in.key = h.lasting[h.IntN(len(h.lasting))]
		in.ttl = 1
		in.lease = h.millis(10, 100)
	} else {
		in.key = h.hot[h.IntN(len(h.hot))].key()
		in.ttl = []int64{1, 1, 1, 1, 2, 60}[h.IntN(6)]
		in.lease = h.millis(15, 250)
	}
	if h.percent(70) {
		in.clientToken = "client-token-of-" + in.caller
	}
	if h.percent(50) {
		in.payload = 1
		if h.percent(5) {
			in.payload = 2
		}
	}
	// Always drawn, so that what the sidecar answers does not shift the rest.
	work, end, patience := h.Float64()*1.4, h.Float64()*100, 4*time.Second
	if h.percent(4) {
		patience = h.between(2*time.Millisecond, 300*time.Millisecond)
	}
	wait := int64(0)
	if h.percent(15) {
		wait = h.millis(50, 500)
	}
	if !in.acquire(ctx, wait, patience) {
		h.rest(ctx, h.between(0, 10*time.Millisecond))
		return
	}
	in.work(ctx, time.Duration(work*float64(in.lease))*time.Millisecond)
	in.end(ctx, end)
}

// call begins the next operation of this handler.
func (h *handler) call(kind Kind, key, caller string, sidecar int) *Operation {
	h.calls++
	return &Operation{
		ID: fmt.Sprintf("r%d-%d", h.number, h.calls), Caller: caller, Handler: h.number, Sidecar: sidecar, Key: key, Kind: kind,
	}
}

func (h *handler) rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// invocation is one caller.
type invocation struct {
	*handler
	key, caller, clientToken string
	lease, ttl               int64
	payload                  int
	sidecar                  int // that granted the claim
	token                    string
	fence                    int64
	until                    int64 // the lease's end
}

// resends is how often a call without an answer is sent again.
const resends = 3

// acquire asks for the claim. A call whose answer was lost is sent again, with
// the client token that makes it the same call.
func (in *invocation) acquire(ctx context.Context, wait int64, patience time.Duration) bool {
	for range 1 + resends {
		in.sidecar = in.IntN(in.sidecars)
		op := in.call(Acquire, in.key, in.caller, in.sidecar)
		op.LeaseMS, op.TTL, op.WaitMS, op.Payload = in.lease, in.ttl, wait, in.payload
		body := request{Key: in.key, LeaseMS: in.lease, TTLSeconds: in.ttl, WaitMS: wait, RequestID: op.ID, ClientToken: in.clientToken}
		if in.payload > 0 {
			body.Payload = json.RawMessage(fmt.Sprintf(`{"variant":%d}`, in.payload))
		}
		in.client.do(ctx, op, body, patience)
		switch {
		case op.Answer.is("acquired"):
			in.token, in.fence, in.until = op.Answer.Token, op.Answer.Fence, op.Answer.Lease
			return true
		case !op.Answer.Unknown:
			return false
		case in.clientToken == "" && !op.Answer.Refused:
			return false // It cannot be sent again: it would meet itself.
		}
		patience = 4 * time.Second
		in.rest(ctx, in.between(0, 30*time.Millisecond))
	}
	return false
}

// work takes its time; long work renews its lease, often just when it ends, or
// can be taken over.
func (in *invocation) work(ctx context.Context, d time.Duration) {
	if !in.percent(30) {
		in.rest(ctx, d)
		return
	}
	lease := time.Duration(in.lease) * time.Millisecond
	for range 1 + in.IntN(3) {
		pause := time.Duration(in.Float64() * float64(lease))
		if in.percent(40) {
			end := in.until
			if in.percent(50) { // When it can be taken over.
				end += clockSkew
			}
			pause = max(0, time.Until(time.UnixMilli(end))+in.between(-2*time.Millisecond, 4*time.Millisecond))
		}
		in.rest(ctx, pause)
		op := in.call(Renew, in.key, in.caller, in.where())
		op.LeaseMS, op.TTL, op.Token, op.Fence = in.lease, in.ttl, in.token, in.fence
		in.client.do(ctx, op, request{Token: in.token, LeaseMS: in.lease}, in.patience())
		if op.Answer.is("acquired") {
			in.until = op.Answer.Lease
		} else if !op.Answer.Unknown {
			return
		}
	}
	in.rest(ctx, time.Duration(in.Float64()*float64(lease)))
}

// where is the sidecar for the next call: the one that granted the claim, or
// another.
func (in *invocation) where() int {
	if in.percent(50) {
		return in.IntN(in.sidecars)
	}
	return in.sidecar
}

func (in *invocation) patience() time.Duration {
	if in.percent(3) {
		return in.between(2*time.Millisecond, 300*time.Millisecond)
	}
	return 4 * time.Second
}

// end ends the claim in one of the ways in which handlers do.
func (in *invocation) end(ctx context.Context, way float64) {
	switch {
	case way < 28:
		in.finish(ctx, Complete, "1")
	case way < 33: // Twice, as after an answer that was lost.
		in.finish(ctx, Complete, "1")
		in.finish(ctx, Complete, "1")
	case way < 38: // Twice, and not the same.
		in.finish(ctx, Complete, "1")
		in.rest(ctx, in.between(0, 20*time.Millisecond))
		in.finish(ctx, Complete, "2")
	case way < 70:
		in.finish(ctx, Release, "released")
	case way < 74:
		in.finish(ctx, Release, "released")
		in.finish(ctx, Complete, "late")
	case way < 77:
		in.finish(ctx, Fail, "failed")
	case way < 80:
		in.finish(ctx, Complete, "1")
		in.finish(ctx, Release, "released")
	default: // A crash: nobody ends it.
	}
}

// finish calls complete or fail, and again if there was no answer.
func (in *invocation) finish(ctx context.Context, kind Kind, what string) {
	outcome := fmt.Sprintf("%s by %s", what, in.caller)
	if kind == Complete {
		outcome = in.result(what)
	}
	for range 1 + resends {
		op := in.call(kind, in.key, in.caller, in.where())
		op.TTL, op.Token, op.Fence, op.Outcome = in.ttl, in.token, in.fence, outcome
		body := request{Token: in.token}
		if kind == Complete {
			body.Result = json.RawMessage(outcome)
		} else {
			body.Error, body.Retry = &failure{Type: "Chaos", Message: outcome}, new(kind == Release)
		}
		in.client.do(ctx, op, body, in.patience())
		if !op.Answer.Unknown {
			return
		}
		in.rest(ctx, in.between(0, 30*time.Millisecond))
	}
}

// result is what a complete stores. A few are too large to stay as they are:
// compressed, or kept in an item of their own.
func (in *invocation) result(what string) string {
	text := fmt.Sprintf(`{"run":%q,"by":%q`, what, in.caller)
	switch size := in.Float64() * 100; {
	case size < 1:
		text += `,"pad":"` + strings.Repeat("x", 6000) + `"`
	case size < 2:
		var b strings.Builder
		for b.Len() < 12000 {
			fmt.Fprintf(&b, "%016x", in.Uint64())
		}
		text += `,"pad":"` + b.String() + `"`
	}
	return text + "}"
}
