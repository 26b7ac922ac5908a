package idempotency_test

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	. "github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

var explore = flag.Bool("explore", false, "let TestEveryInterleaving run its large worlds")

// TestEveryInterleaving runs the engine itself through every order of its store
// calls, lost answers and steps of time that a small world allows: two or three
// runs of one key on hosts of their own, whose clocks differ.
//
// In each of them at most one run believes that its claim is held, as long as the
// clocks differ by no more than is tolerated (beyond that: at most one with the
// rest of the skew to spare); the first completed result is the one that stands; the fence only
// grows; and whoever was told that its end was stored has it stored.
//
// The short form loses one answer and takes a step of time less; with the flag
// -explore it does not.
func TestEveryInterleaving(t *testing.T) {
	const step = time.Second
	for _, c := range []struct {
		name      string
		runs      []string        // what each run does with its claim
		skews     []time.Duration // how far each host's clock is ahead
		tolerated time.Duration   // Options.ClockSkew
		ticks     int             // steps of time
		lost      int             // answers that may be lost
	}{
		{"two complete", []string{"complete", "complete"}, []time.Duration{0, 0}, 0, 4, 2},
		{"two complete, skewed as tolerated", []string{"complete", "complete"}, []time.Duration{0, step}, step, 4, 2},
		{"two complete, skewed back", []string{"complete", "complete"}, []time.Duration{step, 0}, step, 4, 2},
		{"two complete, skewed beyond", []string{"complete", "complete"}, []time.Duration{0, 2 * step}, step, 4, 2},
		{"two complete, skewed, nothing tolerated", []string{"complete", "complete"}, []time.Duration{0, step}, 0, 4, 2},
		{"one fails", []string{"fail", "complete"}, []time.Duration{0, 0}, 0, 3, 2},
		{"one crashes", []string{"crash", "complete"}, []time.Duration{0, step}, step, 4, 2},
		{"one renews", []string{"renew", "complete"}, []time.Duration{0, step}, step, 4, 1},
		{"three", []string{"complete", "fail", "complete"}, []time.Duration{0, 0, 0}, 0, 2, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if !*explore {
				c.ticks, c.lost = c.ticks-1, min(c.lost, 1)
			}
			var skew time.Duration
			for _, a := range c.skews {
				for _, b := range c.skews {
					skew = max(skew, a-b)
				}
			}
			executions := 0
			var choices choices
			for more := true; more; more = choices.next() {
				w := &world{choices: &choices, skews: c.skews, tolerated: c.tolerated, spare: max(0, skew-c.tolerated), step: step, ticks: c.ticks, lost: c.lost}
				if violation := w.execute(c.runs); violation != "" {
					t.Fatalf("%s, in this order:\n%s", violation, strings.Join(w.trace, "\n"))
				}
				executions++
				choices.at = 0
			}
			t.Logf("%d executions", executions)
			if executions < 100 {
				t.Fatal("the world is too small to show anything")
			}
		})
	}
}

// choices is a path through the tree of what can happen next. Executions repeat
// it, so that all paths are taken one after the other.
type choices struct {
	taken []int
	of    []int
	at    int
}

func (c *choices) pick(n int) int {
	if c.at == len(c.taken) {
		c.taken, c.of = append(c.taken, 0), append(c.of, n)
	}
	c.at++
	return c.taken[c.at-1]
}

// next moves to the path after this one; false: it was the last.
func (c *choices) next() bool {
	for i := len(c.taken) - 1; i >= 0; i-- {
		if c.taken[i]+1 < c.of[i] {
			c.taken, c.of = c.taken[:i+1], c.of[:i+1]
			c.taken[i]++
			return true
		}
	}
	return false
}

// world is one execution: the record, real time, and the runs, of which one moves
// at a time.
type world struct {
	choices   *choices
	skews     []time.Duration
	tolerated time.Duration
	// spare is what the clocks differ by beyond that.
	spare, step time.Duration
	ticks, lost int

	now       time.Time
	record    *Record
	runs      []*oneRun
	events    chan int // a run has stopped at its next point, or ended
	completed string
	fence     int64
	holder    int // the run that wrote the claim
	violation string
	trace     []string
}

// oneRun is a handler and its sidecar.
type oneRun struct {
	w       *world
	i       int
	proceed chan bool // go on; true: lose the answer
	what    string    // what it is about to do; empty: it has ended
	lease   time.Time // of the claim it believes to hold
}

func (w *world) execute(scripts []string) string {
	w.now = time.UnixMilli(1_800_000_000_000)
	w.events = make(chan int)
	for i, script := range scripts {
		r := &oneRun{w: w, i: i, proceed: make(chan bool)}
		w.runs = append(w.runs, r)
		go func() {
			r.script(script)
			r.what = ""
			w.events <- i
		}()
		<-w.events
	}
	for {
		type move struct {
			run  *oneRun
			lose bool
		}
		var moves []move
		for _, r := range w.runs {
			if r.what == "" {
				continue
			}
			moves = append(moves, move{r, false})
			if w.lost > 0 && r.what != "work" {
				moves = append(moves, move{r, true})
			}
		}
		if len(moves) == 0 {
			return w.violation
		}
		if w.ticks > 0 {
			moves = append(moves, move{})
		}
		m := moves[w.choices.pick(len(moves))]
		if m.run == nil {
			w.ticks--
			w.now = w.now.Add(w.step)
			w.trace = append(w.trace, "time passes")
			continue
		}
		if m.lose {
			w.lost--
		}
		w.trace = append(w.trace, fmt.Sprintf("run %d: %s (answer lost: %v)", m.run.i, m.run.what, m.lose))
		m.run.proceed <- m.lose
		<-w.events
	}
}

func (w *world) violate(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
	}
}

// stop lets the others move; it returns whether the answer of what comes is lost.
func (r *oneRun) stop(what string) bool {
	r.what = what
	r.w.events <- r.i
	return <-r.proceed
}

func (r *oneRun) clock() time.Time { return r.w.now.Add(r.w.skews[r.i]) }

// believes tells whether the run takes its claim for held.
func (r *oneRun) believes() bool { return r.clock().Add(r.w.spare).Before(r.lease) }

func (r *oneRun) script(end string) {
	w := r.w
	e := NewEngine(r, Options{TTL: time.Hour, ClockSkew: w.tolerated, Now: r.clock, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	out, err := e.Acquire(context.Background(), AcquireRequest{Key: Key{Partition: "k"}, Lease: 2 * w.step})
	switch {
	case err != nil:
		w.violate("acquire: %v", err)
		return
	case out.Status == OutcomeCompleted && string(out.Record.Result) != w.completed:
		w.violate("run %d is told %s, and %s was completed", r.i, out.Record.Result, w.completed)
		return
	case out.Status == OutcomeInProgress && w.holder == r.i:
		w.violate("run %d gives way to itself", r.i)
		return
	case out.Status != OutcomeAcquired:
		return
	case !r.clock().Before(out.Record.LeaseExpiresAt):
		w.violate("run %d is granted a claim that has lapsed", r.i)
	case w.completed != "":
		w.violate("run %d is granted completed work", r.i)
	}
	r.lease = out.Record.LeaseExpiresAt
	for _, other := range w.runs {
		if other != r && other.believes() && r.believes() {
			w.violate("runs %d and %d both hold the claim", r.i, other.i)
		}
	}
	r.stop("work")
	switch end {
	case "crash":
		r.lease = time.Time{}
		return
	case "fail":
		r.lease = time.Time{} // It stops working before it says so.
		_, err = e.Fail(context.Background(), FailRequest{Token: out.Token, Retry: true})
	case "renew":
		renewed, rerr := e.Renew(context.Background(), out.Token, r.clock().Add(2*w.step))
		if rerr != nil {
			r.lease = time.Time{}
			return
		}
		r.lease = renewed.LeaseExpiresAt
		r.stop("work")
		fallthrough
	default:
		result := fmt.Sprint(r.i)
		r.lease = time.Time{}
		if _, err = e.Complete(context.Background(), CompleteRequest{Token: out.Token, Result: []byte(result)}); (err == nil) != (w.completed == result) {
			w.violate("run %d completes with %v, and %q stands", r.i, err, w.completed)
		}
	}
	if err != nil && !errors.Is(err, ErrClaimLost) {
		w.violate("run %d ends with %v", r.i, err)
	}
}

// Get implements Store.
func (r *oneRun) Get(context.Context, Key) (*Record, error) { return r.w.record.Clone(), nil }

// Ping implements Store.
func (r *oneRun) Ping(context.Context) error { return nil }

// Put implements Store. A write whose answer is lost is sent again.
func (r *oneRun) Put(_ context.Context, rec *Record, when Condition) error {
	lost := r.stop("put")
	for {
		err := r.put(rec, when)
		if !lost {
			return err
		}
		lost = r.stop("put again")
	}
}

func (r *oneRun) put(rec *Record, when Condition) error {
	if !when.Holds(r.w.record, rec) {
		return &ConditionError{Stored: r.w.record.Clone()}
	}
	if rec.Fence <= r.w.fence {
		r.w.violate("a claim with fence %d after %d", rec.Fence, r.w.fence)
	}
	r.w.fence, r.w.holder = rec.Fence, r.i
	r.w.store(rec.Clone())
	return nil
}

// Update implements Store.
func (r *oneRun) Update(_ context.Context, _ Key, change Change) error {
	lost := r.stop("update")
	for {
		err := r.update(change)
		if !lost {
			return err
		}
		lost = r.stop("update again")
	}
}

func (r *oneRun) update(change Change) error {
	if !change.Holds(r.w.record) {
		return &ConditionError{Stored: r.w.record.Clone()}
	}
	r.w.store(change.Apply(r.w.record))
	return nil
}

// store replaces the record and checks what must hold of every change.
func (w *world) store(rec *Record) {
	if w.completed != "" && (rec.Status != Completed || string(rec.Result) != w.completed) {
		w.violate("the result %s became %s (%s)", w.completed, rec.Result, rec.Status)
	}
	if rec.Status == Completed {
		w.completed = string(rec.Result)
	}
	w.record = rec
}
