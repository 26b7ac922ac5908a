package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/storetest"
)

// mute is a store that answers no look until it is told what to answer.
type mute struct {
	idempotency.Store
	looks  atomic.Int64
	answer chan error
}

func (m *mute) Ping(ctx context.Context) error {
	m.looks.Add(1)
	select {
	case err := <-m.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// All that ask while the store is looked at are told what that finds, as are
// those within a second after it; a caller that leaves does not wait.
func TestHealthLooksOnce(t *testing.T) {
	clock := storetest.NewClock()
	store := &mute{answer: make(chan error)}
	s := serve(t, at(clock.Now), on(func(m idempotency.Store) idempotency.Store { store.Store = m; return store }))
	for round, found := range []error{nil, &idempotency.StoreError{Op: "ping", Detail: "the table was not reached"}, errors.New("unknown")} {
		status := http.StatusOK
		if found != nil {
			status = http.StatusServiceUnavailable
		}
		var wg sync.WaitGroup
		ask := func() {
			if got := s.get("/health"); got.status != status {
				t.Errorf("answered %d %s, want %d", got.status, got.body, status)
			}
		}
		for range 30 {
			wg.Go(ask)
		}
		soon(s, "looked at", func() bool { return store.looks.Load() == int64(round+1) })

		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := http.DefaultClient.Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller that leaves: %v", err)
		}
		cancel()

		time.Sleep(50 * time.Millisecond) // All 30 ask by now.
		store.answer <- found
		wg.Wait()
		clock.Advance(999 * time.Millisecond)
		ask()
		if n := store.looks.Load(); n != int64(round+1) {
			t.Errorf("looked %d times, want %d", n, round+1)
		}
		clock.Advance(time.Millisecond)
	}
}

// The one that looks may leave: the others are told, and a store that does not
// answer is told within a look's time.
func TestHealthOfADeadStore(t *testing.T) {
	t.Parallel()
	store := &mute{}
	s := serve(t, on(func(m idempotency.Store) idempotency.Store { store.Store = m; return store }))
	first := s.dial()
	if _, err := first.Write([]byte("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	soon(s, "looked at", func() bool { return store.looks.Load() == 1 })
	_ = first.Close()
	start := time.Now()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { s.get("/health").problem(503, httpapi.StoreUnavailable) })
	}
	wg.Wait()
	if took, looks := time.Since(start), store.looks.Load(); took > 3*time.Second || looks != 1 {
		t.Errorf("answered after %v and %d looks", took, looks)
	}
}

// A look that panics is answered, and the next one looks again.
func TestHealthPanics(t *testing.T) {
	store := &panicking{}
	clock := storetest.NewClock()
	s := serve(t, at(clock.Now), on(func(m idempotency.Store) idempotency.Store { store.Store = m; return store }))
	s.get("/health").problem(500, httpapi.Internal)
	s.get("/health").problem(503, httpapi.StoreUnavailable)
	clock.Advance(time.Second)
	s.get("/health").problem(500, httpapi.Internal)
}

type panicking struct{ idempotency.Store }

func (*panicking) Ping(context.Context) error { panic("the store has a fault") }
