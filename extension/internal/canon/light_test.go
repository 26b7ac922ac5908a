package canon_test

import (
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

// What functions select from usual events is light, what takes long is not, and an
// error of the event is told either way.
func TestSelectLight(t *testing.T) {
	zeros := "[" + strings.Repeat("0,", 50_000) + "0]"
	for _, c := range []struct {
		expression, event string
		light, ok         bool
	}{
		{"a.b", `{"a":{"b":1}}`, true, true},
		{"[JobId, ObjKey]", `{"JobId":"12345","ObjKey":"a/b"}`, true, true},
		{"Records[*].[messageId, amount]", string(event(200 << 10)), true, true},
		{"length(a)", `{"a":1}`, true, false},
		{"sort(@)", zeros, false, true},
		{"map(&length($), @)", zeros, false, true},
		{strings.Repeat("[@,@,@,@]|", 100) + "@", `1`, false, false},
	} {
		v := mustParse(t, c.event)
		e, err := canon.Compile(c.expression)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := e.Select(v)
		if (err == nil) != c.ok {
			t.Errorf("%.60s: Select says %v", c.expression, err)
		}
		got, light, err := e.SelectLight(v)
		if light != c.light || light && (err == nil) != c.ok || !light && err == nil {
			t.Errorf("%.60s: light %v, %v", c.expression, light, err)
		}
		if light && c.ok && text(got) != text(whole) {
			t.Errorf("%.60s: selected %.60s as a light one, %.60s as any", c.expression, text(got), text(whole))
		}
	}
}
