package canon

import (
	"errors"
	"strconv"
	"strings"
)

// number is a JSON number as its canonical text (see the package comment), so
// that two numbers are equal exactly if the strings are.
type number string

const (
	// maxZeros is how many zeros the plain notation may fill in. 20 writes the
	// same texts as JavaScript for all integers below 1e21.
	maxZeros = 20
	// maxExponent bounds exponents to 18 digits, well within int64. Without a
	// bound a number could not be computed with.
	maxExponent = 999_999_999_999_999_999
)

var errExponent = errors.New("exponent has more than 18 digits")

// decimal is a number taken apart: ±digits × 10^exp. digits has neither leading
// nor trailing zeros; it is empty for zero, which has no sign and no exponent.
type decimal struct {
	neg    bool
	digits string
	exp    int64
}

// parseNumber makes a number of a text that follows the JSON grammar. It takes
// time linear in the text. It does not copy a text that is canonical already, or is
// but for zeros at the end of its fraction.
func parseNumber(text string) (number, error) {
	if isCanonical(text) {
		return number(text), nil
	}
	if strings.IndexByte(text, '.') >= 0 {
		if short := strings.TrimSuffix(strings.TrimRight(text, "0"), "."); isCanonical(short) {
			return number(short), nil
		}
	}
	d, err := parseDecimal(text)
	if err != nil {
		return "", err
	}
	return d.number(), nil
}

// isCanonical reports the common case: a number without an exponent that is its
// own canonical text.
func isCanonical(text string) bool {
	digits := strings.TrimPrefix(text, "-")
	point := -1
	for i := range len(digits) {
		if c := digits[i]; c < '0' || c > '9' {
			if c != '.' {
				return false
			}
			point = i
		}
	}
	last := len(digits) - 1
	if point < 0 {
		zeros := 0
		for zeros <= last && digits[last-zeros] == '0' {
			zeros++
		}
		return zeros <= maxZeros && text != "-0"
	}
	if digits[last] == '0' {
		return false
	}
	if digits[0] != '0' {
		return true
	}
	zeros := 0
	for digits[point+1+zeros] == '0' { // the last digit is another
		zeros++
	}
	return zeros <= maxZeros
}

func parseDecimal(text string) (decimal, error) {
	digits, neg := strings.CutPrefix(text, "-")
	var exp int64
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		e := strings.TrimPrefix(digits[i+1:], "+")
		e, negative := strings.CutPrefix(e, "-")
		e = strings.TrimLeft(e, "0")
		digits = digits[:i]
		if len(e) > 18 {
			return decimal{}, errExponent
		}
		for k := range len(e) {
			exp = exp*10 + int64(e[k]-'0')
		}
		if negative {
			exp = -exp
		}
	}
	if i := strings.IndexByte(digits, '.'); i >= 0 {
		fraction := strings.TrimRight(digits[i+1:], "0")
		exp -= int64(len(fraction))
		if whole := strings.TrimLeft(digits[:i], "0"); whole == "" {
			digits = fraction
		} else {
			digits = whole + fraction
		}
	}
	return newDecimal(neg, digits, exp)
}

// newDecimal makes every decimal, of texts and of results. It normalises: digits
// may have leading and trailing zeros. It checks the range of the exponent, so
// that all numbers there are can be written and read again.
func newDecimal(neg bool, digits string, exp int64) (decimal, error) {
	digits = strings.TrimLeft(digits, "0")
	trimmed := strings.TrimRight(digits, "0")
	if trimmed == "" {
		return decimal{}, nil
	}
	exp += int64(len(digits) - len(trimmed))
	if exp > maxExponent || exp < -maxExponent {
		return decimal{}, errExponent
	}
	return decimal{neg: neg, digits: trimmed, exp: exp}, nil
}

// decimal takes a number apart. See run.decimal, which charges for it.
func (n number) decimal() (decimal, error) { return parseDecimal(string(n)) }

// number writes the canonical text.
func (d decimal) number() number {
	if d.digits == "" {
		return "0"
	}
	n := int64(len(d.digits))
	var b strings.Builder
	switch { // exactly what is written below, with a sign
	case 0 <= d.exp && d.exp <= maxZeros:
		b.Grow(1 + len(d.digits) + int(d.exp))
	case -n-maxZeros <= d.exp && d.exp < 0:
		b.Grow(3 + int(max(n, -d.exp)))
	default:
		b.Grow(len(d.digits) + 21)
	}
	if d.neg {
		b.WriteByte('-')
	}
	switch {
	case 0 <= d.exp && d.exp <= maxZeros:
		b.WriteString(d.digits)
		writeZeros(&b, d.exp)
	case -n < d.exp && d.exp < 0:
		b.WriteString(d.digits[:n+d.exp])
		b.WriteByte('.')
		b.WriteString(d.digits[n+d.exp:])
	case -n-maxZeros <= d.exp && d.exp <= -n:
		b.WriteString("0.")
		writeZeros(&b, -d.exp-n)
		b.WriteString(d.digits)
	default:
		b.WriteString(d.digits)
		b.WriteByte('e')
		b.WriteString(strconv.FormatInt(d.exp, 10))
	}
	return number(b.String())
}

func writeZeros(b *strings.Builder, count int64) {
	for range count {
		b.WriteByte('0')
	}
}
