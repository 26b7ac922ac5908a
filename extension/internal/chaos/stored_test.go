package chaos

import "testing"

func TestUntaken(t *testing.T) {
	grant, done := grants("r1", "a", 0, 10, 5, 1), ends(Complete, "a", 5, "R", "completed", 20, 30)
	granted := &Write{Key: "k", Kind: Acquire, Fence: epoch + 5, Request: "r1", From: at(2), To: at(8)}
	ended := &Write{Key: "k", Kind: Complete, Fence: epoch + 5, From: at(22), To: at(28)}
	for _, test := range []struct {
		name   string
		writes []*Write
		want   int
	}{
		{"all was taken", []*Write{granted, ended}, 0},
		{"the complete was not", []*Write{granted}, 1},
		{"nothing was", nil, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			if found := untaken(histories([]*Operation{grant, done}, test.writes)[0]); len(found) != test.want {
				t.Errorf("found %v", found)
			}
		})
	}
}
