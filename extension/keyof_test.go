package main

import (
	"io"
	"log/slog"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/selection"
)

// Text that its sender cut in the middle of a character must not take an event's
// protection away.
func TestKeyOfEventWithHalfACharacter(t *testing.T) {
	keys := map[string]idempotency.Key{}
	for name, test := range map[string]struct{ path, event string }{
		"whole":      {"id", `{"id":"1","text":"cut"}`},
		"beside":     {"id", `{"id":"1","text":"cut \ud83d"}`},
		"within":     {"text", `{"id":"1","text":"cut \ud83d"}`},
		"another":    {"text", `{"id":"1","text":"cut \ud83e"}`},
		"low":        {"text", `{"id":"1","text":"cut \udc00"}`},
		"replaced":   {"text", `{"id":"1","text":"cut \ufffd"}`},
		"in a name":  {"text", `{"text":{"\ud83d":1}}`},
		"other name": {"text", `{"text":{"\ud83e":1}}`},
	} {
		selected, err := selection.New(test.path)
		if err != nil {
			t.Fatal(err)
		}
		of := keyOf(test.path, selected, idempotency.Keys{Scope: "f"}, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if keys[name], err = of([]byte(test.event)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	seen := map[idempotency.Key]string{}
	for name, key := range keys {
		if name == "beside" {
			if key != keys["whole"] {
				t.Error("the key depends on what is not selected")
			}
			continue
		}
		if seen[key] != "" {
			t.Errorf("%s and %s share a key", name, seen[key])
		}
		seen[key] = name
	}
}
