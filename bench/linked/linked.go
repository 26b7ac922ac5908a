// Package linked says what a Go program is made of: how much of it, and of its start, is each module's.
package linked

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Names of what is no module.
const (
	Standard = "the Go runtime and standard library"
	Unnamed  = "without a name of its own"
)

// Modules are those linked into a program that was built from this repository's module.
type Modules struct {
	paths []string // the longest first
}

// Of reads them from a program.
func Of(program string) (Modules, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return Modules{}, err
	}
	m := Modules{paths: []string{info.Main.Path}}
	for _, d := range info.Deps {
		m.paths = append(m.paths, d.Path)
	}
	slices.SortFunc(m.paths, func(a, b string) int { return len(b) - len(a) })
	return m, nil
}

// module is whose a symbol or a package is. The parts of the AWS SDK are modules of one author, and told as one.
func (m Modules) module(symbol string) string {
	symbol = strings.ReplaceAll(symbol, "%2e", ".")
	// What comes after a bracket are the types that a generic function was made for.
	owner, _, _ := strings.Cut(symbol, "[")
	for _, path := range m.paths {
		if at := strings.Index(owner, path); at >= 0 && ends(owner[at+len(path):]) {
			if strings.HasPrefix(path, "github.com/aws/") {
				return "github.com/aws (aws-sdk-go-v2, smithy-go)"
			}
			return path
		}
	}
	if strings.HasPrefix(owner, "main.") {
		return m.main()
	}
	if strings.HasPrefix(owner, "go:") || strings.HasPrefix(owner, "runtime.pclntab") {
		return Unnamed
	}
	return Standard
}

func (m Modules) main() string {
	for _, path := range m.paths {
		if strings.HasSuffix(path, "/lambda-idempotency") {
			return path
		}
	}
	return Unnamed
}

// ends tells whether a module's path ends where the rest begins.
func ends(rest string) bool {
	return rest == "" || rest[0] == '/' || rest[0] == '.' || rest[0] == ')' || rest[0] == ','
}

// Sizes is how many bytes of a program, built with its symbols, are those of each module's functions and variables. The
// rest, told as Unnamed, is what the linker makes of them all: the descriptions of types, and the tables for stack traces.
func (m Modules) Sizes(program string, stripped int64) (map[string]int64, error) {
	file, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	symbols, err := file.Symbols()
	if err != nil {
		return nil, err
	}
	sizes, sum := map[string]int64{}, int64(0)
	for _, s := range symbols {
		if int(s.Section) >= len(file.Sections) || file.Sections[s.Section].Type == elf.SHT_NOBITS || s.Section == elf.SHN_UNDEF {
			continue // It is not in the file.
		}
		if module := m.module(s.Name); module != Unnamed {
			sizes[module] += int64(s.Size)
			sum += int64(s.Size)
		}
	}
	sizes[Unnamed] = stripped - sum
	return sizes, nil
}

var initialised = regexp.MustCompile(`(?m)^init (\S+) @\S+ ms, (\S+) ms clock, (\d+) bytes, (\d+) allocs`)

// Init is what a module's packages do before main begins.
type Init struct {
	Milliseconds float64
	Bytes        float64
}

// Start runs a program that ends by itself and tells what it says of its initialisation.
func (m Modules) Start(ctx context.Context, program string, args ...string) (map[string]Init, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	found := map[string]Init{}
	for _, line := range initialised.FindAllStringSubmatch(stderr.String(), -1) {
		took, err := strconv.ParseFloat(line[2], 64)
		if err != nil {
			return nil, err
		}
		size, err := strconv.ParseFloat(line[3], 64)
		if err != nil {
			return nil, err
		}
		module := m.module(line[1])
		if line[1] == "main" {
			module = m.main()
		}
		sum := found[module]
		found[module] = Init{sum.Milliseconds + took, sum.Bytes + size}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s told nothing of its initialisation: %s", program, stderr.String())
	}
	return found, nil
}
