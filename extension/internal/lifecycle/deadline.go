package lifecycle

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi"
)

const (
	// firstInvoke is how long a claim waits for the first INVOKE, which may come
	// a moment after the handler's own call: the two have no fixed order.
	firstInvoke = 50 * time.Millisecond
	// longestTimeout is the longest that a function may run:
	// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
	longestTimeout = 15 * time.Minute
	// repeatedAfter is less than the minute after which Lambda repeats an
	// asynchronous event under its id:
	// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
	repeatedAfter = 30 * time.Second
)

// Deadlines tells when a claim made now lapses, where the handler did not say.
type Deadlines struct {
	now func() time.Time

	// lease holds outside Lambda and on Managed Instances, where no INVOKE tells
	// the function's timeout.
	lease   time.Duration
	warn    *slog.Logger
	warning sync.Once

	mu      sync.Mutex
	learned chan struct{} // closed at the first INVOKE; nil: there will be none
	timeout time.Duration
	latest  extapi.Event // the latest INVOKE
	arrived time.Time    // when it came
}

// FixedDeadlines are a lease from now. With a logger, the first use warns that
// the handler gave no deadline.
func FixedDeadlines(now func() time.Time, lease time.Duration, warn *slog.Logger) *Deadlines {
	return &Deadlines{now: now, lease: lease, warn: warn}
}

// LearnedDeadlines are the function's timeout from now, as INVOKE tells it.
func LearnedDeadlines(now func() time.Time, lease time.Duration, warn *slog.Logger) *Deadlines {
	d := FixedDeadlines(now, lease, warn)
	d.learned = make(chan struct{})
	return d
}

// Fix makes them FixedDeadlines: no INVOKE will come.
func (d *Deadlines) Fix() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.learned = nil
}

// Learn takes the timeout from an INVOKE. It is a whole number of seconds in
// Lambda, and what is left of it at arrival can only be less, so it is rounded
// up, and the largest one seen holds: a claim may end late, never early.
func (d *Deadlines) Learn(e extapi.Event) {
	left := e.Deadline().Sub(d.now())
	timeout := (min(left, longestTimeout) + time.Second - 1).Truncate(time.Second)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.learned == nil {
		return
	}
	if d.timeout == 0 && timeout > 0 {
		close(d.learned)
	}
	d.timeout = max(d.timeout, timeout)
	d.latest, d.arrived = e, d.now()
}

// InvocationEnd is when the invocation with the given id is killed. It is exact
// if that is the latest INVOKE's id, and that came not long ago: a repeated
// invocation has the id of the earlier one, whose end is too early for it. Else
// it is the function's timeout from now, which is late by what has passed since
// the start, or the zero time where the timeout is not known.
func (d *Deadlines) InvocationEnd(requestID string) (end time.Time, exact bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case requestID != "" && requestID == d.latest.RequestID:
		return d.latest.Deadline(), d.now().Sub(d.arrived) < repeatedAfter
	case d.timeout > 0:
		return d.now().Add(d.timeout), false
	}
	return time.Time{}, false
}

// Timeout is the function's timeout as far as it is known, else 0.
func (d *Deadlines) Timeout() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.timeout
}

// Deadline is when a claim made now lapses.
func (d *Deadlines) Deadline(ctx context.Context) time.Time {
	d.mu.Lock()
	learned := d.learned
	d.mu.Unlock()
	if learned == nil {
		if d.warn != nil {
			d.warning.Do(func() {
				d.warn.Warn("a claim came without deadline_ms or lease_ms, and on Lambda Managed Instances the sidecar cannot learn the function's timeout; the claim holds for IDEMPOTENCY_LEASE", "lease", d.lease.String())
			})
		}
		return d.now().Add(d.lease)
	}
	wait := time.NewTimer(firstInvoke)
	defer wait.Stop()
	select {
	case <-learned:
	case <-wait.C:
	case <-ctx.Done():
	}
	return d.now().Add(cmp.Or(d.Timeout(), longestTimeout))
}
