package plot_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/bench/plot"
)

// The charts are well-formed, name what they show, and draw a bar by its value.
func TestBars(t *testing.T) {
	chart := plot.Bars{Title: "a < b", Unit: "ms"}
	chart.Add("half", 5, 0, true)
	chart.Add("whole", 10, 0, false)
	svg := chart.SVG()
	wellFormed(t, svg)
	for _, want := range []string{"a &lt; b (ms)", ">half<", `width="250.0" height="13"`, `width="500.0" height="13"`} {
		if !strings.Contains(svg, want) {
			t.Errorf("%q is not in the chart", want)
		}
	}
}

func TestLines(t *testing.T) {
	chart := plot.Lines{Title: "growth", Unit: "ms", X: "records"}
	chart.Add("slow", []float64{1, 10, 100}, []float64{1, 10, 100}, false)
	chart.Add("none", []float64{1, 10, 100}, []float64{1, 1, 1}, true)
	svg := chart.SVG()
	wellFormed(t, svg)
	for _, want := range []string{"70.0,320.0 315.0,180.0 560.0,40.0", "70.0,320.0 315.0,320.0 560.0,320.0", ">records<"} {
		if !strings.Contains(svg, want) {
			t.Errorf("%q is not in the chart:\n%s", want, svg)
		}
	}
}

func TestNothing(t *testing.T) {
	wellFormed(t, (&plot.Bars{}).SVG())
	wellFormed(t, (&plot.Lines{}).SVG())
}

func wellFormed(t *testing.T, svg string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
}
