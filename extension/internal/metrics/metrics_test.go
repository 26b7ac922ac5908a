package metrics_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/metrics"
)

var update = flag.Bool("update", false, "write the golden file anew")

// away is a store that answers after a while, or not.
type away struct{ err error }

func (s away) Get(context.Context, idempotency.Key) (*idempotency.Record, error) {
	time.Sleep(3 * time.Millisecond)
	return nil, s.err
}

func (s away) Put(context.Context, *idempotency.Record, idempotency.Condition) error {
	time.Sleep(30 * time.Millisecond)
	return s.err
}

func (s away) Update(context.Context, idempotency.Key, idempotency.Change) error {
	time.Sleep(20 * time.Second)
	return s.err
}

func (s away) Ping(context.Context) error { return s.err }

// used makes metrics on which everything was counted.
func used() *metrics.Metrics {
	m := metrics.New("1.2.3")
	m.OpenClaims(func() int { return 2 })
	m.Answered("acquire", 200, "", 4*time.Millisecond)
	m.Answered("acquire", 200, "", 700*time.Microsecond)
	m.Answered("acquire", 503, "store_unavailable", 2*time.Second)
	m.Answered("unknown", 404, "not_found", 100*time.Microsecond)
	for _, status := range []idempotency.OutcomeStatus{idempotency.OutcomeAcquired, idempotency.OutcomeCompleted, idempotency.OutcomeFailed, idempotency.OutcomeInProgress} {
		m.Acquired(status)
	}
	m.Unprotected()
	m.Settled("Handler.Abandoned", true)
	m.Settled("Sandbox.Timedout", false)
	m.Capacity("put", 1.5)
	for _, err := range []error{
		nil,
		&idempotency.ConditionError{}, // An answer, no error.
		&idempotency.StoreError{Op: "any"},
		&idempotency.StoreError{Op: "any", Throttled: true},
	} {
		s := m.Store(away{err})
		_, _ = s.Get(context.Background(), idempotency.Key{})
		_ = s.Put(context.Background(), nil, idempotency.Condition{})
		_ = s.Update(context.Background(), idempotency.Key{}, idempotency.Change{})
	}
	return m
}

func read(t *testing.T, m *metrics.Metrics) (text, contentType string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	res := w.Result()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res.Status, err)
	}
	return string(b), res.Header.Get("Content-Type")
}

// machine are the metrics whose values are the machine's.
var machine = regexp.MustCompile(`(?m)^(?:# (?:HELP|TYPE) )?(?:process_|idempotency_goroutines).*\n`)

// TestText holds names, helps and labels still: dashboards and alarms are made of
// them.
func TestText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, contentType := read(t, used())
		if contentType != "text/plain; version=0.0.4; charset=utf-8" {
			t.Errorf("Content-Type is %q", contentType)
		}
		got := machine.ReplaceAllString(text, "")
		const golden = "testdata/metrics.txt"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTextIsReadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, _ := read(t, used())
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"process_resident_memory_bytes", "process_open_fds", "idempotency_goroutines"} {
			if f := families[name]; f == nil || len(f.Metric) != 1 || f.Metric[0].GetGauge().GetValue() <= 0 {
				t.Errorf("%s is %v", name, f)
			}
		}
	})
}

// Two sets of metrics in one process do not meet: there is no global registry.
func TestMetricsAreTheirOwn(t *testing.T) {
	a, b := metrics.New("a"), metrics.New("b")
	a.Unprotected()
	if text, _ := read(t, b); !strings.Contains(text, "idempotency_unprotected_total 0\n") {
		t.Error(text)
	}
}

// TestOpenClaimsAreAskedForEachTime shows the present number, not the first one.
func TestOpenClaimsAreAskedForEachTime(t *testing.T) {
	m, n := metrics.New("a"), 0
	m.OpenClaims(func() int { n++; return n })
	for _, want := range []string{"idempotency_open_claims 1\n", "idempotency_open_claims 2\n"} {
		if text, _ := read(t, m); !strings.Contains(text, want) {
			t.Errorf("there is no %q in %s", want, text)
		}
	}
}

func TestStoreIsPassedThrough(t *testing.T) {
	want := &idempotency.StoreError{Op: "ping"}
	if err := metrics.New("a").Store(away{want}).Ping(t.Context()); !errors.Is(err, want) {
		t.Errorf("Ping answered %v", err)
	}
}
