// Package lifecycle takes the sidecar through a Lambda environment's life: it
// registers, follows the invocations, and settles the claims that handlers
// leave open.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// settleOnInvoke bounds the work on claims that an invocation left open.
	settleOnInvoke = 10 * time.Second
	// invocationStart is how far the start of an invocation, taken from its
	// deadline, may be off.
	invocationStart = time.Second
	// rememberedIDs is how many invocations are remembered as seen.
	rememberedIDs = 128
	// nextTries is how often a broken call for the next event is repeated.
	nextTries = 5
)

// Claims are the engine's open claims.
type Claims interface {
	SetSequential()
	Open(pick func(idempotency.OpenClaim) bool) []idempotency.OpenClaim
	Settle(ctx context.Context, list []idempotency.OpenClaim, cause idempotency.Failure, retry bool)
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

	seen     []string // the latest invocations' ids
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
	}
	return l.API.Register(ctx, extapi.Shutdown)
}

// Run follows the events until the environment shuts down, and settles the
// claims left open then.
func (l *Lifecycle) Run(ctx context.Context) error {
	for {
		e, err := l.next(ctx)
		if err != nil {
			return err
		}
		switch e.Type {
		case extapi.Invoke:
			l.invoked(ctx, e)
		case extapi.Shutdown:
			l.shutdown(ctx, e)
			return nil
		default:
			l.Log.Warn("unknown event", "type", e.Type)
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
	start := e.Deadline().Add(-l.Deadlines.Timeout() - invocationStart)
	left := l.Claims.Open(func(c idempotency.OpenClaim) bool {
		// An id that no INVOKE named is the handler's own word for something else.
		return c.RequestID != "" && (l.sawBefore(c.RequestID) && c.RequestID != e.RequestID ||
			// Lambda repeats an asynchronous event under its id.
			c.RequestID == e.RequestID && c.Acquired.Before(start))
	})
	l.saw(e.RequestID)
	if len(left) == 0 {
		return
	}
	l.settling.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, settleOnInvoke)
		defer cancel()
		l.Claims.Settle(ctx, left, idempotency.Failure{
			Type:    "Handler.Abandoned",
			Message: "the handler ended without completing or failing the claim",
		}, true)
	})
}

func (l *Lifecycle) sawBefore(id string) bool {
	for _, s := range l.seen {
		if s == id {
			return true
		}
	}
	return false
}

func (l *Lifecycle) saw(id string) {
	l.seen = append(l.seen, id)
	if len(l.seen) > rememberedIDs {
		l.seen = l.seen[1:]
	}
}

// shutdown settles every open claim: no handler is left that could.
func (l *Lifecycle) shutdown(ctx context.Context, e extapi.Event) {
	cause, retry := l.cause(e.ShutdownReason)
	ctx, cancel := context.WithTimeout(ctx, settleOnShutdown)
	defer cancel()
	open := l.Claims.Open(func(idempotency.OpenClaim) bool { return true })
	l.Claims.Settle(ctx, open, cause, retry)
	done := make(chan struct{})
	go func() { l.settling.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	l.Log.Debug("shutdown", "reason", e.ShutdownReason, "open_claims", len(open))
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
