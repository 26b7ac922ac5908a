package soak

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"time"
)

// Sample is what the process holds at a moment.
type Sample struct {
	Goroutines  int
	Descriptors int
	Resident    int64 // bytes
	OpenClaims  int
}

// most is each number at its highest.
func (s Sample) most(o Sample) Sample {
	return Sample{max(s.Goroutines, o.Goroutines), max(s.Descriptors, o.Descriptors), max(s.Resident, o.Resident), max(s.OpenClaims, o.OpenClaims)}
}

var (
	goroutines = regexp.MustCompile(`(?m)^idempotency_goroutines (\S+)$`)
	openClaims = regexp.MustCompile(`(?m)^idempotency_open_claims (\S+)$`)
	vmRSS      = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)
	vmHWM      = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)
)

// sample asks the process for its metrics, on a connection of its own, and the
// system for the rest.
func (p *Process) sample(ctx context.Context) (Sample, error) {
	c, err := p.connect(ctx)
	if err != nil {
		return Sample{}, err
	}
	defer c.close()
	a, err := c.do(request{method: http.MethodGet, path: "/metrics"})
	if err != nil {
		return Sample{}, err
	}
	var s Sample
	if s.Goroutines, err = number(goroutines, a.body); err != nil {
		return s, err
	}
	if s.OpenClaims, err = number(openClaims, a.body); err != nil {
		return s, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid()))
	if err != nil {
		return s, err
	}
	s.Descriptors = len(files)
	s.Resident, err = p.memory(vmRSS)
	return s, err
}

// memory is a number of /proc/PID/status, in bytes.
func (p *Process) memory(of *regexp.Regexp) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return 0, err
	}
	kB, err := number(of, status)
	return int64(kB) << 10, err
}

func number(of *regexp.Regexp, text []byte) (int, error) {
	found := of.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("no %v in %.200q", of, text)
	}
	n, err := strconv.ParseFloat(string(found[1]), 64)
	return int(n), err
}

const (
	// quietLimit is how long the process may take to let go of what its callers
	// left, and quietFor how long nothing must change then.
	quietLimit = 10 * time.Second
	quietFor   = 300 * time.Millisecond
	quietPoll  = 20 * time.Millisecond
)

// quiet is what the process holds when no caller is connected.
func (p *Process) quiet(ctx context.Context) (Sample, error) {
	least, err := p.sample(ctx)
	same := time.Now()
	for end := time.Now().Add(quietLimit); err == nil && time.Since(same) < quietFor && time.Now().Before(end); {
		time.Sleep(quietPoll)
		var s Sample
		s, err = p.sample(ctx)
		if s.Goroutines < least.Goroutines || s.Descriptors < least.Descriptors {
			same = time.Now()
		}
		s.Goroutines, s.Descriptors = min(s.Goroutines, least.Goroutines), min(s.Descriptors, least.Descriptors)
		least = s
	}
	return least, err
}
