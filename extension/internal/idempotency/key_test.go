package idempotency_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// name is what a caller names a key by.
type name struct {
	scope string
	parts []string
	hash  string // of a selection, instead of parts
}

func (n name) key(keys idempotency.Keys) (idempotency.Key, error) {
	if n.hash != "" {
		return keys.Selected(&n.scope, n.hash)
	}
	return keys.Given(&n.scope, n.parts...)
}

func (n name) equal(other name) bool {
	return n.scope == other.scope && n.hash == other.hash && slices.Equal(n.parts, other.parts)
}

// between stands between the parts of a joined pair.
const between = `","`

var (
	// The characters that separate, quote and mark in stored keys.
	drawScope = rapid.OneOf(rapid.Just(""), rapid.StringOfN(rapid.SampledFrom([]rune(`ab"[=~-,é`)), 0, 4, -1),
		rapid.Just(strings.Repeat("s", idempotency.MaxScopeBytes)))
	drawPart = rapid.OneOf(
		rapid.StringOfN(rapid.SampledFrom([]rune("ab\"[]=~-#,\\\x00é")), 1, 8, -1),
		rapid.Custom(func(t *rapid.T) string { // Parts that look like several.
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", `\`}), 2, 3).Draw(t, "looks"), between)
		}),
		rapid.StringN(1, 20, -1),
		rapid.Custom(func(t *rapid.T) string { // Near the limits, also of what is quoted.
			unit := rapid.SampledFrom([]string{"a", "\"", "\x00", "[", "~", "é"}).Draw(t, "unit")
			n := rapid.IntRange(idempotency.MaxKeyBytes/len(unit)-3, idempotency.MaxKeyBytes/len(unit)).Draw(t, "n")
			return strings.Repeat(unit, n)
		}),
	)
	drawHash = rapid.StringOfN(rapid.SampledFrom([]rune("0123456789abcdef")), 64, 64, -1)
	drawName = rapid.Custom(func(t *rapid.T) name {
		n := name{scope: drawScope.Draw(t, "scope")}
		if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
			n.hash = drawHash.Draw(t, "hash")
		} else {
			n.parts = rapid.SliceOfN(drawPart, 1, 2).Draw(t, "parts")
		}
		return n
	})
)

// near draws a name that is likely to meet n: its stored key taken as a name of
// its own, or its characters split otherwise.
func near(t *rapid.T, n name, key idempotency.Key) name {
	cut := func(s string) (string, string) {
		i := rapid.IntRange(0, len(s)).Draw(t, "cut")
		for !utf8.RuneStart((s + "\x00")[i]) {
			i--
		}
		return s[:i], s[i:]
	}
	flat := strings.Join(n.parts, "")
	switch rapid.IntRange(0, 6).Draw(t, "near") {
	case 0:
		return name{scope: n.scope, parts: []string{strings.TrimPrefix(key.Partition, n.scope+"#")}}
	case 1:
		return name{parts: []string{key.Partition}}
	case 2:
		return name{parts: []string{key.Partition, key.Sort}}
	case 3:
		a, b := cut(flat)
		return name{scope: n.scope, parts: []string{a, b}}
	case 4:
		scope, rest := cut(key.Partition)
		return name{scope: scope, parts: []string{strings.TrimPrefix(rest, "#")}}
	case 5:
		all := strings.Split(strings.Join(n.parts, between), between)
		i := rapid.IntRange(0, len(all)).Draw(t, "i")
		return name{scope: n.scope, parts: []string{strings.Join(all[:i], between), strings.Join(all[i:], between)}}
	}
	return drawName.Draw(t, "other")
}

// Two names share a stored key exactly if they are the same, and every stored
// key is within DynamoDB's limits:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
func TestKeysNeverMeet(t *testing.T) {
	for label, sortKey := range map[string]bool{"no sort key": false, "sort key": true} {
		t.Run(label, func(t *testing.T) {
			property := func(t *rapid.T) {
				keys := idempotency.Keys{SortKey: sortKey, Scope: "default"}
				a := drawName.Draw(t, "a")
				keyA, err := a.key(keys)
				if err != nil {
					return
				}
				for _, part := range []struct {
					value string
					most  int
				}{{keyA.Partition, 2048}, {keyA.Sort, 1024}} {
					if len(part.value) > part.most || !utf8.ValidString(part.value) {
						t.Fatalf("%+v is stored with a part of %d bytes: %q", a, len(part.value), part.value)
					}
				}
				if keyA.Partition == "" || (keyA.Sort != "") != sortKey {
					t.Fatalf("%+v is stored as %+v", a, keyA)
				}
				b := near(t, a, keyA)
				keyB, err := b.key(keys)
				if err != nil {
					return
				}
				if (keyA == keyB) != a.equal(b) {
					t.Fatalf("%+v is stored as %+v, and %+v as %+v", a, keyA, b, keyB)
				}
			}
			// A hundred cases, rapid's default, do not find every fault.
			for range 20 {
				rapid.Check(t, property)
			}
		})
	}
}

// Every length of key, quoted or not, stays within the limits under the longest
// scope.
func TestKeysOfEveryLengthFit(t *testing.T) {
	scope := strings.Repeat("s", idempotency.MaxScopeBytes)
	for _, sortKey := range []bool{false, true} {
		keys := idempotency.Keys{SortKey: sortKey}
		for _, unit := range []string{"a", "\"", "\x00", "é"} {
			for n := 1; n <= idempotency.MaxKeyBytes/len(unit); n++ {
				part := strings.Repeat(unit, n)
				for _, parts := range [][]string{{part}, {"[" + part[len(unit):]}, {part, part}} {
					key, err := keys.Given(&scope, parts...)
					if err != nil {
						t.Fatal(err)
					}
					if len(key.Partition) > 2048 || len(key.Sort) > 1024 {
						t.Fatalf("%d times %q in %d parts is stored with %d and %d bytes", n, unit, len(parts), len(key.Partition), len(key.Sort))
					}
				}
			}
		}
	}
}

// Without a scope of its own, a name is the same as with the default one.
func TestDefaultScope(t *testing.T) {
	keys := idempotency.Keys{Scope: "fn"}
	scope := "fn"
	with, err := keys.Given(&scope, "a")
	if err != nil {
		t.Fatal(err)
	}
	without, err := keys.Given(nil, "a")
	if err != nil {
		t.Fatal(err)
	}
	if with != without || without.Partition != "fn#a" {
		t.Errorf("%+v and %+v", with, without)
	}
}
