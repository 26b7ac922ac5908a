// Package machine tells what a measurement ran on.
package machine

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is what figures depend on.
type Machine struct {
	CPU                   string
	Cores                 int
	Memory                string
	System                string
	LoadBefore, LoadAfter string
}

// This is the one that the program runs on, with its load of now as that before the measurement.
func This() Machine {
	return Machine{
		CPU:        valueIn("/proc/cpuinfo", "model name", "a processor without a name"),
		Cores:      runtime.NumCPU(),
		Memory:     valueIn("/proc/meminfo", "MemTotal", "unknown"),
		System:     runtime.GOOS + "/" + runtime.GOARCH,
		LoadBefore: Load(),
	}
}

// valueIn reads a file that Linux alone has; without it, or without the name, the value is otherwise.
func valueIn(file, name, otherwise string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}

// Load is how many processes wanted to run, on average over the last minute.
func Load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(text), " ")
	if one == "" {
		return "unknown"
	}
	return one
}

// Busy tells whether other work had all cores before the measurement.
func (m Machine) Busy() bool {
	before, err := strconv.ParseFloat(m.LoadBefore, 64)
	return err == nil && before >= float64(m.Cores)
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, memory %s, %s; load average %s before and %s after", m.CPU, m.Cores, m.Memory, m.System, m.LoadBefore, m.LoadAfter)
}
