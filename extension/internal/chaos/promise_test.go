package chaos

import (
	"strings"
	"testing"
)

func TestPromises(t *testing.T) {
	first := grants("r1", "a", 0, 10, 5, 1)
	done := ends(Complete, "a", 5, "R", "completed", 20, 30)
	sameToken := grants("r2", "b", 110, 120, 115, 2)
	sameToken.Answer.Token = first.Answer.Token
	internal := waits("b", "r1", 40, 50, 105)
	internal.Answer = Answer{Unknown: true, Problem: "internal"}
	for _, test := range []struct {
		name string
		ops  []*Operation
		want string // within the promise that is reported; empty: none is
	}{
		{"a run, its replay, and another when it expired", []*Operation{first, done, replays("b", "r1", "R", 40, 50), grants("r2", "b", 2000, 2010, 2005, 1)}, ""},
		{"a takeover when the lease has ended", []*Operation{first, grants("r2", "b", 100, 120, 106, 2)}, ""},
		{"a takeover when the work has ended", []*Operation{first, ends(Release, "a", 5, "E", "released", 20, 30), grants("r2", "b", 22, 28, 25, 2)}, ""},
		{"a takeover before", []*Operation{first, grants("r2", "b", 20, 40, 30, 2)}, "two callers work at once"},
		{"a takeover of a renewed claim", []*Operation{first, renews("a", 5, 190, 90, 100), grants("r2", "b", 106, 120, 115, 2)}, "two callers work at once"},
		{"two results", []*Operation{first, ends(Complete, "a", 5, "R", "", 20, 30), ends(Complete, "a", 5, "S", "", 20, 30), replays("b", "r1", "R", 40, 50), replays("c", "r1", "S", 40, 50)}, "different results"},
		{"a result from nowhere", []*Operation{first, done, replays("b", "r1", "S", 40, 50)}, "nobody had sent"},
		{"a result changed", []*Operation{first, done, ends(Complete, "a", 5, "S", "completed", 40, 50), replays("b", "r1", "S", 60, 70)}, "changed later"},
		{"granted again", []*Operation{first, done, grants("r2", "b", 900, 910, 905, 1)}, "granted again"},
		{"forgotten", []*Operation{first, done, waits("b", "r1", 40, 50, 105)}, "forgotten"},
		{"a lower fence", []*Operation{first, grants("r2", "b", 110, 120, 3, 2)}, "lower fence"},
		{"the same fence", []*Operation{first, grants("r2", "b", 110, 120, 5, 2)}, "the same fence"},
		{"the same token", []*Operation{first, sameToken}, "the same token"},
		{"a fault of the sidecar", []*Operation{first, internal}, "has a fault"},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := promises(histories(test.ops, nil)[0])
			switch {
			case test.want == "" && len(found) > 0:
				t.Errorf("reported: %s", found[0])
			case test.want != "" && (len(found) == 0 || !strings.Contains(found[0].Promise, test.want)):
				t.Errorf("reported: %v, want %q", found, test.want)
			}
		})
	}
}
