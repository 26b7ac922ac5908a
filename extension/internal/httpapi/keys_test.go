package httpapi_test

import (
	"net/url"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// Names of different work never meet, whatever the table.
func TestKeysStayApart(t *testing.T) {
	for name, keys := range map[string]idempotency.Keys{
		"no sort key":           {Scope: "fn"},
		"sort key":              {Scope: "fn", SortKey: true},
		"no default scope":      {},
		"sort key and no scope": {SortKey: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(set *setup) { set.api.Keys = keys })
			for _, members := range []string{
				`"key":"a"`, `"key":["a","a"]`, `"key":["a","b"]`, `"key":["b","a"]`, `"key":["a,b","c"]`, `"key":["a","b,c"]`,
				`"key":"a,b"`, `"key":"[\"a\",\"b\"]"`, `"key":["[\"a\"","b"]`, `"key":"a\",\"b"`, `"key":["a\",\"b","c"]`, `"key":["a","b\",\"c"]`,
				`"key":"\"a\""`, `"key":" a"`, `"key":"A"`, `"key":"é"`, `"key":"e\u0301"`, `"key":"=5"`, `"key":"~a"`, `"key":"a-"`, `"key":["a","--"]`,
				`"key":"a","scope":"other"`, `"key":"a","scope":"fn2"`, `"key":["a","b"],"scope":"other"`,
				`"event":"a"`, `"event":["a","b"]`, `"event":"a","scope":"other"`, `"event":5`, `"event":"5"`, `"event":0`, `"event":false`,
				`"event":12345678901234567890`, `"event":12345678901234567891`, `"event":{"a":1}`, `"event":{"a":1,"b":null}`,
			} {
				s.acquire(`{` + members + `}`)
			}
		})
	}
}

// Different spellings of one name meet.
func TestSpellingsMeet(t *testing.T) {
	s := serve(t)
	for _, same := range [][2]string{
		{`"key":"é"`, `"key":"\u00e9"`},
		{`"key":"a"`, `"scope":"fn","key":"\u0061"`},
		{`"key":["a","b"]`, `"key" : [ "a" , "\u0062" ]`},
		{`"event":{"x":1,"y":[2.50]}`, `"event": {"y":[25e-1], "x": 1.0}`},
		{`"event":{"id":7,"more":1},"key_jmespath":"id"`, `"event":7`},
		{`"event":{"a":1,"b":2},"key_jmespath":"[a,b]"`, `"event":[1,2]`},
	} {
		s.acquire(`{` + same[0] + `}`)
		s.post("/acquire", `{`+same[1]+`}`).want("in_progress")
	}
}

// What a record shows is the key as the table holds it.
func TestStoredKeys(t *testing.T) {
	for _, c := range []struct {
		keys            idempotency.Keys
		members, query  string
		partition, sort string
	}{
		{idempotency.Keys{Scope: "fn"}, `"key":"a"`, "key=a", "fn#a", ""},
		{idempotency.Keys{Scope: "fn"}, `"key":["a","b"]`, "key=a&key=b", `fn#["a","b"]`, ""},
		{idempotency.Keys{Scope: "fn"}, `"key":"a","scope":""`, "key=a&scope=", "a", ""},
		{idempotency.Keys{Scope: "fn"}, `"key":"=a"`, "key==a", `fn#"=a"`, ""},
		{idempotency.Keys{Scope: "fn", SortKey: true}, `"key":"a"`, "key=a", "fn#a", "-"},
		{idempotency.Keys{Scope: "fn", SortKey: true}, `"key":["12345","x/y"]`, "key=12345&key=x/y", "fn#12345", "x/y"},
		{idempotency.Keys{SortKey: true}, `"key":["12345","x#y"]`, "key=12345&key=" + url.QueryEscape("x#y"), "12345", "x#y"},
	} {
		s := serve(t, func(set *setup) { set.api.Keys = c.keys })
		s.acquire(`{` + c.members + `}`)
		if got := s.get("/record?" + c.query); got.text("id") != c.partition || got.text("sort") != c.sort {
			t.Errorf("%s is stored as %s", c.members, got.body)
		}
	}
}

func TestSortPartOfPlainKeys(t *testing.T) {
	s := serve(t, func(set *setup) { set.api.Keys.SortKey = true })
	s.post("/acquire", `{"key":["a","-"]}`).problem(400, "key_invalid", `key[1] is "-"`, "use another value")
}
