package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// A fault in one item is that item's, is logged once for all of its kind, and frees
// what the item held.
func TestFaultsOfItems(t *testing.T) {
	store := &faulty{}
	s := serve(t, on(func(m idempotency.Store) idempotency.Store { store.Store = m; return store }))
	var items []string
	for i := range 3 * httpapi.BatchWidth {
		items = append(items, fmt.Sprintf(`{"key":"panic %d"}`, i), fmt.Sprintf(`{"key":"throttled %d"}`, i), fmt.Sprintf(`{"key":"live %d"}`, i))
	}
	items = append(items, `{"key":"panic 0"}`, `{"key":"throttled 0"}`, `{"key":"unknown error"}`)
	got := s.items("/acquire/batch", items...)
	for i, item := range got[:len(got)-3] {
		switch i % 3 {
		case 0:
			item.problem(500, httpapi.Internal, "its log has more")
		case 1:
			if item.problem(503, httpapi.StoreThrottled, "raise its capacity").number("retry_after_ms") != 1000 {
				t.Errorf("answered %s", item.body)
			}
		case 2:
			item.want("acquired")
		}
	}
	got[len(got)-3].problem(500, httpapi.Internal)
	got[len(got)-2].problem(503, httpapi.StoreThrottled).as(1)
	got[len(got)-1].problem(500, httpapi.Internal)
	log := s.log.String()
	if strings.Count(log, "a fault of the sidecar") != 1 || !strings.Contains(log, "items=98") ||
		strings.Count(log, "the store did not answer") != 1 || !strings.Contains(log, "items=97") {
		t.Errorf("the log: %s", log)
	}

	var ends []string
	for i := range got[:len(got)-3] {
		if i%3 == 2 {
			ends = append(ends, `{"token":`+quote(got[i].text("token"))+`}`)
		}
	}
	store.down.Store(true)
	for _, path := range []string{"/complete/batch", "/fail/batch"} {
		for _, item := range s.items(path, ends...) {
			if item.problem(503, httpapi.StoreUnavailable, "not reached").number("retry_after_ms") != 1000 {
				t.Errorf("answered %s", item.body)
			}
		}
	}
	store.down.Store(false)
	for _, item := range s.items("/complete/batch", ends...) {
		item.want("completed")
	}
}

// Heavy selections of a batch are bounded in number and made one at a time, beside
// those of others: the light ones of the same batch are all made.
func TestHeavySelectionsOfABatch(t *testing.T) {
	s := serve(t)
	heavy := func(id int) string {
		return fmt.Sprintf(`{"event":{"id":%d,"l":[%s0]},"key_jmespath":"[id, length(sort(l))]"}`, id, strings.Repeat("0,", 50_000))
	}
	for _, more := range []string{"", strings.Repeat(" ", httpapi.BigBody)} { // The body has no turn, or has one.
		s.items("/acquire/batch", heavy(1)+more, `{"event":{"id":"light"},"key_jmespath":"id"}`)
		bomb := strings.Replace(heavy(2), "sort(l)", "l[*].[sort($.l)]", 1)
		s.items("/acquire/batch", `{"key":"a"}`, bomb+more)[1].problem(400, httpapi.KeyInvalid, "too much work")
	}
	var items []string
	for i := range httpapi.MaxHeavy + 3 {
		items = append(items, heavy(100+i), fmt.Sprintf(`{"event":{"id":%d},"key_jmespath":"id"}`, i))
	}
	for i, item := range s.items("/acquire/batch", items...) {
		if i%2 == 0 && i/2 >= httpapi.MaxHeavy {
			item.problem(400, httpapi.BadRequest, "send it alone, or in another batch")
			continue
		}
		item.want("acquired")
	}
	s.items("/acquire/batch", heavy(100+httpapi.MaxHeavy))[0].want("acquired")
	s.acquire(bigBody("after")) // No turn is left behind.
}

// A batch that is made to cost much costs time and memory that are bounded, and is
// answered.
func TestHostileBatches(t *testing.T) {
	h, _ := bare(t)
	nested := strings.Repeat("[", 3000) + strings.Repeat("]", 3000)
	values := func(n int) string { return "[" + strings.Repeat("0,", n-1) + "0]" }
	for name, c := range map[string]struct {
		item string
		n    int
		code httpapi.Code
	}{
		"expressions that double":   {`{"event":{"a":1},"key_jmespath":"` + strings.Repeat("[@,@]|", 60) + `@"}`, 1000, ""},
		"nested events":             {`{"event":` + nested + `}`, 1000, httpapi.BadRequest},
		"nested results":            {`{"key":` + nested + `}`, 1000, httpapi.KeyInvalid},
		"events of many values":     {`{"event":` + values(120_000) + `}`, 25, ""},
		"events of very many":       {`{"event":` + values(490_000) + `}`, 6, ""},
		"events of very many lists": {`{"event":[` + strings.Repeat("[0],", 240_000) + `0]}`, 6, ""},
		"many members":              {`{"` + strings.Repeat("x", 5000) + `":1}`, 1000, httpapi.BadRequest},
		"many expressions":          {`{"event":{"a":1},"key_jmespath":"a.NUMBER || a || ` + strings.Repeat("a||", 1000) + `a"}`, 1000, ""},
		"many long keys":            {`{"key":["` + strings.Repeat(`\u0001`, 500) + `NUMBER","` + strings.Repeat(`\u0002`, 500) + `"]}`, 1000, ""},
		"one key again and again":   {`{"key":"again"}`, 1000, ""},
		"payloads of many values":   {`{"key":"p NUMBER","payload":` + values(3000) + `}`, 1000, ""},
		"names that are not words":  {`{"\u0000":[[[[]]]],"\u0001":{}}`, 1000, httpapi.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			items := make([]string, c.n)
			for i := range items {
				items[i] = strings.ReplaceAll(c.item, "NUMBER", fmt.Sprintf("n%d", i))
			}
			body := batch(items...)
			if len(body) > httpapi.MaxBody {
				t.Fatalf("%d bytes", len(body))
			}
			runtime.GC()
			start, peak := time.Now(), watchHeap()
			w := httptest.NewRecorder()
			h.ServeHTTP(w, bareRequest(t.Context(), "/acquire/batch", body))
			took, most := time.Since(start), peak()>>20
			t.Logf("%d kB took %s, and %d MB at the peak", len(body)>>10, took, most)
			if took > 30*time.Second || most > 96 {
				t.Error("that is too much")
			}
			texts := strings.Split(w.Body.String(), `},{`)
			if w.Code != http.StatusOK || len(texts) != c.n {
				t.Fatalf("answered %d %.1000s", w.Code, w.Body)
			}
			for i, text := range texts {
				if c.code != "" && !strings.Contains(text, `"code":"`+string(c.code)+`"`) {
					t.Fatalf("item %d was answered %s", i, text)
				}
			}
		})
	}
}

// watchHeap notes the largest heap until it is asked for.
func watchHeap() (peak func() uint64) {
	var most uint64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	return func() uint64 { close(stop); wg.Wait(); return most }
}
