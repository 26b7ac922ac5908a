package client

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"
)

// BatchItem is one piece of work of a batch.
type BatchItem struct {
	// Acquire says what the item's key is. Without a deadline or a lease in it the
	// claim holds until the context's deadline, and it has to: claims are made before
	// the first item runs.
	Acquire AcquireRequest
	// Group names what has to be done in order: after an item that is not done, the
	// later ones of its group are not run. Empty: nothing waits for this item.
	Group string
	// Run does the work. The context has the claim: [ClaimFrom].
	Run func(context.Context) error
}

// HeldBackError says that an item of a batch was claimed and not run. Its claim is
// given back.
type HeldBackError struct {
	// Reason is why.
	Reason string
}

func (e *HeldBackError) Error() string { return "idempotency: not run: " + e.Reason }

// What keeps an item from being run.
var (
	outOfOrder = &HeldBackError{"an item before it in its group is not done"}
	outOfTime  = &HeldBackError{"the time left may not be enough for it"}
)

// DoBatch runs each item once per key, one after the other: all are claimed in one
// call, and at the end all claims are ended in one call of each kind. It tells of
// each item what kept it from being done: nil if it is done, by this run or by an
// earlier one, else an error as of [Do], or a [*HeldBackError]. An item with the key
// of an earlier one is not run, and shares its fate. Nothing is stored as the result.
//
// An item is not begun when the time left until the deadline is less than the
// longest run so far and what the ends take: what has been done must be told in
// time.
//
// Err is that no item was claimed, because the store was away or the call refused;
// then nothing has run. When an item panics, the claims are ended and the panic goes
// on.
func DoBatch(ctx context.Context, c *Client, items []BatchItem) (fates []error, err error) {
	b := &batch{client: c, tasks: make([]task, len(items)), limit: limitOf(ctx, items)}
	for i := range items {
		b.tasks[i] = task{BatchItem: items[i], first: -1}
	}
	if err := b.acquire(ctx); err != nil {
		return nil, err
	}
	// The claims' ends are told even if the work's own context has ended.
	defer b.end(ctx, context.WithoutCancel(ctx), &fates)
	b.run(ctx)
	return nil, nil
}

// batch is what DoBatch works on.
type batch struct {
	client *Client
	tasks  []task
	limit  limit
}

// task is an item and what is known of it.
type task struct {
	BatchItem
	// claim is held from the acquire on; nil: the item is not to be run.
	claim *Claim
	// first is the item that this one shares its fate with; -1: none.
	first int
	// ran: the work was begun.
	ran bool
	// completed: the work is done, and that was told or tried to be.
	completed bool
	// err is what kept the item from being done.
	err error
}

// run runs what was claimed, in order.
func (b *batch) run(ctx context.Context) {
	stopped := map[string]bool{}
	for i := range b.tasks {
		t := &b.tasks[i]
		if t.first >= 0 {
			t.err = b.tasks[t.first].err
		}
		if t.claim != nil {
			switch {
			case t.Group != "" && stopped[t.Group]:
				t.err = outOfOrder
			case b.limit.near():
				t.err = outOfTime
			default:
				b.runOne(ctx, i)
			}
		}
		if t.err != nil && t.Group != "" {
			stopped[t.Group] = true
		}
	}
}

func (b *batch) runOne(ctx context.Context, i int) {
	t := &b.tasks[i]
	t.ran = true
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover()
		t.err = &panicError{failureOfPanic(v)}
		for j := i + 1; j < len(b.tasks); j++ {
			if b.tasks[j].claim != nil {
				b.tasks[j].err = &HeldBackError{"an item before it ended the batch"}
			}
		}
		if v != nil {
			panic(v)
		}
	}()
	began := time.Now()
	t.err = t.Run(context.WithValue(ctx, claimInContext{}, t.claim))
	b.limit.took(time.Since(began))
	returned = true
}

// panicError stands for an item's panic until its claim is ended.
type panicError struct{ *Failure }

func (e *panicError) Error() string { return e.Message }

// limit says until when items are begun.
type limit struct {
	until   time.Time // zero: without an end
	margin  time.Duration
	longest time.Duration
}

// limitOf leaves room for the ends: a second, and a millisecond for each item, but
// no more than a fifth of the time there is.
func limitOf(ctx context.Context, items []BatchItem) limit {
	now := time.Now()
	var l limit
	earliest := func(t time.Time) {
		if !t.IsZero() && (l.until.IsZero() || t.Before(l.until)) {
			l.until = t
		}
	}
	at, _ := ctx.Deadline()
	earliest(at)
	for _, item := range items {
		earliest(item.Acquire.Deadline)
		if item.Acquire.Lease > 0 {
			earliest(now.Add(item.Acquire.Lease))
		}
	}
	l.margin = min(time.Second+time.Duration(len(items))*time.Millisecond, l.until.Sub(now)/5)
	return l
}

func (l *limit) near() bool {
	return !l.until.IsZero() && time.Until(l.until) < l.margin+l.longest
}

func (l *limit) took(d time.Duration) { l.longest = max(l.longest, d) }

// acquire asks for all claims. It is an error if none was answered, or all were
// refused because the store is away.
func (b *batch) acquire(ctx context.Context) error {
	if disabled() {
		for i := range b.tasks {
			out := b.tasks[i].Acquire.unasked(b.client)
			b.tasks[i].claim = &out.Claim
		}
		return nil
	}
	const path = "/acquire/batch"
	var send sending
	var wait time.Duration
	for i := range b.tasks {
		t := &b.tasks[i]
		body, err := t.Acquire.body(ctx)
		if err == nil {
			var text json.RawMessage
			if text, err = encodeFor(path, body); err == nil {
				send.add(i, text)
			}
		}
		t.err = err
		wait = max(wait, t.Acquire.Wait)
	}
	var away error
	answered := false
	send.each(ctx, b.client, path, wait, func(chunk []int, at int, answer json.RawMessage, err error) {
		t := &b.tasks[chunk[at]]
		if err == nil {
			err = t.answered(b.client, chunk, at, answer)
			var down *UnavailableError
			answered = answered || !errors.As(err, &down)
		}
		if t.err = err; err != nil && away == nil {
			away = err
		}
	})
	if answered || len(send.items) == 0 {
		// An item whose first was granted a claim waits for that one's fate.
		return nil
	}
	return away
}

// answered takes in the answer to the item's acquire. An error is what keeps it from
// being done.
func (t *task) answered(c *Client, chunk []int, at int, answer json.RawMessage) error {
	if err := problemIn(answer); err != nil {
		var p *ProblemError
		if errors.As(err, &p) && p.Code == "too_large" {
			return nil // It is done, and only its result has no room in the answer.
		}
		return err
	}
	var told struct {
		acquireAnswer
		SameAs *int `json:"same_as"`
	}
	if err := json.Unmarshal(answer, &told); err != nil {
		return notOfSidecar("/acquire/batch", err)
	}
	out := told.outcome(c)
	switch {
	case told.SameAs != nil && (*told.SameAs < 0 || *told.SameAs >= at):
		return notOfSidecar("/acquire/batch", errors.New("same_as is no earlier item"))
	case out.Status == Acquired:
		t.claim = &out.Claim
	case out.Status == Completed:
	case told.SameAs != nil:
		// As the first, whatever becomes of it.
		t.first = chunk[*told.SameAs]
	default:
		return out.refusal()
	}
	return nil
}

// end ends all claims and tells the fates. It also does when an item panicked.
func (b *batch) end(ctx, calling context.Context, fates *[]error) {
	if !disabled() {
		b.complete(ctx, calling)
		b.fail(ctx, calling)
	}
	list := make([]error, len(b.tasks))
	for i, t := range b.tasks {
		if t.first >= 0 {
			t.err = list[t.first]
		}
		list[i] = unmarked(t.err)
	}
	*fates = list
}

func (b *batch) complete(ctx, calling context.Context) {
	var send sending
	for i := range b.tasks {
		t := &b.tasks[i]
		if t.ran && t.err == nil {
			t.completed = true
			text, _ := json.Marshal(struct { // A string always can.
				Token string `json:"token"`
			}{t.claim.Token})
			send.add(i, text)
		}
	}
	var unstored error
	count := 0
	send.each(calling, b.client, "/complete/batch", 0, func(chunk []int, at int, answer json.RawMessage, err error) {
		if err == nil {
			err = problemIn(answer)
		}
		var lost *ClaimLostError
		switch {
		case errors.As(err, &lost):
			b.tasks[chunk[at]].err = lost
		case err != nil:
			unstored, count = err, count+1
		}
	})
	if unstored != nil {
		slog.WarnContext(ctx, "idempotency: items of a batch are done, but that could not be stored", "items", count, "error", unstored)
	}
}

func (b *batch) fail(ctx, calling context.Context) {
	var send sending
	for i, t := range b.tasks {
		if t.claim != nil && !t.completed {
			text, _ := encode(t.failure()) // Strings always can.
			send.add(i, text)
		}
	}
	var unstored error
	count := 0
	send.each(calling, b.client, "/fail/batch", 0, func(_ []int, _ int, answer json.RawMessage, err error) {
		if err == nil {
			err = problemIn(answer)
		}
		if err != nil {
			unstored, count = err, count+1
		}
	})
	if unstored != nil {
		slog.WarnContext(ctx, "idempotency: items of a batch have failed, but that could not be stored", "items", count, "error", unstored)
	}
}

// failure is what ends the claim of a task that is not done.
func (t *task) failure() failBody {
	body := failBody{Token: t.claim.Token, Retry: true}
	var panicked *panicError
	switch {
	case !t.ran:
		// Under this type the runtime proxy gives claims up, too.
		body.Error = &Failure{Type: "Idempotency.HeldBack", Message: t.err.Error()}
	case errors.As(t.err, &panicked):
		body.Error = panicked.Failure
	default:
		body.Error, body.Retry = failureOf(t.err), !isFinal(t.err)
	}
	return body
}
