package emulator

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Runtime is the Name of the function's process.
const Runtime = "runtime"

// Process is a running process of the environment.
type Process struct {
	PID  int    // as seen from the test
	Name string // an extension's file name, Runtime, or for a child of these its program's name
	Args []string
}

// Processes lists what runs in the environment, the emulator itself left out. Before the first invoke that is nothing in standard mode.
func (e *Emulator) Processes() []Process {
	type entry struct {
		parent int
		args   []string
	}
	entries := map[int]entry{}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		// pid (name) state parent ...; the name may have spaces and parentheses.
		stat, err := os.ReadFile(folder + "/stat")
		if err != nil {
			continue // ended meanwhile
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		cmdline, err := os.ReadFile(folder + "/cmdline")
		if err != nil || len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(folder))
		parent, _ := strconv.Atoi(fields[1])
		entries[pid] = entry{parent, strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")}
	}
	first := e.cmd.Process.Pid
	var list []Process
	for pid, p := range entries {
		for up := p.parent; up != 0; up = entries[up].parent {
			if up == first {
				list = append(list, Process{PID: pid, Name: name(p.args, p.parent == first), Args: p.args})
				break
			}
		}
	}
	return list
}

func name(args []string, child bool) string {
	// An extension that is a script has its path behind the interpreter's.
	for _, arg := range args[:min(len(args), 3)] {
		if file, ok := strings.CutPrefix(arg, "/opt/extensions/"); ok {
			return file
		}
	}
	if child {
		return Runtime
	}
	return filepath.Base(args[0])
}

// Signal sends a signal to the processes of a name: Runtime or an extension's.
func (e *Emulator) Signal(name string, sig syscall.Signal) error {
	found := false
	for _, p := range e.Processes() {
		if p.Name == name {
			found = true
			if err := syscall.Kill(p.PID, sig); err != nil {
				return fmt.Errorf("signal %s (%d): %w", name, p.PID, err)
			}
		}
	}
	if !found {
		return fmt.Errorf("no process %s in the environment", name)
	}
	return nil
}
