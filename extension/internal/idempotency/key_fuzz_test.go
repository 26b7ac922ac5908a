package idempotency_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// spelled is a name as the fuzzer makes it: parts 1 and 2 are keys of so many
// parts, 0 is the hash of a selection.
func spelled(scope, a, b string, parts uint8) name {
	switch parts % 3 {
	case 0:
		return name{scope: scope, hash: fmt.Sprintf("%064x", a)[:64]}
	case 1:
		return name{scope: scope, parts: []string{a}}
	}
	return name{scope: scope, parts: []string{a, b}}
}

// FuzzKeys shows that two names never share a stored key unless they are the same,
// that a stored key fits a table, and that what is refused is refused for what it
// is and not for its neighbour.
func FuzzKeys(f *testing.F) {
	for _, c := range []struct {
		scopeA, a1, a2 string
		partsA         uint8
		scopeB, b1, b2 string
		partsB         uint8
	}{
		{"fn", "a", "b", 2, "fn", `["a","b"]`, "", 1},
		{"fn", "a", "b,c", 2, "fn", "a,b", "c", 2},
		{"fn", `a","b`, "c", 2, "fn", "a", `b","c`, 2},
		{"fn", "a#b", "", 1, "fn#a", "b", "", 1},
		{"", "fn#a", "", 1, "fn", "a", "", 1},
		{"fn", "a", "-", 2, "fn", "a", "", 1},
		{"fn", "a", "", 0, "fn", "=61", "", 1},
		{"fn", `"`, "", 1, "fn", `"\""`, "", 1},
		{"fn", "~a", "", 1, "fn", `"~a"`, "", 1},
		{"", "a", "", 1, "a", "a", "", 1},
		{"\xff", "a", "", 1, "fn", "\xed\xa0\x80", "", 1},
		{"fn", "", "a", 2, "fn", "a", "", 2},
	} {
		f.Add(c.scopeA, c.a1, c.a2, c.partsA, c.scopeB, c.b1, c.b2, c.partsB)
	}
	f.Fuzz(func(t *testing.T, scopeA, a1, a2 string, partsA uint8, scopeB, b1, b2 string, partsB uint8) {
		a, b := spelled(scopeA, a1, a2, partsA), spelled(scopeB, b1, b2, partsB)
		for _, keys := range []idempotency.Keys{{Scope: "default"}, {Scope: "default", SortKey: true}} {
			keyA, errA := a.key(keys)
			keyB, errB := b.key(keys)
			if want, certain := usable(a, keys.SortKey); certain && (errA == nil) != want {
				t.Fatalf("%+v, sort key %v: %+v, %v", a, keys.SortKey, keyA, errA)
			}
			if errA != nil {
				if keyA != (idempotency.Key{}) {
					t.Fatalf("%+v was refused and is stored as %+v", a, keyA)
				}
				continue
			}
			if keyA.Partition == "" || len(keyA.Partition) > 2048 || len(keyA.Sort) > 1024 || (keyA.Sort != "") != keys.SortKey ||
				!utf8.ValidString(keyA.Partition) || !utf8.ValidString(keyA.Sort) {
				t.Fatalf("%+v is stored as %+v", a, keyA)
			}
			if errB == nil && (keyA == keyB) != a.equal(b) {
				t.Fatalf("%+v is stored as %+v, and %+v as %+v", a, keyA, b, keyB)
			}
			if scopeA != "" { // The same name means the same without its scope where that is the default.
				keys.Scope, a.scope = scopeA, ""
				if again, err := without(a, keys); err != nil || again != keyA {
					t.Fatalf("%+v is stored as %+v with its scope, as %+v by default (%v)", a, keyA, again, err)
				}
				a.scope = scopeA
			}
		}
	})
}

// without is the key of a name that says no scope.
func without(n name, keys idempotency.Keys) (idempotency.Key, error) {
	if n.hash != "" {
		return keys.Selected(nil, n.hash)
	}
	return keys.Given(nil, n.parts...)
}

// usable is what the API's description says of names. Where a name without a scope
// holds "#" and is so long that a hash of it may be stored, it is not certain.
func usable(n name, sortKey bool) (ok, certain bool) {
	if len(n.scope) > 255 || strings.Contains(n.scope, "#") || !utf8.ValidString(n.scope) {
		return false, true
	}
	for _, p := range n.parts {
		if p == "" || len(p) > 1024 || !utf8.ValidString(p) {
			return false, true
		}
	}
	if len(n.parts) == 2 && sortKey && n.parts[1] == "-" {
		return false, true
	}
	inPartition := strings.Join(n.parts, "")
	if len(n.parts) == 2 && sortKey {
		inPartition = n.parts[0]
	}
	if n.scope == "" && strings.Contains(inPartition, "#") {
		return false, len(inPartition) < 250
	}
	return true, true
}
