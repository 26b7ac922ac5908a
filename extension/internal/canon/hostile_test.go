package canon_test

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

func list(n int, item func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(item(i))
		b.WriteByte(',')
	}
	return "[" + strings.TrimSuffix(b.String(), ",") + "]"
}

// hostileEvent has 100,000 items to project from and, beside them, large operands
// that the expression takes up again for each item.
func hostileEvent() string {
	const mega = 1 << 20
	quote := func(s string) string { return `"` + s + `"` }
	x := strings.Repeat("x", mega)
	// Package strings would compare this part with all of the string everywhere:
	// it has the hash of the same number of a's.
	const collision = "gmecabry"
	as := strings.Repeat("a", mega)
	half := as[:mega/2]
	backwards := []byte(collision)
	for i := range len(backwards) / 2 {
		backwards[i], backwards[7-i] = backwards[7-i], backwards[i]
	}
	prefix := strings.Repeat("p", 3900)
	return `{"l":` + list(100_000, func(int) string { return "0" }) +
		`,"l2":` + list(700, func(int) string { return "0" }) +
		`,"a":` + quote(x+"a") + `,"b":` + quote(x+"b") + `,"bx":` + quote("b"+x) + `,"x":` + quote(x) +
		`,"as":` + quote(as) + `,"late":` + quote(half+collision) + `,"early":` + quote(string(backwards)+half) +
		`,"u":` + quote(strings.Repeat("é", 100_000)) + `,"v":` + quote(strings.Repeat("İ", 50_000)) +
		`,"n":` + strings.Repeat("7", 200_000) + `,"q":0.` + strings.Repeat("7", 200_000) + `,"nt":` + quote(strings.Repeat("7", 200_000)+".0") +
		`,"d":12345678901234567,"e":9.7654321098765433,"m":` + strings.Repeat("7", 900) + `.5,"m2":` + strings.Repeat("3", 900) +
		`,"far":1e900,"tiny":1e-99,"h":` + strings.Repeat("7", 400) + `,"two":` + pow2(800) +
		`,"o":{` + quote(prefix+"a") + `:1,` + quote(prefix+"b") + `:2,` + quote(prefix+"c") + `:3}` +
		`,"lo":` + quoteObject(1000, prefix) +
		`,"w":["` + x + `a","` + x + `b"],"w2":["` + x + `a","` + x + `b"]` +
		`,"nums":` + list(50, func(i int) string { return strings.Repeat("7", 5000) + strconv.Itoa(10+i) }) +
		`,"rev":` + list(2000, func(i int) string { return strconv.Quote(strings.Repeat("k", 40) + strconv.Itoa((i*7919)%2000)) }) +
		`,"ctl":` + quote(strings.Repeat(`\u0001`, 10_000)) +
		`,"json":` + quote("["+strings.Repeat("[0],", 3000)+"0]") +
		`,"sp":` + quote(strings.Repeat(" ", 100_000)+"1") + `,"esc":` + quote(`\"`+strings.Repeat(`\\u0041`, 10_000)+`\"`) +
		`,"b64":` + quote(strings.Repeat("eHh4", 10_000)) + `,"pairs":` + list(1000, func(i int) string { return fmt.Sprintf(`["%d",0]`, (i*7919)%1000) }) + `}`
}

func pow2(n int) string {
	s := []byte{1} // lowest digit first
	for range n {
		carry := byte(0)
		for i := range s {
			s[i] = s[i]*2 + carry
			carry = s[i] / 10
			s[i] %= 10
		}
		if carry > 0 {
			s = append(s, carry)
		}
	}
	out := make([]byte, len(s))
	for i, d := range s {
		out[len(s)-1-i] = '0' + d
	}
	return string(out)
}

func quoteObject(n int, prefix string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%s%d":0`, prefix[:1000], i)
	}
	return "{" + b.String()[1:] + "}"
}

// No function and no operator does for free what costs time or memory. Each case
// takes up large text or numbers again for every item of a long list.
func TestNothingIsForFree(t *testing.T) {
	v := mustParse(t, hostileEvent())
	// A fifth of the work, as the cases are many. All of it takes at most some 0.5 s
	// and 180 MB in all, most of that soon garbage. The bound of the time is for a
	// busy machine and the race detector; what is for free takes a minute.
	const work, maxTime, maxAlloc = canon.MaxWork / 5, 5 * time.Second, 50 << 20
	perItem := []string{
		// Numbers.
		"abs($.n)", "abs($.q)", "floor($.n)", "floor($.m)", "ceil($.n)", "ceil($.m)", "-$.n",
		"$.n < $.q", "$.m < $.m2", "$.m >= $.n", "$.m + $.m2", "$.m - $.m2", "$.h * $.h", "$.h / $.two", "$.h / $.h",
		"$.m // $.m2", "$.m % $.m2", "$.far + $.tiny", "$.far % $.tiny", "$.far // $.e",
		"sum([$.m, $.m2])", "avg([$.m, $.m2])", "max($.nums)", "min($.nums)", "sort($.nums)",
		"max_by($.nums, &@)", "sort_by($.nums, &@)", "to_number($.nt)", "to_number($.x)", "to_string($.n)", "contains($.nums, $.n)",
		// Texts.
		"$.a == $.b", "$.a != $.b", "$.w == $.w2", "$.lo == $.lo", "$.u == $.u",
		"starts_with($.a, $.b)", "starts_with($.a, $.x)", "ends_with($.a, $.bx)", "ends_with($.a, $.a)",
		"contains($.a, 'y')", "contains($.w, $.b)", "contains($.as, $.late)", "contains($.u, 'éb')",
		"find_first($.a, 'y')", "find_first($.as, $.late)", "find_first($.u, 'b', `5`, `90000`)", "find_last($.as, $.early)", "find_last($.a, 'y')",
		"replace($.a, 'y', 'z')", "replace($.as, $.late, 'z')", "replace($.u, 'é', 'ab')", "replace($.u, '', 'b')",
		"split($.a, 'y')", "split($.as, $.late)", "split($.u, '')", "split($.u, 'é')",
		"lower($.a)", "upper($.u)", "lower($.v)", "trim($.a, 'y')", "trim($.x, 'x')", "trim($.u, 'é')", "trim($.u, $.nt)", "trim_left($.u, $.u)", "trim_right($.a, 'aé')", "trim($.sp)",
		"reverse($.u)", "reverse($.x)", "reverse($.l2)", "length($.u)", "$.u[::2]", "$.x[::-1]", "$.x[1:2]", "$.l2[::2]",
		"join($.x, ['a', 'b'])", "join('', $.w)", "join('', $.rev)", "pad_left($.u, `5`)", "pad_right($.u, `200000`)", "pad_left('x', `1000`, 'é')",
		"max($.w)", "min($.w)", "sort($.w)", "sort($.rev)", "sort_by($.rev, &@)", "max_by($.w, &@)", "min_by($.rev, &@)",
		"to_string($.w)", "to_string($.ctl)", "to_string([$.ctl])", "to_string($.lo)",
		"parse_json($.json)", "parse_json($.sp)", "parse_json($.esc)", "powertools_base64($.b64)",
		// Lists and objects.
		"from_items([[$.a, @]])", "from_items($.pairs)", "merge($.o, {a: @})", "merge($.lo, {a: @})",
		"group_by([$], &a)", "group_by($.rev, &@)", "group_by($.w, &@)", "keys($.o)", "keys($.lo)", "values($.lo)", "items($.lo)", "$.lo.*",
		"map(&@, $.l2)", "zip($.l2, $.rev)", "zip($.w, $.w2)", "$.l2[?@]", "$.l2[?!@]", "$.rev[?@ == 'a']", "$.l2[]", "[$.l2, $.l2][]", "$.pairs[*][0]", "$.pairs[*].[[0], [1]]",
		"$.o." + strconv.Quote(strings.Repeat("p", 3900)+"b"), "$.lo." + strconv.Quote(strings.Repeat("p", 1000)+"5"), "let $x = $.x in $x == $.a", "!$.x && $.x || $.a",
	}
	// Small operands: not all of these are too much for so many items.
	small := []string{
		"+$.n", "$.n == $.q", "$.d / $.e", "$.d // $.e", "$.d % $.e", "$.d + $.e", "$.d * $.e", "avg([$.d, $.e, $.d])", "sum([$.d, $.e])", "to_number(to_string($.d))", "abs($.d)", "-$.e", "floor($.e)", "length($.l)",
		"to_string([@])", "to_array($.x)", "type($.x)", "not_null($.none, $.x)", "parse_json('{}')", "powertools_json('[1.0]')", "from_items([['a', @]])", "merge({a: @}, {b: @})", "group_by([@], &'a')", "{a: @, b: @, c: @}", "[@][*].[@]", "length([@])",
	}
	// Errors at once.
	refused := []string{"floor($.q)", "$.n + $.n", "$.n * $.n", "$.m / $.m2", "$.n // $.d", "$.n % $.d", "sum($.nums)", "avg($.nums)", "pad_left('x', $.n || `1`)"}
	for i, body := range slices.Concat(perItem, small, refused) {
		expression := "l[*].[" + body + "]"
		e, err := canon.Compile(expression)
		if err != nil {
			t.Error(err)
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err = e.SelectWithin(work, v)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		alloc := after.TotalAlloc - before.TotalAlloc
		if testing.Verbose() {
			t.Logf("%4d ms %4d MB %.80s", took.Milliseconds(), alloc>>20, expression)
		}
		if i < len(perItem) && (err == nil || !strings.Contains(err.Error(), "too much work")) {
			t.Errorf("%.100s is not charged for what it takes up (error: %v)", expression, err)
		}
		if took > maxTime || alloc > maxAlloc {
			t.Errorf("%.100s took %v and %d MB (error: %v)", expression, took, alloc>>20, err)
		}
	}
}
