package main

import (
	"math"
	"slices"
	"time"
)

// added is what one way takes more than another, over many pairs that were measured side by side.
type added struct {
	p10, p50, p90, p99 time.Duration
}

// compare takes each of with minus the one of without that was measured beside it.
func compare(without, with []time.Duration) added {
	differences := make([]time.Duration, len(with))
	for i := range with {
		differences[i] = with[i] - without[i]
	}
	slices.Sort(differences)
	return added{
		p10: quantile(differences, 0.1), p50: quantile(differences, 0.5), p90: quantile(differences, 0.9), p99: quantile(differences, 0.99),
	}
}

// quantile is the smallest of sorted that a share of all is not above; 0 if there are none.
func quantile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	at := int(math.Ceil(share*float64(len(sorted)))) - 1
	return sorted[max(at, 0)]
}
