package clienttest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

// The settings that a sidecar has by default.
const (
	defaultScope = "function"
	defaultTTL   = 24 * time.Hour
	defaultLease = 15 * time.Minute
	clockSkew    = time.Second
)

// record is a Record with what it does not show.
type record struct {
	Record
	payload     string
	clientToken string
	token       string
	ttl         time.Duration
	updated     time.Time
	// made is the number of the grant.
	made int
}

func (r *record) expired(now time.Time) bool { return !now.Before(r.Expiration) }

// shown is a copy that shares nothing.
func (r *record) shown() Record {
	c := r.Record
	c.Key, c.Result = slices.Clone(c.Key), slices.Clone(c.Result)
	if c.Error != nil {
		failure := *c.Error
		c.Error = &failure
	}
	return c
}

// name names a record.
type name struct {
	Scope     string
	Key       client.Key
	Selection string
}

func (n name) id() string {
	return fmt.Sprintf("%q", []string{n.Scope, n.Selection, fmt.Sprintf("%q", []string(n.Key))})
}

// acquire is an acquire as it was decided on.
type acquire struct {
	RequestID   string
	ClientToken string
	TTL         time.Duration
	payload     string
	lapses      time.Time
}

// decide tells what becomes of an acquire; answer is false if another holds the
// claim.
func (s *Sidecar) decide(n name, a acquire) (answer any, decided bool, err *problem) {
	now := s.now()
	rec := s.records[n.id()]
	if rec == nil || rec.expired(now) {
		return granted(s.grant(rec, n, a)), true, nil
	}
	own := a.ClientToken != "" && rec.clientToken == a.ClientToken
	freed := rec.LeaseExpiresAt
	if !own {
		freed = freed.Add(clockSkew)
	}
	switch {
	case rec.Status == Released && own:
		return nil, true, refuse(claimLost, "the claim that this client_token made was released already")
	case rec.Status == Released, rec.Status == client.InProgress && !now.Before(freed):
		return granted(s.grant(rec, n, a)), true, nil
	case rec.payload != "" && a.payload != "" && rec.payload != a.payload:
		return nil, true, refuse(payloadMismatch, "the key was used with another payload")
	case rec.Status == client.Completed:
		return rec.named(map[string]any{"status": client.Completed, "result": rec.Result, "completed_at": rec.updated.UnixMilli()}), true, nil
	case rec.Status == client.Failed:
		return rec.named(map[string]any{"status": client.Failed, "error": rec.Error, "failed_at": rec.updated.UnixMilli()}), true, nil
	case own:
		return granted(rec), true, nil
	}
	retry := max(100*time.Millisecond, min(freed.Sub(now), 5*time.Second))
	return rec.named(map[string]any{"status": client.InProgress, "retry_after_ms": retry.Milliseconds(), "lease_expires_at": rec.LeaseExpiresAt.UnixMilli()}), false, nil
}

// named adds to an answer whose record it tells of.
func (r *record) named(answer map[string]any) map[string]any {
	if r.RequestID != "" {
		answer["request_id"] = r.RequestID
	}
	return answer
}

func granted(rec *record) any {
	answer := map[string]any{"status": client.Acquired, "token": rec.token, "fence": rec.Fence, "attempt": rec.Attempt, "lease_expires_at": rec.LeaseExpiresAt.UnixMilli()}
	if rec.Error != nil {
		answer["previous_error"] = rec.Error
	}
	return answer
}

// grant makes a claim; prev is the record it replaces.
func (s *Sidecar) grant(prev *record, n name, a acquire) *record {
	now := s.now()
	ttl := a.TTL
	if ttl == 0 {
		ttl = defaultTTL
	}
	rec := &record{
		Record: Record{
			Scope: n.Scope, Key: n.Key, Selection: n.Selection, Status: client.InProgress, Fence: now.UnixMilli(), Attempt: 1,
			RequestID: a.RequestID, LeaseExpiresAt: a.lapses, Expiration: expiry(a.lapses, max(ttl, clockSkew)),
		},
		payload: a.payload, clientToken: a.ClientToken, token: "test-" + rand.Text(), ttl: ttl, updated: now,
	}
	s.grants++
	rec.made = s.grants
	if prev != nil {
		rec.Fence = max(rec.Fence, prev.Fence+1)
	}
	if prev != nil && !prev.expired(now) && (prev.Status == client.InProgress || prev.Status == Released) {
		rec.Attempt, rec.Error = prev.Attempt+1, prev.Error
		if a.ClientToken != "" && prev.clientToken == a.ClientToken {
			rec.Attempt = prev.Attempt
		}
	}
	s.records[n.id()] = rec
	s.tokens[rec.token] = rec
	return rec
}

// expiry is ttl after a time, rounded up to the whole second.
func expiry(from time.Time, ttl time.Duration) time.Time {
	at := from.Add(ttl)
	if whole := at.Truncate(time.Second); whole.Before(at) {
		return whole.Add(time.Second)
	}
	return at
}

// held is the record of a token whose claim nobody has taken.
func (s *Sidecar) held(token string) (*record, *problem) {
	rec := s.tokens[token]
	if rec == nil {
		return nil, refuse(claimUnknown, "not a token of an acquire")
	}
	if now := s.records[name{rec.Scope, rec.Key, rec.Selection}.id()]; now != rec {
		return nil, refuse(claimLost, fmt.Sprintf("the claim lapsed and request %s took the key", now.RequestID))
	}
	return rec, nil
}

// end ends a claim as completed, failed or released. That can be repeated.
func (s *Sidecar) end(token, as string, ttl time.Duration, result json.RawMessage, failure *client.Failure) (any, *problem) {
	rec, err := s.held(token)
	if err != nil {
		return nil, err
	}
	if rec.Status == client.InProgress {
		if ttl == 0 {
			ttl = rec.ttl
		}
		rec.Status, rec.updated = as, s.now()
		rec.Expiration, rec.LeaseExpiresAt = expiry(rec.updated, ttl), time.Time{}
		rec.Result, rec.Error = result, failure
	}
	if rec.Status != as {
		return nil, refuse(claimLost, "this claim was ended already, as "+rec.Status)
	}
	return map[string]any{"status": as}, nil
}

// renew gives a claim a new lease, never a shorter one.
func (s *Sidecar) renew(token string, lease time.Duration) (any, *problem) {
	rec, err := s.held(token)
	if err != nil {
		return nil, err
	}
	if rec.Status != client.InProgress {
		return nil, refuse(claimLost, "this claim was ended already, as "+rec.Status)
	}
	if until := s.now().Add(lease); until.After(rec.LeaseExpiresAt) {
		rec.LeaseExpiresAt, rec.Expiration = until, expiry(until, max(rec.ttl, clockSkew))
	}
	return map[string]any{"status": client.Acquired, "lease_expires_at": rec.LeaseExpiresAt.UnixMilli()}, nil
}
