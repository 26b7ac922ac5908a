package main

import (
	"os"
	"path/filepath"
	"strings"
)

// codeLines counts the lines of a file that are neither blank nor comments. The handlers have no block comments.
func codeLines(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	comment := "//"
	switch filepath.Ext(file) {
	case ".py", ".rb", ".sh":
		comment = "#"
	}
	lines := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, comment) {
			lines++
		}
	}
	return lines, nil
}
