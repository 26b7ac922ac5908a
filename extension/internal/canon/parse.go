package canon

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// MaxDepth is how deep lists and objects may nest in a value. A scalar has
// depth 0, an empty list depth 1.
const MaxDepth = 200

// Value is a JSON value that cannot be changed. The zero Value is null.
type Value struct {
	// data is nil, bool, *string, *number, []Value or object. Strings and numbers are
	// behind pointers so that those of a text can be allocated together.
	data any
}

func ofString(s string) Value { return Value{&s} }
func ofNumber(n number) Value { return Value{&n} }

// object holds members sorted by name, so that texts which differ only in the
// order of members give the same tree, and every walk has the same order.
type object []member

type member struct {
	name  string
	value Value
}

// Values that are common, and so are not made anew each time.
var (
	emptyList    = Value{[]Value{}}
	emptyObject  = Value{object{}}
	smallNumbers = [10]Value{ofDigit(0), ofDigit(1), ofDigit(2), ofDigit(3), ofDigit(4),
		ofDigit(5), ofDigit(6), ofDigit(7), ofDigit(8), ofDigit(9)}
)

func ofDigit(n int) Value { return ofNumber(number(strconv.Itoa(n))) }

// get returns null for a name that is absent, as JMESPath has it.
func (o object) get(name string) Value {
	i, ok := o.find(name)
	if !ok {
		return Value{}
	}
	return o[i].value
}

// find returns the first place of a name, and whether it is there.
func (o object) find(name string) (int, bool) {
	return slices.BinarySearchFunc(o, name, func(m member, name string) int {
		return strings.Compare(m.name, name)
	})
}

// MaxValues is how many values one text may hold, every list, object, string,
// number and literal counted. A value takes up to some 60 bytes of memory besides
// its text, so a text of 6 MiB takes less than 50 MB. Twice that is taken when one
// is read while that of the one before is still to be collected, and a function
// may have 128 MB in all.
const MaxValues = 500_000

func tooManyValues(offset int) *SyntaxError {
	return syntaxError(offset, "more than %d values; leave out, or send as one string, what the key does not need", MaxValues)
}

// Parse reads data, which must be exactly one JSON text (RFC 8259) in UTF-8.
//
// It refuses whatever has no one exact meaning: duplicate member names, invalid
// UTF-8, a byte order mark, escapes of lone surrogates, numbers whose exponent
// has more than 18 digits, lists and objects nested deeper than MaxDepth. It also
// refuses more than MaxValues values. Every error is a *SyntaxError. data is not
// kept.
func Parse(data []byte) (Value, error) {
	p := parser{data: data, text: string(data), limit: MaxValues}
	v, err := p.parse()
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

// ParseEvent is Parse for an event that was not written for this program: half a
// character that its sender cut off, an escape of a lone surrogate, is kept. The
// key that is selected from it hashes it as it is.
func ParseEvent(data []byte) (Value, error) {
	p := parser{data: data, text: string(data), limit: MaxValues, loose: true}
	v, err := p.parse()
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

type parser struct {
	data   []byte
	text   string // the same; strings and numbers of the tree are cut out of it
	limit  int    // of values
	values int    // so far
	loose  bool   // lone surrogates are kept

	// How many members each list and object has, in the order in which they
	// open, so that each is made at its size at once. After a fault in the text,
	// where reading ends, the counts mean nothing.
	sizes  []int32
	opened int

	// Room for the parts of the tree, which are too many to be allocated one by one.
	// It is used up from the front.
	items   []Value  // of all lists
	members []member // of all objects
	texts   []string // for strings and numbers
	leaves  int      // how many of those may still come
}

func (p *parser) parse() (Value, *SyntaxError) {
	p.measure()
	v, end, err := p.value(skipSpace(p.data, 0), 0)
	if err == nil {
		err = atEnd(p.data, end)
	}
	return v, err
}

// measure sets sizes, and makes room. It stops where value stops at the latest: at
// too many values and at MaxDepth.
func (p *parser) measure() {
	openings := bytes.Count(p.data, []byte{'['}) + bytes.Count(p.data, []byte{'{'})
	p.sizes = make([]int32, 0, min(openings, p.limit))
	var open [MaxDepth]int32 // indexes of sizes
	depth, values, members := 0, 1, 0
	for i := 0; i < len(p.data); i++ {
		c := p.data[i]
		if '-' <= c && c <= '9' { // of numbers, which may be long
			continue
		}
		switch c {
		case '"':
			i = skipString(p.data, i)
		case ',':
			if values++; values > p.limit || depth == 0 {
				return
			}
			p.sizes[open[depth-1]]++
		case ':':
			members++
		case '[', '{':
			if depth == MaxDepth || len(p.sizes) == cap(p.sizes) {
				return
			}
			open[depth] = int32(len(p.sizes))
			depth++
			p.sizes = append(p.sizes, 0)
			if k := skipSpace(p.data, i+1); k < len(p.data) && p.data[k] != ']' && p.data[k] != '}' {
				p.sizes[open[depth-1]]++ // one more than commas
				values++
			}
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	members = min(members, values-1)
	p.items, p.members = make([]Value, values-1-members), make([]member, members)
	p.leaves = values - len(p.sizes)
}

// room takes room for n from what is left of all; there is too little only after a
// fault in the text.
func room[T any](all *[]T, n int) []T {
	if n > len(*all) {
		return make([]T, 0, n)
	}
	taken := (*all)[:0:n]
	*all = (*all)[n:]
	return taken
}

// keep returns where a string, or the text of a number, is kept.
func (p *parser) keep(s string) *string {
	const most = 128 // at once: null, true, false and digits need no room
	if len(p.texts) == 0 {
		p.texts = make([]string, min(max(p.leaves, 1), most))
	}
	kept := &p.texts[0]
	p.texts = p.texts[1:]
	p.leaves--
	*kept = s
	return kept
}

// skipString returns where the string that opens at i closes, without looking at
// what is in it.
func skipString(data []byte, i int) int {
	for i++; i < len(data); i++ {
		i, _ = plainEnd(data, i)
		switch {
		case i == len(data):
		case data[i] == '"':
			return i
		case data[i] == '\\':
			i++
		}
	}
	return len(data)
}

// size is the number of members of the list or object that opens now.
func (p *parser) size() int {
	p.opened++
	if p.opened > len(p.sizes) {
		return 0
	}
	return int(p.sizes[p.opened-1])
}

func (p *parser) value(i, depth int) (Value, int, *SyntaxError) {
	if i >= len(p.data) {
		return Value{}, 0, unexpected(p.data, i, "a JSON value")
	}
	if p.values++; p.values > p.limit {
		return Value{}, 0, tooManyValues(i)
	}
	switch c := p.data[i]; {
	case c == '{' || c == '[':
		if depth == MaxDepth {
			return Value{}, 0, syntaxError(i, "lists and objects nest deeper than %d", MaxDepth)
		}
		if c == '{' {
			return p.object(i, depth+1)
		}
		return p.list(i, depth+1)
	case c == '"':
		s, end, err := p.str(i)
		return Value{p.keep(s)}, end, err
	case c == '-' || isDigit(p.data, i):
		end, err := scanNumber(p.data, i)
		if err != nil {
			return Value{}, 0, err
		}
		if end == i+1 { // one digit
			return smallNumbers[c-'0'], end, nil
		}
		n, rangeErr := parseNumber(p.text[i:end])
		if rangeErr != nil {
			return Value{}, 0, syntaxError(i, "number out of range: %v", rangeErr)
		}
		return Value{(*number)(p.keep(string(n)))}, end, nil
	}
	end, err := scanScalar(p.data, i)
	if err != nil {
		return Value{}, 0, err
	}
	switch p.data[i] {
	case 't':
		return Value{true}, end, nil
	case 'f':
		return Value{false}, end, nil
	}
	return Value{}, end, nil
}

func (p *parser) str(i int) (string, int, *SyntaxError) {
	end, plain, err := scanString(p.data, i)
	if err != nil {
		return "", 0, err
	}
	if plain {
		return p.text[i+1 : end-1], end, nil
	}
	s, err := unquote(p.data[i:end], i, p.loose)
	return s, end, err
}

func (p *parser) list(i, depth int) (Value, int, *SyntaxError) {
	size := p.size()
	i = skipSpace(p.data, i+1)
	if i < len(p.data) && p.data[i] == ']' {
		return emptyList, i + 1, nil
	}
	list := room(&p.items, size)
	for {
		v, end, err := p.value(i, depth)
		if err != nil {
			return Value{}, 0, err
		}
		list = append(list, v)
		i = skipSpace(p.data, end)
		if i < len(p.data) && p.data[i] == ']' {
			return Value{list}, i + 1, nil
		}
		if i >= len(p.data) || p.data[i] != ',' {
			return Value{}, 0, unexpected(p.data, i, "',' or ']'")
		}
		i = skipSpace(p.data, i+1)
	}
}

func (p *parser) object(i, depth int) (Value, int, *SyntaxError) {
	start, size := i, p.size()
	i = skipSpace(p.data, i+1)
	if i < len(p.data) && p.data[i] == '}' {
		return emptyObject, i + 1, nil
	}
	o := object(room(&p.members, size))
	want := "a member name or '}'"
	for {
		if i >= len(p.data) || p.data[i] != '"' {
			return Value{}, 0, unexpected(p.data, i, want)
		}
		name, end, err := p.str(i)
		if err != nil {
			return Value{}, 0, err
		}
		if i, err = skipColon(p.data, end); err != nil {
			return Value{}, 0, err
		}
		v, end, err := p.value(i, depth)
		if err != nil {
			return Value{}, 0, err
		}
		o = append(o, member{name, v})
		i = skipSpace(p.data, end)
		if i < len(p.data) && p.data[i] == '}' {
			break
		}
		if i >= len(p.data) || p.data[i] != ',' {
			return Value{}, 0, unexpected(p.data, i, "',' or '}'")
		}
		i = skipSpace(p.data, i+1)
		want = "a member name"
	}
	if sortMembers(o) {
		return Value{}, 0, p.duplicate(start, o)
	}
	return Value{o}, i + 1, nil
}

// sortMembers reports whether two members have the same name.
func sortMembers(o object) (duplicate bool) {
	slices.SortFunc(o, func(a, b member) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(o); i++ {
		if o[i].name == o[i-1].name {
			return true
		}
	}
	return false
}

// duplicate finds the first name that has stood before, in the order of the
// text, in the object that starts at i. It has been read to o, so there is no
// other fault in it.
func (p *parser) duplicate(i int, o object) *SyntaxError {
	seen := make([]bool, len(o)) // at the first of the members of a name
	for {
		i = skipSpace(p.data, i+1)
		start := i
		name, end, err := p.str(i)
		if err != nil {
			return err
		}
		at, _ := o.find(name)
		if seen[at] {
			return duplicateName(start, name)
		}
		seen[at] = true
		if i, err = skipColon(p.data, end); err != nil {
			return err
		}
		if i, err = skipValue(p.data, i); err != nil {
			return err
		}
		i = skipSpace(p.data, i) // at the comma
	}
}
