// Command gotest runs `go test` with the arguments given, prints each package's
// line and the output of what failed, and says at the end what was skipped and
// why. With CI=true a skip is a failure.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// result is what became of one test, or of a package where Test is empty.
type result struct{ output []string }

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

func run(args []string, w io.Writer) int {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_, _ = fmt.Fprintln(w, "gotest:", err)
		return 1
	}
	passed, failed, skipped := report(out, w)
	err = cmd.Wait()
	if len(skipped) > 0 {
		_, _ = fmt.Fprintln(w, "\nskipped:")
		for _, s := range skipped {
			_, _ = fmt.Fprintln(w, "  "+s)
		}
	}
	_, _ = fmt.Fprintf(w, "\n%d passed, %d failed, %d skipped\n", passed, failed, len(skipped))
	if err != nil || failed > 0 || len(skipped) > 0 && os.Getenv("CI") == "true" {
		return 1
	}
	return 0
}

// report follows the events and prints what a reader needs.
func report(events io.Reader, w io.Writer) (passed, failed int, skipped []string) {
	results := map[string]*result{}
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return passed, failed, skipped
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			_, _ = w.Write(line) // Not of go test: a build's own words.
			continue
		}
		name := e.Package + " " + e.Test
		r := results[name]
		if r == nil {
			r = new(result)
			results[name] = r
		}
		switch e.Action {
		case "output", "build-output":
			r.output = append(r.output, e.Output)
			if e.Test == "" && packageLine(e.Output) || e.Action == "build-output" {
				_, _ = io.WriteString(w, e.Output)
			}
		case "pass", "fail", "skip":
			switch {
			case e.Test == "":
				if e.Action == "fail" {
					_, _ = io.WriteString(w, strings.Join(slices.DeleteFunc(r.output, packageLine), ""))
				}
			case e.Action == "pass":
				passed++
			case e.Action == "fail":
				failed++
				_, _ = io.WriteString(w, strings.Join(r.output, ""))
			default:
				skipped = append(skipped, name+": "+reason(r.output))
			}
			delete(results, name)
		}
	}
}

// packageLine tells whether a line is go test's own on a package.
func packageLine(s string) bool {
	return strings.HasPrefix(s, "ok  \t") || strings.HasPrefix(s, "FAIL\t")
}

// reason is what a test said when it was skipped.
func reason(output []string) string {
	var said []string
	for _, line := range output {
		if s := strings.TrimSpace(line); s != "" && !strings.HasPrefix(s, "=== ") && !strings.HasPrefix(s, "--- ") {
			said = append(said, s)
		}
	}
	return strings.Join(said, " ")
}
