package canon_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"pgregory.net/rapid"
)

// tree is a JSON value as the tests see it: nil, bool, string, dec, []tree or
// map[string]tree. It knows nothing of canonical texts.
type tree any

// dec is the number coefficient × 10^exp; same compares by value.
type dec struct {
	coefficient *big.Int
	exp         int
}

func (d dec) rat() *big.Rat {
	r := new(big.Rat).SetInt(d.coefficient)
	power := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(abs(d.exp))), nil))
	if d.exp < 0 {
		return r.Quo(r, power)
	}
	return r.Mul(r, power)
}

func abs(n int) int { return max(n, -n) }

// same is equality of JSON values.
func same(a, b tree) bool {
	switch x := a.(type) {
	case dec:
		y, ok := b.(dec)
		return ok && x.rat().Cmp(y.rat()) == 0
	case []tree:
		y, ok := b.([]tree)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !same(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]tree:
		y, ok := b.(map[string]tree)
		if !ok || len(x) != len(y) {
			return false
		}
		for name := range x {
			other, ok := y[name]
			if !ok || !same(x[name], other) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a, b)
}

var drawString = rapid.OneOf(
	rapid.StringOfN(rapid.SampledFrom([]rune("ab\"\\/\n\x00\x1f\u007f\u0080\u00e9\u2028\ufb33\uffff\U0001f602\U0010ffff")), 0, 6, -1),
	rapid.String(),
)

var drawNumber = rapid.Custom(func(t *rapid.T) dec {
	digits := rapid.OneOf(
		rapid.StringMatching(`-?[0-9]{1,3}`),
		rapid.StringMatching(`-?[1-9][0-9]{15,40}`),
		rapid.StringMatching(`-?[1-9]0{0,25}`),
	).Draw(t, "digits")
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		t.Fatalf("not an integer: %s", digits)
	}
	return dec{n, rapid.OneOf(rapid.IntRange(-3, 3), rapid.IntRange(-45, 45)).Draw(t, "exp")}
})

func drawTree(depth int) *rapid.Generator[tree] {
	scalars := []*rapid.Generator[tree]{
		rapid.Just(tree(nil)),
		rapid.Map(rapid.Bool(), func(b bool) tree { return b }),
		rapid.Map(drawString, func(s string) tree { return s }),
		rapid.Map(drawNumber, func(d dec) tree { return d }),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	inner := drawTree(depth - 1)
	return rapid.OneOf(append(scalars,
		rapid.Map(rapid.SliceOfN(inner, 0, 4), func(l []tree) tree { return l }),
		rapid.Map(rapid.MapOfN(drawString, inner, 0, 4), func(m map[string]tree) tree { return m }),
	)...)
}

// render writes a tree in one of its many spellings.
func render(rng *rand.Rand, v tree) string {
	var b strings.Builder
	var write func(tree)
	space := func() { b.WriteString([]string{"", "", "", " ", "\n", "\t\r "}[rng.Intn(6)]) }
	write = func(v tree) {
		space()
		switch x := v.(type) {
		case nil:
			b.WriteString("null")
		case bool:
			fmt.Fprint(&b, x)
		case string:
			b.WriteString(spellString(rng, x))
		case dec:
			b.WriteString(spellNumber(rng, x))
		case []tree:
			b.WriteByte('[')
			for i, item := range x {
				if i > 0 {
					b.WriteByte(',')
				}
				write(item)
			}
			space()
			b.WriteByte(']')
		case map[string]tree:
			names := make([]string, 0, len(x))
			for name := range x {
				names = append(names, name)
			}
			rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			b.WriteByte('{')
			for i, name := range names {
				if i > 0 {
					b.WriteByte(',')
				}
				space()
				b.WriteString(spellString(rng, name))
				space()
				b.WriteByte(':')
				write(x[name])
			}
			space()
			b.WriteByte('}')
		}
		space()
	}
	write(v)
	return b.String()
}

func spellString(rng *rand.Rand, s string) string {
	var b strings.Builder
	unit := func(u rune) { fmt.Fprintf(&b, []string{`\u%04x`, `\u%04X`}[rng.Intn(2)], u) }
	short := map[rune]string{'"': `\"`, '\\': `\\`, '/': `\/`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
	b.WriteByte('"')
	for _, r := range s {
		escape, isShort := short[r]
		must := r < 0x20 || r == '"' || r == '\\'
		switch {
		case isShort && rng.Intn(2) == 0:
			b.WriteString(escape)
		case !must && rng.Intn(3) > 0:
			b.WriteRune(r)
		case r >= 0x10000:
			unit(0xd800 + (r-0x10000)>>10)
			unit(0xdc00 + (r-0x10000)&0x3ff)
		default:
			unit(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// spellNumber moves the point anywhere, and puts zeros where they do not matter.
func spellNumber(rng *rand.Rand, d dec) string {
	digits := new(big.Int).Abs(d.coefficient).String()
	exp := d.exp
	zeros := rng.Intn(4)
	digits += strings.Repeat("0", zeros)
	exp -= zeros
	sign := ""
	if d.coefficient.Sign() < 0 || d.coefficient.Sign() == 0 && rng.Intn(2) == 0 {
		sign = "-"
	}
	point := rng.Intn(len(digits)+6) - 3 // how many digits stand before the point
	exp += len(digits) - point
	var whole, fraction string
	switch {
	case point <= 0:
		whole, fraction = "0", strings.Repeat("0", -point)+digits
	case point >= len(digits):
		whole = digits + strings.Repeat("0", point-len(digits))
	default:
		whole, fraction = digits[:point], digits[point:]
	}
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	out := sign + whole
	if fraction != "" {
		out += "." + fraction
	}
	if exp == 0 && rng.Intn(2) == 0 {
		return out
	}
	out += []string{"e", "E"}[rng.Intn(2)]
	if exp < 0 {
		out += "-"
	} else {
		out += []string{"", "+"}[rng.Intn(2)]
	}
	return out + strings.Repeat("0", rng.Intn(3)*10) + strconv.Itoa(abs(exp))
}

func drawRand(t *rapid.T) *rand.Rand { return rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed"))) }

func canonical(t *rapid.T, text string) string {
	v, err := canon.Parse([]byte(text))
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return string(canon.Append(nil, v))
}

func TestSpellingsOfOneValueAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, rng := drawTree(3).Draw(t, "tree"), drawRand(t)
		one, two := render(rng, v), render(rng, v)
		if a, b := canonical(t, one), canonical(t, two); a != b {
			t.Fatalf("one value, two canonical texts:\n%s -> %s\n%s -> %s", one, a, two, b)
		}
	})
}

func TestDifferentValuesDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := drawRand(t)
		a := drawTree(2).Draw(t, "a")
		// Half of the time b is a with one leaf changed, the nearest it can be.
		b := drawTree(2).Draw(t, "b")
		if rapid.Bool().Draw(t, "near") {
			b = mutate(rng, a)
		}
		textA, textB := canonical(t, render(rng, a)), canonical(t, render(rng, b))
		if same(a, b) != (textA == textB) {
			t.Fatalf("same value: %v, but the canonical texts are\n%s\n%s", same(a, b), textA, textB)
		}
	})
}

// mutate changes one leaf, or adds a member to an empty list or object.
func mutate(rng *rand.Rand, v tree) tree {
	switch x := v.(type) {
	case []tree:
		if len(x) == 0 {
			return []tree{nil}
		}
		out := append([]tree{}, x...)
		i := rng.Intn(len(out))
		out[i] = mutate(rng, out[i])
		return out
	case map[string]tree:
		out := map[string]tree{}
		changed := false
		for name, item := range x {
			if !changed {
				item = mutate(rng, item)
				changed = true
			}
			out[name] = item
		}
		if !changed {
			out[""] = nil
		}
		return out
	case string:
		return x + "\x00"
	case dec:
		// One unit in a place far beyond float64.
		scaled := new(big.Int).Mul(x.coefficient, new(big.Int).Exp(big.NewInt(10), big.NewInt(30), nil))
		return dec{scaled.Add(scaled, big.NewInt(1)), x.exp - 30}
	case bool:
		return !x
	}
	return false
}

// The canonical text means what the value meant, as another reader sees it.
func TestCanonicalTextKeepsTheValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, rng := drawTree(3).Draw(t, "tree"), drawRand(t)
		first := canonical(t, render(rng, v))
		if second := canonical(t, first); first != second {
			t.Fatalf("not stable: %s -> %s", first, second)
		}
		d := json.NewDecoder(strings.NewReader(first))
		d.UseNumber()
		var other any
		if err := d.Decode(&other); err != nil {
			t.Fatalf("encoding/json: %v in %s", err, first)
		}
		if !same(v, fromStdlib(t, other)) {
			t.Fatalf("encoding/json reads another value from %s", first)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(first)); err != nil || compact.String() != first {
			t.Fatalf("not compact: %s", first)
		}
	})
}

func fromStdlib(t *rapid.T, v any) tree {
	switch x := v.(type) {
	case json.Number:
		mantissa, e, _ := strings.Cut(string(x), "e")
		exp := 0
		if e != "" {
			exp, _ = strconv.Atoi(e)
		}
		whole, fraction, _ := strings.Cut(mantissa, ".")
		n, ok := new(big.Int).SetString(whole+fraction, 10)
		if !ok {
			t.Fatalf("not a number: %s", x)
		}
		return dec{n, exp - len(fraction)}
	case []any:
		out := make([]tree, len(x))
		for i := range x {
			out[i] = fromStdlib(t, x[i])
		}
		return out
	case map[string]any:
		out := map[string]tree{}
		for name := range x {
			out[name] = fromStdlib(t, x[name])
		}
		return out
	}
	return v
}

func TestMembersAgreesWithParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, rng := rapid.MapOfN(drawString, drawTree(2), 0, 5).Draw(t, "object"), drawRand(t)
		input := []byte(render(rng, m))
		members, err := canon.Members(input)
		if err != nil {
			t.Fatalf("Members(%s): %v", input, err)
		}
		rebuilt := []byte("{")
		for i, member := range members {
			if i > 0 {
				rebuilt = append(rebuilt, ',')
			}
			rebuilt = append(canon.AppendQuote(rebuilt, member.Name), ':')
			rebuilt = append(rebuilt, member.Value...)
			if at := input[member.Offset:]; !bytes.HasPrefix(at, member.Value) {
				t.Fatalf("member %q is not at its offset %d", member.Name, member.Offset)
			}
		}
		rebuilt = append(rebuilt, '}')
		if a, b := canonical(t, string(input)), canonical(t, string(rebuilt)); a != b || len(members) != len(m) {
			t.Fatalf("Members gave\n%s of\n%s", rebuilt, input)
		}
	})
}

func TestElementsAgreesWithParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(drawTree(2), 0, 5).Draw(t, "list")
		input := render(drawRand(t), list)
		elements, err := canon.Elements([]byte(input))
		if err != nil {
			t.Fatalf("Elements(%s): %v", input, err)
		}
		rebuilt := "[" + string(bytes.Join(elements, []byte(","))) + "]"
		if a, b := canonical(t, input), canonical(t, rebuilt); a != b || len(elements) != len(list) {
			t.Fatalf("Elements gave\n%s of\n%s", rebuilt, input)
		}
		for _, element := range elements {
			if !bytes.Equal(element, bytes.TrimSpace(element)) {
				t.Fatalf("white space around %q", element)
			}
		}
	})
}

func TestUnquoteUndoesAppendQuote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, rng := drawString.Draw(t, "s"), drawRand(t)
		for _, raw := range []string{string(canon.AppendQuote(nil, s)), spellString(rng, s)} {
			if got, err := canon.Unquote([]byte(raw)); err != nil || got != s {
				t.Fatalf("Unquote(%s) = %q, %v; want %q", raw, got, err, s)
			}
		}
	})
}

// Any bytes, mostly near to JSON: a rendered value with a few bytes changed.
func TestValidAgreesWithEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		input := []byte(render(drawRand(t), drawTree(2).Draw(t, "tree")))
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			i := rapid.IntRange(0, len(input)).Draw(t, "at")
			junk := []byte(rapid.SampledFrom([]string{`"`, `\`, `,`, `:`, `{`, `}`, `[`, `]`, `0`, `-`, `.`, `e`, ` `, "\x00", "\xff", `t`, `\u`, `\ud800`}).Draw(t, "junk"))
			end := min(len(input), i+rapid.IntRange(0, 1).Draw(t, "over"))
			input = append(append(append([]byte{}, input[:i]...), junk...), input[end:]...)
		}
		checkValid(t, input)
	})
}

// checkValid: Valid differs from json.Valid in refusing invalid UTF-8 only.
func checkValid(t interface{ Fatalf(string, ...any) }, input []byte) {
	want := json.Valid(input) && utf8.Valid(input)
	if err := canon.Valid(input); (err == nil) != want {
		t.Fatalf("Valid(%q) = %v, encoding/json says %v", input, err, want)
	}
	if _, err := canon.Parse(input); err == nil && !want {
		t.Fatalf("Parse takes %q, which Valid refuses", input)
	}
}
