package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// machine is what the figures depend on.
type machine struct {
	cpu                   string
	cores                 int
	system                string
	loadBefore, loadAfter string
}

func thisMachine() machine {
	m := machine{cpu: "unknown processor", cores: runtime.NumCPU(), system: runtime.GOOS + " on " + runtime.GOARCH, loadBefore: load()}
	text, _ := os.ReadFile("/proc/cpuinfo") // Linux alone has it.
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.cpu = strings.TrimSpace(value)
			break
		}
	}
	return m
}

// load is how many processes wanted to run, on average over the last minute.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(text), " ")
	if one == "" {
		return "unknown"
	}
	return one
}

// busy says what to make of figures that were taken beside other work.
func (m machine) busy() string {
	if before, err := strconv.ParseFloat(m.loadBefore, 64); err != nil || before < float64(m.cores) {
		return ""
	}
	return " **The machine was busy with other work:** what fresh processes take is several times too large, and so is each p99."
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s; load average %s before and %s after", m.cpu, m.cores, m.system, m.loadBefore, m.loadAfter)
}
