package httpapi

import (
	"slices"
	"sync"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/selection"
)

// maxSelections is how many compiled expressions are kept. A function has a few.
const maxSelections = 64

// selections keeps compiled expressions.
type selections struct {
	mu   sync.Mutex
	list []*selection.Selection // the latest used last
}

func (s *selections) compile(text string) (*selection.Selection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.list, func(k *selection.Selection) bool { return k.Text() == text }); i >= 0 {
		used := s.list[i]
		s.list = append(slices.Delete(s.list, i, i+1), used)
		return used, nil
	}
	made, err := selection.New(text)
	if err != nil {
		return nil, err
	}
	if len(s.list) >= maxSelections {
		s.list = slices.Delete(s.list, 0, 1)
	}
	s.list = append(s.list, made)
	return made, nil
}
