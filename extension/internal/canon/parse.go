package canon

import (
	"slices"
	"strings"
)

// MaxDepth is how deep lists and objects may nest in a value. A scalar has
// depth 0, an empty list depth 1.
const MaxDepth = 200

// Value is a JSON value that cannot be changed. The zero Value is null.
type Value struct {
	data any // nil, bool, string, number, []Value or object
}

// object holds members sorted by name, so that texts which differ only in the
// order of members give the same tree, and every walk has the same order.
type object []member

type member struct {
	name  string
	value Value
}

// get returns null for a name that is absent, as JMESPath has it.
func (o object) get(name string) Value {
	i, ok := slices.BinarySearchFunc(o, name, func(m member, name string) int {
		return strings.Compare(m.name, name)
	})
	if !ok {
		return Value{}
	}
	return o[i].value
}

// Parse reads data, which must be exactly one JSON text (RFC 8259) in UTF-8.
//
// It refuses whatever has no one exact meaning: duplicate member names, invalid
// UTF-8, a byte order mark, escapes of lone surrogates, numbers whose exponent
// has more than 18 digits, lists and objects nested deeper than MaxDepth. Every
// error is a *SyntaxError. data is not kept.
func Parse(data []byte) (Value, error) {
	p := parser{data: data, text: string(data)}
	v, end, err := p.value(skipSpace(data, 0), 0)
	if err == nil {
		err = atEnd(data, end)
	}
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

type parser struct {
	data []byte
	text string // the same; strings and numbers of the tree are cut out of it

	// What is read of lists and objects that are not closed yet. Each copies
	// its own off the end when it closes, so no list ever holds spare room.
	values  []Value
	members []member
	offsets []int // of the names of members
}

func (p *parser) value(i, depth int) (Value, int, *SyntaxError) {
	if i >= len(p.data) {
		return Value{}, 0, unexpected(p.data, i, "a JSON value")
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
		return Value{s}, end, err
	case c == '-' || isDigit(p.data, i):
		end, err := scanNumber(p.data, i)
		if err != nil {
			return Value{}, 0, err
		}
		n, rangeErr := parseNumber(p.text[i:end])
		if rangeErr != nil {
			return Value{}, 0, syntaxError(i, "number out of range: %v", rangeErr)
		}
		return Value{n}, end, nil
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
	s, err := unquote(p.data[i:end], i)
	return s, end, err
}

func (p *parser) list(i, depth int) (Value, int, *SyntaxError) {
	i = skipSpace(p.data, i+1)
	if i < len(p.data) && p.data[i] == ']' {
		return Value{[]Value{}}, i + 1, nil
	}
	base := len(p.values)
	for {
		v, end, err := p.value(i, depth)
		if err != nil {
			return Value{}, 0, err
		}
		p.values = append(p.values, v)
		i = skipSpace(p.data, end)
		if i < len(p.data) && p.data[i] == ']' {
			break
		}
		if i >= len(p.data) || p.data[i] != ',' {
			return Value{}, 0, unexpected(p.data, i, "',' or ']'")
		}
		i = skipSpace(p.data, i+1)
	}
	list := slices.Clone(p.values[base:])
	p.values = p.values[:base]
	return Value{slices.Clip(list)}, i + 1, nil
}

func (p *parser) object(i, depth int) (Value, int, *SyntaxError) {
	i = skipSpace(p.data, i+1)
	if i < len(p.data) && p.data[i] == '}' {
		return Value{object{}}, i + 1, nil
	}
	base := len(p.members)
	want := "a member name or '}'"
	for {
		if i >= len(p.data) || p.data[i] != '"' {
			return Value{}, 0, unexpected(p.data, i, want)
		}
		name, end, err := p.str(i)
		if err != nil {
			return Value{}, 0, err
		}
		p.offsets = append(p.offsets, i)
		if i, err = skipColon(p.data, end); err != nil {
			return Value{}, 0, err
		}
		// The place is taken before the value is read: members of objects
		// inside the value come after it and are gone again by then.
		p.members = append(p.members, member{name: name})
		at := len(p.members) - 1
		v, end, err := p.value(i, depth)
		if err != nil {
			return Value{}, 0, err
		}
		p.members[at].value = v
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
	o := make(object, len(p.members)-base)
	copy(o, p.members[base:])
	if sortMembers(o) {
		return Value{}, 0, p.duplicate(base)
	}
	p.members, p.offsets = p.members[:base], p.offsets[:base]
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

// duplicate finds the first name that has stood before, in the order of the text.
func (p *parser) duplicate(base int) *SyntaxError {
	seen := make(map[string]struct{})
	for i, m := range p.members[base:] {
		if _, ok := seen[m.name]; ok {
			return duplicateName(p.offsets[base+i], m.name)
		}
		seen[m.name] = struct{}{}
	}
	panic("canon: no duplicate member name")
}
