package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
)

// batch is a body of items.
func batch(items ...string) string { return `{"items":[` + strings.Join(items, ",") + `]}` }

// items posts a batch and returns the answers of its items.
func (s *service) items(path string, items ...string) []answer {
	s.Helper()
	got := s.post(path, batch(items...))
	if got.status != http.StatusOK {
		s.Fatalf("answered %d %s", got.status, got.body)
	}
	list := got.items()
	if len(list) != len(items) {
		s.Fatalf("%d items were answered with %d", len(items), len(list))
	}
	return list
}

// items are the answers in a batch's, each with the status that it has alone.
func (a answer) items() []answer {
	a.Helper()
	var raws []json.RawMessage
	if err := json.Unmarshal(a.members["items"], &raws); err != nil {
		a.Fatal(err)
	}
	list := make([]answer, len(raws))
	for i, raw := range raws {
		list[i] = answer{TB: a.TB, status: http.StatusOK, body: raw}
		if err := json.Unmarshal(raw, &list[i].members); err != nil {
			a.Fatal(err)
		}
		if list[i].has("code") {
			list[i].status = int(list[i].number("status"))
		}
	}
	return list
}

// checkItems holds each item's answer against the registry of problems, and each
// item that was taken against the document of the single call.
func (a answer) checkItems(path string, sent []byte) {
	a.Helper()
	var body struct{ Items []json.RawMessage }
	if err := json.Unmarshal(sent, &body); err != nil {
		a.Fatal(err)
	}
	list := a.items()
	if len(list) != len(body.Items) {
		a.Fatalf("%d items were answered with %d", len(body.Items), len(list))
	}
	for i, got := range list {
		if got.has("code") {
			got.checkProblem()
			if got.has("retry_after_ms") != (got.status == http.StatusServiceUnavailable) {
				a.Errorf("item %d was answered %s", i, got.body)
			}
			continue
		}
		if err := admits(strings.TrimSuffix(path, "/batch"), body.Items[i]); err != nil {
			a.Errorf("%s took an item that the document refuses: %v\n%.500s", path, err, body.Items[i])
		}
	}
}

// as checks that an answer was made for another item of the batch.
func (a answer) as(other int64) answer {
	a.Helper()
	if !a.has("same_as") || a.number("same_as") != other {
		a.Errorf("answered %s, want it to be the same as item %d", a.body, other)
	}
	return a
}

// own checks that an item has an answer of its own.
func (a answer) own() answer {
	a.Helper()
	if a.has("same_as") {
		a.Errorf("answered %s, want no other item in it", a.body)
	}
	return a
}
