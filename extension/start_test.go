package main_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi/extapitest"
)

// BenchmarkStart measures from exec until the extension listens and registers,
// and until it has reached its table and asks for the first event; what is
// resident then; and the size of the binary. All on one core, as in Lambda.
func BenchmarkStart(b *testing.B) {
	command := []string{binary}
	if path, err := exec.LookPath("taskset"); err == nil {
		command = []string{path, "-c", "0", binary}
	}
	table := dynamoDB(b, http.StatusOK, "{}")
	var registered, ready, resident []float64
	for b.Loop() {
		api, at := extapitest.New(), make(chan time.Time, 1)
		api.OnRegister = func() { at <- time.Now() }
		env := lambdaEnv(api.Start(b), "IDEMPOTENCY_TABLE_NAME=records", table)
		before := time.Now()
		p := start(b, command, env...)
		api.AwaitNext(b)
		ready = append(ready, milliseconds(time.Since(before)))
		registered = append(registered, milliseconds((<-at).Sub(before)))
		time.Sleep(20 * time.Millisecond)
		resident = append(resident, residentMB(b, p.Pid()))
		api.Shutdown(b, "spindown")
		p.exit(patience)
	}
	b.ReportMetric(0, "ns/op") // It holds the pause, and the end.
	b.ReportMetric(median(registered), "ms-registered")
	b.ReportMetric(median(ready), "ms-ready")
	b.ReportMetric(median(resident), "MB-resident")
	if info, err := os.Stat(binary); err == nil {
		b.ReportMetric(float64(info.Size()), "B-binary")
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

var vmRSS = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

func residentMB(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skip("resident memory is read from /proc: ", err)
	}
	found := vmRSS.FindSubmatch(status)
	if found == nil {
		b.Fatalf("no VmRSS in %s", status)
	}
	kB, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return kB * 1024 / 1e6
}
