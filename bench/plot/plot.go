// Package plot draws charts as SVG.
package plot

import (
	"fmt"
	"html"
	"math"
	"strings"
)

const (
	ours, theirs, ink, faint = "#2a78d6", "#8a8f98", "#24292f", "#d0d7de"
	font                     = `font-family="system-ui, sans-serif" font-size="12"`
)

func begin(width, height float64, title, unit string) *strings.Builder {
	b := &strings.Builder{}
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" aria-label="%s" %s>`+"\n", width, height, width, height, html.EscapeString(title), font)
	fmt.Fprintf(b, `<rect width="%g" height="%g" fill="#ffffff"/>`+"\n", width, height)
	label(b, 12, 20, "start", title+" ("+unit+")")
	return b
}

func label(b *strings.Builder, x, y float64, anchor, text string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, anchor, ink, html.EscapeString(text))
}

func line(b *strings.Builder, x1, y1, x2, y2 float64, colour string, width float64) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g"/>`+"\n", x1, y1, x2, y2, colour, width)
}

// Bars is a chart of lying bars, with a thin line on to a higher value of each.
type Bars struct {
	Title, Unit string
	bars        []bar
}

type bar struct {
	name         string
	value, up    float64
	highlighting bool
}

// Add puts a bar below the others. up is where its line ends; ours has the colour of what is ours.
func (c *Bars) Add(name string, value, up float64, ours bool) {
	c.bars = append(c.bars, bar{name, value, up, ours})
}

// SVG is the chart.
func (c *Bars) SVG() string {
	const left, right, top, step = 260.0, 760.0, 36.0, 20.0
	most := 0.0
	for _, b := range c.bars {
		most = max(most, b.value, b.up)
	}
	if most == 0 {
		most = 1
	}
	at := func(v float64) float64 { return left + (right-left)*v/most }
	bottom := top + step*float64(len(c.bars))
	out := begin(right+70, bottom+28, c.Title, c.Unit)
	for tick := 0.0; tick <= most; tick += round(most / 5) {
		line(out, at(tick), top, at(tick), bottom, faint, 1)
		label(out, at(tick), bottom+16, "middle", short(tick))
	}
	for i, b := range c.bars {
		y, colour := top+step*float64(i), theirs
		if b.highlighting {
			colour = ours
		}
		label(out, left-8, y+14, "end", b.name)
		fmt.Fprintf(out, `<rect x="%.1f" y="%.1f" width="%.1f" height="%g" fill="%s"/>`+"\n", left, y+4, at(b.value)-left, step-7, colour)
		if b.up > b.value {
			line(out, at(b.value), y+step/2+0.5, at(b.up), y+step/2+0.5, colour, 1.5)
		}
		label(out, at(max(b.value, b.up))+6, y+14, "start", short(b.value))
	}
	return out.String() + "</svg>\n"
}

// Lines is a chart of lines on axes that grow by factors.
type Lines struct {
	Title, Unit, X string
	series         []series
}

type series struct {
	name         string
	x, y         []float64
	highlighting bool
}

// Add puts a line into the chart.
func (c *Lines) Add(name string, x, y []float64, ours bool) {
	c.series = append(c.series, series{name, x, y, ours})
}

// SVG is the chart.
func (c *Lines) SVG() string {
	const left, right, top, bottom = 70.0, 560.0, 40.0, 320.0
	x0, x1, y0, y1 := math.Inf(1), 0.0, math.Inf(1), 0.0
	for _, s := range c.series {
		for i := range s.x {
			x0, x1, y0, y1 = min(x0, s.x[i]), max(x1, s.x[i]), min(y0, s.y[i]), max(y1, s.y[i])
		}
	}
	if x1 == 0 || y0 <= 0 {
		return begin(right, bottom, c.Title, c.Unit).String() + "</svg>\n"
	}
	y0, y1 = math.Pow(10, math.Floor(math.Log10(y0))), math.Pow(10, math.Ceil(math.Log10(y1)))
	if y1 == y0 {
		y1 *= 10
	}
	along := func(v, low, high, from, to float64) float64 {
		if high == low {
			return from
		}
		return from + (to-from)*math.Log(v/low)/math.Log(high/low)
	}
	atX := func(v float64) float64 { return along(v, x0, x1, left, right) }
	atY := func(v float64) float64 { return along(v, y0, y1, bottom, top) }
	out := begin(right+280, bottom+44, c.Title, c.Unit)
	for v := y0; v <= y1*1.001; v *= 10 {
		line(out, left, atY(v), right, atY(v), faint, 1)
		label(out, left-8, atY(v)+4, "end", short(v))
	}
	if len(c.series) > 0 {
		for _, v := range c.series[0].x {
			line(out, atX(v), top, atX(v), bottom, faint, 1)
			label(out, atX(v), bottom+18, "middle", short(v))
		}
	}
	label(out, (left+right)/2, bottom+36, "middle", c.X)
	dashes := []string{"", "6 3", "2 3", "8 3 2 3"}
	number := map[bool]int{}
	for i, s := range c.series {
		colour := theirs
		if s.highlighting {
			colour = ours
		}
		dash := dashes[number[s.highlighting]%len(dashes)]
		number[s.highlighting]++
		var points []string
		for i := range s.x {
			points = append(points, fmt.Sprintf("%.1f,%.1f", atX(s.x[i]), atY(s.y[i])))
		}
		fmt.Fprintf(out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n", strings.Join(points, " "), colour, dash)
		y := top + 20 + 20*float64(i)
		fmt.Fprintf(out, `<line x1="%g" y1="%g" x2="%g" y2="%g" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n", right+16, y-4, right+44, y-4, colour, dash)
		label(out, right+50, y, "start", s.name)
	}
	return out.String() + "</svg>\n"
}

// round is 1, 2 or 5 times a power of ten, not below v.
func round(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= v {
			return f * power
		}
	}
	return 10 * power
}

// short writes a value for a label.
func short(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
