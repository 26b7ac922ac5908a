package chaos

import (
	"slices"
	"testing"
	"time"
)

// A store that breaks a rule of the protocol is found out within seconds.
func TestBrokenStoreIsFoundOut(t *testing.T) {
	both := []Checker{ByModel, ByPromise}
	for _, test := range []struct {
		breaks rule
		by     []Checker
	}{
		{anyToken, both},
		{noEcho, []Checker{ByModel}}, // It makes nobody work twice, but a caller wait for itself.
		{noLease, both},
		{overwrite, both},
	} {
		t.Run(string(test.breaks), func(t *testing.T) {
			shown := map[Checker]bool{}
			for seed := uint64(1); seed <= 8 && len(shown) < len(test.by); seed++ {
				for _, v := range simulate(t, test.breaks, seed, 1500*time.Millisecond).Violations {
					if slices.Contains(test.by, v.Checker) && !shown[v.Checker] {
						shown[v.Checker] = true
						t.Log(v)
					}
				}
			}
			for _, by := range test.by {
				if !shown[by] {
					t.Errorf("not found by the checker of %s", by)
				}
			}
		})
	}
}

// The same set-up with nothing broken is not.
func TestUnbrokenStoreIsNot(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		verdict := simulate(t, noRule, seed, 1500*time.Millisecond)
		for _, v := range verdict.Violations {
			t.Error(v)
		}
		if len(verdict.Undecided) > 0 {
			t.Errorf("undecided: %v", verdict.Undecided)
		}
	}
}
