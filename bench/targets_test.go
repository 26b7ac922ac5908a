package main

import (
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/bench/spread"
)

func TestVerdict(t *testing.T) {
	at := func(v float64) spread.Spread { return spread.Spread{P10: v, P50: v, P90: v} }
	for _, c := range []struct {
		found, most float64
		want        string
	}{{0.33, 0.33, "reached"}, {0.2, 0.33, "reached"}, {0.66, 0.33, "missed, by 0.33 (100 %)"}, {36, 30, "missed, by 6.00 ms (20 %)"}} {
		unit := ""
		if strings.Contains(c.want, " ms") {
			unit = " ms"
		}
		if got := (target{"", at(c.found), c.most, unit, ""}).verdict(); got != c.want {
			t.Errorf("%g of %g at most: %q, want %q", c.found, c.most, got, c.want)
		}
	}
	// What was not measured has not reached anything.
	if got := (target{"", spread.Spread{}, 1, "", ""}).verdict(); got != "not measured" {
		t.Errorf("of nothing: %q", got)
	}
}
