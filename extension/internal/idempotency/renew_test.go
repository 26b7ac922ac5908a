package idempotency_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

// holdsBack keeps the first update for later, as a network does that delivers a
// request after its sender gave it up.
type holdsBack struct {
	idempotency.Store
	late func() error
}

func (h *holdsBack) Update(ctx context.Context, key idempotency.Key, change idempotency.Change) error {
	if h.late == nil {
		h.late = func() error { return h.Store.Update(ctx, key, change) }
		return &idempotency.StoreError{Op: "update", Detail: "no answer"}
	}
	return h.Store.Update(ctx, key, change)
}

// A renewal that comes late does not take back what a later one was answered.
func TestLateRenewal(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	clock := func() time.Time { return now }
	store := &holdsBack{Store: memory.New(clock)}
	e := idempotency.NewEngine(store, idempotency.Options{TTL: time.Hour, Now: clock, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	ctx := context.Background()
	ask := idempotency.AcquireRequest{Key: idempotency.Key{Partition: "k"}, Lease: time.Second}
	got, err := e.Acquire(ctx, ask)
	if err != nil || got.Status != idempotency.OutcomeAcquired {
		t.Fatal(got.Status, err)
	}
	var down *idempotency.StoreError
	if _, err := e.Renew(ctx, got.Token, now.Add(2*time.Second)); !errors.As(err, &down) {
		t.Fatal(err)
	}
	if _, err := e.Renew(ctx, got.Token, now.Add(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	_ = store.late()
	now = now.Add(5 * time.Second) // Half of the lease that was answered is left.
	if other, err := e.Acquire(ctx, ask); err != nil || other.Status != idempotency.OutcomeInProgress {
		t.Errorf("another caller's acquire answered %q, %v: two work at once", other.Status, err)
	}
}
