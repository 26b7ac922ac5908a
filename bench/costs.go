package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/capacity"
	"github.com/lambda-idempotency/lambda-idempotency/bench/driver"
	"github.com/lambda-idempotency/lambda-idempotency/bench/spread"
)

var costSizes = []int{0, 1, 10, 100, 390} // KB

var courses = []string{"First run", "Duplicate, done", "Duplicate, running", "Failed run and its retry", "Takeover"}

func costContenders() []contender {
	return []contender{
		{oursPython, "Python", "sidecar", true, false},
		{theirsPython, "Python", "powertools", false, false},
		{theirsNode, "Node.js", "powertools", false, false},
	}
}

// costs are units by contender, size and course.
type costs struct {
	units map[string]map[int]map[string]capacity.Units
}

// short is what an invocation has left whose claim is to lapse soon, and lapsed when another takes it for sure: after
// the sidecar's allowance for clocks that differ, too.
const (
	short  = 200 * time.Millisecond
	lapsed = short + 2*time.Second
)

// noise is text that hardly compresses: random letters, digits and signs.
func noise(n int) (string, error) {
	const alphabet = "!#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~"
	text := make([]byte, n)
	for i := range text {
		at, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return "", err
		}
		text[i] = alphabet[at.Int64()]
	}
	return string(text), nil
}

func (w *world) measureCosts(ctx context.Context) (*costs, error) {
	meter := capacity.New(w.store)
	defer meter.Close()
	s, err := w.serve(ctx, meter.URL)
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	list := costContenders()
	crew, err := w.hire(ctx, meter.URL, func(contender) string { return s.Port }, list)
	if err != nil {
		return nil, err
	}
	defer crew.stop()
	run := rand.Text()
	event := func(c contender, size int, course string, more ...any) any {
		return mine([]any{job(size, run+"-"+course, more...)}, c)[0]
	}
	// These leave claims behind.
	for _, c := range list {
		for _, size := range costSizes {
			for course, left := range map[string]int{"Takeover": int(short.Milliseconds()), "Duplicate, running": 900_000} {
				d, err := w.drive(ctx, meter.URL, s.Port, c, "bare")
				if err != nil {
					return nil, err
				}
				if err := d.Die(driver.Order{Do: "handler", Events: []any{event(c, size, course, "Dies", true)}, Left: left}); err != nil {
					d.Stop()
					return nil, err
				}
			}
		}
	}
	time.Sleep(lapsed)
	found := &costs{units: map[string]map[int]map[string]capacity.Units{}}
	for i, c := range list {
		found.units[c.name] = map[int]map[string]capacity.Units{}
		for _, size := range costSizes {
			text, err := noise(size * 1000)
			if err != nil {
				return nil, err
			}
			of := map[string]capacity.Units{}
			found.units[c.name][size] = of
			if _, err := meter.Take(); err != nil {
				return nil, err
			}
			for _, step := range []struct {
				course, of string
				ran        int
				more       []any
			}{
				{"First run", "First run", 1, nil},
				{"Duplicate, done", "First run", 0, nil},
				{"Duplicate, running", "Duplicate, running", 0, nil},
				{"Failed run and its retry", "Failed", 1, []any{"Fails", true}},
				{"Failed run and its retry", "Failed", 1, nil},
				{"Takeover", "Takeover", 1, nil},
			} {
				more := append([]any{"Text", text}, step.more...)
				fails := step.more != nil || step.course == "Duplicate, running"
				answer, err := crew.drivers[i].Do(driver.Order{Do: "handler", Events: []any{event(c, size, step.of, more...)}, Left: 60_000, Results: true, MayFail: fails})
				if err != nil {
					return nil, err
				}
				failed := answer.Results[0][0] == '"'
				if answer.Ran != step.ran || failed != fails {
					return nil, fmt.Errorf("%s, %d KB, %s: the work was done %d times, and the answer was %.200s", c.name, size, step.course, answer.Ran, answer.Results[0])
				}
				units, err := meter.Take()
				if err != nil {
					return nil, err
				}
				sum := of[step.course]
				of[step.course] = capacity.Units{Write: sum.Write + units.Write, Read: sum.Read + units.Read, Calls: sum.Calls + units.Calls}
			}
		}
	}
	return found, nil
}

func (w *world) costSection(f *costs, d *document) {
	d.heading("Store cost")
	d.text(`Request units by DynamoDB Local's ` + "`ReturnConsumedCapacity`" + `; for conditions that fail, which it tells none of, write units by the size of the item
that is there, as DynamoDB bills them. In brackets the number of calls. The result is an object with a text of that length, of random ASCII:
real JSON compresses better, which makes ours cheaper. A write unit costs five times as much as a read unit in most regions. A takeover is the run
that comes after one that died without a word. These figures are the same on any machine; [costs.md](costs.md) has more of ours.`)
	header := append([]string{"Handler", "Text"}, courses...)
	d.table(header...)
	for _, c := range costContenders() {
		for _, size := range costSizes {
			row := []string{c.name, fmt.Sprintf("%d KB", size)}
			for _, course := range courses {
				row = append(row, units(f.units[c.name][size][course]))
			}
			d.row(row...)
		}
	}
}

func units(u capacity.Units) string {
	text := spread.Plain(u.Write) + " write"
	if u.Read > 0 {
		text += " + " + spread.Plain(u.Read) + " read"
	}
	return fmt.Sprintf("%s (%d)", text, u.Calls)
}
