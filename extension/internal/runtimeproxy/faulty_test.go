package runtimeproxy_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

// slowStore is a store in memory that can be slow, or away.
type slowStore struct {
	*memory.Store
	mu     sync.Mutex
	delay  time.Duration
	broken bool
	// puts gets a value with each Put that has begun; gate, if set, holds it.
	puts chan struct{}
	gate chan struct{}
}

func (s *slowStore) on() *slowStore {
	s.Store = memory.New(time.Now)
	return s
}

func (s *slowStore) slow(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

func (s *slowStore) away(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = is
}

func (s *slowStore) trouble(op string) error {
	s.mu.Lock()
	delay, broken := s.delay, s.broken
	s.mu.Unlock()
	time.Sleep(delay)
	if broken {
		return &idempotency.StoreError{Op: op, Detail: "it is away", Err: errors.New("no route")}
	}
	return nil
}

func (s *slowStore) Put(ctx context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	if s.puts != nil {
		s.puts <- struct{}{}
		<-s.gate
	}
	if err := s.trouble("put"); err != nil {
		return err
	}
	return s.Store.Put(ctx, rec, when)
}

func (s *slowStore) Update(ctx context.Context, key idempotency.Key, change idempotency.Change) error {
	if err := s.trouble("update"); err != nil {
		return err
	}
	return s.Store.Update(ctx, key, change)
}
