package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/clienttest"
)

var theJob = job{JobID: "12345", ObjKey: "sun-ada-bucket-tokyo/smallfile"}

const processed = `{"processed":"sun-ada-bucket-tokyo/smallfile"}`

// warned counts the warnings of a duplicate that f logs.
func warned(t *testing.T, f func()) int {
	t.Helper()
	var log bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	f()
	return strings.Count(log.String(), duplicate)
}

func TestFirstAndDuplicate(t *testing.T) {
	sidecar := clienttest.Start(t)
	for _, want := range []int{0, 1, 1} {
		n := warned(t, func() {
			if res, err := handle(t.Context(), theJob); err != nil || res != (response{200, processed}) {
				t.Errorf("%+v, %v", res, err)
			}
		})
		if n != want {
			t.Errorf("%d warnings, want %d", n, want)
		}
	}
	if record, ok := sidecar.Record(theJob.JobID, theJob.ObjKey); !ok || record.Attempt != 1 {
		t.Errorf("the record is %+v", record)
	}
}

func TestDuplicateOfARunningLaunch(t *testing.T) {
	clienttest.Start(t).Hold(theJob.JobID, theJob.ObjKey)
	n := warned(t, func() {
		if res, err := handle(t.Context(), theJob); err != nil || res != (response{200, `{"status":"in_progress"}`}) {
			t.Errorf("%+v, %v", res, err)
		}
	})
	if n != 1 {
		t.Errorf("%d warnings", n)
	}
}

func TestFailure(t *testing.T) {
	for retry, want := range map[string]string{"": client.Failed, "1": clienttest.Released} {
		t.Setenv("RETRY_FAILED", retry)
		sidecar := clienttest.Start(t)
		noBucket := job{JobID: "12345", ObjKey: "smallfile"}
		n := warned(t, func() {
			if _, err := handle(t.Context(), noBucket); err != error(jobFailed{}) { //nolint:errorlint // As it was.
				t.Errorf("%v", err)
			}
		})
		record, _ := sidecar.Record("12345", "smallfile")
		if n != 0 || record.Status != want || *record.Error != (client.Failure{Type: "main.jobFailed", Message: "An unexpected error has occurred."}) {
			t.Errorf("%d warnings, the record is %+v", n, record)
		}
		if retry == "1" {
			continue
		}
		n = warned(t, func() {
			if res, err := handle(t.Context(), noBucket); err != nil || res.StatusCode != 200 || !strings.Contains(res.Body, `"status":"failed"`) {
				t.Errorf("%+v, %v", res, err)
			}
		})
		if n != 1 {
			t.Errorf("%d warnings", n)
		}
	}
}

func TestNoStore(t *testing.T) {
	clienttest.Start(t).Unavailable(true)
	n := warned(t, func() {
		if res, err := handle(t.Context(), theJob); err == nil {
			t.Errorf("%+v", res)
		}
	})
	if n != 0 {
		t.Errorf("%d warnings", n)
	}
}

func TestLocal(t *testing.T) {
	clienttest.Start(t)
	event, err := os.ReadFile("event.json")
	if err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	if code := local(bytes.NewReader(event), &out, &log); code != 0 || !strings.Contains(out.String(), "processed") {
		t.Errorf("%d: %s%s", code, &out, &log)
	}
	if code := local(strings.NewReader("no event"), &out, &log); code != 1 || !strings.Contains(log.String(), "invalid character") {
		t.Errorf("%d: %s", code, &log)
	}
}
