package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// maxResults bounds the results that one batch replays, in bytes: a thousand of
// the largest would not fit in a sandbox.
const maxResults = maxBody

// none stands for no item.
const none = -1

// answers are those of a batch's items. Items are answered side by side, each once.
type answers struct {
	list []*object

	mu      sync.Mutex
	results int // bytes
	faults  map[Code]*faults
}

// faults are those of one code, for the log.
type faults struct {
	first error
	count int
}

func newAnswers(n int) *answers {
	return &answers{list: make([]*object, n), faults: map[Code]*faults{}}
}

// acquire answers an item with an outcome or an error, which is that of another
// item with the same key, unless sameAs is none.
func (s *answers) acquire(at, sameAs int, out idempotency.Outcome, err error) {
	if err == nil && out.Status == idempotency.OutcomeCompleted && !s.fits(out.Record.Result) {
		err = problemf(TooLarge, "the results that this batch replays have over %d bytes together; nothing is wrong with this item: acquire it alone, or in a smaller batch", maxResults)
	}
	if err != nil {
		s.fault(at, sameAs, err)
		return
	}
	o := outcome(out)
	if out.Status != idempotency.OutcomeAcquired {
		o.same(sameAs)
	}
	s.list[at] = o
}

// fits tells whether there is room for one more result, and takes it.
func (s *answers) fits(result []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.results+len(result) > maxResults {
		return false
	}
	s.results += len(result)
	return true
}

// end answers an item of complete or fail.
func (s *answers) end(at int, end idempotency.Ended, err error) {
	if err != nil {
		s.fault(at, none, err)
		return
	}
	s.list[at] = ended(end)
}

// fault answers an item with a problem.
func (s *answers) fault(at, sameAs int, err error) {
	p := problemOf(err)
	o := p.object()
	if p.retryAfter > 0 {
		o.number("retry_after_ms", p.retryAfter.Milliseconds())
	}
	s.list[at] = o.same(sameAs)
	if p.code == StoreUnavailable && errors.Is(err, context.Canceled) {
		return // The caller left, which is no fault of the store.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults[p.code] == nil {
		s.faults[p.code] = &faults{first: err}
	}
	s.faults[p.code].count++
}

// faultIfOpen answers an item that has no answer yet with a problem.
func (s *answers) faultIfOpen(at int, err error) {
	if s.list[at] == nil {
		s.fault(at, none, err)
	}
}

// same writes which item of the batch the answer was made for.
func (o *object) same(as int) *object {
	if as == none {
		return o
	}
	return o.number("same_as", int64(as))
}

// send writes the answers in the order of their items, each from where it is: all
// of them may take megabytes.
func (s *answers) send(w http.ResponseWriter, a *api, r *http.Request) {
	for code, f := range s.faults {
		a.logFault(code, "call", r.URL.Path, "items", f.count, "error", f.first)
	}
	const begin, end = `{"items":[`, "]}\n"
	length := len(begin) + len(end) + len(s.list) - 1
	texts := make([][]byte, len(s.list))
	for i, o := range s.list {
		texts[i] = o.bytes()
		length += len(texts[i])
	}
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Content-Length", strconv.Itoa(length))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte(begin))
	for i, text := range texts {
		if i > 0 {
			_, _ = w.Write([]byte{','})
		}
		_, _ = w.Write(text)
	}
	_, _ = w.Write([]byte(end)) // A caller that went away has nothing to be told.
}
