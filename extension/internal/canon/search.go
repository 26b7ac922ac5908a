package canon

import "strings"

// searcher finds a part in strings, in time linear in their length. Package
// strings does not: it compares hashes, and with a part made to have the hash of
// the whole string everywhere, the time is the product of the lengths.
type searcher struct {
	part   string
	border []int32 // nil: the part is too short to matter, or not searched for at all
}

// shortPart is up to which length a needless comparison costs nearly nothing.
const shortPart = 64

// search charges for one search in s, or one pass of searches.
func (r *run) search(s, part string) (searcher, error) {
	if err := r.spend(1 + len(s)/workBytes); err != nil {
		return searcher{}, err
	}
	f := searcher{part: part}
	if len(part) <= shortPart || len(part) > len(s) {
		return f, nil
	}
	// An int32 for each byte of part, and up to three slower passes.
	if err := r.spend(len(part)/4 + len(s)/8); err != nil {
		return searcher{}, err
	}
	// Knuth, Morris and Pratt: border[i] is how long the longest proper prefix
	// of part[:i+1] is that is also its suffix.
	f.border = make([]int32, len(part))
	matched := 0
	for i := 1; i < len(part); i++ {
		matched = f.step(matched, part[i])
		f.border[i] = int32(matched)
	}
	return f, nil
}

// step returns how much of the part matches after c, if matched did before it.
func (f searcher) step(matched int, c byte) int {
	for matched > 0 && f.part[matched] != c {
		matched = int(f.border[matched-1])
	}
	if f.part[matched] == c {
		matched++
	}
	return matched
}

// first returns where the part stands first in s, or -1.
func (f searcher) first(s string) int {
	if f.border == nil {
		return strings.Index(s, f.part)
	}
	matched := 0
	for i := range len(s) {
		if matched = f.step(matched, s[i]); matched == len(f.part) {
			return i + 1 - matched
		}
	}
	return -1
}

// last returns where the part stands last in s, or -1.
func (f searcher) last(s string) int {
	if f.border == nil {
		return strings.LastIndex(s, f.part)
	}
	at, matched := -1, 0
	for i := range len(s) {
		if matched = f.step(matched, s[i]); matched == len(f.part) {
			at = i + 1 - matched
			matched = int(f.border[matched-1])
		}
	}
	return at
}

// count is how often the part stands in s without overlap. An empty part stands
// before each character and at the end.
func (f searcher) count(s string) int {
	if f.border == nil {
		return strings.Count(s, f.part)
	}
	n := 0
	for at := f.first(s); at >= 0; at = f.first(s) {
		n++
		s = s[at+len(f.part):]
	}
	return n
}

// split is strings.SplitN.
func (f searcher) split(s string, n int) []string {
	if f.border == nil {
		return strings.SplitN(s, f.part, n)
	}
	if all := f.count(s) + 1; n < 0 || n > all {
		n = all
	}
	parts := make([]string, 0, n)
	for len(parts) < n-1 {
		at := f.first(s)
		if at < 0 {
			break
		}
		parts = append(parts, s[:at])
		s = s[at+len(f.part):]
	}
	return append(parts, s)
}

// replace is strings.Replace.
func (f searcher) replace(s, by string, n int) string {
	if f.border == nil {
		return strings.Replace(s, f.part, by, n)
	}
	if n >= 0 {
		n++ // of splits, parts
	}
	return strings.Join(f.split(s, n), by)
}
