package canon

import (
	"cmp"
	"errors"
	"math/big"
	"strings"
)

// The arithmetic of JMESPath on decimals. Sums, products and remainders are
// exact. Numbers with more than maxDigits digits before and after the point are
// refused: 1e999999999 + 1 would fill the memory.
const maxDigits = 1000

// A quotient without an end is cut to quotientDigits digits. If a, b, c and d
// have at most 17 digits (as all doubles do) and a/b and c/d differ, they differ
// by at least one part in 10^34, so cutting to 36 keeps them apart. Longer
// operands are refused, so that no division makes one key out of two.
const (
	quotientDigits   = 36
	maxOperandDigits = 17
)

var (
	errTooLong   = errors.New("a number is too long to compute with: more than 1,000 digits")
	errDivByZero = errors.New("division by zero")
	errRange     = errors.New("the result is out of range: its exponent has more than 18 digits")
	errInexact   = errors.New("a quotient has no end, and its operands have more than 17 digits")
)

// top is the power of ten just above d: d < 10^top.
func (d decimal) top() int64 { return int64(len(d.digits)) + d.exp }

func (d decimal) isZero() bool { return d.digits == "" }

func (d decimal) negate() decimal {
	d.neg = !d.neg && !d.isZero()
	return d
}

// compare returns -1, 0 or 1 as a is less than, equal to or greater than b.
func (d decimal) compare(b decimal) int {
	sign := func(d decimal) int {
		switch {
		case d.isZero():
			return 0
		case d.neg:
			return -1
		}
		return 1
	}
	if c := cmp.Compare(sign(d), sign(b)); c != 0 || d.isZero() {
		return c
	}
	c := cmp.Compare(d.top(), b.top())
	if c == 0 {
		// No trailing zeros: the order of the strings is that of the fractions.
		c = strings.Compare(d.digits, b.digits)
	}
	if d.neg {
		return -c
	}
	return c
}

// align writes a and b as integers times the same power of ten.
func align(a, b decimal) (x, y *big.Int, exp int64, err error) {
	exp = min(a.exp, b.exp)
	switch {
	case a.isZero():
		exp = b.exp
	case b.isZero():
		exp = a.exp
	}
	if x, err = a.scaled(exp); err != nil {
		return nil, nil, 0, err
	}
	y, err = b.scaled(exp)
	return x, y, exp, err
}

// scaled returns d / 10^exp, which must be an integer.
func (d decimal) scaled(exp int64) (*big.Int, error) {
	if d.isZero() {
		return new(big.Int), nil
	}
	if d.top()-exp > maxDigits {
		return nil, errTooLong
	}
	x, ok := new(big.Int).SetString(d.digits+strings.Repeat("0", int(d.exp-exp)), 10)
	if !ok {
		return nil, errors.New("not a number: " + d.digits)
	}
	if d.neg {
		x.Neg(x)
	}
	return x, nil
}

// ofInt returns x × 10^exp.
func ofInt(x *big.Int, exp int64) (decimal, error) {
	return ofDigits(x.Sign() < 0, new(big.Int).Abs(x).String(), exp)
}

// ofDigits makes every result. Its exponent must be as Parse takes it.
func ofDigits(neg bool, digits string, exp int64) (decimal, error) {
	d, err := newDecimal(neg, digits, exp)
	if err != nil {
		return decimal{}, errRange
	}
	if len(d.digits) > maxDigits {
		return decimal{}, errTooLong
	}
	return d, nil
}

func add(a, b decimal) (decimal, error) {
	x, y, exp, err := align(a, b)
	if err != nil {
		return decimal{}, err
	}
	return ofInt(x.Add(x, y), exp)
}

func subtract(a, b decimal) (decimal, error) { return add(a, b.negate()) }

func multiply(a, b decimal) (decimal, error) {
	x, err := a.scaled(a.exp)
	if err != nil {
		return decimal{}, err
	}
	y, err := b.scaled(b.exp)
	if err != nil {
		return decimal{}, err
	}
	return ofInt(x.Mul(x, y), a.exp+b.exp)
}

func divide(a, b decimal) (decimal, error) {
	if b.isZero() {
		return decimal{}, errDivByZero
	}
	if len(a.digits) > maxDigits || len(b.digits) > maxDigits {
		return decimal{}, errTooLong
	}
	x, err := a.scaled(a.exp)
	if err != nil {
		return decimal{}, err
	}
	y, err := b.scaled(b.exp)
	if err != nil {
		return decimal{}, err
	}
	// A quotient that ends does so after as many digits as y has factors of 2
	// or 5, fewer than y has bits.
	shift := int64(y.BitLen())
	long := len(a.digits) > maxOperandDigits || len(b.digits) > maxOperandDigits
	if !long {
		shift = max(shift, int64(quotientDigits+len(b.digits)))
	}
	x.Mul(x, new(big.Int).Exp(big.NewInt(10), big.NewInt(shift), nil))
	q, rest := x.QuoRem(x, y, new(big.Int))
	exp := a.exp - b.exp - shift
	if rest.Sign() != 0 {
		if long {
			return decimal{}, errInexact
		}
		text := new(big.Int).Abs(q).String()
		cut := max(0, len(text)-quotientDigits)
		return ofDigits(q.Sign() < 0, text[:len(text)-cut], exp+int64(cut))
	}
	return ofInt(q, exp)
}

// floorDivide rounds the quotient down, towards minus infinity.
func floorDivide(a, b decimal) (decimal, error) {
	if b.isZero() {
		return decimal{}, errDivByZero
	}
	x, y, _, err := align(a, b)
	if err != nil {
		return decimal{}, err
	}
	q, rest := new(big.Int).QuoRem(x, y, new(big.Int))
	if rest.Sign() != 0 && rest.Sign() != y.Sign() {
		q.Sub(q, big.NewInt(1))
	}
	return ofInt(q, 0)
}

// remainder has the sign of the dividend.
func remainder(a, b decimal) (decimal, error) {
	if b.isZero() {
		return decimal{}, errDivByZero
	}
	x, y, exp, err := align(a, b)
	if err != nil {
		return decimal{}, err
	}
	return ofInt(x.Rem(x, y), exp)
}

var one = decimal{digits: "1"}

// floor rounds down, towards minus infinity.
func (d decimal) floor() (decimal, error) {
	if d.exp >= 0 {
		return d, nil
	}
	return floorDivide(d, one)
}

// integer returns d as an int, if it is one that fits.
func (d decimal) integer() (int, bool) {
	if d.exp < 0 || d.top() > 18 {
		return 0, d.isZero()
	}
	n := 0
	for i := range len(d.digits) {
		n = n*10 + int(d.digits[i]-'0')
	}
	for range d.exp {
		n *= 10
	}
	if d.neg {
		n = -n
	}
	return n, true
}
