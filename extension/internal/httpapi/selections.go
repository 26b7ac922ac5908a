package httpapi

import (
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

// maxSelections is how many compiled expressions are kept. A function has a few.
const maxSelections = 64

// maxNamedNulls is how many members a warning names.
const maxNamedNulls = 8

// selections keeps compiled expressions.
type selections struct {
	mu   sync.Mutex
	list []*selection // the latest used last
}

type selection struct {
	text       string
	expression *canon.Expression
	warning    sync.Once
}

// warn tells, once, that a part of the key is null: a slip in a member's name
// would otherwise make one key of all events that differ only there.
func (s *selection) warn(log *slog.Logger, selected canon.Value) {
	if nulls := canon.NullMembers(selected); len(nulls) > 0 {
		s.warning.Do(func() {
			nulls = nulls[:min(len(nulls), maxNamedNulls)]
			for i := range nulls {
				nulls[i] = short(nulls[i])
			}
			log.Warn("the key's expression selects null for some members; events that differ only there share a key", "key_jmespath", s.text, "null", strings.Join(nulls, ", "))
		})
	}
}

func (s *selections) compile(text string) (*selection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.list, func(k *selection) bool { return k.text == text }); i >= 0 {
		used := s.list[i]
		s.list = append(slices.Delete(s.list, i, i+1), used)
		return used, nil
	}
	e, err := canon.Compile(text)
	if err != nil {
		return nil, err
	}
	if len(s.list) >= maxSelections {
		s.list = slices.Delete(s.list, 0, 1)
	}
	made := &selection{text: text, expression: e}
	s.list = append(s.list, made)
	return made, nil
}
