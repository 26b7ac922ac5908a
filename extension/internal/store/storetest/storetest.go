// Package storetest is the suite that every store passes: the engine's promises,
// on that store, with races, lapses and lost answers.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// Suite is a store under test.
type Suite struct {
	// Open opens an empty store that judges time by now.
	Open func(t *testing.T, now func() time.Time) idempotency.Store
	// Second opens the same records as another process would; nil: the records
	// live in this process alone.
	Second func(t *testing.T, first idempotency.Store) idempotency.Store
	// Lossy opens an empty store of which drop makes the next write's answer be
	// lost after it was applied; nil: the suite repeats the write itself, which
	// is what a client does that got no answer.
	Lossy func(t *testing.T, now func() time.Time) (store idempotency.Store, drop func())
	// Sort is the sort part of the keys that the suite uses.
	Sort string
	// Rounds is how often the race is run; 0: 100.
	Rounds int
}

// Clock is a clock that stands until it is moved.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock makes a clock that stands at a whole second near the present.
func NewClock() *Clock { return &Clock{at: time.Now().Truncate(time.Second)} }

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

const (
	lease = 10 * time.Second
	ttl   = time.Hour
)

type world struct {
	*testing.T
	suite  Suite
	clock  *Clock
	store  idempotency.Store
	engine *idempotency.Engine
}

func (s Suite) world(t *testing.T) *world {
	t.Helper()
	clock := NewClock()
	store := s.Open(t, clock.Now)
	return &world{T: t, suite: s, clock: clock, store: store, engine: engine(store, clock, nil)}
}

func engine(store idempotency.Store, clock *Clock, with func(*idempotency.Options)) *idempotency.Engine {
	opt := idempotency.Options{
		Function: "fn", TTL: ttl, History: 10,
		Now: clock.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	}
	if with != nil {
		with(&opt)
	}
	return idempotency.NewEngine(store, opt)
}

func (w *world) key(name string) idempotency.Key {
	return idempotency.Key{Partition: "scope#" + name, Sort: w.suite.Sort}
}

func (w *world) ask(name string) idempotency.AcquireRequest {
	return idempotency.AcquireRequest{Key: w.key(name), Deadline: w.clock.Now().Add(lease), RequestID: "request-" + name}
}

func (w *world) acquire(e *idempotency.Engine, req idempotency.AcquireRequest, want idempotency.OutcomeStatus) idempotency.Outcome {
	w.Helper()
	out, err := e.Acquire(w.Context(), req)
	if err != nil {
		w.Fatalf("acquire: %v", err)
	}
	if out.Status != want {
		w.Fatalf("acquire answered %q, want %q", out.Status, want)
	}
	return out
}

func (w *world) complete(e *idempotency.Engine, token, result string) {
	w.Helper()
	end, err := e.Complete(w.Context(), idempotency.CompleteRequest{Token: token, Result: []byte(result)})
	if err != nil {
		w.Fatalf("complete: %v", err)
	}
	if end.Status != idempotency.Completed {
		w.Fatalf("complete answered %q", end.Status)
	}
}

func (w *world) fail(e *idempotency.Engine, token string, retry bool, want idempotency.Status) {
	w.Helper()
	end, err := e.Fail(w.Context(), idempotency.FailRequest{Token: token, Error: &idempotency.Failure{Type: "RuntimeError", Message: "An unexpected error has occurred."}, Retry: retry})
	if err != nil {
		w.Fatalf("fail: %v", err)
	}
	if end.Status != want {
		w.Fatalf("fail answered %q, want %q", end.Status, want)
	}
}

// refused checks that the token's holder can do nothing, and that nothing of
// what is stored changes when it tries.
func (w *world) refused(token string, kind error) {
	w.Helper()
	key := w.keyOf(token)
	before := w.get(key)
	_, err := w.engine.Complete(w.Context(), idempotency.CompleteRequest{Token: token, Result: []byte(`"stale"`)})
	w.is(err, kind, "complete")
	_, err = w.engine.Fail(w.Context(), idempotency.FailRequest{Token: token, Retry: true})
	w.is(err, kind, "fail with retry")
	_, err = w.engine.Fail(w.Context(), idempotency.FailRequest{Token: token})
	w.is(err, kind, "fail for good")
	_, err = w.engine.Renew(w.Context(), token, w.clock.Now().Add(lease))
	w.is(err, kind, "renew")
	if diff := cmp.Diff(before, w.get(key)); diff != "" {
		w.Fatalf("a refused call changed the record:\n%s", diff)
	}
}

var tokenKeys sync.Map // token -> key, as the suite acquired them

func (w *world) keyOf(token string) idempotency.Key {
	w.Helper()
	k, ok := tokenKeys.Load(token)
	if !ok {
		w.Fatal("the suite did not note this token's key")
	}
	return k.(idempotency.Key)
}

func (w *world) is(err, kind error, what string) {
	w.Helper()
	if !errors.Is(err, kind) {
		w.Fatalf("%s: got %v, want %v", what, err, kind)
	}
}

func (w *world) get(key idempotency.Key) *idempotency.Record {
	w.Helper()
	rec, err := w.store.Get(w.Context(), key)
	if err != nil {
		w.Fatalf("get: %v", err)
	}
	return rec
}

// held acquires name and notes the token's key.
func (w *world) held(name string) idempotency.Outcome {
	w.Helper()
	out := w.acquire(w.engine, w.ask(name), idempotency.OutcomeAcquired)
	tokenKeys.Store(out.Token, out.Record.Key)
	return out
}

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	for name, test := range map[string]func(*world){
		"one winner among 64":           oneWinner,
		"takeover of a lapsed claim":    takeover,
		"a renewed claim is not taken":  renewedIsKept,
		"late complete, not taken over": lateComplete,
		"expiry to the second":          expiry,
		"fence grows":                   fenceGrows,
		"results byte for byte":         results,
		"large results":                 largeResults,
		"payload mismatch":              payloadMismatch,
		"client token":                  clientToken,
		"released":                      released,
		"final failure":                 finalFailure,
		"max attempts":                  maxAttempts,
		"repeated ends":                 repeatedEnds,
		"unknown claims":                unknownClaims,
		"history":                       history,
		"settling":                      settling,
		"waiting":                       waiting,
		"key parts":                     keyParts,
		"nothing changes by reading":    duplicatesChangeNothing,
	} {
		t.Run(name, func(t *testing.T) { test(s.world(t)) })
	}
	t.Run("lost answers", func(t *testing.T) { lostAnswers(t, s) })
	t.Run("second process", func(t *testing.T) { secondProcess(s.world(t)) })
}

func oneWinner(w *world) {
	rounds := w.suite.Rounds
	if rounds == 0 {
		rounds = 100
	}
	for round := range rounds {
		name := fmt.Sprintf("race-%d", round)
		var wg sync.WaitGroup
		start := make(chan struct{})
		results := make(chan idempotency.OutcomeStatus, 64)
		tokens := make(chan string, 64)
		for range 64 {
			wg.Go(func() {
				<-start
				out, err := w.engine.Acquire(w.Context(), w.ask(name))
				if err != nil {
					w.Errorf("round %d: %v", round, err)
					return
				}
				results <- out.Status
				if out.Token != "" {
					tokens <- out.Token
				}
			})
		}
		close(start)
		wg.Wait()
		close(results)
		count := map[idempotency.OutcomeStatus]int{}
		for r := range results {
			count[r]++
		}
		if count[idempotency.OutcomeAcquired] != 1 || count[idempotency.OutcomeInProgress] != 63 {
			w.Fatalf("round %d: %v, want 1 acquired and 63 in_progress", round, count)
		}
		w.complete(w.engine, <-tokens, fmt.Sprint(round))
		if out := w.acquire(w.engine, w.ask(name), idempotency.OutcomeCompleted); string(out.Record.Result) != fmt.Sprint(round) {
			w.Fatalf("round %d: replayed %s", round, out.Record.Result)
		}
	}
}

func takeover(w *world) {
	first := w.held("k")
	w.clock.Advance(lease - time.Millisecond)
	w.acquire(w.engine, w.ask("k"), idempotency.OutcomeInProgress)
	w.clock.Advance(time.Millisecond)
	second := w.held("k")
	if second.Record.Fence <= first.Record.Fence {
		w.Fatalf("fence went from %d to %d", first.Record.Fence, second.Record.Fence)
	}
	if second.Record.Attempt != 2 {
		w.Fatalf("attempt %d, want 2", second.Record.Attempt)
	}
	w.refused(first.Token, idempotency.ErrClaimLost)
	w.complete(w.engine, second.Token, `"second"`)
	w.refused(first.Token, idempotency.ErrClaimLost)

	// 16 ask for the same lapsed claim at once: one gets it.
	w.held("many")
	w.clock.Advance(lease)
	var wg sync.WaitGroup
	won := make(chan int, 16)
	for range 16 {
		wg.Go(func() {
			out, err := w.engine.Acquire(w.Context(), w.ask("many"))
			if err != nil {
				w.Error(err)
			} else if out.Status == idempotency.OutcomeAcquired {
				won <- out.Record.Attempt
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		w.Fatalf("%d took over the lapsed claim", len(won))
	}
}

func renewedIsKept(w *world) {
	first := w.held("k")
	w.clock.Advance(lease - time.Second)
	renewed, err := w.engine.Renew(w.Context(), first.Token, w.clock.Now().Add(lease))
	if err != nil {
		w.Fatal(err)
	}
	if want := w.clock.Now().Add(lease); !renewed.LeaseExpiresAt.Equal(want) {
		w.Fatalf("lease ends %v, want %v", renewed.LeaseExpiresAt, want)
	}
	// A renewal never shortens a lease: one that comes late takes nothing back.
	shorter, err := w.engine.Renew(w.Context(), first.Token, w.clock.Now().Add(time.Second))
	if err != nil || !shorter.LeaseExpiresAt.Equal(renewed.LeaseExpiresAt) {
		w.Fatalf("a shorter renewal answers %v, %v, want %v", shorter.LeaseExpiresAt, err, renewed.LeaseExpiresAt)
	}
	w.clock.Advance(2 * time.Second) // past the first lease
	w.acquire(w.engine, w.ask("k"), idempotency.OutcomeInProgress)

	// A claim that lapsed, was read as free, and was renewed before the write
	// that would take it: the holder keeps it.
	w.clock.Advance(lease)
	lapsed := w.get(w.key("k"))
	if _, err := w.engine.Renew(w.Context(), first.Token, w.clock.Now().Add(lease)); err != nil {
		w.Fatal(err)
	}
	thief := lapsed.Clone()
	thief.Secret, thief.Fence = strings.Repeat("A", 22), lapsed.Fence+1
	var met *idempotency.ConditionError
	if err := w.store.Put(w.Context(), thief, idempotency.Condition{Prev: lapsed, Now: w.clock.Now()}); !errors.As(err, &met) {
		w.Fatalf("a renewed claim was taken: %v", err)
	}
	if met.Stored == nil || !met.Stored.LeaseExpiresAt.Equal(w.clock.Now().Add(lease)) {
		w.Fatalf("the condition's failure did not return the stored record: %+v", met.Stored)
	}
	w.complete(w.engine, first.Token, "1")
}

func lateComplete(w *world) {
	out := w.held("k")
	w.clock.Advance(10 * lease)
	w.complete(w.engine, out.Token, `"late"`)
	if out := w.acquire(w.engine, w.ask("k"), idempotency.OutcomeCompleted); string(out.Record.Result) != `"late"` {
		w.Fatalf("replayed %s", out.Record.Result)
	}
}

func expiry(w *world) {
	req := w.ask("k")
	req.TTL = 5 * time.Second
	out := w.acquire(w.engine, req, idempotency.OutcomeAcquired)
	// A running claim does not expire under its holder.
	w.clock.Advance(lease - time.Second)
	w.acquire(w.engine, w.ask("k"), idempotency.OutcomeInProgress)
	w.complete(w.engine, out.Token, "1")
	w.clock.Advance(5*time.Second - time.Millisecond)
	w.acquire(w.engine, w.ask("k"), idempotency.OutcomeCompleted)
	w.clock.Advance(time.Millisecond)
	again := w.acquire(w.engine, w.ask("k"), idempotency.OutcomeAcquired)
	if again.Record.Attempt != 1 || len(again.Record.History) != 1 {
		w.Fatalf("an expired record left something: %+v", again.Record)
	}
	if rec, err := w.engine.Get(w.Context(), w.key("k")); err != nil || rec == nil {
		w.Fatalf("get: %v, %v", rec, err)
	}
	// The time given with complete counts from the end.
	if _, err := w.engine.Complete(w.Context(), idempotency.CompleteRequest{Token: again.Token, TTL: 2 * time.Second}); err != nil {
		w.Fatal(err)
	}
	w.clock.Advance(2 * time.Second)
	if rec, err := w.engine.Get(w.Context(), w.key("k")); err != nil || rec != nil {
		w.Fatalf("an expired record is shown: %+v, %v", rec, err)
	}
	// A part of a second is never cut off what was promised.
	w.clock.Advance(300 * time.Millisecond)
	req = w.ask("part")
	req.TTL = 1500 * time.Millisecond
	w.complete(w.engine, w.acquire(w.engine, req, idempotency.OutcomeAcquired).Token, "1")
	w.clock.Advance(1500*time.Millisecond - time.Millisecond)
	w.acquire(w.engine, w.ask("part"), idempotency.OutcomeCompleted)
	w.clock.Advance(time.Second)
	w.acquire(w.engine, w.ask("part"), idempotency.OutcomeAcquired)
}

func fenceGrows(w *world) {
	last := int64(0)
	check := func(what string, out idempotency.Outcome) string {
		w.Helper()
		if out.Record.Fence <= last {
			w.Fatalf("%s: fence %d after %d", what, out.Record.Fence, last)
		}
		last = out.Record.Fence
		return out.Token
	}
	token := check("first", w.held("k"))
	w.fail(w.engine, token, true, idempotency.Released)
	token = check("within the same millisecond", w.held("k"))
	w.clock.Advance(lease)
	w.complete(w.engine, token, "1")
	w.clock.Advance(ttl + time.Second)
	token = check("after expiry", w.held("k"))
	w.complete(w.engine, token, "1")
	// A host whose clock is behind meets an expired record with a later fence.
	prev := w.get(w.key("k"))
	ahead := prev.Clone()
	ahead.Expiration, ahead.Fence = w.clock.Now(), prev.Fence+1_000_000
	if err := w.store.Put(w.Context(), ahead, idempotency.Condition{Prev: prev}); err != nil {
		w.Fatal(err)
	}
	last = ahead.Fence
	check("with a clock behind", w.held("k"))
}

func results(w *world) {
	for i, want := range []string{
		`null`, `0`, `false`, `""`, `{}`, `[]`, `9007199254740993`, `1e400`, `"é"`, `"\u0000"`,
		`{ "b" : 1,  "a":[ 1 ,2 ]}`, `"\u00e9\ud83d\ude02</script>&"`, `-0`, `1.0`, `"日本語"`,
	} {
		name := fmt.Sprint("r", i)
		w.complete(w.engine, w.held(name).Token, want)
		out := w.acquire(w.engine, w.ask(name), idempotency.OutcomeCompleted)
		if !bytes.Equal(out.Record.Result, []byte(want)) || out.Record.ResultOmitted {
			w.Errorf("result %s came back as %s (omitted: %v)", want, out.Record.Result, out.Record.ResultOmitted)
		}
	}
	if _, err := w.engine.Complete(w.Context(), idempotency.CompleteRequest{Token: w.held("none").Token}); err != nil {
		w.Fatal(err)
	}
	if out := w.acquire(w.engine, w.ask("none"), idempotency.OutcomeCompleted); out.Record.Result != nil || out.Record.ResultOmitted {
		w.Fatalf("no result came back as %q (omitted: %v)", out.Record.Result, out.Record.ResultOmitted)
	}
}

func largeResults(w *world) {
	random := make([]byte, 6<<20)
	if _, err := rand.Read(random); err != nil {
		w.Fatal(err)
	}
	noise := func(n int) string {
		var b strings.Builder
		b.WriteByte('"')
		for i := range n - 2 {
			b.WriteByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[random[i]&63])
		}
		b.WriteByte('"')
		return b.String()
	}
	for name, c := range map[string]struct {
		result  string
		mayOmit bool
	}{
		"4 KiB":             {result: noise(4 << 10)},
		"4 KiB and one":     {result: noise(4<<10 + 1)},
		"100 KB":            {result: noise(100_000)},
		"390 KB":            {result: noise(390_000)},
		"6 MB, all alike":   {result: `"` + strings.Repeat("a", 6_000_000) + `"`},
		"6 MB, no two like": {result: noise(6_000_000), mayOmit: true},
	} {
		token := w.held(name).Token
		w.complete(w.engine, token, c.result)
		w.complete(w.engine, token, c.result) // A repeat changes nothing.
		out := w.acquire(w.engine, w.ask(name), idempotency.OutcomeCompleted)
		switch {
		case out.Record.ResultOmitted && c.mayOmit && out.Record.Result == nil:
		case string(out.Record.Result) != c.result || out.Record.ResultOmitted:
			w.Errorf("%s: came back with %d bytes (omitted: %v)", name, len(out.Record.Result), out.Record.ResultOmitted)
		}
		if got := w.get(w.key(name)); !bytes.Equal(got.Result, out.Record.Result) {
			w.Errorf("%s: get returns %d bytes", name, len(got.Result))
		}
	}
}

func payloadMismatch(w *world) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	with := func(hash string) idempotency.AcquireRequest {
		req := w.ask("k")
		req.Validation = hash
		return req
	}
	out := w.acquire(w.engine, with(a), idempotency.OutcomeAcquired)
	_, err := w.engine.Acquire(w.Context(), with(b))
	w.is(err, idempotency.ErrPayloadMismatch, "on INPROGRESS")
	w.acquire(w.engine, with(a), idempotency.OutcomeInProgress)
	w.acquire(w.engine, with(""), idempotency.OutcomeInProgress)
	w.complete(w.engine, out.Token, "1")
	_, err = w.engine.Acquire(w.Context(), with(b))
	w.is(err, idempotency.ErrPayloadMismatch, "on COMPLETED")
	w.acquire(w.engine, with(a), idempotency.OutcomeCompleted)
	w.acquire(w.engine, with(""), idempotency.OutcomeCompleted)
	w.clock.Advance(ttl)
	w.acquire(w.engine, with(b), idempotency.OutcomeAcquired)
}

func clientToken(w *world) {
	req := w.ask("k")
	req.ClientToken = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	first := w.acquire(w.engine, req, idempotency.OutcomeAcquired)
	w.clock.Advance(time.Second)
	second := w.acquire(w.engine, req, idempotency.OutcomeAcquired)
	if first.Token != second.Token || first.Record.Fence != second.Record.Fence || second.Record.Attempt != 1 {
		w.Fatal("the same client token made two claims")
	}
	other := w.ask("k")
	other.ClientToken = "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
	w.acquire(w.engine, other, idempotency.OutcomeInProgress)
	elsewhere := w.ask("k2")
	elsewhere.ClientToken = req.ClientToken
	if out := w.acquire(w.engine, elsewhere, idempotency.OutcomeAcquired); out.Record.Secret == first.Record.Secret {
		w.Fatal("two keys share a secret")
	}
	w.complete(w.engine, first.Token, `"done"`)
	if out := w.acquire(w.engine, req, idempotency.OutcomeCompleted); string(out.Record.Result) != `"done"` {
		w.Fatalf("replayed %s", out.Record.Result)
	}

	// After a release the token stands for a claim that is over: a late copy of
	// the call must not take the key again.
	token := w.acquire(w.engine, elsewhere, idempotency.OutcomeAcquired).Token
	w.fail(w.engine, token, true, idempotency.Released)
	_, err := w.engine.Acquire(w.Context(), elsewhere)
	w.is(err, idempotency.ErrClaimLost, "acquire with a spent client token")

	// A client token that is used again after its claim lapsed, or for a later run,
	// makes a claim of its own: the old token ends nothing.
	req = w.ask("again")
	req.ClientToken = "6ba7b813-9dad-11d1-80b4-00c04fd430c8"
	old := w.acquire(w.engine, req, idempotency.OutcomeAcquired)
	tokenKeys.Store(old.Token, old.Record.Key)
	w.clock.Advance(lease)
	req.Deadline = w.clock.Now().Add(lease)
	rearmed := w.acquire(w.engine, req, idempotency.OutcomeAcquired)
	if rearmed.Record.Attempt != 1 || rearmed.Record.Fence <= old.Record.Fence {
		w.Fatalf("the same call after its lease is attempt %d, fence %d after %d", rearmed.Record.Attempt, rearmed.Record.Fence, old.Record.Fence)
	}
	w.refused(old.Token, idempotency.ErrClaimLost)
	w.fail(w.engine, rearmed.Token, true, idempotency.Released)
	w.fail(w.engine, w.held("again").Token, true, idempotency.Released)
	third := w.acquire(w.engine, req, idempotency.OutcomeAcquired)
	w.refused(old.Token, idempotency.ErrClaimLost)
	w.complete(w.engine, third.Token, "3")

	// Eight copies of one call at once are one claim.
	req = w.ask("copies")
	req.ClientToken = "6ba7b812-9dad-11d1-80b4-00c04fd430c8"
	var wg sync.WaitGroup
	var tokens sync.Map
	for range 8 {
		wg.Go(func() {
			out, err := w.engine.Acquire(w.Context(), req)
			if err != nil || out.Status != idempotency.OutcomeAcquired {
				w.Errorf("a copy got %v, %v", out.Status, err)
			}
			tokens.Store(out.Token, true)
		})
	}
	wg.Wait()
	n := 0
	tokens.Range(func(_, _ any) bool { n++; return true })
	if n != 1 {
		w.Fatalf("%d tokens for one call", n)
	}
}

func released(w *world) {
	first := w.held("k")
	w.fail(w.engine, first.Token, true, idempotency.Released)
	w.refusedBut(first.Token)
	second := w.held("k")
	if second.Record.Attempt != 2 || second.Record.Error == nil || second.Record.Error.Message != "An unexpected error has occurred." {
		w.Fatalf("the retry does not know of the failure: %+v", second.Record)
	}
	w.refused(first.Token, idempotency.ErrClaimLost)
	w.complete(w.engine, second.Token, "2")
	if rec := w.get(w.key("k")); rec.Error != nil {
		w.Fatalf("a completed record keeps the error %+v", rec.Error)
	}
}

// refusedBut checks that a released claim's token neither completes nor renews.
func (w *world) refusedBut(token string) {
	w.Helper()
	_, err := w.engine.Complete(w.Context(), idempotency.CompleteRequest{Token: token})
	w.is(err, idempotency.ErrClaimLost, "complete after release")
	_, err = w.engine.Renew(w.Context(), token, w.clock.Now().Add(lease))
	w.is(err, idempotency.ErrClaimLost, "renew after release")
}

func finalFailure(w *world) {
	out := w.held("k")
	w.fail(w.engine, out.Token, false, idempotency.Failed)
	w.clock.Advance(time.Minute)
	dup := w.acquire(w.engine, w.ask("k"), idempotency.OutcomeFailed)
	if dup.Record.Error == nil || dup.Record.Error.Type != "RuntimeError" || dup.Record.RequestID != "request-k" {
		w.Fatalf("a duplicate is told %+v", dup.Record)
	}
	w.clock.Advance(ttl)
	w.acquire(w.engine, w.ask("k"), idempotency.OutcomeAcquired)
}

func maxAttempts(w *world) {
	e := engine(w.store, w.clock, func(o *idempotency.Options) { o.MaxAttempts = 3 })
	for attempt := 1; attempt <= 3; attempt++ {
		out := w.acquire(e, w.ask("fails"), idempotency.OutcomeAcquired)
		if out.Record.Attempt != attempt {
			w.Fatalf("attempt %d, want %d", out.Record.Attempt, attempt)
		}
		want := idempotency.Released
		if attempt == 3 {
			want = idempotency.Failed
		}
		w.fail(e, out.Token, true, want)
	}
	w.acquire(e, w.ask("fails"), idempotency.OutcomeFailed)
	// Runs that die without a word count too.
	var last idempotency.Outcome
	for range 3 {
		last = w.acquire(e, w.ask("dies"), idempotency.OutcomeAcquired)
		w.clock.Advance(lease)
	}
	out := w.acquire(e, w.ask("dies"), idempotency.OutcomeFailed)
	if out.Record.Error == nil || out.Record.Error.Type != "Claim.Lapsed" {
		w.Fatalf("a duplicate is told %+v", out.Record.Error)
	}
	if rec := w.get(w.key("dies")); rec.Status != idempotency.Failed {
		w.Fatalf("what was told as final is stored as %s", rec.Status)
	}
	// What was told as final stays so, whatever the last holder says later.
	_, err := e.Complete(w.Context(), idempotency.CompleteRequest{Token: last.Token})
	w.is(err, idempotency.ErrClaimLost, "late complete of the last attempt")
	w.acquire(e, w.ask("dies"), idempotency.OutcomeFailed)
}

func repeatedEnds(w *world) {
	out := w.held("completed")
	w.complete(w.engine, out.Token, `"first"`)
	before := w.get(w.key("completed"))
	w.clock.Advance(time.Second)
	w.complete(w.engine, out.Token, `"first"`)
	w.complete(w.engine, out.Token, `"another"`)
	if diff := cmp.Diff(before, w.get(w.key("completed"))); diff != "" {
		w.Fatalf("a repeated complete changed the record:\n%s", diff)
	}
	_, err := w.engine.Fail(w.Context(), idempotency.FailRequest{Token: out.Token, Retry: true})
	w.is(err, idempotency.ErrClaimLost, "fail after complete")
	_, err = w.engine.Renew(w.Context(), out.Token, w.clock.Now().Add(lease))
	w.is(err, idempotency.ErrClaimLost, "renew after complete")

	out = w.held("failed")
	w.fail(w.engine, out.Token, false, idempotency.Failed)
	w.fail(w.engine, out.Token, false, idempotency.Failed)
	_, err = w.engine.Complete(w.Context(), idempotency.CompleteRequest{Token: out.Token})
	w.is(err, idempotency.ErrClaimLost, "complete after a final failure")

	out = w.held("released")
	w.fail(w.engine, out.Token, true, idempotency.Released)
	w.fail(w.engine, out.Token, true, idempotency.Released)
	_, err = w.engine.Fail(w.Context(), idempotency.FailRequest{Token: out.Token})
	w.is(err, idempotency.ErrClaimLost, "final failure after release")
}

func unknownClaims(w *world) {
	for _, token := range []string{"", "x", "AAAA", strings.Repeat("A", 100), strings.Repeat("A", 9000), "é"} {
		_, err := w.engine.Complete(w.Context(), idempotency.CompleteRequest{Token: token})
		w.is(err, idempotency.ErrClaimUnknown, "complete with a token that is none")
	}
	// A claim of another store: its record is not here.
	clock := NewClock()
	other := engine(w.suite.Open(w.T, clock.Now), clock, nil)
	req := w.ask("elsewhere")
	req.Deadline = clock.Now().Add(lease)
	token := w.acquire(other, req, idempotency.OutcomeAcquired).Token
	fresh := engine(w.suite.Open(w.T, clock.Now), clock, nil)
	_, err := fresh.Complete(w.Context(), idempotency.CompleteRequest{Token: token})
	w.is(err, idempotency.ErrClaimUnknown, "complete without a record")
	_, err = fresh.Renew(w.Context(), token, clock.Now().Add(lease))
	w.is(err, idempotency.ErrClaimUnknown, "renew without a record")
}

func history(w *world) {
	for range 12 {
		w.fail(w.engine, w.held("k").Token, true, idempotency.Released)
		w.clock.Advance(time.Second)
	}
	w.complete(w.engine, w.held("k").Token, "1")
	rec := w.get(w.key("k"))
	if len(rec.History) != 10 {
		w.Fatalf("%d entries, want 10", len(rec.History))
	}
	last := rec.History[9]
	if last.Status != idempotency.Completed || last.RequestID != "request-k" || !last.At.Equal(w.clock.Now()) {
		w.Fatalf("the newest entry is %+v", last)
	}
	if failed := rec.History[7]; failed.Status != idempotency.Released || failed.Detail != "An unexpected error has occurred." {
		w.Fatalf("the failure's entry is %+v", failed)
	}
	for i := 1; i < len(rec.History); i++ {
		if rec.History[i].At.Before(rec.History[i-1].At) {
			w.Fatal("the history is not oldest first")
		}
	}
	none := engine(w.store, w.clock, func(o *idempotency.Options) { o.History = 0 })
	w.complete(none, w.acquire(none, w.ask("none"), idempotency.OutcomeAcquired).Token, "1")
	if rec := w.get(w.key("none")); len(rec.History) != 0 {
		w.Fatalf("history is kept: %+v", rec.History)
	}
}

func settling(w *world) {
	abandoned := idempotency.Failure{Type: "Handler.Abandoned", Message: "left open"}
	w.held("open")
	detached := w.ask("detached")
	detached.Detached = true
	w.acquire(w.engine, detached, idempotency.OutcomeAcquired)
	done := w.held("done")
	w.complete(w.engine, done.Token, "1")
	if n := w.engine.OpenClaims(); n != 1 {
		w.Fatalf("%d open claims, want 1", n)
	}
	list := w.engine.Open(func(idempotency.OpenClaim) bool { return true })
	w.engine.Settle(w.Context(), list, abandoned, true)
	if n := w.engine.OpenClaims(); n != 0 {
		w.Fatalf("%d open claims after settling", n)
	}
	out := w.acquire(w.engine, w.ask("open"), idempotency.OutcomeAcquired)
	if out.Record.Error == nil || out.Record.Error.Type != "Handler.Abandoned" {
		w.Fatalf("the retry is told %+v", out.Record.Error)
	}
	w.acquire(w.engine, w.ask("detached"), idempotency.OutcomeInProgress)
	w.acquire(w.engine, w.ask("done"), idempotency.OutcomeCompleted)

	// A claim that was ended elsewhere meanwhile is left as it is.
	w.complete(engine(w.store, w.clock, nil), out.Token, `"elsewhere"`)
	w.engine.Settle(w.Context(), w.engine.Open(func(idempotency.OpenClaim) bool { return true }), abandoned, true)
	if out := w.acquire(w.engine, w.ask("open"), idempotency.OutcomeCompleted); string(out.Record.Result) != `"elsewhere"` {
		w.Fatalf("settling changed a completed record: %s", out.Record.Result)
	}
}

func waiting(w *world) {
	now := time.Now // Waiting takes real time, so the lease does too.
	e := idempotency.NewEngine(w.store, idempotency.Options{TTL: ttl, Now: now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	ask := func(name string) idempotency.AcquireRequest {
		return idempotency.AcquireRequest{Key: w.key(name), Deadline: now().Add(lease), Wait: 5 * time.Second}
	}
	first := w.acquire(e, ask("k"), idempotency.OutcomeAcquired)
	time.AfterFunc(200*time.Millisecond, func() {
		if _, err := e.Complete(context.Background(), idempotency.CompleteRequest{Token: first.Token, Result: []byte("7")}); err != nil {
			w.Error(err)
		}
	})
	start := now()
	if out := w.acquire(e, ask("k"), idempotency.OutcomeCompleted); string(out.Record.Result) != "7" {
		w.Fatalf("the waiter got %s", out.Record.Result)
	}
	if took := now().Sub(start); took < 150*time.Millisecond || took > 4*time.Second {
		w.Fatalf("the waiter waited %v", took)
	}

	first = w.acquire(e, ask("freed"), idempotency.OutcomeAcquired)
	time.AfterFunc(100*time.Millisecond, func() {
		if _, err := e.Fail(context.Background(), idempotency.FailRequest{Token: first.Token, Retry: true}); err != nil {
			w.Error(err)
		}
	})
	w.acquire(e, ask("freed"), idempotency.OutcomeAcquired)

	// A lease counts from the grant, not from the call: whoever waited has all of it.
	first = w.acquire(e, ask("longer than the lease"), idempotency.OutcomeAcquired)
	time.AfterFunc(400*time.Millisecond, func() {
		if _, err := e.Fail(context.Background(), idempotency.FailRequest{Token: first.Token, Retry: true}); err != nil {
			w.Error(err)
		}
	})
	brief := ask("longer than the lease")
	brief.Deadline, brief.Lease = time.Time{}, 300*time.Millisecond
	if left := w.acquire(e, brief, idempotency.OutcomeAcquired).Record.LeaseExpiresAt.Sub(now()); left <= 0 {
		w.Fatalf("the claim was granted %v after it lapsed", -left)
	}

	short := ask("k2")
	w.acquire(e, short, idempotency.OutcomeAcquired)
	short.Wait = 100 * time.Millisecond
	start = now()
	out := w.acquire(e, short, idempotency.OutcomeInProgress)
	if took := now().Sub(start); took < 100*time.Millisecond {
		w.Fatalf("gave up after %v", took)
	}
	if out.RetryAfter <= 0 {
		w.Fatal("no time to try again")
	}
}

func keyParts(w *world) {
	names := []string{"a", "A", "a ", "é", "e\u0301", "\x00", "a\x00b", strings.Repeat("k", 1024), "日本", `"`, "a#b"}
	for i, name := range names {
		w.complete(w.engine, w.held(name).Token, fmt.Sprint(i))
	}
	for i, name := range names {
		if out := w.acquire(w.engine, w.ask(name), idempotency.OutcomeCompleted); string(out.Record.Result) != fmt.Sprint(i) {
			w.Errorf("key %q got the result of another: %s", name, out.Record.Result)
		}
	}
}

func duplicatesChangeNothing(w *world) {
	out := w.held("k")
	before := w.get(w.key("k"))
	w.clock.Advance(time.Second)
	w.acquire(w.engine, w.ask("k"), idempotency.OutcomeInProgress)
	if diff := cmp.Diff(before, w.get(w.key("k"))); diff != "" {
		w.Fatalf("a duplicate changed the running record:\n%s", diff)
	}
	w.complete(w.engine, out.Token, "1")
	before = w.get(w.key("k"))
	w.clock.Advance(time.Second)
	w.acquire(w.engine, w.ask("k"), idempotency.OutcomeCompleted)
	if diff := cmp.Diff(before, w.get(w.key("k"))); diff != "" {
		w.Fatalf("a duplicate changed the completed record:\n%s", diff)
	}
}

// lostAnswers shows that a write which was applied, and whose answer was lost,
// is recognised when it is sent again.
func lostAnswers(t *testing.T, s Suite) {
	clock := NewClock()
	var store idempotency.Store
	var drop func()
	if s.Lossy != nil {
		store, drop = s.Lossy(t, clock.Now)
	} else {
		twice := &twice{Store: s.Open(t, clock.Now)}
		store, drop = twice, func() { twice.armed = true }
	}
	w := &world{T: t, suite: s, clock: clock, store: store, engine: engine(store, clock, nil)}

	drop()
	out := w.held("completed")
	if out.Record.Attempt != 1 {
		t.Fatalf("attempt %d", out.Record.Attempt)
	}
	drop()
	w.complete(w.engine, out.Token, `"done"`)
	if out := w.acquire(w.engine, w.ask("completed"), idempotency.OutcomeCompleted); string(out.Record.Result) != `"done"` || len(out.Record.History) != 2 {
		t.Fatalf("stored %s with %d entries", out.Record.Result, len(out.Record.History))
	}

	out = w.held("released")
	drop()
	w.fail(w.engine, out.Token, true, idempotency.Released)
	drop()
	retry := w.held("released") // The takeover's answer is lost too.
	if retry.Record.Attempt != 2 {
		t.Fatalf("attempt %d, want 2", retry.Record.Attempt)
	}
	drop()
	if _, err := w.engine.Renew(t.Context(), retry.Token, clock.Now().Add(2*lease)); err != nil {
		t.Fatalf("renew: %v", err)
	}
	drop()
	w.fail(w.engine, retry.Token, false, idempotency.Failed)
	if out := w.acquire(w.engine, w.ask("released"), idempotency.OutcomeFailed); len(out.Record.History) != 4 {
		t.Fatalf("%d entries, want 4", len(out.Record.History))
	}
}

// twice sends the next write twice, and answers as the second did.
type twice struct {
	idempotency.Store
	armed bool
}

func (s *twice) again() bool {
	was := s.armed
	s.armed = false
	return was
}

func (s *twice) Put(ctx context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	err := s.Store.Put(ctx, rec, when)
	if s.again() {
		err = s.Store.Put(ctx, rec, when)
	}
	return err
}

func (s *twice) Update(ctx context.Context, key idempotency.Key, change idempotency.Change) error {
	err := s.Store.Update(ctx, key, change)
	if s.again() {
		err = s.Store.Update(ctx, key, change)
	}
	return err
}

// secondProcess shows that a token is good in any process on the same records.
func secondProcess(w *world) {
	out := w.held("k")
	req := w.ask("detached")
	req.Detached = true
	detached := w.acquire(w.engine, req, idempotency.OutcomeAcquired)
	second := w.store
	if w.suite.Second != nil {
		second = w.suite.Second(w.T, w.store)
	}
	w.store = second
	e := engine(second, w.clock, func(o *idempotency.Options) { o.Function = "other" })
	if _, err := e.Renew(w.Context(), detached.Token, w.clock.Now().Add(time.Hour)); err != nil {
		w.Fatal(err)
	}
	w.clock.Advance(time.Minute)
	w.acquire(e, w.ask("detached"), idempotency.OutcomeInProgress)
	w.complete(e, detached.Token, `"there"`)
	w.complete(e, out.Token, `"late, and there"`)
	if out := w.acquire(e, w.ask("k"), idempotency.OutcomeCompleted); string(out.Record.Result) != `"late, and there"` {
		w.Fatalf("replayed %s", out.Record.Result)
	}
}
