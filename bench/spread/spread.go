// Package spread says what many measurements come to.
package spread

import (
	"fmt"
	"math"
	"slices"
)

// Spread is the middle of a list, and how far it reaches.
type Spread struct{ P10, P50, P90, P99 float64 }

// Of is the spread of a list; zeros if it is empty.
func Of(list []float64) Spread {
	sorted := slices.Sorted(slices.Values(list))
	return Spread{at(sorted, 0.1), at(sorted, 0.5), at(sorted, 0.9), at(sorted, 0.99)}
}

// at is the smallest of sorted that a share of all is not above.
func at(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(share*float64(len(sorted))))-1, 0)]
}

// Median is the middle of a list.
func Median(list []float64) float64 { return Of(list).P50 }

// Pairs sets each of one list beside its neighbour, which was measured next to it, in the other.
func Pairs(a, b []float64, beside func(a, b float64) float64) []float64 {
	n := min(len(a), len(b))
	list := make([]float64, 0, n)
	for i := range n {
		list = append(list, beside(a[i], b[i]))
	}
	return list
}

// Ratio is how much of b a is; 0 where b is nothing.
func Ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// Number writes a figure with as many digits as are worth reading.
func Number(x float64) string {
	switch size := math.Abs(x); {
	case size >= 100:
		return fmt.Sprintf("%.0f", x)
	case size >= 10:
		return fmt.Sprintf("%.1f", x)
	case size >= 0.1:
		return fmt.Sprintf("%.2f", x)
	case size == 0:
		return "0"
	}
	return fmt.Sprintf("%.3f", x)
}

// String is the median with what most are within.
func (s Spread) String() string {
	return fmt.Sprintf("%s (%s–%s)", Number(s.P50), Number(s.P10), Number(s.P90))
}

// Plain writes a figure that is exact.
func Plain(x float64) string { return fmt.Sprintf("%g", x) }
