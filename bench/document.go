package main

import (
	"os"
	"path/filepath"
	"strings"
)

// document is the Markdown that is written, and the plots beside it.
type document struct {
	strings.Builder
	plots map[string]string
}

func (d *document) heading(s string) { d.WriteString("\n## " + s + "\n") }

func (d *document) subheading(s string) { d.WriteString("\n### " + s + "\n") }

func (d *document) text(s string) { d.WriteString("\n" + s + "\n") }

func (d *document) table(header ...string) {
	d.WriteString("\n")
	d.row(header...)
	d.WriteString("|" + strings.Repeat(" --- |", len(header)) + "\n")
}

func (d *document) row(cells ...string) { d.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

func (d *document) plot(name, svg, says string) {
	if d.plots == nil {
		d.plots = map[string]string{}
	}
	d.plots[name+".svg"] = svg
	d.WriteString("\n![" + says + "](benchmarks/" + name + ".svg)\n")
}

// write puts it into a folder, in place of what was there.
func (d *document) write(folder string) error {
	beside := filepath.Join(folder, "benchmarks")
	if err := os.MkdirAll(beside, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(beside, "*.svg"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	for name, svg := range d.plots {
		if err := os.WriteFile(filepath.Join(beside, name), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(folder, "benchmarks.md"), []byte(d.String()), 0o644)
}
