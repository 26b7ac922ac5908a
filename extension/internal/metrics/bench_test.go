package metrics_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/metrics"
)

// prompt is a store that takes everything at once.
type prompt struct{ idempotency.Store }

func (prompt) Put(context.Context, *idempotency.Record, idempotency.Condition) error { return nil }

// What is counted for one acquire.
func BenchmarkAcquire(b *testing.B) {
	m := metrics.New("1.2.3")
	store := m.Store(prompt{})
	b.ReportAllocs()
	for b.Loop() {
		_ = store.Put(b.Context(), nil, idempotency.Condition{})
		m.Capacity("put", 1)
		m.Acquired(idempotency.OutcomeAcquired)
		m.Answered("acquire", http.StatusOK, "", time.Millisecond)
	}
}
