package memory_test

import (
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Suite{
		Open: func(_ *testing.T, now func() time.Time) idempotency.Store { return memory.New(now) },
	})
}
