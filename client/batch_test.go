package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/clienttest"
)

// item is a batch's item that notes its run.
func item(key string, runs *[]string, fate error) client.BatchItem {
	return client.BatchItem{Acquire: client.AcquireRequest{Key: client.Key{key}}, Run: func(context.Context) error {
		*runs = append(*runs, key)
		return fate
	}}
}

func TestBatchErrorsAreAsTheyWere(t *testing.T) {
	sidecar := clienttest.New()
	defer sidecar.Close()
	sidecar.Hold("held")
	broken, stolen := errors.New("no route"), errors.New("stolen")
	var runs []string
	items := []client.BatchItem{
		item("done", &runs, nil), item("broken", &runs, broken), item("stolen", &runs, client.Final(stolen)), item("held", &runs, nil), item("broken", &runs, nil), item("\xff", &runs, nil),
	}
	fates, err := client.DoBatch(t.Context(), sidecar.Client(), items)
	if err != nil || len(fates) != len(items) {
		t.Fatalf("%v, %v", fates, err)
	}
	if fates[0] != nil || fates[1] != broken || fates[2] != stolen || fates[4] != broken { //nolint:errorlint // As they were.
		t.Errorf("%v", fates)
	}
	if busy := as[*client.InProgressError](t, fates[3]); busy.RequestID != "another" {
		t.Errorf("%+v", busy)
	}
	if p := as[*client.ProblemError](t, fates[5]); p.Code != "key_invalid" {
		t.Errorf("%v", p)
	}
	if !slices.Equal(runs, []string{"done", "broken", "stolen"}) {
		t.Errorf("run were %q", runs)
	}
	if r, _ := sidecar.Record("stolen"); r.Status != client.Failed || r.Error.Message != "stolen" {
		t.Errorf("%+v", r)
	}
	if r, _ := sidecar.Record("broken"); r.Status != clienttest.Released || r.Error.Message != "no route" {
		t.Errorf("%+v", r)
	}
	fates, _ = client.DoBatch(t.Context(), sidecar.Client(), items[2:3])
	if failed := as[*client.FailedError](t, fates[0]); failed.Message != "stolen" {
		t.Errorf("%v", failed)
	}
}

// A panic goes on, and what was done before it counts.
func TestBatchPanic(t *testing.T) {
	sidecar := clienttest.New()
	defer sidecar.Close()
	var runs []string
	items := []client.BatchItem{item("first", &runs, nil), item("panics", &runs, nil), item("last", &runs, nil)}
	items[1].Run = func(context.Context) error { panic("boom") }
	func() {
		defer func() {
			if v := recover(); v != "boom" {
				t.Errorf("recovered %v", v)
			}
		}()
		fates, err := client.DoBatch(t.Context(), sidecar.Client(), items)
		t.Errorf("it returned %v, %v", fates, err)
	}()
	for key, want := range map[string]string{"first": client.Completed + " ", "panics": clienttest.Released + " panic", "last": clienttest.Released + " Idempotency.HeldBack"} {
		r, _ := sidecar.Record(key)
		got := r.Status + " "
		if r.Error != nil {
			got += r.Error.Type
		}
		if got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if !slices.Equal(runs, []string{"first"}) {
		t.Errorf("run were %q", runs)
	}
}

func TestBatchEndsThoughTheContextEnded(t *testing.T) {
	sidecar := clienttest.New()
	defer sidecar.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var runs []string
	items := []client.BatchItem{item("k", &runs, nil)}
	items[0].Run = func(context.Context) error { cancel(); return nil }
	if fates, err := client.DoBatch(ctx, sidecar.Client(), items); err != nil || fates[0] != nil {
		t.Errorf("%v, %v", fates, err)
	}
	if r, _ := sidecar.Record("k"); r.Status != client.Completed {
		t.Errorf("%+v", r)
	}
}

// A lease that is shorter than the context's deadline ends the batch.
func TestBatchKeepsToItsLease(t *testing.T) {
	sidecar := clienttest.New()
	defer sidecar.Close()
	var runs []string
	items := []client.BatchItem{item("slow", &runs, nil), item("next", &runs, nil)}
	for i := range items {
		items[i].Acquire.Lease = time.Minute
	}
	items[0].Run = func(context.Context) error { time.Sleep(20 * time.Millisecond); return nil }
	if fates, err := client.DoBatch(t.Context(), sidecar.Client(), items); err != nil || fates[0] != nil || fates[1] != nil {
		t.Fatalf("%v, %v", fates, err)
	}
	for i := range items {
		items[i].Acquire.Key = client.Key{fmt.Sprint("short ", i)}
		items[i].Acquire.Lease = 400 * time.Millisecond
	}
	items[0].Run = func(context.Context) error { time.Sleep(250 * time.Millisecond); return nil }
	fates, err := client.DoBatch(t.Context(), sidecar.Client(), items)
	if err != nil {
		t.Fatal(err)
	}
	if held := as[*client.HeldBackError](t, fates[1]); !strings.Contains(held.Reason, "time") {
		t.Errorf("%+v", held)
	}
}

func TestBatchDisabled(t *testing.T) {
	t.Setenv("IDEMPOTENCY_DISABLED", "true")
	var runs []string
	broken := errors.New("no route")
	fates, err := client.DoBatch(t.Context(), &client.Client{URL: "http://127.0.0.1:1"}, []client.BatchItem{item("a", &runs, nil), item("a", &runs, broken)})
	if err != nil || fates[0] != nil || fates[1] != broken || len(runs) != 2 { //nolint:errorlint // As it was.
		t.Errorf("%v, %v, %q", fates, err, runs)
	}
}

// Bodies are kept below what the sidecar takes.
func TestBatchOfLargeRecords(t *testing.T) {
	sidecar := clienttest.New()
	defer sidecar.Close()
	var runs []string
	items := make([]client.BatchItem, 20)
	for i := range items {
		items[i] = item("", &runs, nil)
		items[i].Acquire = client.AcquireRequest{Event: map[string]string{"id": fmt.Sprint(i), "body": strings.Repeat("x", 1<<20-100)}, KeyJMESPath: "id"}
	}
	fates, err := client.DoBatch(t.Context(), sidecar.Client(), items)
	if err != nil || len(runs) != len(items) || slices.ContainsFunc(fates, func(err error) bool { return err != nil }) {
		t.Errorf("%v, %v after %d runs", fates, err, len(runs))
	}
}
