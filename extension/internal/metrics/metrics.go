// Package metrics counts what the sidecar does, on a registry of its own.
package metrics

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// Metrics is the registry and what is counted on it.
type Metrics struct {
	registry *prometheus.Registry

	requests       *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec
	acquires       *prometheus.CounterVec
	unprotected    prometheus.Counter
	settled        *prometheus.CounterVec
	storeSeconds   *prometheus.HistogramVec
	storeErrors    *prometheus.CounterVec
	storeCapacity  *prometheus.CounterVec

	// What each request counts on, found once.
	answered series[answer, answeredSeries]
	acquired series[idempotency.OutcomeStatus, prometheus.Counter]
	stored   series[string, prometheus.Observer]
	consumed series[string, prometheus.Counter]
}

// answer is what a request is counted by.
type answer struct {
	call   string
	status int
	code   string
}

type answeredSeries struct {
	count   prometheus.Counter
	seconds prometheus.Observer
}

// seconds are the bounds of the histograms: from a duplicate answered from
// memory to a store that does not answer.
var seconds = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// New makes the registry.
func New(version string) *Metrics {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "idempotency", Name: name, Help: help}
	}
	histogram := func(name, help string) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Namespace: "idempotency", Name: name, Help: help, Buckets: seconds}
	}
	m := &Metrics{
		registry:       prometheus.NewRegistry(),
		requests:       prometheus.NewCounterVec(counter("requests_total", "API calls answered, by call, HTTP status and problem code."), []string{"call", "status", "code"}),
		requestSeconds: prometheus.NewHistogramVec(histogram("request_seconds", "Time to answer an API call, waits included."), []string{"call"}),
		acquires:       prometheus.NewCounterVec(counter("acquires_total", "Acquires by outcome."), []string{"status"}),
		unprotected:    prometheus.NewCounter(counter("unprotected_total", "Acquires granted without the store (IDEMPOTENCY_ON_STORE_ERROR=proceed).")),
		settled:        prometheus.NewCounterVec(counter("settled_total", "Claims ended on behalf of their handlers, by cause and whether the store took it."), []string{"cause", "result"}),
		storeSeconds:   prometheus.NewHistogramVec(histogram("store_seconds", "Time of a store call, retries included."), []string{"op"}),
		storeErrors:    prometheus.NewCounterVec(counter("store_errors_total", "Store calls without an answer, by kind."), []string{"op", "code"}),
		storeCapacity:  prometheus.NewCounterVec(counter("store_capacity_units_total", "DynamoDB capacity units consumed, as DynamoDB reports them; failed conditions are not reported."), []string{"op"}),
	}
	m.answered.find = func(a answer) answeredSeries {
		return answeredSeries{m.requests.WithLabelValues(a.call, strconv.Itoa(a.status), a.code), m.requestSeconds.WithLabelValues(a.call)}
	}
	m.acquired.find = func(s idempotency.OutcomeStatus) prometheus.Counter { return m.acquires.WithLabelValues(string(s)) }
	m.stored.find = func(op string) prometheus.Observer { return m.storeSeconds.WithLabelValues(op) }
	m.consumed.find = func(op string) prometheus.Counter { return m.storeCapacity.WithLabelValues(op) }
	info := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "idempotency", Name: "build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	m.registry.MustRegister(m.requests, m.requestSeconds, m.acquires, m.unprotected, m.settled, m.storeSeconds, m.storeErrors, m.storeCapacity, info,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "idempotency", Name: "goroutines", Help: "Goroutines of the sidecar."}, func() float64 { return float64(runtime.NumGoroutine()) }),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// OpenClaims adds the number of open claims, asked for at each reading.
func (m *Metrics) OpenClaims(count func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "idempotency", Name: "open_claims", Help: "Claims granted by this sidecar that are neither ended nor lapsed."}, func() float64 { return float64(count()) }))
}

// Handler serves the metrics as text. The library's own handler also serves
// other forms, compressed too, which adds 270 kB to the binary.
func (m *Metrics) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		families, err := m.registry.Gather()
		if err != nil {
			http.Error(w, "the metrics cannot be told: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
		for _, f := range families {
			if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
				return // The caller went away.
			}
		}
	})
}

// Answered notes an answered API call; code is empty but for problems.
func (m *Metrics) Answered(call string, status int, code string, took time.Duration) {
	s := m.answered.of(answer{call, status, code})
	s.count.Inc()
	s.seconds.Observe(took.Seconds())
}

// Acquired implements idempotency.Observer.
func (m *Metrics) Acquired(status idempotency.OutcomeStatus) {
	m.acquired.of(status).Inc()
}

// Unprotected implements idempotency.Observer.
func (m *Metrics) Unprotected() { m.unprotected.Inc() }

// Settled implements idempotency.Observer.
func (m *Metrics) Settled(cause string, ok bool) {
	result := "ok"
	if !ok {
		result = "error"
	}
	m.settled.WithLabelValues(cause, result).Inc()
}

// Capacity notes consumed capacity units.
func (m *Metrics) Capacity(op string, units float64) { m.consumed.of(op).Add(units) }

// Store returns the store with its calls timed.
func (m *Metrics) Store(store idempotency.Store) idempotency.Store { return &timed{store, m} }

type timed struct {
	idempotency.Store
	m *Metrics
}

func (t *timed) note(op string, start time.Time, err error) {
	t.m.stored.of(op).Observe(time.Since(start).Seconds())
	if down, ok := errors.AsType[*idempotency.StoreError](err); ok {
		code := "store_unavailable"
		if down.Throttled {
			code = "store_throttled"
		}
		t.m.storeErrors.WithLabelValues(op, code).Inc()
	}
}

func (t *timed) Get(ctx context.Context, key idempotency.Key) (*idempotency.Record, error) {
	start := time.Now()
	rec, err := t.Store.Get(ctx, key)
	t.note("get", start, err)
	return rec, err
}

func (t *timed) Put(ctx context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	start := time.Now()
	err := t.Store.Put(ctx, rec, when)
	t.note("put", start, err)
	return err
}

func (t *timed) Update(ctx context.Context, key idempotency.Key, change idempotency.Change) error {
	start := time.Now()
	err := t.Store.Update(ctx, key, change)
	t.note("update", start, err)
	return err
}
