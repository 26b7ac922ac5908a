// Package file keeps records in one file that survives a restart, for local
// use. The file is a bbolt database: each write is durable when it returns, and
// a killed process or a full disk leaves the last good state.
package file

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

var bucket = []byte("records-v1")

// lockWait is how long to wait for another process to let go of the file.
const lockWait = time.Second

// sweepEvery is the number of writes after which expired records are dropped.
const sweepEvery = 1000

// Store is an idempotency.Store in a file.
type Store struct {
	path string
	now  func() time.Time
	db   *bolt.DB
	// writes is only touched inside a write transaction, of which there is one
	// at a time.
	writes int
}

// Open opens the store, and makes its file and folder where they are missing.
// The error names the path and the mend.
func Open(path string, now func() time.Time) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of %s: %w; name a path that can be written", path, err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is in use by another process; stop that one, or name another file", path)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch),
		err != nil && strings.Contains(err.Error(), "file size too small"):
		return nil, fmt.Errorf("%s is not a record file of this program (%w); name another file, or move this one away", path, err)
	case errors.Is(err, syscall.ENOSPC):
		return nil, fmt.Errorf("cannot open %s: %w; free some space, or name a file on another disk", path, err)
	case err != nil:
		return nil, fmt.Errorf("cannot open %s: %w; name a path that can be written", path, err)
	}
	s := &Store{path: path, now: now, db: db}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		return s.sweep(b)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot write %s: %w; free some space, or name another file", path, err), db.Close())
	}
	return s, nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Get implements idempotency.Store.
func (s *Store) Get(_ context.Context, key idempotency.Key) (rec *idempotency.Record, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		rec, err = read(tx.Bucket(bucket), key)
		return err
	})
	if err != nil {
		return nil, s.failed("get", err)
	}
	return rec, nil
}

// Put implements idempotency.Store.
func (s *Store) Put(_ context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	return s.write("put", rec.Key, func(stored *idempotency.Record) *idempotency.Record {
		if !when.Holds(stored, rec) {
			return nil
		}
		return rec
	})
}

// Update implements idempotency.Store.
func (s *Store) Update(_ context.Context, key idempotency.Key, change idempotency.Change) error {
	return s.write("update", key, func(stored *idempotency.Record) *idempotency.Record {
		if !change.Holds(stored) {
			return nil
		}
		return change.Apply(stored)
	})
}

// Ping implements idempotency.Store.
func (s *Store) Ping(context.Context) error {
	return s.db.View(func(*bolt.Tx) error { return nil })
}

// write replaces the record with what next makes of it, in one transaction;
// next returns nil if its condition does not hold.
func (s *Store) write(op string, key idempotency.Key, next func(*idempotency.Record) *idempotency.Record) error {
	var met *idempotency.ConditionError
	err := s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucket)
		stored, err := read(b, key)
		if err != nil {
			return err
		}
		rec := next(stored)
		if rec == nil {
			met = &idempotency.ConditionError{Stored: stored}
			return met
		}
		text, err := json.Marshal(rec)
		if err != nil {
			return err
		}
		if err := b.Put(name(key), text); err != nil {
			return err
		}
		if s.writes++; s.writes%sweepEvery == 0 {
			return s.sweep(b)
		}
		return nil
	})
	switch {
	case met != nil:
		return met
	case err != nil:
		return s.failed(op, err)
	}
	return nil
}

// sweep drops expired records.
func (s *Store) sweep(b *bolt.Bucket) error {
	now := s.now()
	c := b.Cursor()
	for k, text := c.First(); k != nil; k, text = c.Next() {
		var rec idempotency.Record
		if json.Unmarshal(text, &rec) == nil && rec.Expired(now) {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}

func read(b *bolt.Bucket, key idempotency.Key) (*idempotency.Record, error) {
	text := b.Get(name(key))
	if text == nil {
		return nil, nil
	}
	rec := new(idempotency.Record)
	if err := json.Unmarshal(text, rec); err != nil {
		return nil, fmt.Errorf("the record of key %s cannot be read: %w", idempotency.KeyHash(key), err)
	}
	return rec, nil
}

// name is a key's name in the file; no two keys share one.
func name(key idempotency.Key) []byte {
	b := binary.AppendUvarint(nil, uint64(len(key.Partition)))
	return append(append(b, key.Partition...), key.Sort...)
}

func (s *Store) failed(op string, err error) error {
	return &idempotency.StoreError{
		Op:     op,
		Detail: fmt.Sprintf("the record file %s cannot be used (%v); see that its disk has space and that it can be written", s.path, err),
		Err:    err,
	}
}
