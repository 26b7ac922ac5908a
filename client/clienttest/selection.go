package clienttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// selection is the canonical JSON of what an expression selects from an event;
// with none, of the event.
func selection(event json.RawMessage, expression *string) (string, *problem) {
	v, wrong := parse(event)
	if wrong != nil {
		return "", refuse(badRequest, "event: "+wrong.Error())
	}
	if expression != nil {
		p := &path{rest: strings.TrimSpace(*expression)}
		v = p.selects(v)
		if p.wrong || p.rest != "" {
			return "", refuse(badRequest, fmt.Sprintf("key_jmespath, at %q: the sidecar of package clienttest knows names, paths, indexes and lists of these; to test another expression, run the sidecar itself", p.rest))
		}
	}
	if missing(v) {
		return "", refuse(keyMissing, "null, nothing, an empty value or only nulls are selected from the event")
	}
	return text(v), nil
}

// path is a JMESPath expression, of which the start was read.
type path struct {
	rest  string
	wrong bool
}

var (
	plainName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)
	quotedName = regexp.MustCompile(`^"(?:[^"\\]|\\.)+"`)
	index      = regexp.MustCompile(`^\[\s*(-?\d+)\s*\]`)
)

func (p *path) take(r *regexp.Regexp) []string {
	m := r.FindStringSubmatch(p.rest)
	if m != nil {
		p.skip(len(m[0]))
	}
	return m
}

func (p *path) skip(n int) { p.rest = strings.TrimSpace(p.rest[n:]) }

// selects reads names, lists and indexes, one after the other.
func (p *path) selects(v any) any {
	for first := true; ; first = false {
		switch m := p.take(index); {
		case m != nil:
			v = at(v, m[1])
			continue
		case !first && !strings.HasPrefix(p.rest, "."):
			return v
		case !first:
			p.skip(1)
		}
		if strings.HasPrefix(p.rest, "[") {
			v = p.list(v)
		} else if name, ok := p.name(); ok {
			members, _ := v.(map[string]any)
			v = members[name]
		} else {
			p.wrong = true
			return nil
		}
	}
}

func (p *path) name() (string, bool) {
	if m := p.take(plainName); m != nil && !strings.HasPrefix(p.rest, "(") {
		return m[0], true
	}
	if m := p.take(quotedName); m != nil {
		var name string
		err := json.Unmarshal([]byte(m[0]), &name)
		return name, err == nil
	}
	return "", false
}

// list reads a list of expressions, each of which selects from v.
func (p *path) list(v any) any {
	list := []any{}
	for more := true; more && !p.wrong; {
		p.skip(1)
		list = append(list, p.selects(v))
		more = strings.HasPrefix(p.rest, ",")
	}
	if !strings.HasPrefix(p.rest, "]") {
		p.wrong = true
		return nil
	}
	p.skip(1)
	if v == nil {
		return nil
	}
	return list
}

func at(v any, index string) any {
	list, _ := v.([]any)
	i, err := strconv.Atoi(index)
	if i < 0 {
		i += len(list)
	}
	if err != nil || i < 0 || i >= len(list) {
		return nil
	}
	return list[i]
}

// missing tells whether v is nothing to make a key of.
func missing(v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case string:
		return x == ""
	case []any:
		for _, item := range x {
			if item != nil {
				return false
			}
		}
		return true
	case map[string]any:
		for _, item := range x {
			if item != nil {
				return false
			}
		}
		return true
	}
	return false
}

// canonical is a text that is the same for all JSON that says the same.
func canonical(name string, raw json.RawMessage) (string, *problem) {
	v, err := parse(raw)
	if err != nil {
		return "", refuse(badRequest, name+": "+err.Error())
	}
	return text(v), nil
}

// parse reads JSON with its numbers as exact canonical texts.
func parse(raw json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return exact(v)
}

func exact(v any) (any, error) {
	var err error
	switch x := v.(type) {
	case json.Number:
		return number(string(x))
	case []any:
		for i := range x {
			if x[i], err = exact(x[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range x {
			if x[name], err = exact(x[name]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// number writes a number in one way: 100, 1e2 and 100.0 are the same.
func number(s string) (json.Number, error) {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	exp := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		n, err := strconv.ParseInt(s[i+1:], 10, 60)
		if err != nil {
			return "", fmt.Errorf("the exponent of %s is too large", s)
		}
		s, exp = s[:i], int(n)
	}
	if i := strings.IndexByte(s, '.'); i >= 0 {
		exp -= len(s) - i - 1
		s = s[:i] + s[i+1:]
	}
	s = strings.TrimLeft(s, "0")
	digits := strings.TrimRight(s, "0")
	exp += len(s) - len(digits)
	switch {
	case digits == "":
		return "0", nil
	case exp >= 0 && exp <= 20:
		return json.Number(sign + digits + strings.Repeat("0", exp)), nil
	}
	return json.Number(sign + digits + "e" + strconv.Itoa(exp)), nil
}

// text is the JSON of v, its members sorted.
func text(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // It was read from JSON.
	return strings.TrimSuffix(b.String(), "\n")
}
