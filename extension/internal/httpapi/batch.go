package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

const (
	// maxItems is how many items a batch may have.
	maxItems = 1000
	// batchWidth is how many items are at the store at once, those of all batches
	// counted: single calls and the settling of claims need connections, too.
	batchWidth = 32
	// maxHeavy is how many selections of a batch may be heavy. Each can take a
	// second, and holds up those of other callers.
	maxHeavy = 10
)

// item is a request at its place in a batch.
type item[R any] struct {
	at      int
	request R
}

func (a *api) acquireBatch(w http.ResponseWriter, r *http.Request) error {
	items, all, err := readItems(a, w, r, acquireMembers(), a.acquireRequest)
	if err != nil {
		return err
	}
	requests := make([]*idempotency.AcquireRequest, len(items))
	for i := range items {
		requests[i] = &items[i].request
	}
	a.lend(r.Context(), requests...)
	b := a.batch()
	carryOut(items, all,
		func(req idempotency.AcquireRequest) idempotency.Key { return req.Key },
		func(list []item[idempotency.AcquireRequest]) { a.acquireSame(r.Context(), b, list, all) })
	all.send(w, a, r)
	return nil
}

func (a *api) completeBatch(w http.ResponseWriter, r *http.Request) error {
	items, all, err := readItems(a, w, r, completeMembers(), completeRequest)
	if err != nil {
		return err
	}
	b := a.batch()
	carryOut(items, all,
		func(req idempotency.CompleteRequest) string { return req.Token },
		func(list []item[idempotency.CompleteRequest]) {
			for _, it := range list {
				it.request.Batch = b
				end, err := a.Engine.Complete(r.Context(), it.request)
				all.end(it.at, end, err)
			}
		})
	all.send(w, a, r)
	return nil
}

func (a *api) failBatch(w http.ResponseWriter, r *http.Request) error {
	items, all, err := readItems(a, w, r, failMembers(), failRequest)
	if err != nil {
		return err
	}
	b := a.batch()
	carryOut(items, all,
		func(req idempotency.FailRequest) string { return req.Token },
		func(list []item[idempotency.FailRequest]) {
			for _, it := range list {
				it.request.Batch = b
				end, err := a.Engine.Fail(r.Context(), it.request)
				all.end(it.at, end, err)
			}
		})
	all.send(w, a, r)
	return nil
}

func (a *api) batch() *idempotency.Batch {
	return &idempotency.Batch{Begun: a.Now(), Slots: a.slots}
}

// acquireSame carries out the acquires of one key. The first that has an outcome
// has it for the later ones, too: the claim is made once, and they are told which
// item they are the same as. One that was refused, as for its payload, says nothing
// of the next.
func (a *api) acquireSame(ctx context.Context, b *idempotency.Batch, list []item[idempotency.AcquireRequest], all *answers) {
	wait := list[0].request.Wait
	for _, it := range list {
		wait = max(wait, it.request.Wait) // They are answered together in any case.
	}
	var (
		asked = none
		first *idempotency.Outcome
		down  *idempotency.StoreError
	)
	for _, it := range list {
		req := it.request
		req.Batch, req.Wait = b, wait
		switch {
		case first != nil:
			out, err := a.Engine.AcquireSame(ctx, *first, req)
			a.logOutcome(ctx, req.Key, out, err)
			all.acquire(it.at, asked, out, err)
		case down != nil:
			all.acquire(it.at, asked, idempotency.Outcome{}, down)
		default:
			out, err := a.Engine.Acquire(ctx, req)
			a.logOutcome(ctx, req.Key, out, err)
			all.acquire(it.at, none, out, err)
			asked = it.at
			if err == nil {
				first = &out
			}
			errors.As(err, &down)
		}
	}
}

// readItems reads a body that is a list of items. Each has a request, or is
// answered already with what is wrong with it.
func readItems[R any](a *api, w http.ResponseWriter, r *http.Request, allowed []string, read func(f *fields) (R, error)) ([]item[R], *answers, error) {
	f, err := a.readFields(w, r, "items")
	if err != nil {
		return nil, nil, err
	}
	defer f.done()
	texts, err := itemTexts(f)
	if err != nil {
		return nil, nil, err
	}
	all := newAnswers(len(texts))
	items := make([]item[R], 0, len(texts))
	heavy := 0
	turn := func() (func(), error) {
		if heavy++; heavy > maxHeavy {
			return nil, problemf(BadRequest, "the selection makes much work, and the batch has %d such items before this one; send it alone, or in another batch", maxHeavy)
		}
		if f.turn == nil { // The whole body is in its turn.
			return func() {}, nil
		}
		return f.turn()
	}
	for at, text := range texts {
		if err := r.Context().Err(); err != nil {
			return nil, nil, problemf(BadRequest, "the caller left while the items were read (%v); send them again", err)
		}
		req, err := readItem(text, allowed, turn, read)
		if err != nil {
			all.fault(at, none, err)
			continue
		}
		items = append(items, item[R]{at, req})
	}
	return items, all, nil
}

// itemTexts are the texts of the member items.
func itemTexts(f *fields) ([][]byte, error) {
	want := fmt.Sprintf("a list of 1 to %d items, each as the single call takes it", maxItems)
	text := f.raw("items")
	switch {
	case text == nil:
		return nil, problemf(BadRequest, "items is absent; send %s", want)
	case text[0] != '[':
		f.wrong("items", want)
		return nil, f.err
	}
	texts, err := canon.Elements(text)
	if err != nil || len(texts) > maxItems { // Of a list that was read, nothing but its length can be wrong.
		return nil, problemf(BadRequest, "items has over %d items; send more than one batch", maxItems)
	}
	if len(texts) == 0 {
		return nil, problemf(BadRequest, "items is empty; send %s", want)
	}
	return texts, nil
}

func readItem[R any](text []byte, allowed []string, turn func() (func(), error), read func(f *fields) (R, error)) (R, error) {
	members, err := membersOf("item", text, allowed)
	if err != nil {
		var none R
		return none, err
	}
	f := &fields{members: members, release: func() {}, turn: turn}
	req, err := read(f)
	f.done()
	if len(text) > bigBody {
		collect() // As between two bodies of that size.
	}
	return req, err
}

// carryOut carries out the requests, those about the same in their order and the
// others beside each other, and returns when all are answered.
func carryOut[R any, K comparable](items []item[R], all *answers, about func(R) K, carry func(list []item[R])) {
	lists := map[K][]item[R]{}
	var order []K
	for _, it := range items {
		k := about(it.request)
		if lists[k] == nil {
			order = append(order, k)
		}
		lists[k] = append(lists[k], it)
	}
	var wg sync.WaitGroup
	for _, k := range order {
		list := lists[k]
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
					for _, it := range list {
						all.faultIfOpen(it.at, err)
					}
				}
			}()
			carry(list)
		})
	}
	wg.Wait()
}
