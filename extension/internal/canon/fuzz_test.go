package canon_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

func isSyntaxError(t *testing.T, input []byte, err error) {
	t.Helper()
	var syntax *canon.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > int64(len(input)) || syntax.Msg == "" {
		t.Fatalf("%q: bad error %#v", input, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range readVectors(f).Canonical {
		f.Add([]byte(c.Input))
	}
	for _, c := range readVectors(f).Invalid {
		f.Add([]byte(c.Input))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		checkValid(t, input)
		if s, err := canon.Unquote(input); err == nil {
			var want string
			if err := json.Unmarshal(input, &want); err != nil || s != want {
				t.Fatalf("Unquote(%q) = %q, encoding/json reads %q, %v", input, s, want, err)
			}
		}
		v, err := canon.Parse(input)
		if err != nil {
			isSyntaxError(t, input, err)
			return
		}
		first := canon.Append(nil, v)
		again, err := canon.Parse(first)
		if err != nil {
			t.Fatalf("Parse refuses its own canonical text %q: %v", first, err)
		}
		if second := canon.Append(nil, again); !bytes.Equal(first, second) {
			t.Fatalf("not stable: %q -> %q", first, second)
		}
		if canon.Hash(v) != canon.Hash(again) {
			t.Fatalf("two hashes of %q", first)
		}
	})
}

func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{}`, ` { "a" : 1 , "b" : [ {} ] } `, `{"a":1,"\u0061":2}`, `{"\ud800":1}`, `{"a":"\ud800"}`, `{"a":{"b":1,"b":2}}`, `{"a":1e99999999999999999999}`, `{"a":1,}`, `[]`, `{"a":1}x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		members, err := canon.Members(input)
		if err != nil {
			isSyntaxError(t, input, err)
			if _, err := canon.Parse(input); err == nil && bytes.HasPrefix(bytes.TrimLeft(input, " \t\r\n"), []byte("{")) {
				t.Fatalf("Members refuses %q, Parse takes it", input)
			}
			return
		}
		seen := map[string]bool{}
		for _, m := range members {
			if seen[m.Name] {
				t.Fatalf("%q twice in %q", m.Name, input)
			}
			seen[m.Name] = true
			if err := canon.Valid(m.Value); err != nil {
				t.Fatalf("value %q of %q: %v", m.Value, input, err)
			}
			if !bytes.HasPrefix(input[m.Offset:], m.Value) {
				t.Fatalf("offset of %q in %q", m.Name, input)
			}
		}
		if err := canon.Valid(input); err != nil {
			t.Fatalf("Members takes %q, Valid says %v", input, err)
		}
	})
}

// FuzzSelect: nothing panics or runs away, and the same event gives the same
// selection however its members are ordered.
func FuzzSelect(f *testing.F) {
	for _, c := range readVectors(f).Selections {
		f.Add(c.Expression, c.Event)
	}
	for name := range strings.FieldsSeq("abs avg ceil contains ends_with find_first find_last floor from_items group_by items join keys length lower map max max_by merge min min_by not_null pad_left pad_right replace reverse sort sort_by split starts_with sum to_array to_number to_string trim trim_left trim_right type upper values zip parse_json powertools_base64") {
		f.Add(name+"(@)", `{"a":[1,2]}`)
		f.Add(name+"(@, &a)", `[{"a":1},{"a":2}]`)
		f.Add(name+"(s, t, `1`, `2`)", `{"s":"abcabc","t":"b"}`)
	}
	f.Fuzz(func(t *testing.T, expression, event string) {
		v, err := canon.Parse([]byte(event))
		if err != nil {
			return
		}
		e, err := canon.Compile(expression)
		if err != nil {
			return
		}
		one, err := e.Select(v)
		if other, light, lightErr := e.SelectLight(v); light && ((err == nil) != (lightErr == nil) || err == nil && canon.Hash(one) != canon.Hash(other)) {
			t.Fatalf("%q of %q: another selection as a light one: %v, %v", expression, event, err, lightErr)
		}
		if err != nil {
			return
		}
		canon.Missing(one)
		first := canon.Append(nil, one)
		if _, err := canon.Parse(first); err != nil {
			t.Fatalf("%q of %q gave %q, which Parse refuses: %v", expression, event, first, err)
		}
		two, err := e.Select(v)
		if err != nil || !bytes.Equal(first, canon.Append(nil, two)) {
			t.Fatalf("%q of %q: another selection the second time", expression, event)
		}
		if second := canon.Append(nil, v); !bytes.Equal(second, canon.Append(nil, mustParse(t, event))) {
			t.Fatalf("%q changed its event %q", expression, event)
		}
	})
}
