package chaos

// untaken finds what callers were told that the store never took: a grant, or an
// end of a claim, that was answered and of which there is no write. A renewal may
// find a longer lease there, and write nothing.
func untaken(h *History) []Violation {
	type change struct {
		kind  Kind
		fence int64
	}
	taken := map[change]bool{}
	for _, w := range h.Writes {
		taken[change{w.Kind, w.Fence}] = true
	}
	var found []Violation
	for _, op := range h.Ops {
		told := change{op.Kind, op.Fence}
		switch {
		case op.Answer.Unknown || op.Answer.Status == "" || op.Kind == Renew:
			continue
		case op.Kind == Acquire && !op.Answer.is("acquired"):
			continue
		case op.Kind == Acquire:
			told.fence = op.Answer.Fence
		}
		if !taken[told] {
			found = append(found, Violation{Checker: ByPromise, Key: h.Key, Promise: "the store never took what was answered", Lines: []string{op.String()}})
		}
	}
	return found
}
