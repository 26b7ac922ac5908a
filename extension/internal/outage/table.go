package outage

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// WriteTable writes what was seen as Markdown.
func WriteTable(w io.Writer, cfg Config, rows []*Row) {
	_, _ = fmt.Fprintf(w, "| DynamoDB | `/acquire` | `/complete` | `/fail` | the same with %d ms left | of the acquire, the table then holds | the ends that were refused are stored | `proceed`: `/acquire`, with %d ms left |\n|%s\n",
		short.Milliseconds(), short.Milliseconds(), strings.Repeat(" --- |", 8))
	for _, r := range rows {
		cells := []string{
			r.Condition.Name, r.Early.Acquire.cell(), r.Early.Complete.cell(), r.Early.Fail.cell(),
			r.Late.cell(), r.asked(), r.stored(), r.Proceed.Acquire.cell() + ", " + r.Proceed.Late.cell(),
		}
		_, _ = fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	_, _ = fmt.Fprintf(w, "\nThe invocation had %v left at the first calls.\n\n| DynamoDB | `detail` |\n| --- | --- |\n", cfg.Left)
	for _, r := range rows {
		detail := r.Early.Acquire.Detail
		if detail == "" {
			detail = r.Late.Acquire.Detail
		}
		if detail != "" {
			_, _ = fmt.Fprintf(w, "| %s | %s |\n", r.Condition.Name, tableName.ReplaceAllString(detail, "TABLE"))
		}
	}
}

// tableName is the name of a condition's own table.
var tableName = regexp.MustCompile(`outage-[a-z0-9]+`)

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// word is the answer in a word, with the code where it is not the usual one.
func (a Answer) word() string {
	switch {
	case a.OK() && a.Unprotected:
		return "200 unprotected"
	case a.OK():
		return "200"
	case a.Code == "store_unavailable":
		return "503"
	}
	return fmt.Sprintf("%d `%s`", a.HTTP, a.Code)
}

func (a Answer) cell() string { return a.word() + " in " + seconds(a.Took) }

// cell is the three answers in one, with the longest time.
func (c Calls) cell() string {
	words := c.Acquire.word()
	if others := []string{c.Complete.word(), c.Fail.word()}; others[0] != words || others[1] != words {
		words += ", " + strings.Join(others, ", ")
	}
	return words + " in " + seconds(max(c.Acquire.Took, c.Complete.Took, c.Fail.Took))
}

func (r *Row) asked() string {
	switch {
	case r.Early.Acquire.OK():
		return "the claim"
	case r.Asked == Nothing:
		return "nothing"
	}
	return "the caller's own claim"
}

func (r *Row) stored() string {
	switch {
	case r.Early.Complete.OK():
		return "–"
	case r.Condition.Want.TableGone:
		return "never, its claim is gone"
	case r.Condition.Want.NotOwed:
		return "when repeated"
	case r.During.Complete == Completed:
		return "by the time of the answer, or soon after"
	}
	return seconds(r.Settled) + " after the store is back"
}
