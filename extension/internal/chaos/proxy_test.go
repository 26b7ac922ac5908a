package chaos

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const putBody = `{"TableName":"t","Item":{"id":{"S":"k"},"status":{"S":"INPROGRESS"},"token":{"S":"s"},"fence":{"N":"7"},"attempt":{"N":"1"},"request_id":{"S":"r1"},"in_progress_expiration":{"N":"9"},"expiration":{"N":"2"}}}`

// Each fault does what it is called, on the wire, and the witness knows whether
// the write took effect.
func TestProxyFaults(t *testing.T) {
	for _, test := range []struct {
		fault   Fault
		status  int    // of the answer; 0: there is none
		body    string // within the answer
		applied bool
	}{
		{"", 200, "{}", true},
		{Latency, 200, "{}", true},
		{RequestDropped, 0, "", false},
		{RequestReset, 0, "", false},
		{RequestLate, 0, "", true},
		{AnswerDropped, 0, "", true},
		{AnswerClosed, 0, "", true},
		{AnswerCut, 0, "", true},
		{AnswerInternal, 500, "com.amazonaws.dynamodb.v20120810#InternalServerError", true},
		{InternalError, 500, "com.amazonaws.dynamodb.v20120810#InternalServerError", false},
		{Throttled, 400, "#ThrottlingException", false},
		{ThroughputExceded, 400, "#ProvisionedThroughputExceededException", false},
	} {
		t.Run(string(test.fault), func(t *testing.T) {
			t.Parallel()
			var applied atomic.Int32
			store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if body, _ := io.ReadAll(r.Body); string(body) != putBody || r.Header.Get("X-Amz-Target") == "" {
					t.Errorf("the store got %q", body)
				}
				applied.Add(1)
				_, _ = io.WriteString(w, "{}")
			}))
			defer store.Close()
			var witness Witness
			var tally Tally
			x, err := startProxy(t.Context(), store.URL, plan{1}, newClock(), &witness, &tally)
			if err != nil {
				t.Fatal(err)
			}
			x.pick = func(*dice) Fault { return test.fault }
			status, body, err := put(x.url)
			if status != test.status || !strings.Contains(body, test.body) || (err != nil) != (test.status == 0) {
				t.Errorf("answered %d %q, %v", status, body, err)
			}
			x.stop()
			if got := applied.Load() == 1; got != test.applied {
				t.Errorf("applied: %v", got)
			}
			if writes := witness.all(); (len(writes) == 1) != test.applied {
				t.Errorf("the witness saw %v", writes)
			} else if test.applied && (writes[0].Key != "k" || writes[0].Request != "r1" || writes[0].Fence != 7 || writes[0].Doubtful) {
				t.Errorf("the witness saw %v", writes[0])
			}
			if test.fault != "" && tally.counts()[test.fault] != 1 {
				t.Errorf("counted %v", tally.counts())
			}
		})
	}
}

// put sends a write as the SDK does.
func put(url string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(putBody))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810.PutItem")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, "", err
	}
	return res.StatusCode, string(body), nil
}

// The same seed makes the same plan, whatever came in between.
func TestPlan(t *testing.T) {
	faults := func(seed uint64, noise bool) (list []Fault) {
		x := &proxy{plan: plan{seed}, seen: map[string]int{}}
		for range 200 {
			if noise {
				x.dice(&Write{Kind: Acquire, Key: "other", Request: "r9"})
			}
			list = append(list, pick(x.dice(&Write{Kind: Acquire, Key: "k", Request: "r1"})))
		}
		return list
	}
	same := func(a, b []Fault) bool {
		for n := range a {
			if a[n] != b[n] {
				return false
			}
		}
		return true
	}
	if !same(faults(1, false), faults(1, true)) {
		t.Error("other requests change the plan")
	}
	if same(faults(1, false), faults(2, false)) {
		t.Error("another seed makes the same plan")
	}
}
