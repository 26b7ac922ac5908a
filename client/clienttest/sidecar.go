// Package clienttest has a sidecar for the tests of code that uses package client:
// in the test's own process, with a memory and a clock that the test controls.
//
//	func TestOrder(t *testing.T) {
//		sidecar := clienttest.Start(t) // client.Do calls it from here on
//		…
//		sidecar.Unavailable(true) // now the store is away
//		sidecar.Advance(25 * time.Hour) // now what was remembered is forgotten
//	}
//
// It answers as the sidecar does, in the settings that a sidecar has by default,
// to what package client can send. Of JMESPath it knows names, paths, indexes
// and lists of these, as in [JobId, items[0].id]; it refuses anything else.
package clienttest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

// Sidecar is a sidecar with an empty memory. Its methods may be called at the same
// time, also by the work.
type Sidecar struct {
	// URL is where it listens.
	URL string

	server *httptest.Server

	mu      sync.Mutex
	clock   time.Time
	away    bool
	grants  int
	records map[string]*record
	tokens  map[string]*record
}

// Start starts a sidecar for the rest of the test, and makes it that of the
// environment, which client.Do calls. Tests that run in parallel cannot share an
// environment: use New for them.
func Start(t testing.TB) *Sidecar {
	t.Helper()
	s := New()
	t.Cleanup(s.Close)
	t.Setenv("IDEMPOTENCY_PORT", s.URL[strings.LastIndexByte(s.URL, ':')+1:])
	t.Setenv("IDEMPOTENCY_DISABLED", "")
	return s
}

// New starts a sidecar that only its Client calls. Close ends it.
func New() *Sidecar {
	s := &Sidecar{clock: time.Now().Truncate(time.Millisecond), records: map[string]*record{}, tokens: map[string]*record{}}
	s.server = httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = s.server.URL
	return s
}

// Close ends the sidecar. Calls that are still waiting break off.
func (s *Sidecar) Close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

// Client is a client of this sidecar.
func (s *Sidecar) Client() *client.Client { return &client.Client{URL: s.URL} }

// Advance moves the sidecar's clock forward, which stands still otherwise: leases
// end, records expire.
func (s *Sidecar) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(d)
}

// Unavailable says whether the store is away: every call is then answered with 503
// and store_unavailable, and nothing is stored.
func (s *Sidecar) Unavailable(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// Hold makes another invocation, "another", claim a key for 15 minutes, also over a
// claim that there is, whose holder has then lost it. Records of work that has
// ended are forgotten.
func (s *Sidecar) Hold(key ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := name{Scope: defaultScope, Key: key}
	rec := s.records[name.id()]
	s.grant(rec, name, acquire{RequestID: "another", lapses: s.now().Add(defaultLease)})
}

// Record is what is stored under a key that was given as such, in the default
// scope; false if there is nothing, or it has expired.
func (s *Sidecar) Record(key ...string) (Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.records[name{Scope: defaultScope, Key: key}.id()]
	if rec == nil || rec.expired(s.now()) {
		return Record{}, false
	}
	return rec.shown(), true
}

// Records are all that are stored and have not expired, the oldest claim first.
func (s *Sidecar) Records() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Record
	for _, rec := range slices.SortedFunc(maps.Values(s.records), func(a, b *record) int { return a.made - b.made }) {
		if !rec.expired(s.now()) {
			list = append(list, rec.shown())
		}
	}
	return list
}

// now is the time by the sidecar's clock, in whole milliseconds.
func (s *Sidecar) now() time.Time { return s.clock.Truncate(time.Millisecond) }

// Released is the status of a record whose run failed and that is free for another
// one.
const Released = "released"

// Record is what is stored under a key.
type Record struct {
	// Scope is "function" where the caller gave none.
	Scope string
	// Key is what the caller gave.
	Key client.Key
	// Selection is instead what was selected from the caller's event, as JSON with
	// its members sorted.
	Selection string

	// Status is client.InProgress, client.Completed, client.Failed or Released.
	Status  string
	Fence   int64
	Attempt int
	// Result is the JSON that was stored; nil if none was.
	Result json.RawMessage
	// Error is that of the last run that failed; nil if none did, or the work was
	// completed after it.
	Error *client.Failure
	// RequestID is the invocation that made the claim, if known.
	RequestID string
	// LeaseExpiresAt is when the claim lapses, Expiration when the record is
	// forgotten, by the sidecar's clock.
	LeaseExpiresAt time.Time
	Expiration     time.Time
}
