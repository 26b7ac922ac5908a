package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCodeLines(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"a.py":  {"# why\n\nimport x\n\n\ndef f():  # here\n    # there\n    return x\n", 3},
		"a.sh":  {"#!/bin/sh\nf() {\n\t# //\n\techo // #\n}\n", 3},
		"a.go":  {"// Package a\npackage a\n\nfunc f() {} // f\n\t// g\n", 2},
		"a.mjs": {"// a\n  #secret;\n", 1},
		"b.rb":  {"x", 1},
	} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := codeLines(file); err != nil || got != c.want {
			t.Errorf("%s has %d lines of code (%v), want %d", name, got, err, c.want)
		}
	}
}

func TestHandlersHaveFiles(t *testing.T) {
	for _, lang := range languages() {
		before, err := codeLines(lang.before)
		if err != nil {
			t.Fatal(err)
		}
		after, err := codeLines(lang.after)
		if err != nil {
			t.Fatal(err)
		}
		if before == 0 || after <= before {
			t.Errorf("%s: %d lines before and %d after", lang.name, before, after)
		}
		if readme, _, _ := strings.Cut(lang.readme, "#"); !exists(filepath.Join("..", "..", "docs", readme)) {
			t.Errorf("%s: docs has no %s", lang.name, readme)
		}
	}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
