package idempotency

import (
	"context"
	"sync"
)

// AwaitAcquires waits until no acquire is writing a claim, or ctx is done.
func (e *Engine) AwaitAcquires(ctx context.Context) { e.granting.await(ctx) }

// gate counts who is inside, and lets others wait until nobody is.
type gate struct {
	mu     sync.Mutex
	inside int
	empty  chan struct{} // closed when the last one leaves
}

func (g *gate) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside == 0 {
		g.empty = make(chan struct{})
	}
	g.inside++
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 {
		close(g.empty)
	}
}

func (g *gate) await(ctx context.Context) {
	g.mu.Lock()
	inside, empty := g.inside, g.empty
	g.mu.Unlock()
	if inside == 0 {
		return
	}
	select {
	case <-empty:
	case <-ctx.Done():
	}
}
