package machine_test

import (
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/bench/machine"
)

func TestBusy(t *testing.T) {
	for load, want := range map[string]bool{"0.90": false, "1.90": false, "2.10": true, "13.75": true, "unknown": false} {
		if got := (machine.Machine{Cores: 2, LoadBefore: load}).Busy(); got != want {
			t.Errorf("a load of %s on 2 cores: %v, want %v", load, got, want)
		}
	}
}
