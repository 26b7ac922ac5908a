package canon

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/jmespath-community/go-jmespath/pkg/parsing"
)

// maxWork bounds one selection: the nodes evaluated, the members of lists and
// objects made and looked at, and the text made and looked at, at workBytes bytes
// each. It bounds the time to about a second, and the memory to some 16 bytes for
// each. So that nothing comes for free, text is charged for before it is touched:
//   - of numbers when they are taken apart (run.decimal) and made (run.result),
//   - of two strings as far as they are compared (run.sameText, run.order),
//   - of a string that is searched, with that of the part (run.search).
const (
	maxWork   = 5_000_000
	workBytes = 16
	// lightWork bounds a selection that may run beside any number of others: to
	// milliseconds, and to memory of the order of a small event's own.
	lightWork = maxWork / 50
	runeBytes = 4 // of text taken apart into characters
	jsonBytes = 8 // of text read as JSON, besides its values
	jsonValue = 4 // for each value of it
)

var errTooMuchWork = errors.New("the expression makes too much work of this value")

// Select returns what the expression selects from v, null if nothing.
//
// It follows JMESPath, with these decisions where keys need them:
//
//   - Numbers keep all their digits. Comparisons, sums, products and remainders
//     are exact; / and avg() give a quotient without an end to 36 digits.
//   - Wherever an object becomes a list (*, keys, values, items), the order is
//     that of the canonical text: by the code points of the names.
//   - An error inside a projection is an error of the whole.
//   - An expression reference is only ever an argument.
//
// The functions are those of JMESPath Community, and for embedded JSON
// parse_json(string), also under Powertools' name powertools_json, and
// powertools_base64(string). What parse_json reads is bounded as in Parse,
// and so is what Select returns, so that it can be read again.
//
// The work is bounded, so that neither a large event nor an expression such as
// [@,@]|[@,@]|… runs away; beyond the bound, and where a function is given what
// it cannot take, Select returns an error.
func (e *Expression) Select(v Value) (Value, error) { return e.within(maxWork, v) }

// SelectLight is Select, but gives up where the work is more than little, and then
// light is false: with Select, that takes as long and as much memory as a selection
// may, and callers should not do it for many events at once.
func (e *Expression) SelectLight(v Value) (result Value, light bool, err error) {
	result, err = e.within(lightWork, v)
	return result, !errors.Is(err, errTooMuchWork), err
}

func (e *Expression) within(work int, v Value) (Value, error) {
	r := &run{root: v, slots: make([]Value, e.slots), left: work}
	result, err := e.eval(r, v)
	if err == nil {
		// The result may hold one value many times over, and so be far larger
		// written out than it is in memory.
		r.measured = 0
		err = r.measure(result, 0)
	}
	if err == nil && r.measured > MaxValues {
		err = fmt.Errorf("the selection has more than %d values; select less", MaxValues)
	}
	if err != nil {
		return Value{}, fmt.Errorf("selecting %s: %w", show(e.text), err)
	}
	return result, nil
}

// run is one evaluation.
type run struct {
	root  Value
	slots []Value // the variables
	left  int     // of the budget

	measured int    // values
	buf      []byte // for to_string
}

func (r *run) spend(n int) error {
	if n > r.left {
		r.left = 0
		return errTooMuchWork
	}
	r.left -= n
	return nil
}

func (r *run) spendText(bytes int) error { return r.spend(bytes / workBytes) }

// decimal takes a number apart.
func (r *run) decimal(n number) (decimal, error) {
	if err := r.spendText(len(n)); err != nil {
		return decimal{}, err
	}
	return n.decimal()
}

// result makes a number of what arithmetic gave.
func (r *run) result(d decimal, err error) (Value, error) {
	if err != nil {
		return Value{}, err
	}
	if err := r.spendText(len(d.digits) + maxZeros); err != nil {
		return Value{}, err
	}
	return ofNumber(d.number()), nil
}

// sameText reports whether two strings are equal. Those of different lengths are
// not looked at.
func (r *run) sameText(a, b string) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	if err := r.spendText(len(a)); err != nil {
		return false, err
	}
	return a == b, nil
}

// spendDigits charges for arithmetic on a and b. Its cost is that of all digits
// between the first of the larger and the last of the smaller: 1e900 + 1 has
// 901. Beyond maxDigits it is refused without being computed.
func (r *run) spendDigits(a, b decimal) error {
	digits := len(a.digits) + len(b.digits)
	if !a.isZero() && !b.isZero() {
		between := max(a.top(), b.top()) - min(a.exp, b.exp)
		digits = max(digits, int(min(between, 2*maxDigits)))
	}
	return r.spend(4 + digits/5)
}

// spendQuotient charges for what divide takes besides: some digits more for each
// of the divisor, and time that grows with their square.
func (r *run) spendQuotient(b decimal) error {
	n := min(len(b.digits), maxDigits)
	return r.spend(10 + n + n*n/512)
}

// measure charges for walking the whole of v, counts it, and checks its depth. What is
// written or compared as a whole is measured first.
func (r *run) measure(v Value, depth int) error {
	r.measured++
	switch x := v.data.(type) {
	case *string:
		return r.spend(1 + len(*x)/workBytes)
	case *number:
		return r.spend(1 + len(*x)/workBytes)
	case []Value:
		if depth == MaxDepth {
			return fmt.Errorf("the selection nests deeper than %d", MaxDepth)
		}
		for _, item := range x {
			if err := r.measure(item, depth+1); err != nil {
				return err
			}
		}
	case object:
		if depth == MaxDepth {
			return fmt.Errorf("the selection nests deeper than %d", MaxDepth)
		}
		for _, m := range x {
			if err := r.spendText(len(m.name)); err != nil {
				return err
			}
			if err := r.measure(m.value, depth+1); err != nil {
				return err
			}
		}
	}
	return r.spend(1)
}

// equal compares two values, and charges for what it looks at.
func (r *run) equal(a, b Value) (bool, error) {
	if err := r.spend(1); err != nil {
		return false, err
	}
	switch x := a.data.(type) {
	case []Value:
		y, ok := b.data.([]Value)
		if !ok || len(x) != len(y) {
			return false, nil
		}
		for i := range x {
			if same, err := r.equal(x[i], y[i]); !same {
				return false, err
			}
		}
		return true, nil
	case object:
		y, ok := b.data.(object)
		if !ok || len(x) != len(y) {
			return false, nil
		}
		for i := range x {
			if same, err := r.sameText(x[i].name, y[i].name); !same {
				return false, err
			}
			if same, err := r.equal(x[i].value, y[i].value); !same {
				return false, err
			}
		}
		return true, nil
	case *string:
		y, ok := b.data.(*string)
		if !ok {
			return false, nil
		}
		return r.sameText(*x, *y)
	case *number:
		y, ok := b.data.(*number)
		if !ok {
			return false, nil
		}
		return r.sameText(string(*x), string(*y))
	}
	switch b.data.(type) {
	case nil, bool:
		return a.data == b.data, nil
	}
	return false, nil
}

// isFalse follows JMESPath: null, false and everything empty. 0 is true.
func isFalse(v Value) bool {
	switch x := v.data.(type) {
	case nil:
		return true
	case bool:
		return !x
	case *string:
		return *x == ""
	case []Value:
		return len(x) == 0
	case object:
		return len(x) == 0
	}
	return false
}

func constant(v Value) step {
	return func(*run, Value) (Value, error) { return v, nil }
}

func field(name string) step {
	return func(r *run, v Value) (Value, error) {
		o, ok := v.data.(object)
		if !ok {
			return Value{}, nil
		}
		// The name is compared with one of every half that is left.
		if err := r.spend(len(name) / workBytes * bits.Len(uint(len(o)))); err != nil {
			return Value{}, err
		}
		return o.get(name), nil
	}
}

func index(i int) step {
	return func(_ *run, v Value) (Value, error) {
		list, _ := v.data.([]Value)
		at := i
		if at < 0 {
			at += len(list)
		}
		if at < 0 || at >= len(list) {
			return Value{}, nil
		}
		return list[at], nil
	}
}

// slice takes every step-th member, or character of a string, as Python does.
func slice(parts []*int) (step, error) {
	by := 1
	if parts[2] != nil {
		by = *parts[2]
	}
	if by == 0 {
		return nil, errors.New("the step of a slice cannot be 0")
	}
	return func(r *run, v Value) (Value, error) {
		switch x := v.data.(type) {
		case []Value:
			if err := r.spend(len(x)); err != nil {
				return Value{}, err
			}
			return Value{takeSlice(x, parts[0], parts[1], by)}, nil
		case *string:
			if err := r.spend(len(*x) / runeBytes); err != nil {
				return Value{}, err
			}
			return ofString(string(takeSlice([]rune(*x), parts[0], parts[1], by))), nil
		}
		return Value{}, nil
	}, nil
}

func takeSlice[T any](list []T, from, to *int, by int) []T {
	n := len(list)
	// In what follows, -1 and n are the places before and after the list.
	place := func(p *int, otherwise int) int {
		switch {
		case p == nil:
			return otherwise
		case *p < 0:
			return max(*p+n, -1)
		}
		return min(*p, n)
	}
	var start, count int
	if by > 0 {
		start = max(place(from, 0), 0)
		if span := place(to, n) - start; span > 0 {
			count = (span-1)/by + 1
		}
	} else {
		start = min(place(from, n-1), n-1)
		if span := start - place(to, -1); span > 0 {
			count = 1 - (span-1)/by
		}
	}
	taken := make([]T, count)
	for i := range taken {
		taken[i] = list[start+i*by]
	}
	return taken
}

func subexpression(left, right step) step {
	return func(r *run, v Value) (Value, error) {
		v, err := left(r, v)
		if err != nil || v.data == nil {
			return Value{}, err
		}
		return right(r, v)
	}
}

func pipe(left, right step) step {
	return func(r *run, v Value) (Value, error) {
		v, err := left(r, v)
		if err != nil {
			return Value{}, err
		}
		return right(r, v)
	}
}

// projection evaluates right on each member of a list and drops nulls. ofSlice
// tells that left is a slice: that of a string is not a list but a result.
func projection(left, right step, ofSlice bool) step {
	return func(r *run, v Value) (Value, error) {
		v, err := left(r, v)
		if err != nil {
			return Value{}, err
		}
		switch x := v.data.(type) {
		case []Value:
			return r.project(x, right)
		case *string:
			if ofSlice {
				return v, nil
			}
		}
		return Value{}, nil
	}
}

func (r *run) project(list []Value, right step) (Value, error) {
	if err := r.spend(len(list)); err != nil {
		return Value{}, err
	}
	out := make([]Value, 0, len(list))
	for _, item := range list {
		item, err := right(r, item)
		if err != nil {
			return Value{}, err
		}
		if item.data != nil {
			out = append(out, item)
		}
	}
	return Value{out}, nil
}

func valueProjection(left, right step) step {
	return func(r *run, v Value) (Value, error) {
		v, err := left(r, v)
		if err != nil {
			return Value{}, err
		}
		o, ok := v.data.(object)
		if !ok {
			return Value{}, nil
		}
		list, err := r.values(o)
		if err != nil {
			return Value{}, err
		}
		return r.project(list, right)
	}
}

// values lists the values of an object in the order of their names.
func (r *run) values(o object) ([]Value, error) {
	if err := r.spend(len(o)); err != nil {
		return nil, err
	}
	list := make([]Value, len(o))
	for i, m := range o {
		list[i] = m.value
	}
	return list, nil
}

func filterProjection(left, right, condition step) step {
	return func(r *run, v Value) (Value, error) {
		v, err := left(r, v)
		if err != nil {
			return Value{}, err
		}
		list, ok := v.data.([]Value)
		if !ok {
			return Value{}, nil
		}
		out := []Value{}
		for _, item := range list {
			holds, err := condition(r, item)
			if err != nil {
				return Value{}, err
			}
			if isFalse(holds) {
				continue
			}
			item, err := right(r, item)
			if err != nil {
				return Value{}, err
			}
			if item.data != nil {
				out = append(out, item)
			}
		}
		return Value{out}, nil
	}
}

// flatten puts the members of the lists in a list in their place, one level deep.
func flatten(left step) step {
	return func(r *run, v Value) (Value, error) {
		v, err := left(r, v)
		if err != nil {
			return Value{}, err
		}
		list, ok := v.data.([]Value)
		if !ok {
			return Value{}, nil
		}
		size := 0
		for _, item := range list {
			inner, ok := item.data.([]Value)
			if err := r.spend(1 + len(inner)); err != nil {
				return Value{}, err
			}
			if ok {
				size += len(inner)
			} else {
				size++
			}
		}
		out := make([]Value, 0, size)
		for _, item := range list {
			if inner, ok := item.data.([]Value); ok {
				out = append(out, inner...)
			} else {
				out = append(out, item)
			}
		}
		return Value{out}, nil
	}
}

func multiSelectList(children []step) step {
	return func(r *run, v Value) (Value, error) {
		if err := r.spend(len(children)); err != nil {
			return Value{}, err
		}
		out := make([]Value, len(children))
		for i, child := range children {
			item, err := child(r, v)
			if err != nil {
				return Value{}, err
			}
			out[i] = item
		}
		return Value{out}, nil
	}
}

// either is && (goOn is true) and ||: it goes on to right if left is true, or
// false, and otherwise is left.
func either(left, right step, goOn bool) step {
	return func(r *run, v Value) (Value, error) {
		first, err := left(r, v)
		if err != nil {
			return Value{}, err
		}
		if isFalse(first) == goOn {
			return first, nil
		}
		return right(r, v)
	}
}

func not(inner step) step {
	return func(r *run, v Value) (Value, error) {
		v, err := inner(r, v)
		if err != nil {
			return Value{}, err
		}
		return Value{isFalse(v)}, nil
	}
}

// comparison: == and != take any values, the others are null but for numbers.
func comparison(op parsing.TokType, left, right step) (step, error) {
	var holds func(c int) bool
	switch op {
	case parsing.TOKEQ, parsing.TOKNE:
		return func(r *run, v Value) (Value, error) {
			a, b, err := both(r, v, left, right)
			if err != nil {
				return Value{}, err
			}
			same, err := r.equal(a, b)
			if err != nil {
				return Value{}, err
			}
			return Value{same == (op == parsing.TOKEQ)}, nil
		}, nil
	case parsing.TOKLT:
		holds = func(c int) bool { return c < 0 }
	case parsing.TOKLTE:
		holds = func(c int) bool { return c <= 0 }
	case parsing.TOKGT:
		holds = func(c int) bool { return c > 0 }
	case parsing.TOKGTE:
		holds = func(c int) bool { return c >= 0 }
	default:
		return nil, fmt.Errorf("unknown comparison %s", op)
	}
	return onNumbers(left, right, func(_ *run, a, b decimal) (Value, error) {
		return Value{holds(a.compare(b))}, nil // charged for with decimal
	}), nil
}

func arithmetic(op parsing.TokType, left, right step) (step, error) {
	var compute func(a, b decimal) (decimal, error)
	switch op {
	case parsing.TOKPlus:
		compute = add
	case parsing.TOKMinus:
		compute = subtract
	case parsing.TOKStar, parsing.TOKMultiply:
		compute = multiply
	case parsing.TOKDivide:
		compute = divide
	case parsing.TOKDiv:
		compute = floorDivide
	case parsing.TOKModulo:
		compute = remainder
	default:
		return nil, fmt.Errorf("unknown operator %s", op)
	}
	return onNumbers(left, right, func(r *run, a, b decimal) (Value, error) {
		if err := r.spendDigits(a, b); err != nil {
			return Value{}, err
		}
		if op == parsing.TOKDivide {
			if err := r.spendQuotient(b); err != nil {
				return Value{}, err
			}
		}
		return r.result(compute(a, b))
	}), nil
}

func sign(minus bool, inner step) step {
	return func(r *run, v Value) (Value, error) {
		v, err := inner(r, v)
		if err != nil {
			return Value{}, err
		}
		n, ok := v.data.(*number)
		if !ok {
			return Value{}, nil
		}
		if !minus {
			return v, nil
		}
		d, err := r.decimal(*n)
		return r.result(d.negate(), err)
	}
}

// onNumbers is null unless both sides are numbers.
func onNumbers(left, right step, compute func(r *run, a, b decimal) (Value, error)) step {
	return func(r *run, v Value) (Value, error) {
		a, b, err := both(r, v, left, right)
		if err != nil {
			return Value{}, err
		}
		x, ok := a.data.(*number)
		if !ok {
			return Value{}, nil
		}
		y, ok := b.data.(*number)
		if !ok {
			return Value{}, nil
		}
		c, err := r.decimal(*x)
		if err != nil {
			return Value{}, err
		}
		d, err := r.decimal(*y)
		if err != nil {
			return Value{}, err
		}
		return compute(r, c, d)
	}
}

func both(r *run, v Value, left, right step) (a, b Value, err error) {
	if a, err = left(r, v); err != nil {
		return Value{}, Value{}, err
	}
	b, err = right(r, v)
	return a, b, err
}
