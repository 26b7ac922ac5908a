package storetest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

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
