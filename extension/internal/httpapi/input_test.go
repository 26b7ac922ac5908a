package httpapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/storetest"
)

// Bodies that are not one JSON object of known members, on every call that
// takes one.
func TestMalformedBodies(t *testing.T) {
	s := serve(t)
	const mend = "send one JSON object in UTF-8"
	for _, path := range []string{"/acquire", "/complete", "/fail", "/renew"} {
		for _, c := range []struct{ body, fragment string }{
			{"", "at byte 0: unexpected end of input, expected a JSON object; " + mend},
			{" \n\t", "unexpected end of input"},
			{"null", `unexpected 'n', expected a JSON object; ` + mend},
			{`[{"key":"a"}]`, `unexpected '[', expected a JSON object; ` + mend},
			{`"key"`, `expected a JSON object`},
			{"1", `expected a JSON object`},
			{`{"token":"t"`, `at byte 12: unexpected end of input, expected ',' or '}'`},
			{`{"token":"t",}`, `expected a member name`},
			{`{"token" "t"}`, `expected ':' after the member name`},
			{`{token:"t"}`, `expected a member name or '}'`},
			{`{'token':'t'}`, `expected a member name or '}'`},
			{`{"token":undefined}`, `expected a JSON value`},
			{`{"token":NaN}`, `expected a JSON value`},
			{`{"token":01}`, `number has a leading zero`},
			{`{"token":.5}`, `expected a JSON value`},
			{`{"token":+1}`, `expected a JSON value`},
			{`{"token":"t"}{}`, `at byte 13: unexpected data after the JSON value; ` + mend},
			{`{"token":"t"} x`, `unexpected data after the JSON value`},
			{`{"token":"t","token":"t"}`, `at byte 13: duplicate member name "token"`},
			{`{"token":"t","\u0074oken":"t"}`, `duplicate member name "token"`},
			{`{"nonsense":1}`, `"nonsense" is not a member of this request; it takes `},
			{`{"Token":"t"}`, `"Token" is not a member of this request; it takes `},
			{`{"":1}`, `"" is not a member of this request`},
			{`{"` + strings.Repeat("é", 100) + `":1}`, `…" is not a member of this request`},
			{`{"\ud800":1}`, `lone surrogate`},
			{"{\"token\":\"\xff\"}", `at byte 10: invalid UTF-8 in string; ` + mend},
			{"{\"token\":\"\xed\xa0\x80\"}", `invalid UTF-8 in string`},
			{"\xef\xbb\xbf{}", `unexpected byte order mark`},
			{"{\"token\":\"a\nb\"}", `control character 0x0a in string must be escaped`},
			{`{"token":"\x41"}`, `unknown escape in string`},
			{`{"token":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `}`, `nest deeper than 10000`},
		} {
			s.post(path, c.body).problem(400, httpapi.BadRequest, c.fragment)
		}
	}
}

// Each member with each wrong type, and with values next to its limits.
func TestWrongMembers(t *testing.T) {
	clock := storetest.NewClock()
	s := serve(t, at(clock.Now))
	const (
		text  = "string"
		whole = "number"
		yesno = "boolean"
	)
	values := map[string]string{
		"null": "null", text: `"some text of 16 bytes"`, whole: "5", yesno: "true", "list": `["a"]`, "object": `{"a":1}`,
		"fraction": "1.5", "exponent": "1e3", "decimal zero": "1.0", "negative": "-1", "huge": "99999999999999999999", "huger": "1e400",
	}
	for _, c := range []struct {
		path, rest, member, takes string
		fits                      []string
		refused                   []string
	}{
		{"/acquire", `"key":"a",`, "scope", "it takes a string", []string{text}, nil},
		{"/acquire", `"key":"a",`, "ttl_seconds", "it takes a whole number from 1 to 316224000", []string{whole}, []string{"0", "316224001"}},
		{"/acquire", `"key":"a",`, "deadline_ms", "it takes a whole number from 0 to 9007199254740992", []string{whole}, []string{"9007199254740993"}},
		{"/acquire", `"key":"a",`, "lease_ms", "it takes a whole number from 1 to 31622400000", []string{whole}, []string{"0", "31622400001"}},
		{"/acquire", `"key":"a",`, "request_id", "it takes a string of 1 to 256 bytes", []string{text}, []string{`""`, quote(strings.Repeat("x", 257)), quote(strings.Repeat("é", 129))}},
		{"/acquire", `"key":"a",`, "client_token", "it takes a string of 16 to 128 bytes", []string{text}, []string{`""`, `"123456789012345"`, quote(strings.Repeat("x", 129))}},
		{"/acquire", `"key":"a","lease_ms":5,`, "detached", "it takes true or false", []string{yesno}, []string{`"true"`, "0"}},
		{"/acquire", `"key":"a",`, "wait_ms", "it takes a whole number from 0 to 900000", []string{whole}, []string{"900001"}},
		{"/acquire", `"event":{"a":1},`, "key_jmespath", "it takes a string of 1 to 4096 bytes", []string{text}, []string{`""`, quote(strings.Repeat("a", 4097))}},
		{"/complete", ``, "token", "it takes a string", []string{text}, nil},
		{"/complete", `"token":"t",`, "ttl_seconds", "it takes a whole number from 1 to 316224000", []string{whole}, []string{"0", "316224001"}},
		{"/fail", ``, "token", "it takes a string", []string{text}, nil},
		{"/fail", `"token":"t",`, "retry", "it takes true or false", []string{yesno}, []string{"1"}},
		{"/fail", `"token":"t",`, "error", "it takes an object with the strings type and message", nil, []string{`{"type":"a","more":"b"}`, `{"Type":"a"}`, `{"type":"a","type":"a"}`}},
		{"/renew", ``, "token", "it takes a string", []string{text}, nil},
		{"/renew", `"token":"t",`, "lease_ms", "it takes a whole number from 1 to 31622400000", []string{whole}, []string{"0", "31622400001"}},
	} {
		fits := map[string]bool{}
		for _, kind := range c.fits {
			fits[kind] = true
		}
		for kind, value := range values {
			if !fits[kind] {
				c.refused = append(c.refused, value)
			}
		}
		for _, value := range c.refused {
			shown := value
			if len(shown) > 40 {
				shown = shown[:40]
			}
			s.post(c.path, `{`+c.rest+quote(c.member)+`:`+value+`}`).problem(400, httpapi.BadRequest, c.member+" is "+shown, c.takes)
		}
	}
	s.post("/fail", `{"token":"t","error":{"type":5}}`).problem(400, httpapi.BadRequest, "error.type is 5; it takes a string")
	s.post("/fail", `{"token":"t","error":{"message":null}}`).problem(400, httpapi.BadRequest, "error.message is null; it takes a string")
	s.post("/fail", `{"token":"t","error":{"message":"\udcff"}}`).problem(400, httpapi.BadRequest, "error.message holds an escape of a lone surrogate", "send valid Unicode")
	for _, member := range []string{"scope", "request_id", "client_token"} {
		s.post("/acquire", `{"key":"a",`+quote(member)+`:"0123456789abcdef\ud800"}`).problem(400, httpapi.BadRequest, member+" holds an escape of a lone surrogate")
	}
	for _, path := range []string{"/complete", "/fail", "/renew"} {
		s.post(path, `{}`).problem(400, httpapi.BadRequest, "token is absent; send the token of the acquire")
	}
	// The limits themselves are taken.
	for i, members := range []string{
		`"ttl_seconds":1`, `"ttl_seconds":316224000`, `"wait_ms":0`, `"wait_ms":900000`, `"wait_ms":-0`, `"lease_ms":1`,
		`"request_id":` + quote(strings.Repeat("x", 256)), `"client_token":` + quote(strings.Repeat("x", 16)), `"client_token":` + quote(strings.Repeat("x", 128)),
		`"scope":""`, `"scope":` + quote(strings.Repeat("x", 255)),
	} {
		s.acquire(fmt.Sprintf(`{"key":"limit %d",%s}`, i, members))
	}
}

func TestDeadlineMistakes(t *testing.T) {
	clock := storetest.NewClock()
	s := serve(t, at(clock.Now))
	now := clock.Now().UnixMilli()
	for _, c := range []struct {
		members   string
		fragments []string
	}{
		{fmt.Sprintf(`"deadline_ms":%d`, now-1), []string{"deadline_ms is", "which is past", "send the epoch time in milliseconds"}},
		{fmt.Sprintf(`"deadline_ms":%d`, now), []string{"which is past"}},
		{`"deadline_ms":0`, []string{"which is past"}},
		{fmt.Sprintf(`"deadline_ms":%d`, clock.Now().Add(time.Minute).Unix()), []string{"which is past", "in milliseconds"}},
		{fmt.Sprintf(`"deadline_ms":%d`, now*1000), []string{"over 366 days from now", "in milliseconds"}},
		{fmt.Sprintf(`"deadline_ms":%d,"lease_ms":5`, now+5), []string{"deadline_ms and lease_ms are both given; send one"}},
		{`"detached":true`, []string{"detached needs lease_ms"}},
		{fmt.Sprintf(`"detached":true,"deadline_ms":%d`, now+5), []string{"detached needs lease_ms"}},
	} {
		s.post("/acquire", `{"key":"a",`+c.members+`}`).problem(400, httpapi.BadRequest, c.fragments...)
	}
	s.get("/record?key=a").problem(404, httpapi.NotFound) // None of them stored anything.
}

func TestKeys(t *testing.T) {
	s := serve(t)
	long := strings.Repeat("x", 1025)
	for _, c := range []struct {
		body      string
		code      httpapi.Code
		fragments []string
	}{
		{`{}`, httpapi.KeyMissing, []string{"neither key nor event; send one"}},
		{`{"key_jmespath":"a"}`, httpapi.KeyMissing, []string{"neither key nor event"}},
		{`{"key":"a","event":{}}`, httpapi.BadRequest, []string{"key and event are both given; send one"}},
		{`{"key":"a","key_jmespath":"a"}`, httpapi.BadRequest, []string{"key_jmespath selects from event; with key, leave it out"}},
		{`{"key":null}`, httpapi.KeyInvalid, []string{"key is null; it takes a string, or a list of two strings"}},
		{`{"key":5}`, httpapi.KeyInvalid, []string{"key is 5; it takes a string"}},
		{`{"key":true}`, httpapi.KeyInvalid, []string{"key is true; it takes"}},
		{`{"key":{"a":1}}`, httpapi.KeyInvalid, []string{`key is {"a":1}; it takes`}},
		{`{"key":[]}`, httpapi.KeyInvalid, []string{"key is []; it takes a string, or a list of two"}},
		{`{"key":["a"]}`, httpapi.KeyInvalid, []string{`key is ["a"]; it takes`}},
		{`{"key":["a","b","c"]}`, httpapi.KeyInvalid, []string{`key is ["a","b","c"]; it takes`}},
		{`{"key":["a",1]}`, httpapi.KeyInvalid, []string{`key is ["a",1]; it takes`}},
		{`{"key":[null,"b"]}`, httpapi.KeyInvalid, []string{`it takes a string, or a list of two strings`}},
		{`{"key":""}`, httpapi.KeyInvalid, []string{"key is empty; it takes 1 to 1,024 bytes"}},
		{`{"key":["a",""]}`, httpapi.KeyInvalid, []string{"key[1] is empty; it takes 1 to 1,024 bytes"}},
		{`{"key":` + quote(long) + `}`, httpapi.KeyInvalid, []string{"key has 1025 bytes; it takes 1 to 1,024", "send event and key_jmespath"}},
		{`{"key":[` + quote(long) + `,"b"]}`, httpapi.KeyInvalid, []string{"key[0] has 1025 bytes"}},
		{`{"key":"\ud800"}`, httpapi.KeyInvalid, []string{"key holds an escape of a lone surrogate", "send valid Unicode"}},
		{`{"key":["a","\udc00\ud800"]}`, httpapi.KeyInvalid, []string{"key[1] holds an escape of a lone surrogate"}},
		{`{"key":"a","scope":"b#c"}`, httpapi.KeyInvalid, []string{`scope holds "#"`, "leave it out"}},
		{`{"key":"a","scope":` + quote(strings.Repeat("x", 256)) + `}`, httpapi.KeyInvalid, []string{"scope has 256 bytes; it takes up to 255"}},
		{`{"key":"a#b","scope":""}`, httpapi.KeyInvalid, []string{`key holds "#" and has no scope`, "give a scope, or leave"}},
	} {
		s.post("/acquire", c.body).problem(400, c.code, c.fragments...)
	}
	for _, body := range []string{
		`{"key":"a#b"}`, `{"key":` + quote(long[1:]) + `}`, `{"key":[` + quote(long[1:]) + `,` + quote(long[1:]) + `]}`,
		`{"key":"\u0000"}`, `{"key":" "}`, `{"key":"😀\ud83d\ude00"}`, `{"key":["-","-"]}`,
	} {
		s.acquire(body)
	}
}

func TestSelections(t *testing.T) {
	s := serve(t)
	for _, c := range []struct {
		members   string
		code      httpapi.Code
		fragments []string
	}{
		{`"event":null`, httpapi.KeyMissing, []string{"event is null or empty", "send an event that names the work"}},
		{`"event":""`, httpapi.KeyMissing, []string{"event is null or empty"}},
		{`"event":[]`, httpapi.KeyMissing, []string{"event is null or empty"}},
		{`"event":{}`, httpapi.KeyMissing, []string{"event is null or empty"}},
		{`"event":{"a":null}`, httpapi.KeyMissing, []string{"its members are all null"}},
		{`"event":{"a":1},"key_jmespath":"b"`, httpapi.KeyMissing, []string{"key_jmespath (b) selects null, nothing, an empty value or only nulls", "correct the expression"}},
		{`"event":{"a":""},"key_jmespath":"a"`, httpapi.KeyMissing, []string{"key_jmespath (a)"}},
		{`"event":{"a":[]},"key_jmespath":"a"`, httpapi.KeyMissing, []string{"key_jmespath (a)"}},
		{`"event":{"a":{}},"key_jmespath":"a"`, httpapi.KeyMissing, []string{"key_jmespath (a)"}},
		{`"event":{"a":1},"key_jmespath":"[b, c]"`, httpapi.KeyMissing, []string{"key_jmespath ([b, c])"}},
		{`"event":{"a":1},"key_jmespath":"{x: b}"`, httpapi.KeyMissing, []string{"key_jmespath ({x: b})"}},
		{`"event":{"a":1},"key_jmespath":"a["`, httpapi.BadRequest, []string{"key_jmespath: JMESPath expression", "correct the expression"}},
		{`"event":{"a":1},"key_jmespath":" "`, httpapi.BadRequest, []string{"key_jmespath: JMESPath expression is empty"}},
		{`"event":{"a":1},"key_jmespath":"nothing(a)"`, httpapi.BadRequest, []string{"key_jmespath: ", "nothing"}},
		{`"event":{"a":1},"key_jmespath":"length(a)"`, httpapi.KeyInvalid, []string{"key_jmespath cannot be applied to this event", "correct the expression or the event"}},
		{`"event":{"a":1,"a":2}`, httpapi.BadRequest, []string{`event, at byte 7 of its value: duplicate member name "a"`, "one exact meaning"}},
		{`"event":{"a":"\ud800"}`, httpapi.BadRequest, []string{"event, at byte", "lone surrogate"}},
		{`"event":1e9999999999999999999`, httpapi.BadRequest, []string{"event, at byte 0 of its value: number out of range", "exponents of up to 18 digits"}},
		{`"event":` + strings.Repeat("[", 201) + strings.Repeat("]", 201), httpapi.BadRequest, []string{"event, at byte", "nest deeper than 200"}},
		{`"key":"a","payload":{"a":1,"a":2}`, httpapi.BadRequest, []string{"payload, at byte 7 of its value: duplicate member name", "one exact meaning"}},
		{`"key":"a","payload":"\ud800"`, httpapi.BadRequest, []string{"payload, at byte", "lone surrogate"}},
	} {
		s.post("/acquire", `{`+c.members+`}`).problem(400, c.code, c.fragments...)
	}
	for i, members := range []string{
		`"event":0`, `"event":false`, `"event":[0]`, `"event":[[]]`, `"event":{"a":""}`,
		`"event":{"a":0},"key_jmespath":"a || a"`, `"event":{"a":[null,1]},"key_jmespath":"a"`, `"event":{"a":"x"},"key_jmespath":"a"`,
	} {
		s.acquire(fmt.Sprintf(`{"scope":"%d",%s}`, i, members))
	}
}

// The default expression is named by the setting it comes from.
func TestDefaultSelection(t *testing.T) {
	s := serve(t, func(set *setup) { set.api.KeyJMESPath = "order.id" })
	s.acquire(`{"event":{"order":{"id":1},"more":1}}`)
	s.post("/acquire", `{"event":{"order":{"id":1.0}}}`).want("in_progress")
	s.acquire(`{"event":{"order":{"id":1},"more":1},"key_jmespath":"more == order.id"}`)
	s.post("/acquire", `{"event":{"order":{}}}`).problem(400, httpapi.KeyMissing, "IDEMPOTENCY_KEY_JMESPATH (order.id) selects null")
}

func TestRecordQueries(t *testing.T) {
	s := serve(t)
	for _, c := range []struct {
		query     string
		code      httpapi.Code
		fragments []string
	}{
		{"", httpapi.KeyMissing, []string{"key is absent; send /record?key="}},
		{"scope=a", httpapi.KeyMissing, []string{"key is absent"}},
		{"key=", httpapi.KeyInvalid, []string{"key is empty"}},
		{"key=a&key=b&key=c", httpapi.KeyInvalid, []string{"key has 3 parts; it is a string or a list of two strings"}},
		{"key=" + strings.Repeat("x", 1025), httpapi.KeyInvalid, []string{"key has 1025 bytes"}},
		{"key=%ff", httpapi.KeyInvalid, []string{"key is not valid UTF-8"}},
		{"key=a&scope=%ff", httpapi.KeyInvalid, []string{"scope is not valid UTF-8"}},
		{"key=a&scope=b%23c", httpapi.KeyInvalid, []string{`scope holds "#"`}},
		{"key=a%23b&scope=", httpapi.KeyInvalid, []string{`key holds "#" and has no scope`}},
		{"key=a&scope=b&scope=c", httpapi.BadRequest, []string{"scope is given 2 times; send it once"}},
		{"key=a&Key=b", httpapi.BadRequest, []string{`"Key" is not a parameter of /record; it takes key`}},
		{"key=%zz", httpapi.BadRequest, []string{"the query cannot be read", "percent-encode"}},
		{"key=a;scope=b", httpapi.BadRequest, []string{"the query cannot be read", "percent-encode"}},
	} {
		s.get("/record?"+c.query).problem(400, c.code, c.fragments...)
	}
}

func TestTokens(t *testing.T) {
	s := serve(t)
	good := s.acquire(`{"key":"a"}`)
	for _, path := range []string{"/complete", "/fail", "/renew"} {
		for _, token := range []string{
			"", "x", "a b", "é", good[:len(good)-1], good[:30], "_" + good, good + "=", strings.Repeat("A", 9000),
		} {
			s.post(path, `{"token":`+quote(token)+`}`).problem(404, httpapi.ClaimUnknown, "token: not a token of an acquire; send the token of the acquire as it came")
		}
	}
	other := serve(t, func(set *setup) { set.api.Keys = idempotency.Keys{Scope: "other"} })
	other.post("/complete", `{"token":`+quote(good)+`}`).problem(404, httpapi.ClaimUnknown, "the claim's record is gone")
	s.complete(good, "1")
}
