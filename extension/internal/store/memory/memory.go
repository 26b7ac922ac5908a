// Package memory keeps records in memory, for local use and tests.
package memory

import (
	"context"
	"sync"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// sweepEvery is the number of writes after which expired records are dropped.
const sweepEvery = 1000

// Store is an idempotency.Store in memory.
type Store struct {
	now func() time.Time

	mu      sync.Mutex
	records map[idempotency.Key]*idempotency.Record
	writes  int
}

// New makes an empty store.
func New(now func() time.Time) *Store {
	return &Store{now: now, records: map[idempotency.Key]*idempotency.Record{}}
}

// Get implements idempotency.Store.
func (s *Store) Get(_ context.Context, key idempotency.Key) (*idempotency.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[key].Clone(), nil
}

// Put implements idempotency.Store.
func (s *Store) Put(_ context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := s.records[rec.Key]
	if !when.Holds(stored, rec) {
		return &idempotency.ConditionError{Stored: stored.Clone()}
	}
	s.records[rec.Key] = rec.Clone()
	s.sweep()
	return nil
}

// Update implements idempotency.Store.
func (s *Store) Update(_ context.Context, key idempotency.Key, change idempotency.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := s.records[key]
	if !change.Holds(stored) {
		return &idempotency.ConditionError{Stored: stored.Clone()}
	}
	s.records[key] = change.Apply(stored)
	return nil
}

// Ping implements idempotency.Store.
func (s *Store) Ping(context.Context) error { return nil }

// Close does nothing.
func (s *Store) Close() error { return nil }

func (s *Store) sweep() {
	if s.writes++; s.writes%sweepEvery != 0 {
		return
	}
	now := s.now()
	for key, rec := range s.records {
		if rec.Expired(now) {
			delete(s.records, key)
		}
	}
}
