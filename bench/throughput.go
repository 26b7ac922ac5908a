package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/clock"
	"github.com/lambda-idempotency/lambda-idempotency/bench/plot"
	"github.com/lambda-idempotency/lambda-idempotency/bench/spread"
)

var callers = []int{1, 2, 4, 8, 16, 32, 64}

// point is what so many callers found.
type point struct {
	perSecond float64       // requests: acquires and completes
	times     spread.Spread // of one request, in milliseconds
	cpu       float64       // of the sidecar, in milliseconds per request
	resident  float64       // of the sidecar, in MB
}

// throughput is by store and number of callers.
type throughput map[string]map[int]point

var stores = []string{"in memory", "DynamoDB Local"}

func (w *world) measureThroughput(ctx context.Context) (throughput, error) {
	found := throughput{}
	for _, store := range stores {
		found[store] = map[int]point{}
		more := []string{}
		if store == "in memory" {
			more = append(more, "IDEMPOTENCY_STORE=memory")
		}
		s, err := w.serve(ctx, w.store, more...)
		if err != nil {
			return nil, err
		}
		for _, n := range callers {
			l := loader{url: s.URL(), secret: w.secret, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}}
			if _, err = l.run(ctx, n, w.plan.point/5); err != nil {
				break
			}
			used, begin := clock.CPU(s.PID()), time.Now()
			var times []float64
			if times, err = l.run(ctx, n, w.plan.point); err != nil {
				break
			}
			took, count := time.Since(begin), float64(len(times))
			used = clock.CPU(s.PID()) - used
			l.client.CloseIdleConnections()
			found[store][n] = point{count / took.Seconds(), spread.Of(times), float64(used) / 1e6 / count, float64(clock.Resident(s.PID())) / 1e6}
		}
		s.Stop()
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// loader makes callers.
type loader struct {
	url, secret string
	client      *http.Client
}

// run has n callers acquire and complete for so long, and returns the time of each request in milliseconds.
func (l *loader) run(ctx context.Context, n int, long time.Duration) ([]float64, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   []float64
		fault error
	)
	end := time.Now().Add(long)
	for range n {
		wg.Go(func() {
			times, err := l.caller(ctx, end)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, times...)
			if err != nil {
				fault = err
			}
		})
	}
	wg.Wait()
	return all, fault
}

func (l *loader) caller(ctx context.Context, end time.Time) ([]float64, error) {
	var times []float64
	run := rand.Text()
	for at := 0; time.Now().Before(end); at++ {
		var claim struct{ Status, Token string }
		took, err := l.call(ctx, "/acquire", `{"key":"`+run+strconv.Itoa(at)+`","request_id":"`+run+`","lease_ms":30000}`, &claim)
		if err == nil && claim.Status != "acquired" {
			err = fmt.Errorf("a first acquire was answered %q", claim.Status)
		}
		if err != nil {
			return nil, err
		}
		done, err := l.call(ctx, "/complete", `{"token":"`+claim.Token+`","result":{"done":true}}`, &claim)
		if err != nil {
			return nil, err
		}
		times = append(times, ms(took), ms(done))
	}
	return times, nil
}

func (l *loader) call(ctx context.Context, path, body string, answer any) (time.Duration, error) {
	begin := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Idempotency-Auth", l.secret)
	res, err := l.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	took := time.Since(begin)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s was answered with %d: %s", path, res.StatusCode, text)
	}
	if err != nil {
		return 0, err
	}
	return took, json.Unmarshal(text, answer)
}

func (w *world) throughputSection(f throughput, d *document) {
	d.heading("Throughput of the sidecar")
	d.text(fmt.Sprintf(`Callers that acquire and complete without a pause, %v for each number of them. They are on the same machine, as is DynamoDB Local, and take
their part of its cores. Times and CPU are of one request.`, w.plan.point))
	d.table("Store", "Callers", "Requests/s", "p50, ms", "p99, ms", "CPU of the sidecar, ms", "Resident, MB")
	chart := plot.Lines{Title: "Throughput", Unit: "requests per second", X: "callers"}
	for _, store := range stores {
		var x, y []float64
		for _, n := range callers {
			p := f[store][n]
			d.row(store, strconv.Itoa(n), fmt.Sprintf("%.0f", p.perSecond), spread.Number(p.times.P50), spread.Number(p.times.P99), spread.Number(p.cpu), spread.Number(p.resident))
			x, y = append(x, float64(n)), append(y, p.perSecond)
		}
		chart.Add(store, x, y, store == "in memory")
	}
	d.plot("throughput", chart.SVG(), chart.Title)
}
