package canon_test

import (
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"pgregory.net/rapid"
)

// Against the rationals of math/big, which are exact.
func TestArithmeticIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawNumber.Draw(t, "a"), drawNumber.Draw(t, "b")
		rng := drawRand(t)
		event := render(rng, map[string]tree{"a": a, "b": b})
		v, err := canon.Parse([]byte(event))
		if err != nil {
			t.Fatal(err)
		}
		x, y := a.rat(), b.rat()
		check := func(expression string, want *big.Rat) {
			got, err := choose(expression, v)
			if err != nil {
				t.Fatalf("%s of %s: %v", expression, event, err)
			}
			if r, ok := new(big.Rat).SetString(text(got)); !ok || r.Cmp(want) != 0 {
				t.Fatalf("%s of %s\n got %s\nwant %s", expression, event, text(got), want)
			}
		}
		check("a + b", new(big.Rat).Add(x, y))
		check("a - b", new(big.Rat).Sub(x, y))
		check("a * b", new(big.Rat).Mul(x, y))
		check("-a", new(big.Rat).Neg(x))
		check("sum([a, b, a])", new(big.Rat).Add(x, new(big.Rat).Add(x, y)))
		check("floor(a)", floorOf(x))
		check("ceil(a)", new(big.Rat).Neg(floorOf(new(big.Rat).Neg(x))))
		sign := int64(x.Cmp(y))
		check("length([a, b][?@ == $.a && $.a < $.b])", big.NewRat(bit(sign < 0), 1))
		check("length([`1`][?$.a > $.b])", big.NewRat(bit(sign > 0), 1))
		check("length([`1`][?$.a == $.b])", big.NewRat(bit(sign == 0), 1))
		if y.Sign() == 0 {
			return
		}
		quotient := new(big.Rat).Quo(x, y)
		check("a // b", floorOf(quotient))
		truncated := new(big.Rat).SetInt(new(big.Int).Quo(quotient.Num(), quotient.Denom()))
		check("a % b", new(big.Rat).Sub(x, truncated.Mul(truncated, y)))
		got, err := choose("a / b", v)
		if err != nil {
			if !strings.Contains(err.Error(), "a quotient has no end") {
				t.Fatal(err)
			}
			return
		}
		r, _ := new(big.Rat).SetString(text(got))
		off := new(big.Rat).Sub(quotient, r)
		limit := new(big.Rat).Mul(new(big.Rat).Abs(quotient), new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Exp(big.NewInt(10), big.NewInt(35), nil)))
		if off.Abs(off).Cmp(limit) > 0 {
			t.Fatalf("a / b of %s gave %s", event, text(got))
		}
	})
}

func floorOf(r *big.Rat) *big.Rat {
	// Div rounds down, as the denominator is positive.
	return new(big.Rat).SetInt(new(big.Int).Div(r.Num(), r.Denom()))
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Quotients of different numbers stay different, also next to each other.
func TestQuotientsAreNotMerged(t *testing.T) {
	seen := map[string]string{}
	for _, a := range []string{"1", "99999999999999999", "99999999999999998", "33333333333333333", "50000000000000001"} {
		for _, b := range []string{"99999999999999997", "99999999999999991", "3", "7", "33333333333333331"} {
			got, err := choose("[0] / [1]", mustParse(t, "["+a+","+b+"]"))
			if err != nil {
				t.Fatal(err)
			}
			if other, ok := seen[text(got)]; ok {
				t.Errorf("%s/%s and %s are both %s", a, b, other, text(got))
			}
			seen[text(got)] = a + "/" + b
		}
	}
}

// Hash hands the text on in pieces; the whole must be what Append writes.
func TestHashIsThatOfTheCanonicalText(t *testing.T) {
	for _, input := range []string{
		string(event(100_000)),
		`"` + strings.Repeat("x", 100_000) + `"`,
		`{"` + strings.Repeat(`é\n日本`, 1000) + `":"` + strings.Repeat(`\"\u0001😀`, 1000) + `"}`,
		"[" + strings.Repeat(`{"b":"é","a":[]},`, 10_000) + "0]",
		"1" + strings.Repeat("23", 50_000),
	} {
		v := mustParse(t, input)
		sum := sha256.Sum256(canon.Append(nil, v))
		if got := canon.Hash(v); got != hex.EncodeToString(sum[:]) {
			t.Errorf("the hash of %.40s… is not that of its text", input)
		}
	}
	if got := string(canon.Append([]byte("key="), mustParse(t, "[1]"))); got != "key=[1]" {
		t.Errorf("Append gave %s", got)
	}
}
