package outage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// Config says how to measure.
type Config struct {
	// Store is where DynamoDB Local answers.
	Store dynamodblocal.Endpoint
	// Left is what the handler's invocation has left when the condition begins.
	Left time.Duration
	// Only, if set, is in the names of the conditions to measure.
	Only string
	// Parallel is how many conditions are measured at once.
	Parallel int
}

// errTooSlow says that the machine let so much time pass that what was seen
// tells nothing.
var errTooSlow = errors.New("the machine is too slow to measure this")

// short is what the invocation has left at its last calls.
const short = 300 * time.Millisecond

// Calls are the answers to the three calls, made at the same time.
type Calls struct{ Acquire, Complete, Fail Answer }

// Ends are the states of the records whose claims were ended.
type Ends struct{ Complete, Fail State }

// Row is what was seen under one condition.
type Row struct {
	Condition Condition

	mu sync.Mutex

	// Early are the calls with Left left, Late those with 300 ms left.
	Early, Late Calls
	// Others are what another host was told that asked for the key whose complete
	// is among Early: at once, and shortly before the claim's deadline.
	Others []Answer
	// Asked is the record of the key that was acquired in Early, when the store
	// came back.
	Asked State
	// During are the ended claims' records when the store came back; After, once
	// the sidecar had settled what it owed, and Settled when that was, counted from
	// the store's return.
	During, After         Ends
	DuringLate, AfterLate Ends
	Settled               time.Duration
	// Again are the two acquires repeated with their client tokens.
	Again []Answer
	// Repeated is the complete of Early, repeated.
	Repeated Answer
	// Duplicate is what another host is told of the completed work at the end.
	Duplicate Answer

	Proceed Proceed
}

// Proceed is what was seen where IDEMPOTENCY_ON_STORE_ERROR is proceed.
type Proceed struct {
	Acquire, Complete Answer // of the same claim
	Other, Fail       Answer // and of another
	Late              Answer // an acquire with 300 ms left
	Protected         Answer // the complete of a claim that the store had granted
	// Stored is the record of the key of Acquire at the end, and ProtectedStored
	// that of Protected.
	Stored, ProtectedStored State
	// Logged and Counted are the log's warnings and the metric's value.
	Logged, Counted int
}

// Measure measures all conditions.
func Measure(ctx context.Context, cfg Config) ([]*Row, error) {
	b, err := newBench(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer b.close()
	conditions := slices.DeleteFunc(Conditions(), func(c Condition) bool { return !strings.Contains(c.Name, cfg.Only) })
	rows := make([]*Row, len(conditions))
	var all group
	var mu sync.Mutex
	var slow []func() error
	slots := make(chan struct{}, cfg.Parallel)
	for i, c := range conditions {
		rows[i] = &Row{Condition: c}
		for name, measure := range map[string]func(context.Context, *Row) error{"reject": b.reject, "proceed": b.proceed} {
			once := func() error {
				if err := measure(ctx, rows[i]); err != nil {
					return fmt.Errorf("%s, %s: %w", c.Name, name, err)
				}
				return nil
			}
			all.do(func() error {
				slots <- struct{}{}
				defer func() { <-slots }()
				err := once()
				if !errors.Is(err, errTooSlow) {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				slow = append(slow, once)
				return nil
			})
		}
	}
	if err := all.wait(); err != nil {
		return nil, err
	}
	// What the machine was too slow for is measured again, one after the other.
	for _, once := range slow {
		err := errTooSlow
		for try := 0; try < 10 && errors.Is(err, errTooSlow); try++ {
			err = once()
		}
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// group runs functions at the same time and keeps their errors.
type group struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (g *group) do(f func() error) {
	g.wg.Go(func() {
		if err := f(); err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.errs = append(g.errs, err)
		}
	})
}

func (g *group) wait() error {
	g.wg.Wait()
	return errors.Join(g.errs...)
}

// handler calls a sidecar in an invocation that ends at the deadline.
type handler struct {
	w        *world
	deadline time.Time
}

type object map[string]any

// WorkResult is what all completed work answers.
const WorkResult = `{"paid":10}`

func (h handler) acquire(ctx context.Context, s *sidecar, key string) (Answer, error) {
	a, err := s.post(ctx, "/acquire", object{"key": key, "client_token": "client-token-of-" + key, "deadline_ms": h.deadline.UnixMilli()}, h.deadline)
	if strings.HasPrefix(a.Detail, "deadline_ms is") {
		err = errTooSlow // The call came when the invocation was over.
	}
	return a, err
}

func (h handler) complete(ctx context.Context, s *sidecar, token string) (Answer, error) {
	return s.post(ctx, "/complete", object{"token": token, "result": json.RawMessage(WorkResult)}, h.deadline)
}

func (h handler) fail(ctx context.Context, s *sidecar, token string) (Answer, error) {
	return s.post(ctx, "/fail", object{"token": token, "error": object{"type": "Declined", "message": "no funds"}}, h.deadline)
}

// setUp has claims granted on keys while the store is well.
func (w *world) setUp(ctx context.Context, keys ...string) (handler, []string, error) {
	h := handler{w, time.Now().Add(w.Left)}
	tokens := make([]string, len(keys))
	var all group
	for i, key := range keys {
		all.do(func() error {
			a, err := h.acquire(ctx, w.sidecar, key)
			if err == nil && a.Status != "acquired" {
				err = fmt.Errorf("acquire before the outage answered %v %s", a, a.Detail)
			}
			tokens[i] = a.Token
			return err
		})
	}
	err := all.wait()
	if time.Until(h.deadline) < w.Left*3/4 {
		err = errTooSlow
	}
	return h, tokens, err
}

// sleepUntil waits until little is left of the invocation.
func (h handler) sleepUntil(left time.Duration) error {
	time.Sleep(time.Until(h.deadline.Add(-left)))
	if time.Until(h.deadline) < left/2 {
		return errTooSlow
	}
	return nil
}

// calls makes the three calls at the same time.
func (h handler) calls(ctx context.Context, key, complete, fail string) (Calls, error) {
	var c Calls
	var all group
	all.do(func() (err error) { c.Acquire, err = h.acquire(ctx, h.w.called, key); return err })
	all.do(func() (err error) { c.Complete, err = h.complete(ctx, h.w.called, complete); return err })
	all.do(func() (err error) { c.Fail, err = h.fail(ctx, h.w.called, fail); return err })
	err := all.wait()
	return c, err
}

// reject measures a condition as the sidecar is set by default.
func (b *bench) reject(ctx context.Context, row *Row) error {
	c := row.Condition
	w, err := b.newWorld(ctx, c)
	if err != nil {
		return err
	}
	defer w.close()
	row.Others, row.Again = nil, nil
	h, tokens, err := w.setUp(ctx, "completed", "failed", "completed-late", "failed-late")
	if err != nil {
		return err
	}
	if err := c.begin(ctx, w); err != nil {
		return err
	}
	var all group
	answered := make(chan struct{})
	all.do(func() (err error) {
		defer close(answered)
		if row.Early, err = h.calls(ctx, "asked", tokens[0], tokens[1]); err != nil {
			return err
		}
		return row.ask(ctx, h)
	})
	all.do(func() (err error) {
		if err := h.sleepUntil(short); err != nil {
			return err
		}
		row.Late, err = h.calls(ctx, "asked-late", tokens[2], tokens[3])
		return err
	})
	all.do(func() error {
		if err := h.sleepUntil(short); err != nil {
			return err
		}
		<-answered
		return row.ask(ctx, h)
	})
	if err := all.wait(); err != nil {
		return err
	}
	if e := row.Early; c.tight && (!e.Acquire.OK() || !e.Complete.OK() || !e.Fail.OK()) {
		return errTooSlow
	}
	if row.Asked, err = w.state(ctx, "asked"); err != nil {
		return err
	}
	if row.During, err = w.ends(ctx, ""); err != nil {
		return err
	}
	if row.DuringLate, err = w.ends(ctx, "-late"); err != nil {
		return err
	}
	if err := c.end(ctx, w); err != nil {
		return err
	}
	back := time.Now()
	// The ends of a claim are given little time until its deadline.
	time.Sleep(time.Until(h.deadline))
	return row.after(ctx, w, back, tokens[0])
}

// ask lets another host ask for the key whose complete the store may not have
// taken.
func (r *Row) ask(ctx context.Context, h handler) error {
	if r.Condition.dropTable {
		return nil // There is nothing to ask.
	}
	if time.Until(h.deadline) < short/4 {
		return nil // The calls before were answered too late: what follows is no promise.
	}
	a, err := h.w.other.post(ctx, "/acquire", object{"key": "completed", "lease_ms": 1}, h.deadline)
	if err == nil && a.Left < 0 {
		err = errTooSlow
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Others = append(r.Others, a)
	return err
}

func (w *world) ends(ctx context.Context, suffix string) (e Ends, err error) {
	if e.Complete, err = w.state(ctx, "completed"+suffix); err == nil {
		e.Fail, err = w.state(ctx, "failed"+suffix)
	}
	return e, err
}

// after looks at what has become of it all, once the store is back.
func (r *Row) after(ctx context.Context, w *world, back time.Time, token string) error {
	fresh := handler{w, time.Now().Add(patience)}
	var err error
	switch {
	case r.Condition.Want.NotOwed:
		if r.Repeated, err = fresh.complete(ctx, w.sidecar, token); err != nil {
			return err
		}
	case !r.Condition.Want.TableGone:
		for key, want := range map[string]State{"completed": Completed, "failed": Free, "completed-late": Completed, "failed-late": Free} {
			if _, err := w.until(ctx, back, key, want); err != nil {
				return err
			}
		}
		r.Settled = time.Since(back)
	}
	if r.After, err = w.ends(ctx, ""); err != nil {
		return err
	}
	if r.AfterLate, err = w.ends(ctx, "-late"); err != nil {
		return err
	}
	for _, key := range []string{"asked", "asked-late"} {
		a, err := fresh.acquire(ctx, w.sidecar, key)
		if err != nil {
			return err
		}
		r.Again = append(r.Again, a)
	}
	if r.Repeated, err = fresh.complete(ctx, w.sidecar, token); err != nil {
		return err
	}
	r.Duplicate, err = fresh.acquire(ctx, w.other, "completed")
	return err
}

// proceed measures a condition where the work runs without protection.
func (b *bench) proceed(ctx context.Context, row *Row) error {
	c, p := row.Condition, &row.Proceed
	w, err := b.newWorld(ctx, c, "IDEMPOTENCY_ON_STORE_ERROR=proceed")
	if err != nil {
		return err
	}
	defer w.close()
	h, tokens, err := w.setUp(ctx, "protected")
	if err != nil {
		return err
	}
	if err := c.begin(ctx, w); err != nil {
		return err
	}
	var all group
	all.do(func() (err error) {
		if p.Acquire, err = h.acquire(ctx, w.called, "asked"); err == nil {
			p.Complete, err = h.complete(ctx, w.called, p.Acquire.Token)
		}
		return err
	})
	all.do(func() (err error) {
		if p.Other, err = h.acquire(ctx, w.called, "asked-too"); err == nil {
			p.Fail, err = h.fail(ctx, w.called, p.Other.Token)
		}
		return err
	})
	all.do(func() (err error) { p.Protected, err = h.complete(ctx, w.called, tokens[0]); return err })
	all.do(func() (err error) {
		if err := h.sleepUntil(short); err != nil {
			return err
		}
		p.Late, err = h.acquire(ctx, w.called, "asked-late")
		return err
	})
	if err := all.wait(); err != nil {
		return err
	}
	if c.tight && (p.Acquire.Unprotected || p.Other.Unprotected) {
		return errTooSlow
	}
	p.Logged = strings.Count(w.called.Printed(), "the work runs without protection")
	if p.Counted, err = w.called.unprotected(ctx); err != nil {
		return err
	}
	if err := c.end(ctx, w); err != nil {
		return err
	}
	if !c.Want.NotOwed && !c.Want.TableGone {
		if p.ProtectedStored, err = w.until(ctx, time.Now(), "protected", Completed); err != nil {
			return err
		}
	}
	p.Stored, err = w.state(ctx, "asked")
	return err
}

// unprotected reads the metric.
func (s *sidecar) unprotected(ctx context.Context) (int, error) {
	text, err := s.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "idempotency_unprotected_total "); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, errors.New("there is no metric idempotency_unprotected_total")
}
