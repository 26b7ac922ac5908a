package runtimeproxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/runtimeproxy"
)

func (l *lambda) questions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// soon waits until something holds.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// Lambda takes a question for the end of the last event, or of the init phase, and
// starts the clock of the next.
func TestEventsAreNotAskedForBeforeTheRuntimeDoes(t *testing.T) {
	s := newSandbox(t)
	time.Sleep(20 * time.Millisecond)
	for i := range 3 {
		if n := s.questions(); n != i {
			t.Fatalf("asked %d times before the runtime asked for event %d", n, i)
		}
		s.run(fmt.Sprint("r", i), fmt.Sprintf(`{"order":%d}`, i))
		s.answers(fmt.Sprint("r", i), "1")
		s.next()
		time.Sleep(20 * time.Millisecond)
	}
	// A duplicate is answered in between: that one more question is the runtime's own.
	s.duplicate("r3", `{"order":1}`)
	if n := s.questions(); n != 5 {
		t.Fatalf("asked %d times", n)
	}
}

// A runtime waits for its next event as long as it takes, also one that asks as
// several at once.
func TestManagedInstances(t *testing.T) {
	s := newSandbox(t)
	type taken struct{ id, body string }
	got := make(chan taken, 4)
	for range 4 {
		go func() {
			id, body, _ := s.take()
			got <- taken{id, body}
		}()
	}
	soon(t, "four questions", func() bool { return s.questions() == 4 })
	for i := range 3 {
		s.events <- event{id: fmt.Sprint("r", i), body: fmt.Sprintf(`{"order":%d}`, i)}
	}
	first := map[string]string{}
	for range 3 {
		e := <-got
		first[e.id] = e.body
	}
	// All three are under way; a duplicate of one is refused, and the fourth worker
	// gets the event after it.
	s.events <- event{id: "d", body: `{"order":1}`}
	if told := s.next(); told.path != invocations+"d/error" || told.header.Get("Lambda-Runtime-Function-Error-Type") != "Idempotency.InProgress" {
		t.Fatalf("Lambda was told %+v", told)
	}
	s.events <- event{id: "r3", body: `{"order":3}`}
	if e := <-got; e.id != "r3" {
		t.Fatalf("the fourth worker got %s", e.id)
	}
	var workers sync.WaitGroup
	for _, id := range []string{"r2", "r0", "r3", "r1"} { // Not in the order they came.
		workers.Go(func() { s.answers(id, `"of `+id+`"`) })
	}
	workers.Wait()
	for range 4 {
		s.next()
	}
	for i := range 4 {
		if rec := s.record(fmt.Sprintf(`{"order":%d}`, i)); rec.Status != idempotency.Completed || string(rec.Result) != fmt.Sprintf(`"of r%d"`, i) {
			t.Errorf("order %d is %+v", i, rec)
		}
	}
}

// On Managed Instances a handler that ran out of time goes on, and the event comes
// again under the same id. Neither is taken for the other.
func TestSameIDTwice(t *testing.T) {
	for name, test := range map[string]struct {
		nonce bool
		order []int
	}{
		"told apart, the first is late": {true, []int{1, 2}},
		"told apart, the first is last": {true, []int{2, 1}},
		"not told apart":                {false, []int{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			of := func(n int) http.Header {
				if !test.nonce {
					return http.Header{}
				}
				return http.Header{"Lambda-Runtime-Invocation-Id": {fmt.Sprint("nonce-", n)}}
			}
			s.events <- event{id: "r", body: `{"order":1}`, header: of(1), deadline: time.Now().Add(100 * time.Millisecond)}
			if _, _, header := s.take(); header.Get("Lambda-Runtime-Invocation-Id") != of(1).Get("Lambda-Runtime-Invocation-Id") {
				t.Fatalf("the runtime got %v", header)
			}
			soon(t, "the claim lapses", func() bool { return time.Now().After(s.record(`{"order":1}`).LeaseExpiresAt) })
			s.events <- event{id: "r", body: `{"order":1}`, header: of(2)}
			s.take()
			for _, n := range test.order {
				said := fmt.Sprintf(`"%d"`, n)
				s.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
					w.WriteHeader(map[int]int{1: http.StatusGone, 2: http.StatusAccepted}[n])
					return true
				}
				s.call(http.MethodPost, invocations+"r/response", said, of(n))
				if got := s.next(); got.body != said || got.header.Get("Lambda-Runtime-Invocation-Id") != of(n).Get("Lambda-Runtime-Invocation-Id") {
					t.Fatalf("Lambda was told %+v", got)
				}
				if n == 1 && test.order[0] == 1 {
					s.held(`{"order":1}`) // By the second, which goes on.
				}
			}
			if rec := s.record(`{"order":1}`); rec.Status != idempotency.Completed || string(rec.Result) != `"2"` {
				t.Errorf("the record is %+v", rec)
			}
		})
	}
}

// An answer of the proxy's own carries what Lambda checks answers by.
func TestOwnAnswerNamesTheInvocation(t *testing.T) {
	s := newSandbox(t)
	s.run("r1", `{"order":1}`)
	s.answers("r1", "1")
	s.next()
	s.events <- event{id: "r2", body: `{"order":1}`, header: http.Header{"Lambda-Runtime-Invocation-Id": {"nonce"}}}
	s.events <- event{id: "r3", body: `{"order":3}`}
	s.take()
	if got := s.next(); got.path != invocations+"r2/response" || got.header.Get("Lambda-Runtime-Invocation-Id") != "nonce" {
		t.Errorf("Lambda was told %+v", got)
	}
}

// asks sends a question for the next event. leave drops it, and returns what came
// of it.
func (s *sandbox) asks() (leave func() error) {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.proxy+invocations+"next", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		done <- err
	}()
	return func() error {
		cancel()
		return <-done
	}
}

// The runtime goes away while its event is being claimed: it never gets it, and
// the key must not stay held.
func TestRuntimeGoesAwayDuringTheAcquire(t *testing.T) {
	store := &slowStore{puts: make(chan struct{}), gate: make(chan struct{})}
	s := newSandboxOn(t, store.on())
	leave := s.asks()
	s.events <- event{id: "r1", body: `{"order":1}`}
	<-store.puts
	if err := leave(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // The server notices.
	store.gate <- struct{}{}
	soon(t, "the claim is released", func() bool {
		rec := s.record(`{"order":1}`)
		return rec != nil && rec.LeaseExpiresAt.IsZero()
	})
	s.released(`{"order":1}`, "Runtime.Gone")
	s.nothing()
}

// A question that the runtime gave up is given up upstream, too: an event that
// came for it would be lost.
func TestRuntimeGoesAwayWhileItWaits(t *testing.T) {
	gone := make(chan struct{})
	s := newSandbox(t)
	s.server.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	})
	leave := s.asks()
	time.Sleep(20 * time.Millisecond)
	_ = leave()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("upstream is still asked")
	}
}

// A runtime that goes away while a duplicate waits gets no claim.
func TestRuntimeGoesAwayWhileADuplicateWaits(t *testing.T) {
	s := newSandbox(t, func(o *runtimeproxy.Options) { o.OnInProgress = runtimeproxy.InProgressWait })
	s.run("r1", `{"order":1}`)
	leave := s.asks()
	s.events <- event{id: "r2", body: `{"order":1}`, deadline: time.Now().Add(time.Minute)}
	time.Sleep(50 * time.Millisecond)
	_ = leave()
	if got := s.next(); got.path != invocations+"r2/error" {
		t.Fatalf("Lambda was told %+v", got)
	}
	s.answers("r1", "1")
	if rec := s.record(`{"order":1}`); rec.Status != idempotency.Completed || rec.RequestID != "r1" {
		t.Fatalf("the record is %+v", rec)
	}
}

// A wait ends while there is time to answer.
func TestWaitEndsBeforeTheDeadline(t *testing.T) {
	s := newSandbox(t, func(o *runtimeproxy.Options) { o.OnInProgress = runtimeproxy.InProgressWait })
	s.run("r1", `{"order":1}`)
	s.events <- event{id: "r2", body: `{"order":1}`, deadline: time.Now().Add(700 * time.Millisecond)}
	s.asks()
	if got := s.next(); got.path != invocations+"r2/error" || got.header.Get("Lambda-Runtime-Function-Error-Type") != "Idempotency.InProgress" {
		t.Fatalf("Lambda was told %+v", got)
	}
}

// A run that fails while a duplicate waits leaves the work to that.
func TestWaitForARunThatFails(t *testing.T) {
	s := newSandbox(t, func(o *runtimeproxy.Options) { o.OnInProgress = runtimeproxy.InProgressWait })
	s.run("r1", `{"order":1}`)
	s.events <- event{id: "r2", body: `{"order":1}`, deadline: time.Now().Add(time.Minute)}
	took := make(chan string, 1)
	go func() {
		id, _, _ := s.take()
		took <- id
	}()
	s.call(http.MethodPost, invocations+"r1/error", `{"errorType":"Carrier"}`, nil)
	if id := <-took; id != "r2" {
		t.Fatalf("the handler got %s", id)
	}
	s.held(`{"order":1}`)
}

func TestMissingKey(t *testing.T) {
	t.Run("run", func(t *testing.T) {
		s := newSandbox(t)
		for i := range 2 {
			s.run(fmt.Sprint("r", i), "{}")
			s.answers(fmt.Sprint("r", i), "1")
			s.next()
		}
		if !s.log.has("without protection") {
			t.Error("no warning")
		}
	})
	t.Run("error", func(t *testing.T) {
		s := newSandbox(t, func(o *runtimeproxy.Options) { o.RequireKey = true })
		if got := s.duplicate("r1", "{}"); got.path != invocations+"r1/error" || got.header.Get("Lambda-Runtime-Function-Error-Type") != "Idempotency.KeyMissing" {
			t.Errorf("Lambda was told %+v", got)
		}
	})
}

func TestStoreIsAway(t *testing.T) {
	store := &slowStore{}
	s := newSandboxOn(t, store.on())
	store.away(true)
	s.events <- event{id: "r1", body: `{"order":1}`}
	s.asks()
	if got := s.next(); got.path != invocations+"r1/error" || got.header.Get("Lambda-Runtime-Function-Error-Type") != "Idempotency.StoreUnavailable" {
		t.Errorf("Lambda was told %+v", got)
	}
}

// With IDEMPOTENCY_DISABLED all passes as it came.
func TestOff(t *testing.T) {
	s := newSandbox(t, func(o *runtimeproxy.Options) { o.Off, o.Batch, o.RequireKey = true, true, true })
	for i, body := range []string{`{"order":1}`, `{"order":1}`, "{}", sqs("q", message{"m1", "1"}, message{"m1", "1"})} {
		id := fmt.Sprint("r", i)
		s.events <- event{id: id, body: body}
		if got, text, _ := s.take(); got != id || text != body {
			t.Fatalf("the handler got %s %s", got, text)
		}
		s.answers(id, fmt.Sprint(i))
		if got := s.next(); got.body != fmt.Sprint(i) {
			t.Fatalf("Lambda was told %+v", got)
		}
	}
	if rec := s.record(`{"order":1}`); rec != nil {
		t.Errorf("the record is %+v", rec)
	}
}

// An event's deadline is that of its claim; one that makes no sense is not.
func TestDeadline(t *testing.T) {
	for name, test := range map[string]struct{ deadline, least, most time.Duration }{
		"told":   {5 * time.Second, 4 * time.Second, 5 * time.Second},
		"past":   {-time.Hour, 50 * time.Second, time.Minute},
		"absurd": {500 * 24 * time.Hour, 50 * time.Second, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			now := time.Now()
			s.events <- event{id: "r1", body: `{"order":1}`, deadline: now.Add(test.deadline)}
			s.take()
			late := time.Since(now)
			if lease := s.record(`{"order":1}`).LeaseExpiresAt.Sub(now); lease < test.least || lease > test.most+late {
				t.Errorf("the claim holds for %v", lease)
			}
		})
	}
}

// What is not an event goes to the runtime as it is.
func TestRefusedNext(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusInternalServerError, http.StatusNoContent} {
		s := newSandbox(t)
		s.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Unknown", "kept")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "why")
		})
		res, text := s.call(http.MethodGet, invocations+"next", "", nil)
		if res.StatusCode != status || res.Header.Get("X-Unknown") != "kept" || status != http.StatusNoContent && text != "why" {
			t.Errorf("%d: the runtime got %s %s", status, res.Status, text)
		}
	}
}

// An event that broke off on its way is no event.
func TestEventThatBreaksOff(t *testing.T) {
	s := newSandbox(t)
	s.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", "r1")
		w.Header().Set("Content-Length", strconv.Itoa(100))
		_, _ = io.WriteString(w, `{"order":1}`)
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.proxy+invocations+"next", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(req); err == nil {
		_ = res.Body.Close()
		t.Errorf("the runtime was answered %s", res.Status)
	}
	if rec := s.record(`{"order":1}`); rec != nil {
		t.Errorf("the record is %+v", rec)
	}
}
