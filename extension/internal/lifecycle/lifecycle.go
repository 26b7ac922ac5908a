// Package lifecycle takes the sidecar through a Lambda environment's life: it
// registers, follows the invocations, and settles the claims that handlers
// leave open.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

const (
	// settleOnShutdown is how much of the 2 s that Lambda gives an extension at
	// the end goes to open claims:
	// https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown
	settleOnShutdown = 1500 * time.Millisecond
	// shutdownReserve is what is left of those 2 s for the rest. A runtime that
	// was slow to end has used up some of them before SHUTDOWN comes.
	shutdownReserve = 400 * time.Millisecond
	// settleLeast holds where the deadline of SHUTDOWN leaves less.
	settleLeast = 300 * time.Millisecond
	// shutdownReport is what is left of the time for claims to tell of those that
	// the store did not take.
	shutdownReport = 50 * time.Millisecond
	// settleOnInvoke bounds the work on claims that an invocation left open.
	settleOnInvoke = 10 * time.Second
	// invocationStart is how far the start of an invocation, taken from its
	// deadline, may be off.
	invocationStart = time.Second
	// rememberedIDs is how many invocations are remembered as seen.
	rememberedIDs = 128
	// nextTries is how often the next event is asked for when the call breaks, or
	// what comes is none.
	nextTries = 5
)

// Claims are the engine's open claims.
type Claims interface {
	SetSequential()
	Open(pick func(idempotency.OpenClaim) bool) []idempotency.OpenClaim
	Settle(ctx context.Context, list []idempotency.OpenClaim, cause idempotency.Failure, retry bool)
	AwaitAcquires(ctx context.Context)
}

// Lifecycle follows one Lambda environment.
type Lifecycle struct {
	API       *extapi.Client
	Claims    Claims
	Deadlines *Deadlines
	// Managed: Lambda Managed Instances, where no INVOKE comes.
	Managed bool
	// FailOnTimeout: a claim that a timeout left open becomes a final failure.
	FailOnTimeout bool
	Log           *slog.Logger

	seen []string // the latest invocations' ids

	mu       sync.Mutex
	busy     map[idempotency.OpenClaim]bool // being settled
	settling sync.WaitGroup
}

// Register registers for what this kind of environment sends.
func (l *Lifecycle) Register(ctx context.Context) error {
	if !l.Managed {
		err := l.API.Register(ctx, extapi.Invoke, extapi.Shutdown)
		if !extapi.Refused(err) {
			if err == nil {
				l.Claims.SetSequential()
			}
			return err
		}
		l.Log.Info("INVOKE events are refused here; settling open claims at shutdown only")
		l.Deadlines.Fix()
	}
	return l.API.Register(ctx, extapi.Shutdown)
}

// Run follows the events until the environment shuts down, and settles the
// claims left open then.
func (l *Lifecycle) Run(ctx context.Context) error {
	for unknown := 0; ; {
		e, err := l.next(ctx)
		if err != nil {
			return err
		}
		switch e.Type {
		case extapi.Invoke:
			unknown = 0
			l.invoked(ctx, e)
		case extapi.Shutdown:
			l.shutdown(ctx, e)
			return nil
		default:
			// One of a kind that this version does not know is no harm, but an API that
			// answers at once with nothing would keep the CPU busy for ever.
			l.Log.Warn("unknown event", "type", e.Type)
			if unknown++; unknown == nextTries {
				return fmt.Errorf("extensions API: %d events in a row are of no known type, the last %q", unknown, e.Type)
			}
		}
	}
}

// next repeats a call that broke. An error status is final: Lambda asks an
// extension to end then.
func (l *Lifecycle) next(ctx context.Context) (extapi.Event, error) {
	for try := 1; ; try++ {
		e, err := l.API.Next(ctx)
		var status *extapi.StatusError
		if err == nil || errors.As(err, &status) || ctx.Err() != nil || try == nextTries {
			return e, err
		}
		l.Log.Warn("the call for the next event broke; trying again", "error", err)
		time.Sleep(time.Duration(try) * 20 * time.Millisecond)
	}
}

// invoked learns from an invocation and settles what earlier ones left open. It
// picks those before it returns, because the next invocation's claims, made
// once Lambda hears of this one's end, must not be among them; it does not wait
// for their settling, which would hold up the invocation's end.
func (l *Lifecycle) invoked(ctx context.Context, e extapi.Event) {
	l.Deadlines.Learn(e)
	begun := l.Deadlines.now()
	start := e.Deadline().Add(-l.Deadlines.Timeout() - invocationStart)
	earlier := slices.Clone(l.seen)
	left := func(c idempotency.OpenClaim) bool {
		// An id that no INVOKE named is the handler's own word for something else, or
		// that of this invocation. Lambda repeats an asynchronous event under its id.
		return slices.Contains(earlier, c.RequestID) && (c.RequestID != e.RequestID || c.Acquired.Before(start))
	}
	list := l.take(left)
	l.saw(e.RequestID)
	l.settle(ctx, settleOnInvoke, list, abandoned(), true)
	l.settling.Go(func() {
		// An acquire that an earlier invocation did not wait for, or was frozen with,
		// may be granted only now.
		ctx, cancel := context.WithTimeout(ctx, settleOnInvoke)
		defer cancel()
		l.Claims.AwaitAcquires(ctx)
		// What was asked for since is not: an earlier event may have been repeated
		// meanwhile, under its id.
		late := l.take(func(c idempotency.OpenClaim) bool {
			return left(c) && c.Asked.Before(begun) && !slices.Contains(list, c)
		})
		l.settle(context.WithoutCancel(ctx), settleOnInvoke, late, abandoned(), true)
	})
}

func abandoned() idempotency.Failure {
	return idempotency.Failure{
		Type:    "Handler.Abandoned",
		Message: "the handler ended without completing or failing the claim",
	}
}

// take returns the open claims for which pick is true, but for those that are
// being settled: the store may be slower than the next event.
func (l *Lifecycle) take(pick func(idempotency.OpenClaim) bool) []idempotency.OpenClaim {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.Claims.Open(func(c idempotency.OpenClaim) bool { return !l.busy[c] && pick(c) })
	if l.busy == nil {
		l.busy = map[idempotency.OpenClaim]bool{}
	}
	for _, c := range list {
		l.busy[c] = true
	}
	return list
}

// settle settles claims that were taken. It does not wait for it.
func (l *Lifecycle) settle(ctx context.Context, limit time.Duration, list []idempotency.OpenClaim, cause idempotency.Failure, retry bool) {
	if len(list) == 0 {
		return
	}
	l.settling.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		l.Claims.Settle(ctx, list, cause, retry)
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, c := range list {
			delete(l.busy, c)
		}
	})
}

func (l *Lifecycle) sawBefore(id string) bool { return slices.Contains(l.seen, id) }

// current is the id of the latest invocation.
func (l *Lifecycle) current() string {
	if len(l.seen) == 0 {
		return ""
	}
	return l.seen[len(l.seen)-1]
}

func (l *Lifecycle) saw(id string) {
	l.seen = append(l.seen, id)
	if len(l.seen) > rememberedIDs {
		l.seen = l.seen[1:]
	}
}

// shutdown settles every open claim: no handler is left that could. It returns
// in time even if the store hangs.
func (l *Lifecycle) shutdown(ctx context.Context, e extapi.Event) {
	limit := settleOnShutdown
	if left := time.Until(e.Deadline()) - shutdownReserve; left < limit {
		limit = max(left, settleLeast)
	}
	ctx, cancel := context.WithTimeout(ctx, limit-shutdownReport)
	defer cancel()
	cause, retry := l.cause(e.ShutdownReason)
	// What an earlier invocation left has nothing to do with this end. It is here
	// if the store did not take its settling.
	left := l.take(func(c idempotency.OpenClaim) bool { return l.sawBefore(c.RequestID) && c.RequestID != l.current() })
	l.settle(ctx, limit, left, abandoned(), true)
	open := l.take(func(idempotency.OpenClaim) bool { return true })
	l.settle(ctx, limit, open, cause, retry)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// An acquire that was under way has made a claim that nobody will hear of.
		for quiet := false; !quiet && ctx.Err() == nil; {
			round, next := context.WithTimeout(ctx, 50*time.Millisecond)
			l.Claims.AwaitAcquires(round)
			quiet = round.Err() == nil
			next()
			l.settle(ctx, limit, l.take(func(idempotency.OpenClaim) bool { return true }), cause, retry)
		}
		l.settling.Wait()
		if ctx.Err() != nil {
			return // What is open has been told of.
		}
		l.settle(ctx, limit, l.take(func(idempotency.OpenClaim) bool { return true }), cause, retry)
		l.settling.Wait()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	l.Log.Debug("shutdown", "reason", e.ShutdownReason, "open_claims", len(left)+len(open))
}

// cause tells what became of the handler, from the reason of the shutdown. An
// unknown reason is taken for a failure.
func (l *Lifecycle) cause(reason string) (cause idempotency.Failure, retry bool) {
	switch strings.ToLower(reason) {
	case "timeout":
		return idempotency.Failure{Type: "Sandbox.Timedout", Message: "the function timed out before it completed or failed the claim"}, !l.FailOnTimeout
	case "spindown":
		return idempotency.Failure{Type: "Sandbox.Spindown", Message: "the environment was shut down before the claim was completed or failed"}, true
	}
	return idempotency.Failure{Type: "Runtime.ExitError", Message: fmt.Sprintf("the runtime ended before the claim was completed or failed (%s)", reason)}, true
}
