package httpapi_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/dynamodb"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// wire counts the calls that are on their way to DynamoDB.
type wire struct {
	*http.Transport
	mu        sync.Mutex
	now, most int
	calls     int
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.calls++
	w.now++
	w.most = max(w.most, w.now)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.now--
		w.mu.Unlock()
	}()
	return w.Transport.RoundTrip(r)
}

// Large batches on the real engine, duplicates within and across them: each
// key is claimed once, by one write, and no more connections are opened than there
// are slots.
func TestBatchesOnDynamoDB(t *testing.T) {
	local := dynamodblocal.Start(t)
	for name, value := range local.Env() {
		t.Setenv(name, value)
	}
	w := &wire{Transport: &http.Transport{MaxIdleConnsPerHost: httpapi.BatchWidth}}
	t.Cleanup(w.CloseIdleConnections)
	store := dynamodb.New(dynamodb.Options{Table: dynamodblocal.CreateTable(t, local, dynamodblocal.Table{}), Attributes: dynamodb.DefaultAttributes(), Transport: w})
	s := serve(t, on(func(idempotency.Store) idempotency.Store { return store }))

	// Each key twice in a batch, and the batch sent twice at once.
	const keys = 200
	items := append(numbered(keys, `{"key":"%d","payload":1}`), numbered(keys, `{"key":"%d","payload":1}`)...)
	var (
		wg      sync.WaitGroup
		answers [2][]answer
		start   = time.Now()
	)
	for i := range answers {
		wg.Go(func() { answers[i] = s.items("/acquire/batch", items...) })
	}
	wg.Wait()
	t.Logf("2 batches of %d items took %s, with %d calls of which up to %d at once", len(items), time.Since(start), w.calls, w.most)
	if w.calls != 2*keys || w.most > httpapi.BatchWidth {
		t.Errorf("there were %d calls, up to %d at once", w.calls, w.most)
	}
	var ends []string
	for key := range keys {
		granted := 0
		for _, list := range answers {
			if first := list[key].own(); first.text("status") == "acquired" {
				granted++
				ends = append(ends, fmt.Sprintf(`{"token":%s,"result":%d}`, quote(first.text("token")), key))
			} else {
				first.want("in_progress")
			}
			list[keys+key].want("in_progress").as(int64(key))
		}
		if granted != 1 {
			t.Errorf("the key %d was claimed %d times", key, granted)
		}
	}
	for _, end := range s.items("/complete/batch", append(ends, ends...)...) {
		end.want("completed")
	}
	for i, got := range s.items("/acquire/batch", items...) {
		if got.want("completed").number("result") != int64(i%keys) {
			t.Errorf("item %d was answered %s", i, got.body)
		}
	}
}
