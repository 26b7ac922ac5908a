package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	events := `{"Action":"output","Package":"a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Test":"TestSkipped","Output":"=== RUN   TestSkipped\n"}
{"Action":"output","Package":"a","Test":"TestSkipped","Output":"    x_test.go:1: java is missing\n"}
{"Action":"output","Package":"a","Test":"TestSkipped","Output":"--- SKIP: TestSkipped (0.00s)\n"}
{"Action":"skip","Package":"a","Test":"TestSkipped"}
{"Action":"output","Package":"a","Output":"ok  \ta\t0.1s\n"}
{"Action":"pass","Package":"a"}
{"Action":"output","Package":"b","Test":"TestBad","Output":"    x_test.go:2: broken\n"}
{"Action":"fail","Package":"b","Test":"TestBad"}
{"Action":"output","Package":"b","Output":"FAIL\tb\t0.1s\n"}
{"Action":"fail","Package":"b"}
`
	var out strings.Builder
	passed, failed, skipped := report(strings.NewReader(events), &out)
	if passed != 1 || failed != 1 || len(skipped) != 1 || skipped[0] != "a TestSkipped: x_test.go:1: java is missing" {
		t.Errorf("%d passed, %d failed, skipped %q", passed, failed, skipped)
	}
	if want := "ok  \ta\t0.1s\n    x_test.go:2: broken\nFAIL\tb\t0.1s\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	// A skip, a failure, or a package that does not build, is told by the exit code.
	if code := run([]string{"./no-such-package"}, &out); code != 1 {
		t.Errorf("exit code %d", code)
	}
}
