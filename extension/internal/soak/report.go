package soak

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// slack is by how many goroutines or descriptors two looks at a quiet process
	// may differ.
	slack = 3
	// growth is by how much the memory of the last third of a run may exceed that
	// of the first: the collector lets it swing.
	growth = 1.10
)

// Leaks says what the process held more of at the end of the run than at its
// beginning; the first part is its warm-up. Of goroutines and descriptors no later
// part may leave more than the first did. Memory must at least once in the last third
// be as low as it was at some time in the first.
func (r *Report) Leaks() []string {
	if len(r.Rows) < 4 {
		return []string{"a run of under 4 parts shows nothing"}
	}
	var leaks []string
	first, rest := r.Rows[0], r.Rows[1:]
	for _, row := range rest {
		// A connection to the store takes two goroutines and a descriptor.
		if n := row.Quiet.Goroutines - first.Quiet.Goroutines; n > slack+2*r.Kept {
			leaks = append(leaks, fmt.Sprintf("%d goroutines more after %d requests than after %d", n, row.Requests, first.Requests))
		}
		if n := row.Quiet.Descriptors - first.Quiet.Descriptors; n > slack+r.Kept {
			leaks = append(leaks, fmt.Sprintf("%d descriptors more after %d requests than after %d", n, row.Requests, first.Requests))
		}
	}
	third := max(len(rest)/3, 1)
	resident := func(rows []Row) (list []int64) {
		for _, row := range rows {
			list = append(list, row.Quiet.Resident)
		}
		return list
	}
	before, after := slices.Max(resident(rest[:third])), slices.Min(resident(rest[len(rest)-third:]))
	if float64(after) > growth*float64(before) {
		leaks = append(leaks, fmt.Sprintf("%.1f MB resident at the least at the end, %.1f MB at the most at the beginning", mega(after), mega(before)))
	}
	return leaks
}

// Heading is the first two lines of the table of rows.
func Heading() string {
	return "| Requests | Requests/s | Goroutines (peak) | Descriptors (peak) | Resident MB (peak) | Open claims |\n" +
		"| ---: | ---: | ---: | ---: | ---: | ---: |\n"
}

// String is the row's line of the table.
func (r Row) String() string {
	return fmt.Sprintf("| %s | %s | %d (%d) | %d (%d) | %.1f (%.1f) | %d |\n",
		thousands(r.Requests), thousands(int(float64(r.Sent)/r.Took.Seconds())),
		r.Quiet.Goroutines, r.Peak.Goroutines, r.Quiet.Descriptors, r.Peak.Descriptors, mega(r.Quiet.Resident), mega(r.Peak.Resident), r.Quiet.OpenClaims)
}

func mega(bytes int64) float64 { return float64(bytes) / 1e6 }

// thousands is a number as it is read easily.
func thousands(n int) string {
	s := fmt.Sprint(n)
	var parts []string
	for ; len(s) > 3; s = s[:len(s)-3] {
		parts = append([]string{s[len(s)-3:]}, parts...)
	}
	return strings.Join(append([]string{s}, parts...), ",")
}
