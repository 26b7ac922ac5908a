package main

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		sorted []time.Duration
		share  float64
		want   time.Duration
	}{
		{hundred, 0.1, 10}, {hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0, 1},
		{hundred[:1], 0.5, 1}, {hundred[:3], 0.5, 2}, {nil, 0.5, 0},
	} {
		if got := quantile(c.sorted, c.share); got != c.want {
			t.Errorf("quantile %v of %d is %d, want %d", c.share, len(c.sorted), got, c.want)
		}
	}
}

// A moment in which the machine is slower for both is not counted as added.
func TestCompareTakesPairs(t *testing.T) {
	without := []time.Duration{10, 1000, 20, 10}
	with := []time.Duration{15, 1006, 27, 18}
	got := compare(without, with)
	if want := (added{p10: 5, p50: 6, p90: 8, p99: 8}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestComparedPairsACallWithThePlainOneBeforeIt(t *testing.T) {
	times := callTimes{
		Plain:     []time.Duration{1, 100, 1, 100, 1, 100},
		First:     []time.Duration{8, 8, 8},
		Duplicate: []time.Duration{103, 103, 103},
	}
	plain, first, duplicate := times.compared()
	if plain != 1 || first.p50 != 7 || duplicate.p50 != 3 {
		t.Errorf("plain %d, first run +%d, duplicate +%d", plain, first.p50, duplicate.p50)
	}
}
