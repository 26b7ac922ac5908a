package canon_test

import (
	"errors"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"pgregory.net/rapid"
)

func TestMaxValues(t *testing.T) {
	const most = canon.MaxValues
	zeros := func(n int) string { return "[" + strings.Repeat("0,", n-1) + "0]" }
	objects := func(n int) string { return "[" + strings.Repeat(`{"":0},`, n) + "0]" }
	parse := func(s string) error { _, err := canon.Parse([]byte(s)); return err }
	read := func(s string) error {
		_, err := choose("parse_json(@) | length(@)", mustParse(t, strconv.Quote(s)))
		return err
	}
	elements := func(s string) error { _, err := canon.Elements([]byte(s)); return err }
	members := func(s string) error { _, err := canon.Members([]byte(s)); return err }
	flat := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"` + strconv.Itoa(i) + `":0`)
		}
		return "{" + b.String()[1:] + "}"
	}
	for _, c := range []struct {
		name      string
		call      func(string) error
		good, bad string
		offset    int64
	}{
		{"Parse, a list", parse, zeros(most - 1), zeros(most), 2*most - 1},
		{"Parse, objects", parse, objects(most/2 - 1), objects(most / 2), 7*(most/2) - 2},
		{"parse_json", read, zeros(most - 1), zeros(most), 2*most - 1},
		{"Elements", elements, zeros(most), zeros(most + 1), 2*most + 1},
		{"Members", members, flat(most), flat(most + 1), int64(len(flat(most+1))) - 2},
	} {
		if err := c.call(c.good); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var syntax *canon.SyntaxError
		if err := c.call(c.bad); !errors.As(err, &syntax) || !strings.HasPrefix(syntax.Msg, "more than 500000 values; ") || syntax.Offset != c.offset {
			t.Errorf("%s: got %v, want it at byte %d", c.name, err, c.offset)
		}
	}
	// Nor does a selection grow beyond what can be read again.
	if v, err := choose(strings.Repeat("[@,@]|", 18)+"@", mustParse(t, `1`)); err == nil || !strings.Contains(err.Error(), "the selection has more than 500000 values; select less") {
		t.Errorf("selected %d bytes: %v", len(text(v)), err)
	}
	// Several at once are within the bound of the work all the same.
	v := mustParse(t, `"[`+strings.Repeat("0,", most/2)+`0]"`)
	if _, err := choose("["+strings.Repeat("parse_json(@),", 20)+"@]", v); err == nil || !strings.Contains(err.Error(), "too much work") {
		t.Errorf("20 texts of %d values: %v", most/2, err)
	}
}

// bulky are texts of up to 6 MiB whose trees are large, most of them refused.
func bulky() map[string][]byte {
	const size = 6 << 20
	texts := map[string][]byte{}
	add := func(name, item string, n int) {
		n = min(n, size/(len(item)+1))
		texts[name] = []byte("[" + strings.Repeat(item+",", n-1) + item + "]")
	}
	for _, item := range []string{"0", "100", "1.5", "1.0", "1e30", `""`, `"a"`, `"\n"`, "[]", "{}", "[0]", "[100]", `{"":0}`, `{"":100}`, `{"\n":1.0}`} {
		add(item, item, size)
		perItem := 1 + strings.Count(item, "[") + strings.Count(item, ":")
		if strings.HasPrefix(item, "[]") {
			perItem = 1
		}
		add("most "+item, item, (canon.MaxValues-1)/perItem)
	}
	deep := strings.Repeat(`{"\n":`, 150) + "1.0" + strings.Repeat("}", 150)
	add("deep objects", deep, canon.MaxValues/151)
	add("deep lists", strings.Repeat("[", 150)+"100"+strings.Repeat("]", 150), canon.MaxValues/151)
	var wide strings.Builder
	for i := range canon.MaxValues - 2 {
		wide.WriteString(`,"\b` + strconv.FormatInt(int64(i), 36) + `":100`)
	}
	texts["wide"] = []byte("{" + wide.String()[1:] + "}")
	texts["wide, duplicate"] = []byte("{" + wide.String()[1:] + `,"\u0008rrr":0}`)
	texts["escapes"] = []byte(`["` + strings.Repeat(`\n`, size/4) + `","` + strings.Repeat(`é\u0001`, size/16) + `"]`)
	texts["number"] = []byte("1." + strings.Repeat("7", size-6) + "e55")
	texts["commas"] = []byte("[" + strings.Repeat(",", size-1))
	texts["brackets in a string"] = []byte(`["` + strings.Repeat("[{,", size/3) + `"]`)
	texts["opened"] = []byte(strings.Repeat("[[0],", 100) + strings.Repeat("{", size-500))
	return texts
}

// All that Parse allocates, garbage included, so that the peak is less.
func TestMemoryOfParse(t *testing.T) {
	for name, data := range bulky() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v, err := canon.Parse(data)
		runtime.ReadMemStats(&after)
		alloc := after.TotalAlloc - before.TotalAlloc
		if testing.Verbose() {
			t.Logf("%3d MB for %d kB of %s: %v", alloc>>20, len(data)>>10, name, err)
		}
		if alloc > 64<<20 {
			t.Errorf("%s: %d kB of text take %d MB", name, len(data)>>10, alloc>>20)
		}
		runtime.KeepAlive(v)
	}
}

// contains, find_first, find_last, split and replace find what package strings
// finds, also parts so long that they use their own search.
func TestSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringOfN(rapid.SampledFrom([]rune("ab")), 1, 4, -1)
		unit := letters.Draw(t, "unit")
		part := strings.Repeat(unit, rapid.IntRange(1, 120).Draw(t, "repeated")) + letters.Draw(t, "tail")
		var b strings.Builder
		for _, piece := range rapid.SliceOfN(rapid.OneOf(rapid.Just(part), rapid.Just(part[1:]), rapid.Just(unit), letters, rapid.Just("é")), 0, 12).Draw(t, "pieces") {
			b.WriteString(piece)
		}
		s := b.String()
		limit := rapid.IntRange(0, 3).Draw(t, "limit")
		v, err := canon.Parse([]byte(`{"s":"` + s + `","p":"` + part + `","n":` + strconv.Itoa(limit) + `}`))
		if err != nil {
			t.Fatal(err)
		}
		quoted := func(parts []string) string {
			if s == "" {
				return "[]"
			}
			return `["` + strings.Join(parts, `","`) + `"]`
		}
		place := func(at int) string {
			if at < 0 {
				return "null"
			}
			return strconv.Itoa(len([]rune(s[:at])))
		}
		for expression, want := range map[string]string{
			"contains(s, p)":           strconv.FormatBool(strings.Contains(s, part)),
			"find_first(s, p)":         place(strings.Index(s, part)),
			"find_last(s, p)":          place(strings.LastIndex(s, part)),
			"split(s, p)":              quoted(strings.Split(s, part)),
			"split(s, p, n)":           quoted(strings.SplitN(s, part, limit+1)),
			"replace(s, p, 'X')":       strconv.Quote(strings.ReplaceAll(s, part, "X")),
			"replace(s, p, '', n)":     strconv.Quote(strings.Replace(s, part, "", limit)),
			"starts_with(s, p)":        strconv.FormatBool(strings.HasPrefix(s, part)),
			"ends_with(s, p)":          strconv.FormatBool(strings.HasSuffix(s, part)),
			"find_first(s, p, n)":      windowed(s, part, limit, len(s)),
			"find_first(s, p, `1`, n)": windowed(s, part, 1, limit),
		} {
			got, err := choose(expression, v)
			if err != nil || text(got) != want {
				t.Fatalf("%s of %s\n got %s, %v\nwant %s", expression, text(v), text(got), err, want)
			}
		}
	})
}

func windowed(s, part string, from, to int) string {
	chars := []rune(s)
	if to = min(to, len(chars)); from >= to {
		return "null"
	}
	window := string(chars[from:to])
	at := strings.Index(window, part)
	if at < 0 {
		return "null"
	}
	return strconv.Itoa(from + len([]rune(window[:at])))
}

// Slices follow Python.
func TestSlices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 6).Draw(t, "n")
		s := "aébcdef"[:n]
		if n > 1 {
			s = "aébcdef"[:n+1]
		}
		bound := rapid.OneOf(rapid.Just(99), rapid.IntRange(-8, 8)) // 99: left out
		from, to := bound.Draw(t, "from"), bound.Draw(t, "to")
		by := rapid.SampledFrom([]int{-9, -3, -2, -1, 1, 2, 3, 9}).Draw(t, "by")
		chars := []rune(s)
		want := ""
		at, end := from, to
		fix := func(p *int, low, high int) {
			if *p < 0 {
				*p += len(chars)
			}
			*p = min(max(*p, low), high)
		}
		if by > 0 {
			if from == 99 {
				at = 0
			}
			fix(&at, 0, len(chars))
			fix(&end, 0, len(chars))
			for ; at < end; at += by {
				want += string(chars[at])
			}
		} else {
			if from != 99 {
				fix(&at, -1, len(chars)-1)
			} else {
				at = len(chars) - 1
			}
			if to != 99 {
				fix(&end, -1, len(chars)-1)
			} else {
				end = -1
			}
			for ; at > end; at += by {
				want += string(chars[at])
			}
		}
		show := func(p int) string {
			if p == 99 {
				return ""
			}
			return strconv.Itoa(p)
		}
		expression := "[" + show(from) + ":" + show(to) + ":" + strconv.Itoa(by) + "]"
		v, err := canon.Parse([]byte(`"` + s + `"`))
		if err != nil {
			t.Fatal(err)
		}
		got, err := choose("@"+expression, v)
		if err != nil || text(got) != `"`+want+`"` {
			t.Fatalf("%q%s: got %s, %v, want %q", s, expression, text(got), err, want)
		}
		list, err := choose("join('', split(@, '')"+expression+")", v)
		if err != nil || text(list) != `"`+want+`"` {
			t.Fatalf("the list of %q%s: got %s, %v, want %q", s, expression, text(list), err, want)
		}
	})
}
