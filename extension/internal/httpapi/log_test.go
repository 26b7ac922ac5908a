package httpapi_test

import (
	"log/slog"
	"strings"
	"testing"
)

// At the level debug each call is logged, and what an acquire came to; at others
// neither is.
func TestCallsAreLogged(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
		s := serve(t, func(set *setup) { set.level = level })
		s.acquire(`{"key":"a"}`)
		s.post("/acquire/batch", `{"items":[{"key":"b"}]}`)
		s.post("/complete", `{"token":"none"}`)
		for _, want := range []string{
			"msg=acquire key=fn#a", "msg=acquire key=fn#b", "status=acquired", "attempt=1",
			`msg=answered call=acquire status=200 code="" took=`, "msg=answered call=complete status=404 code=claim_unknown took=",
		} {
			if strings.Contains(s.log.String(), want) != (level == slog.LevelDebug) {
				t.Errorf("at the level %v, looked for %s in %s", level, want, s.log)
			}
		}
	}
}
