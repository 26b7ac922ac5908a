package clienttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

// What a batch may have.
const (
	mostItems = 1000
	mostBytes = 6<<20 + 64<<10
)

// serveBatch answers each item as the single call does. Path is that call's.
func (s *Sidecar) serveBatch(w http.ResponseWriter, r *http.Request, path string) {
	if path != "/acquire" && path != "/complete" && path != "/fail" {
		send(w, nil, refuse(notFound, "there is no such path"))
		return
	}
	var told struct {
		Items []json.RawMessage `json:"items"`
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBytes))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&told); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			send(w, nil, refuse(tooLarge, "the body has over 6 MiB + 64 KiB"))
			return
		}
		send(w, nil, refuse(badRequest, err.Error()))
		return
	}
	if n := len(told.Items); n == 0 || n > mostItems {
		send(w, nil, refuse(badRequest, "items takes a list of 1 to 1000 items"))
		return
	}
	answers := make([]any, len(told.Items))
	asked := map[string]sameKey{}
	for i, text := range told.Items {
		answers[i] = s.item(r, path, text, i, asked)
	}
	send(w, map[string]any{"items": answers}, nil)
}

// sameKey is the item of a batch that asked for a key.
type sameKey struct {
	item int
	// stands: its answer holds for the later items of the key.
	stands bool
}

// item answers one item of a batch.
func (s *Sidecar) item(r *http.Request, path string, text json.RawMessage, i int, asked map[string]sameKey) any {
	b, err := readBody(bytes.NewReader(text))
	if err == nil {
		err = b.check(path)
	}
	if err != nil {
		return err.item()
	}
	if path != "/acquire" {
		answer, err := s.answer(r, path, b)
		if err != nil {
			return err.item()
		}
		return answer
	}
	n, err := b.name()
	if err != nil {
		return err.item()
	}
	first, again := asked[n.id()]
	again = again && first.stands
	if again {
		b.ClientToken = nil // It is the first's claim, or none of theirs.
		if b.Wait != nil {
			*b.Wait = 0
		}
	}
	answer, err := s.answer(r, path, b)
	members, _ := answer.(map[string]any)
	if err != nil {
		members = err.item()
	}
	if again {
		if members["status"] != client.Acquired {
			members["same_as"] = first.item
		}
		return members
	}
	asked[n.id()] = sameKey{i, err == nil || err.status == http.StatusServiceUnavailable}
	return members
}

// item is a problem as the answer to an item of a batch.
func (p *problem) item() map[string]any {
	members := p.members()
	if p.status == http.StatusServiceUnavailable {
		members["retry_after_ms"] = 1000
	}
	return members
}
