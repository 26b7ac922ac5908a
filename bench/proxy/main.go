// Command proxy measures what the runtime proxy adds to an invocation, for make
// bench-proxy. It prints Markdown.
//
// Two copies of the least that a Go function can do, on AWS's own runtime client,
// get the same events in turn: one from the Runtime API itself, the other through
// the built extension, whose store is in memory. An invocation lasts from when its
// event is sent until Lambda has the whole answer. Machine, moment and load are the
// same for both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/sidecar"
)

func main() {
	n := flag.Int("n", 2000, "invocations of each kind; half of that with 100 KB, a twentieth with 5 MB")
	extension := flag.String("extension", "bin/lambda-idempotency", "the built extension")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *extension, *n); err != nil {
		fmt.Fprintln(os.Stderr, "bench-proxy:", err)
		os.Exit(1)
	}
}

const secret = "bench"

func run(ctx context.Context, out io.Writer, extension string, n int) error {
	dir, err := os.MkdirTemp("", "bench-proxy-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	handler := filepath.Join(dir, "handler")
	build := exec.CommandContext(ctx, "go", "build", "-tags", "lambda.norpc", "-o", handler, "./bench/proxy/handler")
	if printed, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, printed)
	}
	direct, err := newLambda()
	if err != nil {
		return err
	}
	proxied, err := newLambda()
	if err != nil {
		return err
	}
	proxy, err := sidecar.FreePort(ctx)
	if err != nil {
		return err
	}
	// Once it answers, the proxy's port is open as well.
	running, err := sidecar.Start(ctx, extension,
		"AWS_LAMBDA_RUNTIME_API="+proxied.addr, "AWS_LAMBDA_FUNCTION_NAME=bench", "AWS_SESSION_TOKEN="+secret,
		"IDEMPOTENCY_STORE=memory", "IDEMPOTENCY_KEY_JMESPATH=order", "IDEMPOTENCY_RUNTIME_PROXY_PORT="+proxy)
	if err != nil {
		return err
	}
	running.Secret = secret
	defer func() {
		running.Stop()
		_, _ = io.WriteString(os.Stderr, running.Log())
	}()
	for _, api := range []string{direct.addr, "127.0.0.1:" + proxy} {
		end, err := start(ctx, handler, api)
		if err != nil {
			return err
		}
		defer end()
	}

	_, _ = fmt.Fprintf(out, "%d invocations of each kind in turn (half of that with 100 KB, a twentieth with 5 MB), store in memory; ms.\n\n", n)
	_, _ = fmt.Fprintln(out, "| event and response | direct, p50 | p99 | through the proxy, p50 | p99 | added, p50 | of that the store |")
	_, _ = fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- |")
	b := &bench{direct: direct, proxied: proxied, extension: running}
	if _, err := b.pairs("warm-up", 100, min(n, 300), nil); err != nil {
		return err
	}
	sizes := []struct {
		name  string
		bytes int
		n     int
	}{{"100 bytes", 100, n}, {"10 KB", 10 << 10, n}, {"100 KB", 100 << 10, max(n/2, 10)}, {"5 MB", 5 << 20, max(n/20, 10)}}
	for _, s := range sizes {
		before, err := b.storeSeconds(ctx)
		if err != nil {
			return err
		}
		got, err := b.pairs("pass "+s.name, s.bytes, s.n, nil)
		if err != nil {
			return err
		}
		after, err := b.storeSeconds(ctx)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "| %s | %s | %s | %s | %s | **%s** | %.3f |\n", s.name, ms(got.direct, 50), ms(got.direct, 99), ms(got.proxied, 50), ms(got.proxied, 99),
			millis(at(got.proxied, 50)-at(got.direct, 50)), (after-before)*1000/float64(s.n))
	}
	_, _ = fmt.Fprintln(out, "\n| a duplicate's event and response | a run, direct, p50 | p99 | a duplicate, answered by the proxy, p50 | p99 | less, p50 |")
	_, _ = fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- |")
	for _, s := range sizes {
		same := "of the duplicates of " + s.name
		// Only the first of them reaches the handler.
		if _, err := b.pairs(same, s.bytes, 1, &same); err != nil {
			return err
		}
		got, err := b.pairs(same, s.bytes, s.n, &same)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", s.name, ms(got.direct, 50), ms(got.direct, 99), ms(got.proxied, 50), ms(got.proxied, 99),
			millis(at(got.direct, 50)-at(got.proxied, 50)))
	}
	return nil
}

type bench struct {
	direct, proxied *lambda
	extension       *sidecar.Sidecar
	sent            int
}

type measured struct{ direct, proxied []time.Duration }

// pairs sends events to the two functions in turn; key, if set, is that of all.
func (b *bench) pairs(name string, bytes, n int, key *string) (measured, error) {
	var m measured
	pad := strings.Repeat("x", bytes)
	for i := range n {
		order := fmt.Sprintf("%s %d", name, i)
		if key != nil {
			order = *key
		}
		body := fmt.Sprintf(`{"order":%q,"pad":%q}`, order, pad)
		for side := range 2 { // Which of them goes first alternates.
			b.sent++
			to, list := b.direct, &m.direct
			if (i+side)%2 == 1 {
				to, list = b.proxied, &m.proxied
			}
			took, err := to.invoke(event{"r" + strconv.Itoa(b.sent), body})
			if err != nil {
				return m, err
			}
			*list = append(*list, took)
		}
	}
	return m, nil
}

// storeSeconds is how long the store took so far, in all.
func (b *bench) storeSeconds(ctx context.Context) (float64, error) {
	text, err := b.extension.Get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
	for line := range strings.Lines(text) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(name, "idempotency_store_seconds_sum") {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, err
			}
			sum, found = sum+seconds, true
		}
	}
	if !found && b.sent > 0 {
		return 0, errors.New("the extension's metrics have no store time: the events did not come through it")
	}
	return sum, nil
}

// at is a percentile.
func at(list []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

func ms(list []time.Duration, percent int) string { return millis(at(list, percent)) }

func millis(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d)/float64(time.Millisecond)) }

// start runs the function, which asks a Runtime API for its events, until end is called.
func start(ctx context.Context, handler, api string) (end func(), err error) {
	c := exec.CommandContext(ctx, handler)
	c.Env, c.Stdout, c.Stderr = []string{"AWS_LAMBDA_RUNTIME_API=" + api}, os.Stderr, os.Stderr
	if err := c.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}, nil
}
