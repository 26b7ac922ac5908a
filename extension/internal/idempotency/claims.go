package idempotency

import (
	"context"
	"errors"
	"sync"
	"time"
)

// openClaim is a claim that this engine granted and nobody has ended yet.
type openClaim struct {
	token     token
	requestID string
	// asked is when the claim was sent to the store, acquired when it was noted.
	asked    time.Time
	acquired time.Time
	lease    time.Time
	// untold is the claim as it was sent, where the asker was told of an error: no
	// work began on it. nil: it was granted.
	untold *Record
	// owed is the end that the handler asked for and the store has not taken.
	owed *ending
	// ended is closed when the claim is no longer open; nil: nobody waits for it.
	ended chan struct{}
}

// pruneAt is the number of open claims from which lapsed ones are dropped.
const pruneAt = 1024

// owedMost bounds the results that are kept for ends which the store has not
// taken, in bytes, and owedCount the ends. A result beyond it is left out, so that
// the work is known to be done all the same; an end beyond it is not kept.
const (
	owedMost  = 16 << 20
	owedCount = 1000
)

// sameRequest is the age from which an open claim with the request id of an
// acquire belongs to an earlier invocation: Lambda repeats an asynchronous
// event, under its old id, a minute after it failed.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
const sameRequest = 30 * time.Second

// claims notes what is open.
type claims struct {
	now func() time.Time

	mu         sync.Mutex
	open       map[claimID]*openClaim
	pruneAt    int
	sequential bool
	// owed and owedBytes count the ends that are kept, and their results' bytes.
	owed      int
	owedBytes int
	// refusals tells RetryOwed that there is something to do.
	refusals chan struct{}
}

func newClaims(now func() time.Time) claims {
	return claims{now: now, open: map[claimID]*openClaim{}, pruneAt: pruneAt, refusals: make(chan struct{}, 1)}
}

func (c *claims) add(o openClaim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.open[o.token.id()]; known != nil {
		if o.untold == nil {
			known.untold = nil
		}
		return // A repeated acquire: the claim is as old as it was.
	}
	o.acquired = c.now()
	c.open[o.token.id()] = &o
	if len(c.open) >= c.pruneAt {
		c.prune()
		c.pruneAt = max(pruneAt, 2*len(c.open))
	}
}

// prune drops the lapsed claims to which nothing is owed, or of which the store
// may never have heard.
func (c *claims) prune() {
	now := c.now()
	for _, o := range c.open {
		if (o.owed == nil || o.token.unprotected && !o.owed.refused) && !now.Before(o.lease) {
			c.drop(o)
		}
	}
}

// forget drops the end that is owed to a claim.
func (c *claims) forget(o *openClaim) {
	if o.owed != nil {
		c.owed--
		c.owedBytes -= len(o.owed.result)
		o.owed = nil
	}
}

func (c *claims) drop(o *openClaim) {
	c.forget(o)
	delete(c.open, o.token.id())
	if o.ended != nil {
		close(o.ended)
	}
}

func (c *claims) remove(id claimID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.open[id]; o != nil {
		c.drop(o)
	}
}

func (c *claims) renewed(id claimID, lease time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.open[id]; o != nil && lease.After(o.lease) {
		o.lease = lease
	}
}

// owe notes the end that a handler asks for. A claim that another sidecar
// granted, or a detached one, is not this one's to settle.
func (c *claims) owe(t token, to ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.open[t.id()]
	if o == nil {
		return
	}
	c.forget(o)
	if c.owed >= owedCount {
		return
	}
	if c.owedBytes+len(to.result) > owedMost {
		to.result, to.omitted = nil, true
	}
	c.owed++
	c.owedBytes += len(to.result)
	o.token.ttl = t.ttl
	o.owed = &to
}

// refuse notes that the store did not take the end.
func (c *claims) refuse(id claimID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.open[id]; o != nil && o.owed != nil {
		o.owed.refused = true
		select {
		case c.refusals <- struct{}{}:
		default:
		}
	}
}

func (c *claims) requestID(id claimID) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.open[id]; o != nil {
		return o.requestID
	}
	return ""
}

func (c *claims) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, n := c.now(), 0
	for _, o := range c.open {
		if o.owed != nil || now.Before(o.lease) {
			n++
		}
	}
	return n
}

// leftBehind tells whether the claim on rec is one that an earlier invocation
// of this sandbox left open, which is about to be settled: the channel closes
// when it is. In a sandbox that runs one invocation at a time, a claim made
// under another request id can be nothing else.
func (c *claims) leftBehind(rec *Record, requestID string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.open[claimID{rec.Secret, rec.Fence}]
	if !c.sequential || o == nil || o.requestID == "" || requestID == "" {
		return nil
	}
	if o.requestID == requestID && c.now().Sub(o.acquired) < sameRequest {
		return nil
	}
	if o.ended == nil {
		o.ended = make(chan struct{})
	}
	return o.ended
}

// OpenClaim is what is known of an open claim.
type OpenClaim struct {
	RequestID string
	// Asked is when the claim was sent to the store, Acquired when it was granted.
	Asked    time.Time
	Acquired time.Time
	KeyHash  string
	claim    *openClaim
}

// SetSequential says that this sandbox runs one invocation at a time, so that a
// claim of another request id is a left-over.
func (e *Engine) SetSequential() {
	e.open.mu.Lock()
	defer e.open.mu.Unlock()
	e.open.sequential = true
}

// Open returns the open claims for which pick is true.
func (e *Engine) Open(pick func(OpenClaim) bool) []OpenClaim {
	e.open.mu.Lock()
	defer e.open.mu.Unlock()
	var list []OpenClaim
	for _, o := range e.open.open {
		c := OpenClaim{RequestID: o.requestID, Asked: o.asked, Acquired: o.acquired, KeyHash: KeyHash(o.token.key), claim: o}
		if pick(c) {
			list = append(list, c)
		}
	}
	return list
}

const (
	// retryOwedFirst and retryOwedMost bound the pause between two tries at ends
	// that the store did not take.
	retryOwedFirst = time.Second
	retryOwedMost  = 30 * time.Second
)

// RetryOwed writes the ends that handlers asked for and the store did not take,
// again and again until it does, or until ctx is done. Where the sandbox is
// frozen between invocations, the next one settles them.
func (e *Engine) RetryOwed(ctx context.Context) {
	for {
		select {
		case <-e.open.refusals:
		case <-ctx.Done():
			return
		}
		owed := e.refused()
		for pause := retryOwedFirst; len(owed) > 0 && ctx.Err() == nil; pause = min(2*pause, retryOwedMost) {
			waitFor(ctx, nil, pause)
			try, cancel := context.WithTimeout(ctx, storeTimeout)
			e.Settle(try, owed, Failure{Type: "Store.Unavailable"}, true)
			cancel()
			owed = e.refused()
		}
	}
}

// refused are the claims whose end the store did not take.
func (e *Engine) refused() []OpenClaim {
	return e.Open(func(c OpenClaim) bool { return c.claim.owed != nil && c.claim.owed.refused })
}

// settleWidth is how many claims are settled at once.
const settleWidth = 32

// Settle ends claims that their handlers left open: as the handler had asked
// where the store did not take it then, else as failed for the given cause. It
// returns when all are ended or ctx is done. A claim that was ended meanwhile
// is left as it is.
func (e *Engine) Settle(ctx context.Context, list []OpenClaim, cause Failure, retry bool) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, settleWidth)
	for _, c := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			e.settle(ctx, c, cause, retry)
		})
	}
	wg.Wait()
}

func (e *Engine) settle(ctx context.Context, c OpenClaim, cause Failure, retry bool) {
	e.open.mu.Lock()
	if e.open.open[c.claim.token.id()] != c.claim {
		e.open.mu.Unlock()
		return // It was ended since it was picked.
	}
	t, lease, untold := c.claim.token, c.claim.lease, c.claim.untold
	owed := c.claim.owed != nil
	to := e.failing(t, &cause, retry)
	if owed {
		to = *c.claim.owed
	}
	e.open.mu.Unlock()
	if untold != nil && !owed {
		to.status = Released
	}
	log := e.opt.Log.With("key_hash", c.KeyHash, "request_id", c.RequestID, "cause", cause.Type, "as", string(to.status))
	var err error
	if untold != nil && !owed {
		err = e.takeBack(ctx, t, untold)
	} else {
		err = e.write(ctx, t, to)
	}
	_, away := errors.AsType[*StoreError](err)
	switch {
	case away:
		log.Error("could not settle an open claim; it holds until its lease ends", "lease_expires_at", lease, "error", err)
		e.opt.Observer.Settled(cause.Type, false)
		return
	case err == nil && untold != nil && !owed:
		log.Info("released a claim whose acquire had been answered with an error; no work ran under it")
		e.opt.Observer.Settled(cause.Type, true)
	case err == nil && owed:
		log.Info("stored the end of a claim, which the store had not taken at first")
		e.opt.Observer.Settled(cause.Type, true)
	case err == nil:
		log.Warn("settled a claim that its handler left open")
		e.opt.Observer.Settled(cause.Type, true)
	default: // Ended or taken over meanwhile: nothing was left to settle.
	}
	e.open.remove(t.id())
}

// takeBack releases a claim that nobody was told of. It was no attempt, however
// few are allowed, and nothing failed.
func (e *Engine) takeBack(ctx context.Context, t token, claim *Record) error {
	now := e.opt.Now().Truncate(time.Millisecond)
	free := claim.Clone()
	free.Attempt--
	free.LeaseExpiresAt, free.UpdatedAt, free.Expiration = time.Time{}, now, expiry(now, t.ttl)
	if e.opt.History > 0 {
		free.History = append(free.History, Event{At: now, Status: Released, Detail: "the store's answer to the acquire was lost; no work ran", RequestID: claim.RequestID})
	}
	return e.store.Put(ctx, free, Condition{Prev: claim})
}
