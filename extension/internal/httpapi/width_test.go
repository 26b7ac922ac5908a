package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// distant is a store that takes a while for each call, and does not answer where
// the key says so. It counts the calls that are under way.
type distant struct {
	idempotency.Store
	latency time.Duration
	now     atomic.Int64
	most    atomic.Int64
	calls   atomic.Int64
}

func (d *distant) wait(ctx context.Context, key idempotency.Key) error {
	d.calls.Add(1)
	defer d.now.Add(-1)
	for now := d.now.Add(1); ; {
		most := d.most.Load()
		if now <= most || d.most.CompareAndSwap(most, now) {
			break
		}
	}
	latency := d.latency
	if strings.Contains(key.Partition, "dead") {
		latency = time.Hour
	}
	select {
	case <-time.After(latency):
		return nil
	case <-ctx.Done():
		return &idempotency.StoreError{Op: "put", Detail: "the store did not answer in time", Err: ctx.Err()}
	}
}

func (d *distant) Put(ctx context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	if err := d.wait(ctx, rec.Key); err != nil {
		return err
	}
	return d.Store.Put(ctx, rec, when)
}

func (d *distant) Update(ctx context.Context, key idempotency.Key, change idempotency.Change) error {
	if err := d.wait(ctx, key); err != nil {
		return err
	}
	return d.Store.Update(ctx, key, change)
}

// inTime runs a test of the handler alone, on a distant store, in a time that passes
// only while all wait.
func inTime(t *testing.T, test func(t *testing.T, s *timed)) {
	synctest.Test(t, func(t *testing.T) {
		s := &timed{T: t, store: &distant{latency: 20 * time.Millisecond}}
		s.handler, s.engine = bareOn(func(m idempotency.Store) idempotency.Store { s.store.Store = m; return s.store })
		test(t, s)
	})
}

type timed struct {
	*testing.T
	store   *distant
	engine  *idempotency.Engine
	handler http.Handler
}

// items posts a batch; it tells how long the answer took.
func (s *timed) items(ctx context.Context, path string, items []string) ([]answer, time.Duration) {
	s.Helper()
	r, w := bareRequest(ctx, path, batch(items...)), httptest.NewRecorder()
	start := time.Now()
	s.handler.ServeHTTP(w, r)
	took := time.Since(start)
	if w.Code != http.StatusOK {
		s.Fatalf("answered %d %s", w.Code, w.Body)
	}
	got := (&service{TB: s.T}).received(http.MethodPost, path, []byte(batch(items...)), w.Result())
	return got.items(), took
}

// bareRequest is a call of a bare handler.
func bareRequest(ctx context.Context, path, body string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Idempotency-Auth", "s")
	return r
}

func numbered(n int, format string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return list
}

// Items are at the store side by side, so that a batch takes as long as a few calls
// do, and no more of them than there may be, however many batches there are.
func TestItemsAreCarriedOutSideBySide(t *testing.T) {
	inTime(t, func(t *testing.T, s *timed) {
		for n, rounds := range map[int]int{1: 1, httpapi.BatchWidth: 1, 100: 4, 1000: 32} {
			got, took := s.items(t.Context(), "/acquire/batch", numbered(n, fmt.Sprintf(`{"key":"%d of %%d"}`, n)))
			var ends []string
			for _, item := range got {
				ends = append(ends, `{"token":`+quote(item.want("acquired").text("token"))+`}`)
			}
			if want := time.Duration(rounds) * s.store.latency; took != want {
				t.Errorf("%d items took %s, want %s", n, took, want)
			}
			path := []string{"/complete/batch", "/fail/batch"}[n%2]
			if _, took = s.items(t.Context(), path, ends); took != time.Duration(rounds)*s.store.latency {
				t.Errorf("%d ends took %s", n, took)
			}
		}
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() { s.items(t.Context(), "/acquire/batch", numbered(100, fmt.Sprintf(`{"key":"%d and %%d"}`, i))) })
		}
		wg.Wait()
		if most := s.store.most.Load(); most != httpapi.BatchWidth {
			t.Errorf("up to %d calls were at the store at once, want %d", most, httpapi.BatchWidth)
		}
	})
}

// Items that wait for others' claims are not in the way of those that do not.
func TestWaitingItemsGiveWay(t *testing.T) {
	inTime(t, func(t *testing.T, s *timed) {
		s.items(t.Context(), "/acquire/batch", numbered(200, `{"key":"held %d"}`))
		var wg sync.WaitGroup
		wg.Go(func() {
			got, took := s.items(t.Context(), "/acquire/batch", numbered(200, `{"key":"held %d","wait_ms":20000}`))
			for _, item := range got {
				item.want("in_progress")
			}
			if took < 20*time.Second || took > 25*time.Second {
				t.Errorf("those that wait 20 s were answered after %s", took)
			}
		})
		time.Sleep(5 * time.Second)
		got, took := s.items(t.Context(), "/acquire/batch", numbered(10, `{"key":"free %d"}`))
		for _, item := range got {
			item.want("acquired")
		}
		if took > time.Second {
			t.Errorf("an acquire that nothing holds up took %s", took)
		}
		wg.Wait()
		if most := s.store.most.Load(); most > httpapi.BatchWidth {
			t.Errorf("up to %d calls were at the store at once", most)
		}
	})
}

// However many items a store does not answer, a batch is answered when a single call
// would be, and what it did answer stands.
func TestBatchIsAnsweredInTime(t *testing.T) {
	for _, c := range []struct {
		name, members string
		want          time.Duration
	}{
		{"no deadline", ``, 10 * time.Second},
		{"a deadline", `,"deadline_ms":DEADLINE`, 2500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTime(t, func(t *testing.T, s *timed) {
				members := strings.ReplaceAll(c.members, "DEADLINE", fmt.Sprint(time.Now().Add(3*time.Second).UnixMilli()))
				// Some are not answered, and the others pass them.
				got, took := s.items(t.Context(), "/acquire/batch", append(numbered(20, `{"key":"dead %d"`+members+`}`), numbered(500, `{"key":"live %d"`+members+`}`)...))
				if took != c.want {
					t.Errorf("it took %s, want %s", took, c.want)
				}
				for _, item := range got[:20] {
					if item.problem(503, httpapi.StoreUnavailable, "did not answer in time").number("retry_after_ms") != 1000 {
						t.Errorf("answered %s", item.body)
					}
				}
				for _, item := range got[20:] {
					item.want("acquired")
				}
				if c.members != "" {
					return // Which is past by now.
				}
				// None is answered, and most cannot even be asked for.
				s.store.calls.Store(0)
				got, took = s.items(t.Context(), "/acquire/batch", numbered(500, `{"key":"dead too %d"}`))
				if took != c.want {
					t.Errorf("it took %s, want %s", took, c.want)
				}
				late := 0
				for _, item := range got {
					item.problem(503, httpapi.StoreUnavailable)
					if strings.Contains(item.text("detail"), "other items of the batch; send this one again") {
						late++
					}
				}
				if asked := int(s.store.calls.Load()); asked != httpapi.BatchWidth || asked+late != 500 {
					t.Errorf("%d items were asked for and %d came too late, of 500", asked, late)
				}
			})
		})
	}
}

// An end that did not reach the store is kept, and settles its claim later.
func TestEndsThatDidNotReachTheStoreAreKept(t *testing.T) {
	inTime(t, func(t *testing.T, s *timed) {
		s.store.latency = 0
		claims, _ := s.items(t.Context(), "/acquire/batch", numbered(100, `{"key":"%d"}`))
		var ends []string
		for _, claim := range claims {
			ends = append(ends, `{"token":`+quote(claim.want("acquired").text("token"))+`,"result":1}`)
		}
		s.store.latency = time.Hour
		got, took := s.items(t.Context(), "/complete/batch", ends)
		for _, item := range got {
			item.problem(503, httpapi.StoreUnavailable)
		}
		if took != 10*time.Second {
			t.Errorf("it took %s", took)
		}
		s.store.latency = 0
		s.engine.Settle(t.Context(), s.engine.Open(func(c idempotency.OpenClaim) bool { return true }), idempotency.Failure{Type: "Sandbox.Timedout"}, true)
		done, _ := s.items(t.Context(), "/acquire/batch", numbered(100, `{"key":"%d"}`))
		for _, item := range done {
			if item.want("completed").number("result") != 1 {
				t.Errorf("answered %s", item.body)
			}
		}
	})
}

// When its caller leaves, a batch claims nothing more, but its ends are stored.
func TestCallerLeavesABatch(t *testing.T) {
	inTime(t, func(t *testing.T, s *timed) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // In the third round.
		defer cancel()
		got, _ := s.items(ctx, "/acquire/batch", numbered(1000, `{"key":"%d"}`))
		granted := 0
		for _, item := range got {
			if item.status == http.StatusOK {
				granted++
				item.want("acquired")
				continue
			}
			item.problem(503, httpapi.StoreUnavailable, "the caller left")
		}
		// All three rounds that had begun; a slot may be free just when the caller leaves.
		if granted != 3*httpapi.BatchWidth || s.engine.OpenClaims() != granted {
			t.Errorf("%d claims were granted, %d are open", granted, s.engine.OpenClaims())
		}
		got, _ = s.items(t.Context(), "/acquire/batch", numbered(100, `{"key":"end %d"}`))
		var ends []string
		for _, item := range got {
			ends = append(ends, `{"token":`+quote(item.want("acquired").text("token"))+`}`)
		}
		left, leave := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer leave()
		got, took := s.items(left, "/complete/batch", ends)
		for _, item := range got {
			item.want("completed")
		}
		if took != 4*s.store.latency {
			t.Errorf("the ends took %s", took)
		}
	})
}

// One that left while its items were read has nothing claimed for it.
func TestCallerLeavesWhileItemsAreRead(t *testing.T) {
	h, engine := bareOn(func(m idempotency.Store) idempotency.Store { return m })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, bareRequest(ctx, "/acquire/batch", batch(`{"key":"a"}`)))
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "the caller left") || engine.OpenClaims() != 0 {
		t.Errorf("answered %d %s, and %d claims are open", w.Code, w.Body, engine.OpenClaims())
	}
}

// asked is a body that never comes, and notes how much room it was offered.
type asked struct{ room int }

func (a *asked) Read(b []byte) (int, error) {
	a.room = max(a.room, len(b))
	return 0, io.ErrUnexpectedEOF
}

func (*asked) Close() error { return nil }

// To declare a long body costs a caller nothing, so it must not take memory by itself.
func TestDeclaredLengthTakesNoMemory(t *testing.T) {
	h, _ := bare(t)
	r, body := bareRequest(t.Context(), "/acquire", ""), &asked{}
	r.Body, r.ContentLength = body, 256<<10
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || body.room == 0 || body.room > 16<<10 {
		t.Fatalf("answered %d %s, with room for %d bytes", w.Code, w.Body, body.room)
	}
}

// A long body is read to its end.
func TestLongBody(t *testing.T) {
	h, _ := bare(t)
	for _, length := range []int{16 << 10, 100 << 10} {
		event := strings.Repeat("e", length)
		for _, c := range []struct{ end, want string }{{"a", "acquired"}, {"b", "acquired"}, {"a", "in_progress"}} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, bareRequest(t.Context(), "/acquire", `{"event":"`+event+c.end+`"}`))
			if !strings.Contains(w.Body.String(), `"status":"`+c.want+`"`) {
				t.Fatalf("%d bytes to %s: answered %d %s, want %s", length, c.end, w.Code, w.Body, c.want)
			}
		}
	}
}
