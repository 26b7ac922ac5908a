package canon

// Member is one member of a JSON object, its value not decoded.
type Member struct {
	Name   string // decoded
	Value  []byte // the value as it stands in the text, without surrounding white space
	Offset int64  // where Value starts in the text
}

// Members splits data, which must be exactly one JSON object, into its members
// in their order. Value shares memory with data.
//
// The member names are as strict as in Parse: duplicates and lone surrogates
// are refused, as are more than MaxValues members. The values are only checked as
// Valid checks them. Every error is a *SyntaxError.
//
// A name that is among those given as usual is not copied from data.
func Members(data []byte, usual ...string) ([]Member, error) {
	members, err := splitObject(data, usual)
	if err != nil {
		return nil, err
	}
	return members, nil
}

func splitObject(data []byte, usual []string) ([]Member, *SyntaxError) {
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		return nil, unexpected(data, i, "a JSON object")
	}
	i = skipSpace(data, i+1)
	if i < len(data) && data[i] == '}' {
		return nil, atEnd(data, i+1)
	}
	members := make([]Member, 0, 8) // Most have no more.
	seen := make(map[string]struct{})
	want := "a member name or '}'"
	for {
		if i >= len(data) || data[i] != '"' {
			return nil, unexpected(data, i, want)
		}
		name, nameEnd, err := memberName(data, i, usual)
		if err != nil {
			return nil, err
		}
		if _, ok := seen[name]; ok {
			return nil, duplicateName(i, name)
		}
		seen[name] = struct{}{}
		start, err := skipColon(data, nameEnd)
		if err != nil {
			return nil, err
		}
		end, err := skipValue(data, start)
		if err != nil {
			return nil, err
		}
		if len(members) == MaxValues {
			return nil, tooManyValues(start)
		}
		members = append(members, Member{Name: name, Value: data[start:end:end], Offset: int64(start)})
		i = skipSpace(data, end)
		if i < len(data) && data[i] == '}' {
			return members, atEnd(data, i+1)
		}
		if i >= len(data) || data[i] != ',' {
			return nil, unexpected(data, i, "',' or '}'")
		}
		i = skipSpace(data, i+1)
		want = "a member name"
	}
}

// memberName reads the member name that starts at i.
func memberName(data []byte, i int, usual []string) (name string, end int, err *SyntaxError) {
	end, plain, err := scanString(data, i)
	if err != nil {
		return "", 0, err
	}
	if !plain {
		name, err = unquote(data[i:end], i, false)
		return name, end, err
	}
	text := data[i+1 : end-1]
	for _, name := range usual {
		if string(text) == name {
			return name, end, nil
		}
	}
	return string(text), end, nil
}

// duplicateName shows at most the start of a name: it may be megabytes long.
func duplicateName(offset int, name string) *SyntaxError {
	const shown = 64
	suffix := ""
	if len(name) > shown {
		cut := shown
		for name[cut]&0xc0 == 0x80 { // not inside a character
			cut--
		}
		name, suffix = name[:cut], "…"
	}
	return syntaxError(offset, "duplicate member name %s%s", AppendQuote(nil, name), suffix)
}
