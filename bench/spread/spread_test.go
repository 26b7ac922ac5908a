package spread_test

import (
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/bench/spread"
)

func TestOf(t *testing.T) {
	var list []float64
	for i := 100; i > 0; i-- {
		list = append(list, float64(i))
	}
	if got, want := spread.Of(list), (spread.Spread{P10: 10, P50: 50, P90: 90, P99: 99}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if list[0] != 100 {
		t.Error("the list itself was sorted, and has lost its pairs")
	}
	if got := spread.Of(nil); got != (spread.Spread{}) {
		t.Errorf("of nothing: %v", got)
	}
}

func TestPairs(t *testing.T) {
	ratios := spread.Pairs([]float64{1, 4, 9}, []float64{2, 4, 3, 100}, spread.Ratio)
	if got := spread.Of(ratios).String(); got != "1.00 (0.50–3.00)" {
		t.Errorf("the ratios are %s", got)
	}
}
