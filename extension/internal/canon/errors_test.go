package canon_test

import (
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

func TestErrorMessages(t *testing.T) {
	parse := func(s string) error { _, err := canon.Parse([]byte(s)); return err }
	valid := func(s string) error { return canon.Valid([]byte(s)) }
	members := func(s string) error { _, err := canon.Members([]byte(s)); return err }
	unquote := func(s string) error { _, err := canon.Unquote([]byte(s)); return err }
	elements := func(s string) error { _, err := canon.Elements([]byte(s)); return err }
	for _, c := range []struct {
		name  string
		call  func(string) error
		input string
		want  string
	}{
		{"parse", parse, ``, `invalid JSON at byte 0: unexpected end of input, expected a JSON value`},
		{"parse", parse, `{"a":1} {}`, `invalid JSON at byte 8: unexpected data after the JSON value`},
		{"parse", parse, `{"a":1,"b":2,"a":3}`, `invalid JSON at byte 13: duplicate member name "a"`},
		{"parse", parse, `{"` + strings.Repeat("é", 99) + `":1,"` + strings.Repeat("é", 99) + `":2}`, `invalid JSON at byte 204: duplicate member name "` + strings.Repeat("é", 32) + `"…`},
		{"parse", parse, "\ufeff{}", `invalid JSON at byte 0: unexpected byte order mark, expected a JSON value`},
		{"parse", parse, "[\xff]", `invalid JSON at byte 1: invalid UTF-8, expected a JSON value`},
		{"parse", parse, "\"ab\xff\"", `invalid JSON at byte 3: invalid UTF-8 in string`},
		{"parse", parse, "\"日本ab\xff seven more and a letter, 語\\n\x01\"", `invalid JSON at byte 9: invalid UTF-8 in string`},
		{"parse", parse, "\"\xe3\x81 and forty letters that are ASCII, to its end", `invalid JSON at byte 1: invalid UTF-8 in string`},
		{"parse", parse, "\"in eights, \x01 before \xff\"", `invalid JSON at byte 12: control character 0x01 in string must be escaped`},
		{"parse", parse, `["\udead"]`, `invalid JSON at byte 2: escape of a lone surrogate, which is no character`},
		{"parse", parse, `[1e1234567890123456789]`, `invalid JSON at byte 1: number out of range: exponent has more than 18 digits`},
		{"parse", parse, strings.Repeat("[", 1000), `invalid JSON at byte 200: lists and objects nest deeper than 200`},
		{"parse", parse, `{"a":1 "b":2}`, `invalid JSON at byte 7: unexpected '"', expected ',' or '}'`},
		{"parse", parse, `{"a",1}`, `invalid JSON at byte 4: unexpected ',', expected ':' after the member name`},
		{"parse", parse, `{"a":1,}`, `invalid JSON at byte 7: unexpected '}', expected a member name`},
		{"parse", parse, `{é:1}`, `invalid JSON at byte 1: unexpected '\u00e9', expected a member name or '}'`},
		{"parse", parse, `[1 2]`, `invalid JSON at byte 3: unexpected '2', expected ',' or ']'`},
		{"parse", parse, `tru`, `invalid JSON at byte 3: unexpected end of input, expected the literal true`},
		{"parse", parse, `-x`, `invalid JSON at byte 1: unexpected 'x', expected a digit`},
		{"parse", parse, `[012]`, `invalid JSON at byte 1: number has a leading zero`},
		{"parse", parse, `1.e5`, `invalid JSON at byte 2: unexpected 'e', expected a digit after the decimal point`},
		{"parse", parse, `1e`, `invalid JSON at byte 2: unexpected end of input, expected a digit in the exponent`},
		{"parse", parse, "\"a\tb\"", `invalid JSON at byte 2: control character 0x09 in string must be escaped`},
		{"parse", parse, `"\q"`, `invalid JSON at byte 1: unknown escape in string`},
		{"parse", parse, `"\u12x4"`, `invalid JSON at byte 1: a \u escape needs four hex digits`},
		{"parse", parse, `["abc`, `invalid JSON at byte 1: string is not closed`},
		{"valid", valid, ` `, `invalid JSON at byte 1: unexpected end of input, expected a JSON value`},
		{"valid", valid, `[1}`, `invalid JSON at byte 2: unexpected '}', expected ',' or ']'`},
		{"valid", valid, `{"a":{"b" 1}}`, `invalid JSON at byte 10: unexpected '1', expected ':' after the member name`},
		{"valid", valid, `{"a":1,2}`, `invalid JSON at byte 7: unexpected '2', expected a member name`},
		{"valid", valid, strings.Repeat("[", 10_001), `invalid JSON at byte 10000: lists and objects nest deeper than 10000`},
		{"members", members, `[]`, `invalid JSON at byte 0: unexpected '[', expected a JSON object`},
		{"members", members, ``, `invalid JSON at byte 0: unexpected end of input, expected a JSON object`},
		{"members", members, `{"a":1, "\u0061":2}`, `invalid JSON at byte 8: duplicate member name "a"`},
		{"members", members, `{"\ud800":1}`, `invalid JSON at byte 2: escape of a lone surrogate, which is no character`},
		{"members", members, `{"a":[1,]}`, `invalid JSON at byte 8: unexpected ']', expected a JSON value`},
		{"members", members, `{"a":1}}`, `invalid JSON at byte 7: unexpected data after the JSON value`},
		{"elements", elements, `{}`, `invalid JSON at byte 0: unexpected '{', expected a JSON array`},
		{"elements", elements, `[1,]`, `invalid JSON at byte 3: unexpected ']', expected a JSON value`},
		{"elements", elements, `[1 2]`, `invalid JSON at byte 3: unexpected '2', expected ',' or ']'`},
		{"elements", elements, `[1] 2`, `invalid JSON at byte 4: unexpected data after the JSON value`},
		{"elements", elements, `[`, `invalid JSON at byte 1: unexpected end of input, expected a JSON value`},
		{"unquote", unquote, ``, `invalid JSON at byte 0: unexpected end of input, expected a JSON string`},
		{"unquote", unquote, ` "a"`, `invalid JSON at byte 0: unexpected ' ', expected a JSON string`},
		{"unquote", unquote, `"a" `, `invalid JSON at byte 3: unexpected data after the JSON string`},
		{"unquote", unquote, `"\ude00"`, `invalid JSON at byte 1: escape of a lone surrogate, which is no character`},
	} {
		err := c.call(c.input)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s(%.60q)\n got %v\nwant %s", c.name, c.input, err, c.want)
		}
	}
}

// What Valid lets pass and Parse refuses, each only for its own reason.
func TestValidIsMoreLenientThanParse(t *testing.T) {
	deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	for _, input := range []string{`"\ud800"`, `1e99999999999999999999`, `{"a":1,"a":2}`, deep} {
		if err := canon.Valid([]byte(input)); err != nil {
			t.Errorf("Valid(%.40s): %v", input, err)
		}
		if _, err := canon.Parse([]byte(input)); err == nil {
			t.Errorf("Parse takes %.40s", input)
		}
	}
	members, err := canon.Members([]byte(`{"a":"\ud800","b":1e99999999999999999999}`))
	if err != nil || len(members) != 2 {
		t.Errorf("Members: %v, %v", members, err)
	}
}

func TestDepthLimit(t *testing.T) {
	list := strings.Repeat("[", canon.MaxDepth) + strings.Repeat("]", canon.MaxDepth)
	mustParse(t, list)
	mustParse(t, strings.Repeat(`{"a":`, canon.MaxDepth)+"1"+strings.Repeat("}", canon.MaxDepth))
	// A selection can nest no deeper than Parse would read back.
	if v, err := choose("[@]", mustParse(t, list)); err == nil {
		t.Errorf("selected %d levels", strings.Count(text(v), "["))
	}
}

func TestExpressionErrors(t *testing.T) {
	v := mustParse(t, `{"a":"x","n":12345678901234567891,"l":[1,"a"],"s":"{"}`)
	for _, c := range []struct{ expression, want string }{
		{``, `JMESPath expression is empty`},
		{" \n", `JMESPath expression is empty`},
		{strings.Repeat("a", 4097), `JMESPath expression has 4097 bytes, the limit is 4096`},
		{"a\xff", `JMESPath expression is not valid UTF-8`},
		{`a[`, `JMESPath expression "a[", at byte 2: `},
		{"[`\"long literal\"`, a b]", "at byte 21: Expected TOKComma"},
		{`a b`, `JMESPath expression "a b", at byte 2: Unexpected token at the end of the expression`},
		{"'a", `JMESPath expression "'a": at byte 0: ' is not closed`},
		{"a == `[1,]`", "literal at byte 5: invalid JSON at byte 3: unexpected ']', expected a JSON value"},
		{"`{\"a\":1,\"a\":2}`", `literal at byte 0: invalid JSON at byte 7: duplicate member name "a"`},
		{`"\ud800"`, `name at byte 0: invalid JSON at byte 1: escape of a lone surrogate`},
		{`nope(a)`, `unknown function nope()`},
		{`abs()`, `function abs() takes 1 argument, not 0`},
		{`merge()`, `function merge() takes 1 or more arguments, not 0`},
		{`trim(a, a, a)`, `function trim() takes 1 to 2 arguments, not 3`},
		{`zip(a, &b)`, `argument 2 of zip() cannot be an expression reference`},
		{`sort_by(l, a)`, `argument 2 of sort_by() must be an expression reference such as &name`},
		{`&a`, `an expression reference (&) can only be the argument of a function`},
		{`[&a]`, `an expression reference (&) can only be the argument of a function`},
		{`$v`, `variable $v is not defined`},
		{`let $v = $v in $v`, `variable $v is not defined`},
		{`[let $v = a in $v, $v]`, `variable $v is not defined`},
		{`a = n`, `= stands outside of a let; use == to compare`},
		{`let a in a`, `JMESPath expression "let a in a"`},
		{`{a: a, "a": n}`, `"a" stands twice in one {…}`},
		{`l[::0]`, `the step of a slice cannot be 0`},
		{"a\u0080", `malformed expression`}, // the library's lexer panics
		{`sum(a)`, `argument 1 of sum() must be a list of numbers, not string`},
		{`sort(l)`, `argument 1 of sort() must be a list of numbers or of strings, not array`},
		{`sort_by(l, &@)`, `function sort_by(): the expression must give only numbers, or only strings`},
		{`group_by(l, &@)`, `function group_by(): the expression must give a string, not number`},
		{`parse_json(s)`, `function parse_json(): invalid JSON at byte 1: unexpected end of input`},
		{`powertools_base64(s)`, `function powertools_base64(): illegal base64 data`},
		{"powertools_base64('/w==')", `the decoded bytes are not valid UTF-8`},
		{"n / `0`", `division by zero`},
		{"n // `0`", `division by zero`},
		{"n % `0`", `division by zero`},
		{"n / `3`", `a quotient has no end, and its operands have more than 17 digits`},
		{"n + `1e1200`", `a number is too long to compute with: more than 1,000 digits`},
		{"ceil(`1e-999999999`) + `1e999999999`", `a number is too long to compute with`},
		{"`1e999999999999999999` * `10`", `the result is out of range: its exponent has more than 18 digits`},
		{"`1e999999999999999999` / `3e-999999999999999999` + `1`", `the result is out of range: its exponent has more than 18 digits`},
		{"abs(`2e999999999999999999` / `3e-999999999999999999`)", `the result is out of range: its exponent has more than 18 digits`},
		{"`1e-999999999999999999` / `4`", `the result is out of range: its exponent has more than 18 digits`},
		{"`1e-999999999999999999` / `3`", `the result is out of range: its exponent has more than 18 digits`},
		{"avg([`1e-999999999999999999`, `0`, `0`])", `the result is out of range: its exponent has more than 18 digits`},
		{"from_items([['a']])", `each item must be a list of a string and a value`},
		{"from_items([[n, a]])", `each item must be a list of a string and a value`},
		{"pad_left(a, `100000000000`)", `the expression makes too much work of this value`},
		{"pad_left(a, `-1`)", `argument 2 must not be negative`},
		{"pad_left(a, `1.5`)", `argument 2 must be an integer`},
		{"pad_left(a, `5`, 'xy')", `argument 3 must be one character`},
	} {
		got, err := choose(c.expression, v)
		switch {
		case err == nil:
			t.Errorf("%.60q selected %s, want the error %s", c.expression, text(got), c.want)
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%.60q\n got %v\nwant %s", c.expression, err, c.want)
		case len(err.Error()) > 400:
			t.Errorf("%.60q: the message has %d bytes", c.expression, len(err.Error()))
		}
	}
}
