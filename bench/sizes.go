package main

import (
	"archive/zip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lambda-idempotency/lambda-idempotency/bench/linked"
	"github.com/lambda-idempotency/lambda-idempotency/bench/sidecar"
	"github.com/lambda-idempotency/lambda-idempotency/bench/spread"
)

// sizes are in bytes, times in milliseconds.
type sizes struct {
	layers   map[string]int64 // by file
	contents map[string]int64 // compressed, of the layer for this machine
	binary   int64
	modules  map[string]int64
	inits    map[string][]float64
	initMB   map[string]float64
	starts   map[string][]float64 // the benchmark's metrics, of each of its runs
	calls    []goBench
}

// goBench is a line that go test -bench prints.
type goBench struct {
	name   string
	values map[string]float64
}

func (w *world) measureSize(ctx context.Context) (*sizes, error) {
	found := &sizes{layers: map[string]int64{}, contents: map[string]int64{}, inits: map[string][]float64{}, initMB: map[string]float64{}, starts: map[string][]float64{}}
	if _, err := quietly(ctx, "go", "run", "./layer/build", "-out", w.temp("layer")); err != nil {
		return nil, err
	}
	zips, err := filepath.Glob(w.temp("layer", "*.zip"))
	if err != nil {
		return nil, err
	}
	for _, file := range zips {
		if err := found.layer(file); err != nil {
			return nil, err
		}
	}
	info, err := os.Stat(w.sidecar)
	if err != nil {
		return nil, err
	}
	found.binary = info.Size()
	whole, err := sidecar.Build(ctx, w.temp("with-symbols"), "-ldflags=")
	if err != nil {
		return nil, err
	}
	modules, err := linked.Of(whole)
	if err != nil {
		return nil, err
	}
	if found.modules, err = modules.Sizes(whole, found.binary); err != nil {
		return nil, err
	}
	for range w.plan.starts {
		inits, err := modules.Start(ctx, whole, "--help")
		if err != nil {
			return nil, err
		}
		for name, init := range inits {
			found.inits[name] = append(found.inits[name], init.Milliseconds)
			found.initMB[name] = init.Bytes / 1e6
		}
	}
	text, err := quietly(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkStart$", "-benchtime", "5x", "-count", strconv.Itoa(w.plan.starts), "./extension")
	if err != nil {
		return nil, err
	}
	for _, b := range benchLines(text) {
		for unit, value := range b.values {
			found.starts[unit] = append(found.starts[unit], value)
		}
	}
	if text, err = quietly(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", w.plan.goBench, "./extension/internal/canon", "./extension/internal/httpapi"); err != nil {
		return nil, err
	}
	found.calls = benchLines(text)
	return found, nil
}

func quietly(ctx context.Context, command ...string) (string, error) {
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
	}
	return string(out), nil
}

func (s *sizes) layer(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	s.layers[filepath.Base(file)] = info.Size()
	if !strings.Contains(file, "x86_64") {
		return nil
	}
	archive, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }()
	for _, f := range archive.File {
		top, _, _ := strings.Cut(strings.TrimPrefix(path.Clean(f.Name), "/"), "/")
		s.contents[top] += int64(f.CompressedSize64)
	}
	return nil
}

var benchLine = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

// benchLines reads what go test prints of its benchmarks.
func benchLines(text string) []goBench {
	var found []goBench
	for _, line := range benchLine.FindAllStringSubmatch(text, -1) {
		b := goBench{line[1], map[string]float64{}}
		fields := strings.Fields(line[2])
		for i := 0; i+1 < len(fields); i += 2 {
			if value, err := strconv.ParseFloat(fields[i], 64); err == nil {
				b.values[fields[i+1]] = value
			}
		}
		found = append(found, b)
	}
	return found
}

func mb(n int64) string { return spread.Number(float64(n) / 1e6) }

func (w *world) sizeSection(s *sizes, d *document) {
	d.heading("Size and start")
	d.table("Layer", "MB")
	for _, name := range sortedBySize(s.layers) {
		d.row("`"+name+"`", mb(s.layers[name]))
	}
	d.table("In the layer for x86_64, compressed", "MB")
	for _, name := range sortedBySize(s.contents) {
		d.row("`"+name+"`", mb(s.contents[name]))
	}
	d.text(fmt.Sprintf(`The binary has %s MB. How much of it is whose: the sizes of functions and variables in a build with symbols, each counted for the module in its
name; what has no such name are the descriptions of types, strings and the tables for stack traces, which grow with all of them. "Init" is what
the runtime tells of each package's initialisation (`+"`GODEBUG=inittrace=1`"+`), the median of %d starts.`, mb(s.binary), w.plan.starts))
	d.table("Module", "MB", "Init, ms", "Init, MB allocated")
	for _, name := range sortedBySize(s.modules) {
		if s.modules[name] < 10_000 && spread.Median(s.inits[name]) < 0.01 {
			continue
		}
		d.row(name, mb(s.modules[name]), spread.Of(s.inits[name]).String(), spread.Number(s.initMB[name]))
	}
	d.text(fmt.Sprintf("The sidecar on one core, as Lambda starts it: %d times the median of five starts. Ready is when it has reached its table and asks for the first\nevent, which Lambda's init phase waits for; resident is its memory then.", len(s.starts["ms-ready"])))
	d.table("Start", "Median (p10–p90)")
	for _, row := range [][2]string{{"exec to registered, ms", "ms-registered"}, {"exec to ready, ms", "ms-ready"}, {"resident, MB", "MB-resident"}} {
		d.row(row[0], spread.Of(s.starts[row[1]]).String())
	}
	d.text("What the sidecar itself does for a request, by Go's benchmarks of its packages. `Handler` is an acquire and a complete without the network;\n`AcquireComplete` is both over a connection, and counts the caller's work, too.")
	d.table("Benchmark", "µs", "Bytes", "Allocations")
	for _, b := range s.calls {
		d.row("`"+b.name+"`", spread.Number(b.values["ns/op"]/1000), spread.Plain(b.values["B/op"]), spread.Plain(b.values["allocs/op"]))
	}
}

func sortedBySize(m map[string]int64) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if m[a] != m[b] {
			return int(m[b] - m[a])
		}
		return strings.Compare(a, b)
	})
	return names
}
