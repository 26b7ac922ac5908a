package canon_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jmespath-community/go-jmespath"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"pgregory.net/rapid"
)

func TestFunctions(t *testing.T) {
	const e = `{"l":[3,1.50,2],"w":["b","a","\ud83d\ude02","\ufb33"],"o":{"b":1,"a":2},"s":"a\ud83d\ude02b","e":[],"n":-1.5,
		"big":[12345678901234567891,12345678901234567890],"r":[{"k":"x","v":2},{"k":"y","v":1},{"k":"x","v":2.0}]}`
	v := mustParse(t, e)
	for _, c := range []struct{ expression, want string }{
		{"abs(n)", "1.5"}, {"ceil(n)", "-1"}, {"floor(n)", "-2"}, {"ceil(`-0.5`)", "0"}, {"floor(`-0.5`)", "-1"}, {"ceil(`7`)", "7"},
		{"avg(l)", "2." + "1" + strings.Repeat("6", 34)}, {"avg(e)", "null"}, {"sum(l)", "6.5"}, {"sum(e)", "0"},
		{"max(l)", "3"}, {"min(l)", "1.5"}, {"max(e)", "null"}, {"max(w)", `"😂"`}, {"min(w)", `"a"`},
		{"max(big)", "12345678901234567891"}, {"min(big)", "12345678901234567890"}, {"sort(big)", "[12345678901234567890,12345678901234567891]"},
		{"big[0] == big[1]", "false"}, {"big[0] != big[1]", "true"}, {"big[0] > big[1]", "true"}, {"big[0] - big[1]", "1"},
		{"contains(big, `12345678901234567892`)", "false"}, {"contains(big, `12345678901234567890.0`)", "true"},
		{"contains(r, {v: `2`, k: 'x'})", "true"}, {"contains(s, '😂')", "true"}, {"contains(s, `1`)", "false"},
		{"find_first(s, 'b')", "2"}, {"find_last('abab', 'ab')", "2"}, {"find_first(s, 'b', `0`, `2`)", "null"}, {"find_first(s, 'a', `9`)", "null"}, {"find_first(s, '')", "null"},
		{"from_items([['a', n], ['b', s], ['a', e]])", `{"a":[],"b":"a😂b"}`},
		{"group_by(r, &k)", `{"x":[{"k":"x","v":2},{"k":"x","v":2}],"y":[{"k":"y","v":1}]}`}, {"group_by(e, &k)", "null"},
		{"items(o)", `[["a",2],["b",1]]`}, {"keys(o)", `["a","b"]`}, {"values(o)", "[2,1]"}, {"o.*", "[2,1]"},
		{"join('-', w)", `"b-a-😂-דּ"`}, {"length(s)", "3"}, {"length(l)", "3"}, {"length(o)", "2"}, {"lower('AÉ')", `"aé"`}, {"upper('aé')", `"AÉ"`},
		{"map(&v, r)", "[2,1,2]"}, {"map(&nope, r)", "[null,null,null]"}, {"max_by(r, &v)", `{"k":"x","v":2}`}, {"min_by(r, &v).k", `"y"`}, {"max_by(e, &v)", "null"},
		{"merge(o, {b: n, c: s})", `{"a":2,"b":-1.5,"c":"a😂b"}`}, {"not_null(nope, n, s)", "-1.5"}, {"not_null(nope)", "null"},
		{"pad_left('é', `3`)", `"  é"`}, {"pad_right('é', `3`, '😂')", `"é😂😂"`}, {"pad_left('abc', `2`)", `"abc"`},
		{"replace('aaa', 'a', 'b', `2`)", `"bba"`}, {"replace('aaa', 'a', 'b')", `"bbb"`}, {"reverse(s)", `"b😂a"`}, {"reverse(l)", "[2,1.5,3]"},
		{"sort(w)", `["a","b","דּ","😂"]`}, {"sort_by(r, &k)[*].v", "[2,2,1]"}, {"[sort_by(r, &v)[0].k, r[0].k]", `["y","x"]`},
		{"split('a,b,c', ',')", `["a","b","c"]`}, {"split('a,b,c', ',', `1`)", `["a","b,c"]`}, {"split('a,b', ',', `0`)", `["a,b"]`}, {"split('', ',')", "[]"},
		{"starts_with(s, 'a')", "true"}, {"ends_with(s, 'a')", "false"}, {"to_array(n)", "[-1.5]"}, {"to_array(l)", "[3,1.5,2]"},
		{"to_number('1.50')", "1.5"}, {"to_number('0x10')", "null"}, {"to_number('1e99999999999999999999')", "null"}, {"to_number('NaN')", "null"}, {"to_number(' 1')", "null"}, {"to_number(l)", "null"}, {"to_number('')", "null"},
		{"to_string(big)", `"[12345678901234567891,12345678901234567890]"`}, {"to_string(o)", `"{\"a\":2,\"b\":1}"`}, {"to_string(s)", `"a😂b"`}, {"to_string(nope)", `"null"`}, {"to_string('<&>')", `"<&>"`}, {"to_string(['<&>'])", `"[\"<&>\"]"`},
		{"trim('  a ')", `"a"`}, {"trim('xxaxx', 'x')", `"a"`}, {"trim_left('xxaxx', 'x')", `"axx"`}, {"trim_right('xxaxx', 'x')", `"xxa"`},
		{"[type(n), type(s), type(l), type(o), type(nope), type(`true`)]", `["number","string","array","object","null","boolean"]`},
		{"zip(l, w)", `[[3,"b"],[1.5,"a"],[2,"😂"]]`}, {"zip(l, e)", "[]"},
		{"s[::-1]", `"b😂a"`}, {"s[-1:]", `"b"`}, {"l[1:99]", "[1.5,2]"}, {"l[-99:1]", "[3]"}, {"l[:9223372036854775807:9223372036854775807]", "[3]"}, {"l[::-9223372036854775807]", "[2]"}, {"l[5:0:-1]", "[2,1.5]"}, {"l[-1]", "2"}, {"l[9]", "null"},
		{"-n", "1.5"}, {"+n", "-1.5"}, {"-s", "null"}, {"n + s", "null"}, {"s < n", "null"}, {"n < `0`", "true"}, {"n >= `-1.5`", "true"}, {"n <= `-1.6`", "false"},
		{"`7` // `2`", "3"}, {"`-7` // `-2`", "3"}, {"`7` // `-2`", "-4"}, {"`7.5` % `2`", "1.5"}, {"`-7` % `2`", "-1"}, {"`1` / `-8`", "-0.125"}, {"`-1` / `3`", "-0." + strings.Repeat("3", 36)},
		{"`1e400` == `10e399`", "true"}, {"`1e400` > `1e399`", "true"}, {"`1e400` * `1e-400`", "1"}, {"`0` * `-1`", "0"}, {"`1` - `1.0`", "0"}, {"`0` / `-5`", "0"},
		{"let $n = n, $s = s in {n: $n, s: $s, r: r[*].[$n]}", `{"n":-1.5,"r":[[-1.5],[-1.5],[-1.5]],"s":"a😂b"}`},
		{"let $a = n in [let $a = s in $a, $a]", `["a😂b",-1.5]`}, {"r[*].let $k = k in $k", `["x","y","x"]`}, {"map(&(let $k = k in [$k, v]), r)[0]", `["x",2]`},
		{"r[?v == `2`].k", `["x","x"]`}, {"e || n", "-1.5"}, {"e && n", "[]"}, {"!e", "true"}, {"!`0`", "false"}, {"$.n", "-1.5"}, {"r[*].[$.n][]", "[-1.5,-1.5,-1.5]"},
		{"'it\\'s'", `"it's"`}, {"`\"a\\`b\"`", "\"a`b\""}, {"[`1`,`2`,`3`,`4`,`5`,`6`,`7`,`8`,`9`,`10`,`11`,`12`]", "[1,2,3,4,5,6,7,8,9,10,11,12]"}, {"r[?k == `\"y\"`] | [0].v == `1`", "true"},
		{"l[1::9223372036854775807]", "[1.5]"}, {"l[::-9223372036854775808]", "[2]"}, {"l == l[:2]", "false"}, {"l[:2] == l", "false"}, {"l[:2] == (l[::1] | [:2])", "true"}, {"o == {a: `2`}", "false"}, {"{a: `2.0`, b: `1`} == o", "true"}, {"{a: `2`, c: `1`} == o", "false"},
		{"max_by([{v: n, i: `1`}, {v: n, i: `2`}], &v).i", "1"}, {"min_by([{v: n, i: `1`}, {v: n, i: `2`}], &v).i", "1"}, {"max_by(r, &k).v", "1"},
		{"l[?@ > `2`] | [0] || `5`", "3"}, {"[[`1`,[`2`]],`3`][]", "[1,[2],3]"},
	} {
		got, err := choose(c.expression, v)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
		} else if text(got) != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.expression, text(got), c.want)
		}
	}
	if text(v) != text(mustParse(t, e)) {
		t.Error("a selection changed the event")
	}
}

func TestSortByIsStable(t *testing.T) {
	var items []string
	for i := range 100 {
		items = append(items, fmt.Sprintf(`{"k":%d,"i":%d}`, (i*7)%3, i))
	}
	v := mustParse(t, "["+strings.Join(items, ",")+"]")
	got, err := choose("sort_by(@, &k)[?k == `1`].i == [?k == `1`].i", v)
	if err != nil || text(got) != "true" {
		t.Errorf("items with the same key change places: %v", err)
	}
}

func TestMissing(t *testing.T) {
	for input, want := range map[string]bool{
		`null`: true, `""`: true, `[]`: true, `{}`: true, `[null]`: true, `[null,null]`: true, `{"a":null}`: true,
		`0`: false, `-0.0`: false, `false`: false, `" "`: false, `"null"`: false, `[0]`: false, `[""]`: false, `[[]]`: false, `[[null]]`: false,
		`[null,0]`: false, `{"a":null,"b":false}`: false, `{"a":{}}`: false, `{"":""}`: false,
	} {
		if got := canon.Missing(mustParse(t, input)); got != want {
			t.Errorf("Missing(%s) = %v", input, got)
		}
	}
	if !canon.Missing(canon.Value{}) {
		t.Error("the zero Value is not missing")
	}
}

func TestNullMembers(t *testing.T) {
	for input, want := range map[string][]string{
		`null`: nil, `0`: nil, `"a"`: nil, `[]`: nil, `{}`: nil, `[0,"",[],{},false]`: nil, `{"a":0}`: nil,
		`[null]`: {"0"}, `[1,null,[null],null]`: {"1", "3"}, `{"b":null,"a":null,"c":{"d":null}}`: {"a", "b"},
		`{"\u00e9":null,"":null}`: {"", "é"},
	} {
		if got := canon.NullMembers(mustParse(t, input)); !slices.Equal(got, want) {
			t.Errorf("NullMembers(%s) = %q, want %q", input, got, want)
		}
	}
	if got := canon.NullMembers(canon.Value{}); got != nil {
		t.Errorf("NullMembers of the zero Value = %q", got)
	}
}

// The evaluator agrees with the library's wherever that one is deterministic,
// exact and does not hide errors.
func TestSelectAgreesWithTheLibrary(t *testing.T) {
	expressions := strings.Fields(`
		a a.b a.b.c a[0] a[-1] b[1] a[*] a[*].b a[*].b[] a[] a[].b a[][] a[1:] a[:1] a[::-1] a[::2] a[-2:] b[1:3].c
		[a,b] {x:a,y:b.c} [a,[b]] a||b a&&b !a !(a&&b) a==b a!=b a[?b] a[?b==c] a[?b].c a[?!b] a[?c==a].b
		a|b a|[0] a[*]|[0] a[*].[b,c] a[*].{x:b} a.[b] a.{x:c} @ $ a.b||c a[?@] a[?@==@] b[?a&&b]
		type(a) type(b) to_array(a) not_null(a,b,c) a==a length(to_array(a)) reverse(to_array(b)) map(&a,to_array(b))
		a[*].b|[0] (a||b).c a[0][0] a[0].b[1] a[*][*] a[*][0] a[*][] a.b[?c]|[0] [*] [0] [] [?a] [*].a`)
	expressions = append(expressions, "a < b", "a >= `1`", "b[?c > `0`].c", "to_array(a)[?@ < `2`]", "a == `1`", "a + b", "a - `1`", "a * b",
		"`\"x\"` == a", "let $x = a in b[*].[$x, c]", "zip(to_array(a), to_array(b))", "contains(to_array(a), `1`)", "to_string(`\"x\"`)")
	names := rapid.SampledFrom([]string{"a", "b", "c"})
	var drawEvent func(depth int) *rapid.Generator[any]
	drawEvent = func(depth int) *rapid.Generator[any] {
		scalars := []*rapid.Generator[any]{
			rapid.Just(any(nil)), rapid.Map(rapid.Bool(), func(b bool) any { return b }),
			rapid.Map(rapid.IntRange(-2, 3), func(n int) any { return float64(n) }),
			rapid.Map(rapid.SampledFrom([]string{"", "x", "y"}), func(s string) any { return s }),
		}
		if depth == 0 {
			return rapid.OneOf(scalars...)
		}
		inner := drawEvent(depth - 1)
		object := rapid.Map(rapid.MapOfN(names, inner, 0, 3), func(m map[string]any) any { return m })
		return rapid.OneOf(append(scalars, object, object,
			rapid.Map(rapid.SliceOfN(inner, 0, 3), func(l []any) any { return l }))...)
	}
	var agreed int
	rapid.Check(t, func(t *rapid.T) {
		event := drawEvent(4).Draw(t, "event")
		raw, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		v, err := canon.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, expression := range expressions {
			got, gotErr := choose(expression, v)
			theirs, wantErr := searchLibrary(expression, event)
			if (gotErr == nil) != (wantErr == nil) {
				t.Fatalf("%s of %s: the error %v, the library's %v", expression, raw, gotErr, wantErr)
			}
			if gotErr != nil {
				continue
			}
			want, err := json.Marshal(theirs)
			if err != nil {
				t.Fatal(err)
			}
			if canonical(t, string(want)) != text(got) {
				t.Fatalf("%s of %s\n got %s\nwant %s", expression, raw, text(got), want)
			}
			if text(got) != "null" {
				agreed++
			}
		}
	})
	if agreed == 0 {
		t.Error("nothing was ever selected")
	}
}

// searchLibrary turns the library's panics (contains() on objects) into errors.
func searchLibrary(expression string, event any) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return jmespath.Search(expression, event)
}

func TestOrderOfMembersNeverMatters(t *testing.T) {
	expressions := []string{"*", "*.*", "values(@)", "keys(@)", "items(@)", "to_string(@)", "* | [0]", "keys(@)[0]",
		"merge(@, {a: `1`})", "from_items(items(@))", "group_by(items(@), &[0])", "map(&[0], items(@))", "sort(keys(@))", "values(@)[]"}
	rapid.Check(t, func(t *rapid.T) {
		m, rng := rapid.MapOfN(drawString, drawTree(2), 0, 6).Draw(t, "object"), drawRand(t)
		for _, expression := range expressions {
			var results []string
			for range 2 {
				v, err := canon.Parse([]byte(render(rng, m)))
				if err != nil {
					t.Fatal(err)
				}
				selected, err := choose(expression, v)
				if err != nil {
					t.Fatalf("%s: %v", expression, err)
				}
				results = append(results, text(selected))
			}
			if results[0] != results[1] {
				t.Fatalf("%s gave two results:\n%s\n%s", expression, results[0], results[1])
			}
		}
	})
}

// Expressions that blow up, on small and on large values, end in an error soon.
func TestWorkIsBounded(t *testing.T) {
	ones := "[" + strings.Repeat("1,", canon.MaxValues/2) + "1]"
	long := `{"s":"` + strings.Repeat("é", 1<<20) + `"}`
	for name, c := range map[string]struct{ expression, event string }{
		"shared subtrees":             {strings.Repeat("[@,@,@,@]|", 100) + "@", `1`},
		"shared subtrees, compared":   {strings.Repeat("[@,@,@,@]|", 100) + "@ == @", `1`},
		"flattened":                   {strings.Repeat("[@,@,@,@]|[][]|", 100) + "@", `1`},
		"to_string":                   {strings.Repeat("[@,@,@,@]|to_string(@)|", 100) + "@", `1`},
		"join":                        {strings.Repeat("[@,@,@,@]|join('',@)|", 100) + "@", `"a"`},
		"replace":                     {strings.Repeat("replace(@,'a','aaaa')|", 100) + "@", `"a"`},
		"square of a list":            {"map(&map(&$, $), @)", ones},
		"trim with a set from inside": {"trim(s, s)", long},
		"long sum":                    {"sum(@)", "[" + strings.Repeat("1e900,1,", 200_000) + "1]"},
		"long product":                {strings.Repeat("[@,@]|[0] * [1]|", 60) + "@", `12345678901234567890`},
		"copies of a long string":     {"[" + strings.Repeat("s,", 100) + "s]", long},
		"many nodes, no data":         {"map(&(" + strings.Repeat("x||", 1000) + "x), @)", ones},
		"deep result":                 {strings.Repeat("[@]|", 300) + "@", `1`},
	} {
		if v, err := choose(c.expression, mustParse(t, c.event)); err == nil {
			t.Errorf("%s: no error, %d bytes", name, len(text(v)))
		}
	}
	// And what people do with large events is far inside the bounds.
	big := mustParse(t, string(event(6<<20)))
	for _, expression := range []string{"@", "Records", "Records[*].[messageId, amount]", "Records[*].powertools_json(body).orderId", "to_string(Records)", "sort_by(Records, &amount)[*].amount", "sum(Records[*].amount)"} {
		if _, err := choose(expression, big); err != nil {
			t.Error(err)
		}
	}
}

// Nested as deep as the length allows, an expression is compiled or refused, but
// neither slow nor fatal.
func TestDeepExpressions(t *testing.T) {
	v := mustParse(t, `{"a":1}`)
	for _, expression := range []string{
		strings.Repeat("!", 4095) + "a", strings.Repeat("(", 2000) + "a" + strings.Repeat(")", 2000), strings.Repeat("[", 2000) + "a" + strings.Repeat("]", 2000),
		strings.Repeat("{a:", 1000) + "a" + strings.Repeat("}", 1000), strings.Repeat("a[?", 1000) + "a" + strings.Repeat("]", 1000), strings.Repeat("[*]", 1300), strings.Repeat("a.", 2000) + "a",
		strings.Repeat("-", 4095) + "a", strings.Repeat("to_array(", 400) + "a" + strings.Repeat(")", 400), strings.Repeat("(", 4096), strings.Repeat("[]", 2048), strings.Repeat("a||", 1300) + "a",
	} {
		_, _ = choose(expression, v)
	}
	if got, err := choose(strings.Repeat("!", 4094)+"a", v); err != nil || text(got) != "true" {
		t.Errorf("4094 negations: %v", err)
	}
}

func TestExpressionIsSafeForConcurrentUse(t *testing.T) {
	e, err := canon.Compile("let $x = a in map(&[$x, @], l)")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			v, err := canon.Parse(fmt.Appendf(nil, `{"a":%d,"l":[1,2]}`, i))
			if err != nil {
				t.Error(err)
				return
			}
			want := fmt.Sprintf("[[%d,1],[%d,2]]", i, i)
			for range 200 {
				if got, err := e.Select(v); err != nil || text(got) != want {
					t.Errorf("got %s, %v; want %s", text(got), err, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The package stays free of transport and logging, for clients and for start-up time.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		switch {
		case dep == "net" || strings.HasPrefix(dep, "net/"), dep == "log" || strings.HasPrefix(dep, "log/"),
			strings.Contains(dep, "aws"), strings.Contains(dep, "prometheus"):
			t.Errorf("canon depends on %s", dep)
		}
	}
}
