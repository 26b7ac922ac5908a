package metrics

import "sync"

// series finds a metric by its labels once, and keeps it.
type series[L comparable, M any] struct {
	find func(L) M

	mu    sync.RWMutex
	found map[L]M
}

func (s *series[L, M]) of(labels L) M {
	s.mu.RLock()
	m, ok := s.found[labels]
	s.mu.RUnlock()
	if ok {
		return m
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.found == nil {
		s.found = map[L]M{}
	}
	m = s.find(labels)
	s.found[labels] = m
	return m
}
