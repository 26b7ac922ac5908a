package canon

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is what a function takes for an argument.
type kind int

const (
	anything kind = iota
	aNumber
	aString
	aList
	anObject
	listOfNumbers
	listOfStrings
	listOfLists
	stringOrList
	sizable
	numbersOrStrings
	anExpression
)

func (k kind) String() string {
	return [...]string{"any value", "a number", "a string", "a list", "an object", "a list of numbers",
		"a list of strings", "a list of lists", "a string or a list", "a string, a list or an object",
		"a list of numbers or of strings", "an expression reference"}[k]
}

func (k kind) accepts(v Value) bool {
	switch x := v.data.(type) {
	case *number:
		return k == anything || k == aNumber
	case *string:
		return k == anything || k == aString || k == stringOrList || k == sizable
	case object:
		return k == anything || k == anObject || k == sizable
	case []Value:
		switch k {
		case listOfNumbers:
			return all[*number](x)
		case listOfStrings:
			return all[*string](x)
		case listOfLists:
			return all[[]Value](x)
		case numbersOrStrings:
			return all[*number](x) || all[*string](x)
		}
		return k == anything || k == aList || k == stringOrList || k == sizable
	}
	return k == anything
}

func all[T any](list []Value) bool {
	for _, item := range list {
		if _, ok := item.data.(T); !ok {
			return false
		}
	}
	return true
}

func typeName(v Value) string {
	switch v.data.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case *number:
		return "number"
	case *string:
		return "string"
	case []Value:
		return "array"
	}
	return "object"
}

// function is one function of JMESPath. The call's arguments have been counted
// and are of the kinds in params when body runs.
type function struct {
	params   []kind
	optional int  // how many of params, from the end, may be left out
	variadic bool // the last of params may come again
	body     func(call) (Value, error)
}

func (f function) least() int { return len(f.params) - f.optional }

func (f function) param(i int) kind { return f.params[min(i, len(f.params)-1)] }

func (f function) arity() string {
	switch {
	case f.variadic:
		return fmt.Sprintf("%d or more arguments", f.least())
	case f.optional > 0:
		return fmt.Sprintf("%d to %d arguments", f.least(), len(f.params))
	case len(f.params) == 1:
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", len(f.params))
}

// call is one call of a function.
type call struct {
	run    *run
	values []Value
	ref    step // the expression reference; no function takes two
}

func (c call) str(i int) string    { return *c.values[i].data.(*string) }
func (c call) list(i int) []Value  { return c.values[i].data.([]Value) }
func (c call) object(i int) object { return c.values[i].data.(object) }

func (c call) number(i int) (decimal, error) {
	return c.run.decimal(*c.values[i].data.(*number))
}

// integer returns argument i, or otherwise if it was left out.
func (c call) integer(i, otherwise int) (int, error) {
	if i >= len(c.values) {
		return otherwise, nil
	}
	d, err := c.number(i)
	if err != nil {
		return 0, err
	}
	n, ok := d.integer()
	if !ok {
		return 0, fmt.Errorf("argument %d must be an integer", i+1)
	}
	return n, nil
}

// count is an integer that is not negative.
func (c call) count(i, otherwise int) (int, error) {
	n, err := c.integer(i, otherwise)
	if err == nil && n < 0 && i < len(c.values) {
		return 0, fmt.Errorf("argument %d must not be negative", i+1)
	}
	return n, err
}

func ofCount(n int) Value {
	if n < len(smallNumbers) {
		return smallNumbers[n]
	}
	return ofNumber(ofInteger(n).number())
}

func ofInteger(n int) decimal {
	d, _ := newDecimal(n < 0, strconv.Itoa(max(n, -n)), 0) // in range
	return d
}

// functions is never changed.
var functions = map[string]function{
	"abs":         {params: []kind{aNumber}, body: fnAbs},
	"avg":         {params: []kind{listOfNumbers}, body: fnAvg},
	"ceil":        {params: []kind{aNumber}, body: fnCeil},
	"contains":    {params: []kind{stringOrList, anything}, body: fnContains},
	"ends_with":   {params: []kind{aString, aString}, body: fnEndsWith},
	"find_first":  {params: []kind{aString, aString, aNumber, aNumber}, optional: 2, body: fnFindFirst},
	"find_last":   {params: []kind{aString, aString, aNumber, aNumber}, optional: 2, body: fnFindLast},
	"floor":       {params: []kind{aNumber}, body: fnFloor},
	"from_items":  {params: []kind{listOfLists}, body: fnFromItems},
	"group_by":    {params: []kind{aList, anExpression}, body: fnGroupBy},
	"items":       {params: []kind{anObject}, body: fnItems},
	"join":        {params: []kind{aString, listOfStrings}, body: fnJoin},
	"keys":        {params: []kind{anObject}, body: fnKeys},
	"length":      {params: []kind{sizable}, body: fnLength},
	"lower":       {params: []kind{aString}, body: fnLower},
	"map":         {params: []kind{anExpression, aList}, body: fnMap},
	"max":         {params: []kind{numbersOrStrings}, body: fnMax},
	"max_by":      {params: []kind{aList, anExpression}, body: fnMaxBy},
	"merge":       {params: []kind{anObject}, variadic: true, body: fnMerge},
	"min":         {params: []kind{numbersOrStrings}, body: fnMin},
	"min_by":      {params: []kind{aList, anExpression}, body: fnMinBy},
	"not_null":    {params: []kind{anything}, variadic: true, body: fnNotNull},
	"pad_left":    {params: []kind{aString, aNumber, aString}, optional: 1, body: fnPadLeft},
	"pad_right":   {params: []kind{aString, aNumber, aString}, optional: 1, body: fnPadRight},
	"replace":     {params: []kind{aString, aString, aString, aNumber}, optional: 1, body: fnReplace},
	"reverse":     {params: []kind{stringOrList}, body: fnReverse},
	"sort":        {params: []kind{numbersOrStrings}, body: fnSort},
	"sort_by":     {params: []kind{aList, anExpression}, body: fnSortBy},
	"split":       {params: []kind{aString, aString, aNumber}, optional: 1, body: fnSplit},
	"starts_with": {params: []kind{aString, aString}, body: fnStartsWith},
	"sum":         {params: []kind{listOfNumbers}, body: fnSum},
	"to_array":    {params: []kind{anything}, body: fnToArray},
	"to_number":   {params: []kind{anything}, body: fnToNumber},
	"to_string":   {params: []kind{anything}, body: fnToString},
	"trim":        {params: []kind{aString, aString}, optional: 1, body: trimmer(strings.Trim, strings.TrimFunc)},
	"trim_left":   {params: []kind{aString, aString}, optional: 1, body: trimmer(strings.TrimLeft, strings.TrimLeftFunc)},
	"trim_right":  {params: []kind{aString, aString}, optional: 1, body: trimmer(strings.TrimRight, strings.TrimRightFunc)},
	"type":        {params: []kind{anything}, body: fnType},
	"upper":       {params: []kind{aString}, body: fnUpper},
	"values":      {params: []kind{anObject}, body: fnValues},
	"zip":         {params: []kind{aList}, variadic: true, body: fnZip},

	"parse_json":        {params: []kind{aString}, body: fnParseJSON},
	"powertools_json":   {params: []kind{aString}, body: fnParseJSON},
	"powertools_base64": {params: []kind{aString}, body: fnBase64},
}

func fnAbs(c call) (Value, error) {
	d, err := c.number(0)
	d.neg = false
	return c.run.result(d, err)
}

func fnCeil(c call) (Value, error) {
	d, err := c.floor(decimal.negate)
	return c.run.result(d.negate(), err)
}

func fnFloor(c call) (Value, error) {
	return c.run.result(c.floor(func(d decimal) decimal { return d }))
}

func (c call) floor(of func(decimal) decimal) (decimal, error) {
	d, err := c.number(0)
	if err != nil {
		return decimal{}, err
	}
	if err := c.run.spendDigits(d, one); err != nil {
		return decimal{}, err
	}
	return of(d).floor()
}

func (c call) sum() (decimal, error) {
	var total decimal
	for _, item := range c.list(0) {
		n, err := c.run.decimal(*item.data.(*number))
		if err != nil {
			return decimal{}, err
		}
		if err := c.run.spendDigits(total, n); err != nil {
			return decimal{}, err
		}
		if total, err = add(total, n); err != nil {
			return decimal{}, err
		}
	}
	return total, nil
}

func fnSum(c call) (Value, error) {
	return c.run.result(c.sum())
}

func fnAvg(c call) (Value, error) {
	n := len(c.list(0))
	if n == 0 {
		return Value{}, nil
	}
	total, err := c.sum()
	if err != nil {
		return Value{}, err
	}
	count := ofInteger(n)
	if err := c.run.spendDigits(total, count); err != nil {
		return Value{}, err
	}
	if err := c.run.spendQuotient(count); err != nil {
		return Value{}, err
	}
	return c.run.result(divide(total, count))
}

func fnContains(c call) (Value, error) {
	if s, ok := c.values[0].data.(*string); ok {
		part, ok := c.values[1].data.(*string)
		if !ok {
			return Value{false}, nil
		}
		f, err := c.run.search(*s, *part)
		if err != nil {
			return Value{}, err
		}
		return Value{f.first(*s) >= 0}, nil
	}
	for _, item := range c.list(0) {
		same, err := c.run.equal(item, c.values[1])
		if err != nil {
			return Value{}, err
		}
		if same {
			return Value{true}, nil
		}
	}
	return Value{false}, nil
}

func fnStartsWith(c call) (Value, error) {
	s, part := c.str(0), c.str(1)
	if len(part) > len(s) {
		return Value{false}, nil
	}
	same, err := c.run.sameText(s[:len(part)], part)
	return Value{same}, err
}

func fnEndsWith(c call) (Value, error) {
	s, part := c.str(0), c.str(1)
	if len(part) > len(s) {
		return Value{false}, nil
	}
	same, err := c.run.sameText(s[len(s)-len(part):], part)
	return Value{same}, err
}

func fnFindFirst(c call) (Value, error) { return c.find(searcher.first) }
func fnFindLast(c call) (Value, error)  { return c.find(searcher.last) }

// find counts in characters, as length() and slices do.
func (c call) find(search func(f searcher, s string) int) (Value, error) {
	s, part := c.str(0), c.str(1)
	f, err := c.run.search(s, part)
	if err != nil {
		return Value{}, err
	}
	from, err := c.integer(2, 0)
	if err != nil {
		return Value{}, err
	}
	to, err := c.integer(3, len(s))
	if err != nil {
		return Value{}, err
	}
	from = max(from, 0)
	if part == "" || from >= to {
		return Value{}, nil
	}
	start := offset(s, from)
	window := s[start:][:offset(s[start:], to-from)]
	at := search(f, window)
	if at < 0 {
		return Value{}, nil
	}
	return ofCount(from + utf8.RuneCountInString(window[:at])), nil
}

// offset is where character n of s starts, or the end of s.
func offset(s string, n int) int {
	if n >= len(s) {
		return len(s)
	}
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

func fnFromItems(c call) (Value, error) {
	items := c.list(0)
	if err := c.run.spend(2 * len(items)); err != nil {
		return Value{}, err
	}
	members := make([]member, len(items))
	for i, item := range items {
		pair := item.data.([]Value)
		if len(pair) != 2 {
			return Value{}, errNoPair
		}
		name, ok := pair[0].data.(*string)
		if !ok {
			return Value{}, errNoPair
		}
		members[i] = member{*name, pair[1]}
	}
	return c.lastWins(members)
}

var errNoPair = errors.New("each item must be a list of a string and a value")

// lastWins makes an object of members, of which the last of a name counts.
func (c call) lastWins(members []member) (Value, error) {
	places, err := c.run.sorted(len(members), func(i, j int) (int, error) {
		return c.run.compareText(members[i].name, members[j].name)
	})
	if err != nil {
		return Value{}, err
	}
	if err := c.run.spend(2 * len(members)); err != nil {
		return Value{}, err
	}
	o := make(object, 0, len(members))
	for _, place := range places {
		m := members[place]
		if last := len(o) - 1; last >= 0 && o[last].name == m.name {
			o[last] = m
		} else {
			o = append(o, m)
		}
	}
	return Value{o}, nil
}

func fnMerge(c call) (Value, error) {
	size := 0
	for i := range c.values {
		if err := c.run.spend(2 * len(c.object(i))); err != nil {
			return Value{}, err
		}
		size += len(c.object(i))
	}
	members := make([]member, 0, size)
	for i := range c.values {
		members = append(members, c.object(i)...)
	}
	return c.lastWins(members)
}

func fnGroupBy(c call) (Value, error) {
	items := c.list(0)
	if len(items) == 0 {
		return Value{}, nil
	}
	keys, err := c.keys(items)
	if err != nil {
		return Value{}, err
	}
	for _, key := range keys {
		if _, ok := key.data.(*string); !ok {
			return Value{}, fmt.Errorf("the expression must give a string, not %s", typeName(key))
		}
	}
	name := func(i int) string { return *keys[i].data.(*string) }
	places, err := c.run.sorted(len(items), func(i, j int) (int, error) {
		return c.run.compareText(name(i), name(j))
	})
	if err != nil {
		return Value{}, err
	}
	// Each group is a part of one list; an object takes as much again and more.
	if err := c.run.spend(5 * len(items)); err != nil {
		return Value{}, err
	}
	all := make([]Value, len(items))
	o := object{}
	for start := 0; start < len(places); {
		end := start
		for end < len(places) && name(places[end]) == name(places[start]) {
			all[end] = items[places[end]]
			end++
		}
		o = append(o, member{name(places[start]), Value{all[start:end:end]}})
		start = end
	}
	return Value{o}, nil
}

// keys evaluates the expression reference on each item.
func (c call) keys(items []Value) ([]Value, error) {
	if err := c.run.spend(len(items)); err != nil {
		return nil, err
	}
	keys := make([]Value, len(items))
	for i, item := range items {
		var err error
		if keys[i], err = c.ref(c.run, item); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func fnMap(c call) (Value, error) {
	var items []Value
	for _, v := range c.values {
		if list, ok := v.data.([]Value); ok {
			items = list
		}
	}
	mapped, err := c.keys(items)
	if err != nil {
		return Value{}, err
	}
	return Value{mapped}, nil
}

// order checks that all keys are numbers or all are strings, and returns the
// order of two of them by their places. Every comparison is charged for.
func (c call) order(keys []Value) (func(i, j int) (int, error), error) {
	switch {
	case all[*number](keys):
		if err := c.run.spend(2 * len(keys)); err != nil {
			return nil, err
		}
		decimals := make([]decimal, len(keys))
		for i, key := range keys {
			var err error
			if decimals[i], err = c.run.decimal(*key.data.(*number)); err != nil {
				return nil, err
			}
		}
		return func(i, j int) (int, error) {
			x, y := decimals[i], decimals[j]
			if err := c.run.spend(1 + min(len(x.digits), len(y.digits))/workBytes); err != nil {
				return 0, err
			}
			return x.compare(y), nil
		}, nil
	case all[*string](keys):
		return func(i, j int) (int, error) {
			return c.run.compareText(*keys[i].data.(*string), *keys[j].data.(*string))
		}, nil
	}
	return nil, errors.New("the expression must give only numbers, or only strings")
}

func (r *run) compareText(a, b string) (int, error) {
	if err := r.spend(1 + min(len(a), len(b))/workBytes); err != nil {
		return 0, err
	}
	return strings.Compare(a, b), nil
}

// best returns the index of the first item whose key is the greatest, or with
// sign -1 the least; -1 if there is none.
func (c call) best(keys []Value, sign int) (int, error) {
	compare, err := c.order(keys)
	if err != nil {
		return 0, err
	}
	best := -1
	for i := range keys {
		if best < 0 {
			best = i
			continue
		}
		d, err := compare(i, best)
		if err != nil {
			return 0, err
		}
		if d*sign > 0 {
			best = i
		}
	}
	return best, nil
}

func fnMax(c call) (Value, error)   { return c.pick(c.list(0), c.list(0), 1) }
func fnMin(c call) (Value, error)   { return c.pick(c.list(0), c.list(0), -1) }
func fnMaxBy(c call) (Value, error) { return c.pickBy(1) }
func fnMinBy(c call) (Value, error) { return c.pickBy(-1) }

func (c call) pickBy(sign int) (Value, error) {
	keys, err := c.keys(c.list(0))
	if err != nil {
		return Value{}, err
	}
	return c.pick(c.list(0), keys, sign)
}

func (c call) pick(items, keys []Value, sign int) (Value, error) {
	i, err := c.best(keys, sign)
	if err != nil || i < 0 {
		return Value{}, err
	}
	return items[i], nil
}

func fnSort(c call) (Value, error) { return c.sort(c.list(0), c.list(0)) }

func fnSortBy(c call) (Value, error) {
	keys, err := c.keys(c.list(0))
	if err != nil {
		return Value{}, err
	}
	return c.sort(c.list(0), keys)
}

// sort is stable, and leaves items as they are.
func (c call) sort(items, keys []Value) (Value, error) {
	compare, err := c.order(keys)
	if err != nil {
		return Value{}, err
	}
	places, err := c.run.sorted(len(items), compare)
	if err != nil {
		return Value{}, err
	}
	if err := c.run.spend(len(items)); err != nil {
		return Value{}, err
	}
	sorted := make([]Value, len(items))
	for i, place := range places {
		sorted[i] = items[place]
	}
	return Value{sorted}, nil
}

// sorted returns the places from 0 to n in their order; equal ones stay as they
// are. compare charges for itself.
func (r *run) sorted(n int, compare func(i, j int) (int, error)) ([]int, error) {
	if err := r.spend(n); err != nil {
		return nil, err
	}
	places := make([]int, n)
	for i := range places {
		places[i] = i
	}
	var failed error
	slices.SortFunc(places, func(i, j int) int {
		if failed != nil {
			return 0
		}
		d, err := compare(i, j)
		if err != nil {
			failed = err
		}
		if d == 0 {
			return i - j
		}
		return d
	})
	return places, failed
}

func fnItems(c call) (Value, error) {
	o := c.object(0)
	if err := c.run.spend(5 * len(o)); err != nil {
		return Value{}, err
	}
	out := make([]Value, len(o))
	for i, m := range o {
		out[i] = Value{[]Value{ofString(m.name), m.value}}
	}
	return Value{out}, nil
}

func fnKeys(c call) (Value, error) {
	o := c.object(0)
	if err := c.run.spend(2 * len(o)); err != nil {
		return Value{}, err
	}
	out := make([]Value, len(o))
	for i, m := range o {
		out[i] = ofString(m.name)
	}
	return Value{out}, nil
}

func fnValues(c call) (Value, error) {
	list, err := c.run.values(c.object(0))
	if err != nil {
		return Value{}, err
	}
	return Value{list}, nil
}

func fnJoin(c call) (Value, error) {
	parts := make([]string, len(c.list(1)))
	size := len(c.str(0)) * len(parts)
	for i, item := range c.list(1) {
		parts[i] = *item.data.(*string)
		size += len(parts[i])
	}
	if err := c.run.spend(len(parts) + size/workBytes); err != nil {
		return Value{}, err
	}
	return ofString(strings.Join(parts, c.str(0))), nil
}

func fnLength(c call) (Value, error) {
	switch x := c.values[0].data.(type) {
	case *string:
		if err := c.run.spendText(len(*x)); err != nil {
			return Value{}, err
		}
		return ofCount(utf8.RuneCountInString(*x)), nil
	case []Value:
		return ofCount(len(x)), nil
	}
	return ofCount(len(c.object(0))), nil
}

func fnLower(c call) (Value, error) { return c.letters(strings.ToLower) }
func fnUpper(c call) (Value, error) { return c.letters(strings.ToUpper) }

func (c call) letters(change func(string) string) (Value, error) {
	if err := c.run.spend(len(c.str(0)) / runeBytes); err != nil {
		return Value{}, err
	}
	return ofString(change(c.str(0))), nil
}

func fnNotNull(c call) (Value, error) {
	for _, v := range c.values {
		if v.data != nil {
			return v, nil
		}
	}
	return Value{}, nil
}

func fnPadLeft(c call) (Value, error) {
	padding, err := c.padding()
	if err != nil {
		return Value{}, err
	}
	return ofString(padding + c.str(0)), nil
}

func fnPadRight(c call) (Value, error) {
	padding, err := c.padding()
	if err != nil {
		return Value{}, err
	}
	return ofString(c.str(0) + padding), nil
}

// padding counts the width in characters, as length() does.
func (c call) padding() (string, error) {
	width, err := c.count(1, 0)
	if err != nil {
		return "", err
	}
	pad := " "
	if len(c.values) > 2 {
		pad = c.str(2)
	}
	if utf8.RuneCountInString(pad) != 1 {
		return "", errors.New("argument 3 must be one character")
	}
	if err := c.run.spendText(len(c.str(0))); err != nil {
		return "", err
	}
	missing := max(0, width-utf8.RuneCountInString(c.str(0)))
	if err := c.run.spend(missing); err != nil {
		return "", err
	}
	return strings.Repeat(pad, missing), nil
}

func fnReplace(c call) (Value, error) {
	limit, err := c.count(3, -1)
	if err != nil {
		return Value{}, err
	}
	s, old, new := c.str(0), c.str(1), c.str(2)
	f, err := c.run.search(s, old)
	if err != nil {
		return Value{}, err
	}
	n := f.count(s)
	if limit >= 0 {
		n = min(n, limit)
	}
	// The product cannot overflow: the budget has long refused such strings.
	if err := c.run.spendText(len(s) + n*len(new)); err != nil {
		return Value{}, err
	}
	return ofString(f.replace(s, new, limit)), nil
}

func fnReverse(c call) (Value, error) {
	if s, ok := c.values[0].data.(*string); ok {
		if err := c.run.spend(len(*s) / runeBytes); err != nil {
			return Value{}, err
		}
		chars := []rune(*s)
		slices.Reverse(chars)
		return ofString(string(chars)), nil
	}
	if err := c.run.spend(len(c.list(0))); err != nil {
		return Value{}, err
	}
	list := slices.Clone(c.list(0))
	slices.Reverse(list)
	return Value{list}, nil
}

func fnSplit(c call) (Value, error) {
	limit, err := c.count(2, -1)
	if err != nil {
		return Value{}, err
	}
	s := c.str(0)
	if s == "" {
		return Value{[]Value{}}, nil
	}
	if limit >= 0 {
		limit++ // of splits, strings.SplitN counts the parts
	}
	f, err := c.run.search(s, c.str(1))
	if err != nil {
		return Value{}, err
	}
	if err := c.run.spend(3 * (f.count(s) + 1)); err != nil {
		return Value{}, err
	}
	parts := f.split(s, limit)
	out := make([]Value, len(parts))
	for i, part := range parts {
		out[i] = ofString(part)
	}
	return Value{out}, nil
}

func fnToArray(c call) (Value, error) {
	if _, ok := c.values[0].data.([]Value); ok {
		return c.values[0], nil
	}
	return Value{[]Value{c.values[0]}}, nil
}

// fnToNumber reads a string as JSON writes numbers; anything else is null.
func fnToNumber(c call) (Value, error) {
	switch x := c.values[0].data.(type) {
	case *number:
		return c.values[0], nil
	case *string:
		text := *x
		if err := c.run.spend(len(text) / jsonBytes); err != nil {
			return Value{}, err
		}
		if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
			return Value{}, nil
		}
		if end, err := scanNumber([]byte(text), 0); err == nil && end == len(text) {
			if n, err := parseNumber(text); err == nil {
				return ofNumber(n), nil
			}
		}
	}
	return Value{}, nil
}

// fnToString writes the canonical text, so that equal values give equal strings.
func fnToString(c call) (Value, error) {
	if _, ok := c.values[0].data.(*string); ok {
		return c.values[0], nil
	}
	if err := c.run.measure(c.values[0], 0); err != nil {
		return Value{}, err
	}
	c.run.buf = Append(c.run.buf[:0], c.values[0])
	if err := c.run.spendText(len(c.run.buf)); err != nil { // escapes make it longer than measured
		return Value{}, err
	}
	return ofString(string(c.run.buf)), nil
}

func trimmer(cut func(s, set string) string, space func(string, func(rune) bool) string) func(call) (Value, error) {
	return func(c call) (Value, error) {
		if len(c.values) > 1 && c.str(1) != "" {
			// Each character cut off may be sought in the whole set.
			cost := (1 + len(c.str(0))/workBytes) * (1 + len(c.str(1))/workBytes)
			if err := c.run.spend(cost); err != nil {
				return Value{}, err
			}
			return ofString(cut(c.str(0), c.str(1))), nil
		}
		if err := c.run.spendText(len(c.str(0))); err != nil {
			return Value{}, err
		}
		return ofString(space(c.str(0), unicode.IsSpace)), nil
	}
}

func fnType(c call) (Value, error) { return ofString(typeName(c.values[0])), nil }

func fnZip(c call) (Value, error) {
	n := len(c.list(0))
	for i := range c.values {
		n = min(n, len(c.list(i)))
	}
	if err := c.run.spend(n * (3 + len(c.values))); err != nil {
		return Value{}, err
	}
	out := make([]Value, n)
	for i := range n {
		row := make([]Value, len(c.values))
		for k := range c.values {
			row[k] = c.list(k)[i]
		}
		out[i] = Value{row}
	}
	return Value{out}, nil
}

// fnParseJSON reads a JSON text that a string holds, such as the body of a
// message, as exactly as Parse, and with as many values at most.
func fnParseJSON(c call) (Value, error) {
	text := c.str(0)
	if err := c.run.spend(1 + len(text)/jsonBytes); err != nil {
		return Value{}, err
	}
	p := parser{data: []byte(text), text: text, limit: min(MaxValues, c.run.left/jsonValue)}
	v, err := p.parse()
	if p.values > p.limit && p.limit < MaxValues {
		return Value{}, errTooMuchWork
	}
	if err != nil {
		return Value{}, err
	}
	return v, c.run.spend(jsonValue * p.values)
}

// fnBase64 decodes the standard alphabet, with padding, to text.
func fnBase64(c call) (Value, error) {
	if err := c.run.spendText(len(c.str(0))); err != nil {
		return Value{}, err
	}
	text, err := base64.StdEncoding.Strict().DecodeString(c.str(0))
	if err != nil {
		return Value{}, err
	}
	if !utf8.Valid(text) {
		return Value{}, errors.New("the decoded bytes are not valid UTF-8")
	}
	return ofString(string(text)), nil
}
