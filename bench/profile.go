package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/driver"
	"github.com/lambda-idempotency/lambda-idempotency/bench/sidecar"
)

// profiling is a file that the build adds to the extension's main package for this measurement alone. It is found
// through an overlay, so that the program that ships knows nothing of it.
const profiling = `package main

import (
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

func init() {
	file, err := os.Create(os.Getenv("BENCH_PROFILE"))
	if err != nil {
		panic(err)
	}
	begin, end := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(begin, syscall.SIGUSR1)
	signal.Notify(end, syscall.SIGUSR2)
	go func() {
		<-begin
		if err := pprof.StartCPUProfile(file); err != nil {
			panic(err)
		}
		<-end
		pprof.StopCPUProfile()
		_ = file.Close()
		_ = os.Rename(file.Name(), file.Name()+".done")
	}()
}
`

// profile is whose the sidecar's processor time was: shares of all samples.
type profile struct {
	shares   map[string]float64
	samples  time.Duration
	requests int
}

func (w *world) measureProfile(ctx context.Context) (*profile, error) {
	added, overlay := w.temp("profiling.go"), w.temp("overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {w.path("extension", "profiling_for_bench.go"): added}})
	if err != nil {
		return nil, err
	}
	for file, text := range map[string][]byte{added: []byte(profiling), overlay: list} {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return nil, err
		}
	}
	program, err := sidecar.Build(ctx, w.temp("profiled"), "-overlay", overlay)
	if err != nil {
		return nil, err
	}
	out := w.temp("cpu.pprof")
	s, err := sidecar.Start(ctx, program, w.environment(w.viaRelay(), "IDEMPOTENCY_TABLE_NAME="+w.tables["SIDECAR_TABLE"], "IDEMPOTENCY_SCOPE=profile", "IDEMPOTENCY_LOG_LEVEL=warn", "BENCH_PROFILE="+out)...)
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	d, err := w.drive(ctx, w.viaRelay(), s.Port, contender{oursPython, "Python", "sidecar", true, false}, "lambda")
	if err != nil {
		return nil, err
	}
	defer d.Stop()
	found, run := &profile{shares: map[string]float64{}}, rand.Text()
	for at := range w.plan.profileTurns + 1 {
		if at == 1 {
			if err := s.Signal(syscall.SIGUSR1); err != nil {
				return nil, err
			}
		}
		events := make([]any, 100)
		for i := range events {
			events[i] = job(at*len(events)+i, run)
		}
		if _, err := d.Do(driver.Order{Do: "handler", Events: events, Left: 30_000}); err != nil {
			return nil, err
		}
		if at > 0 {
			found.requests += 2 * len(events)
		}
	}
	if err := s.Signal(syscall.SIGUSR2); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(out + ".done"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the sidecar wrote no profile to %s", out)
		}
	}
	traces, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", program, out+".done").Output()
	if err != nil {
		return nil, err
	}
	return found, found.read(string(traces))
}

// read adds up the stacks that pprof prints, the leaf of each first:
//
//	-----------+-------
//	      10ms   leaf
//	             its caller
func (p *profile) read(traces string) error {
	var frames []string
	var weight time.Duration
	flush := func() {
		if weight > 0 {
			p.shares[owner(frames)] += float64(weight)
			p.samples += weight
		}
		frames, weight = nil, 0
	}
	for lines := bufio.NewScanner(strings.NewReader(traces)); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "-----") {
			flush()
			continue
		}
		fields := strings.Fields(line)
		if len(fields) == 0 || !strings.HasPrefix(line, " ") {
			continue
		}
		if took, err := time.ParseDuration(fields[0]); err == nil && len(fields) > 1 {
			weight, fields = took, fields[1:]
		}
		if weight > 0 {
			frames = append(frames, fields[0])
		}
	}
	flush()
	if p.samples == 0 {
		return fmt.Errorf("the profile has no samples: %.500s", traces)
	}
	for name := range p.shares {
		p.shares[name] /= float64(p.samples)
	}
	return nil
}

// owners are told by the innermost frame that is one of theirs: what a library calls on its way is its own.
var owners = []struct{ prefix, name string }{
	{"github.com/aws/", "the AWS SDK: serialising, signing, credentials"},
	{"net/http.(*persistConn)", "HTTP to DynamoDB"},
	{"net/http.(*Transport)", "HTTP to DynamoDB"},
	{"net/http.(*conn)", "HTTP from the handler"},
	{"net/http.(*connReader)", "HTTP from the handler"},
	{"net/http.serverHandler", "HTTP from the handler"},
	{"github.com/go-chi/", "the sidecar's routes and JSON"},
	{"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi", "the sidecar's routes and JSON"},
	{"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon", "the sidecar's keys: selecting and hashing"},
	{"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store", "the sidecar's records: to items and back"},
	{"github.com/lambda-idempotency/", "the sidecar's engine and the rest of it"},
	{"github.com/prometheus/", "metrics"},
	{"runtime.gcBgMarkWorker", "the garbage collector, beside the requests"},
	{"runtime.bgsweep", "the garbage collector, beside the requests"},
	{"runtime.bgscavenge", "the garbage collector, beside the requests"},
	{"runtime.gcStart", "the garbage collector, beside the requests"},
	{"runtime.schedule", "the scheduler: waking and parking threads"},
	{"runtime.mcall", "the scheduler: waking and parking threads"},
	{"runtime.mstart", "the scheduler: waking and parking threads"},
	{"runtime.findRunnable", "the scheduler: waking and parking threads"},
}

func owner(frames []string) string {
	for _, frame := range frames {
		for _, o := range owners {
			if strings.HasPrefix(frame, o.prefix) {
				return o.name
			}
		}
	}
	return "all else"
}

func (p *profile) section(d *document) {
	d.subheading("Where the sidecar's processor time goes")
	d.text(fmt.Sprintf(`A profile of the sidecar during %d requests, half acquires and half completes of first runs from Python, on DynamoDB Local without delay:
%v of processor time. A sample is counted for the innermost caller that has a row, so a library's row has in it what it calls and allocates.`, p.requests, p.samples))
	d.table("Whose", "Share", "µs per request")
	var names []string
	for name := range p.shares {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if p.shares[a] > p.shares[b] {
			return -1
		}
		return 1
	})
	for _, name := range names {
		d.row(name, strconv.Itoa(int(100*p.shares[name]+0.5))+" %", strconv.Itoa(int(p.shares[name]*float64(p.samples.Microseconds())/float64(p.requests)+0.5)))
	}
}
