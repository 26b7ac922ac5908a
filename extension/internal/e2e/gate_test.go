package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// patience bounds what a test waits for.
const patience = 15 * time.Second

// gate lets handlers that do "wait" go on.
type gate struct {
	*testing.T
	url string

	mu    sync.Mutex
	names map[string]*waiter
}

type waiter struct{ came, let chan struct{} }

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{T: t, names: map[string]*waiter{}}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		w := g.name(r.URL.Path)
		close(w.came)
		select {
		case <-w.let:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	g.url = srv.URL
	return g
}

func (g *gate) name(name string) *waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.names[name] == nil {
		g.names[name] = &waiter{make(chan struct{}), make(chan struct{})}
	}
	return g.names[name]
}

// await waits until the run is there: "/key/attempt".
func (g *gate) await(run string) {
	g.Helper()
	select {
	case <-g.name(run).came:
	case <-time.After(patience):
		g.Fatalf("%s has not begun after %v", run, patience)
	}
}

// let lets the run go on.
func (g *gate) let(run string) { close(g.name(run).let) }
