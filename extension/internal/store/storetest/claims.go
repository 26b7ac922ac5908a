package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

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
