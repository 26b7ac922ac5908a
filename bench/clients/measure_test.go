package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWithASidecar(t *testing.T) {
	b, err := build(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	defer b.remove()
	t.Run("measure", func(t *testing.T) { testMeasure(t, b) })
	t.Run("the driver is checked", func(t *testing.T) { testMeasureCallsChecksTheDriver(t, b) })
	t.Run("a sidecar that ends", func(t *testing.T) { testStartTellsWhyASidecarEnded(t, b) })
}

func testMeasure(t *testing.T, b *bench) {
	for _, lang := range languages() {
		if lang.name != "Go" {
			continue // Of the others, what runs them may not be here.
		}
		r, err := b.measure(t.Context(), lang, plan{processes: 2, warm: 1, rounds: 5}, nil)
		if err != nil || r.missing != "" {
			t.Fatalf("%v, missing: %q", err, r.missing)
		}
		if r.plain <= 0 || r.first.p50 <= 0 || r.duplicate.p50 <= 0 || r.cold.p50 <= 0 || r.version == "" || r.stored != nil {
			t.Errorf("got %+v", r)
		}
	}
}

func TestMeasureTellsWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", "")
	b := &bench{root: t.TempDir(), dir: t.TempDir()}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	// A checkout without what make fetches.
	if err := os.Symlink(filepath.Join(checkout, "bench"), b.path("bench")); err != nil {
		t.Fatal(err)
	}
	for _, lang := range languages() {
		if r, err := b.measure(t.Context(), lang, plan{}, nil); err != nil || r.missing == "" || r.after == 0 {
			t.Errorf("%s: missing %q, error %v, %d lines", lang.name, r.missing, err, r.after)
		}
	}
}

// Figures of calls that were not what they are taken for are refused.
func testMeasureCallsChecksTheDriver(t *testing.T, b *bench) {
	s, err := b.start(t.Context(), "IDEMPOTENCY_STORE=memory")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	for script, want := range map[string]string{
		`echo '{"plain": [1, 1], "first": [1], "duplicate": [1]}'`: "answered 0 acquires with acquired, not 1",
		`echo '{"plain": [1], "first": [1], "duplicate": [1]}'`:    "told of 1 plain calls",
		`echo done`:                          `printed "done\n"`,
		`echo the results differ >&2; false`: "the results differ",
	} {
		d := driver{command: []string{"sh", "-c", script, "driver"}}
		if _, err := d.measureCalls(t.Context(), s, 0, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", script, err, want)
		}
	}
}

func testStartTellsWhyASidecarEnded(t *testing.T, b *bench) {
	if s, err := b.start(t.Context(), "IDEMPOTENCY_STORE=nowhere"); err == nil {
		s.Stop()
		t.Fatal("it started")
	} else if !strings.Contains(err.Error(), "IDEMPOTENCY_STORE") {
		t.Errorf("got %v", err)
	}
}

func TestStoreIsDelayed(t *testing.T) {
	s := &store{delay: 20 * time.Millisecond}
	h := s.delayed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/", http.NoBody))
	if answer.Code != http.StatusTeapot || s.median() < s.delay {
		t.Errorf("answered with %d after %v", answer.Code, s.median())
	}
}
