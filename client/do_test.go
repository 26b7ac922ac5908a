package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

const (
	completed = `{"status":"completed"}`
	released  = `{"status":"released"}`
	failed    = `{"status":"failed"}`
	tooLarge  = `{"status":413,"code":"too_large","detail":"the body is too large"}`
	unknown   = `{"status":404,"code":"claim_unknown","detail":"the record is gone"}`
)

var order = client.AcquireRequest{Key: client.Key{"order-1"}}

// sentError is the error that the last request told.
func (s *scripted) sentError(t *testing.T) (failure client.Failure, retry bool) {
	t.Helper()
	seen := s.requests()
	last := seen[len(seen)-1]
	if last.Path != "/fail" || json.Unmarshal(last.Body["error"], &failure) != nil || json.Unmarshal(last.Body["retry"], &retry) != nil {
		t.Fatalf("the last request is %s %s", last.Path, last.Raw)
	}
	return failure, retry
}

func TestPanicFreesTheKey(t *testing.T) {
	s := script(t, says(acquired), says(released))
	var caught any
	func() {
		defer func() { caught = recover() }()
		_, _ = client.DoWith(t.Context(), &client.Client{URL: s.URL}, order, func(context.Context) (int, error) {
			panic(io.ErrUnexpectedEOF)
		})
	}()
	if caught != io.ErrUnexpectedEOF { //nolint:errorlint // As it was.
		t.Errorf("the panic went on as %v", caught)
	}
	if failure, retry := s.sentError(t); !retry || failure != (client.Failure{Type: "panic", Message: "unexpected EOF"}) {
		t.Errorf("told %+v, retry %t", failure, retry)
	}
}

func TestEndedGoroutineFreesTheKey(t *testing.T) {
	s := script(t, says(acquired), says(released))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = client.DoWith(t.Context(), &client.Client{URL: s.URL}, order, func(context.Context) (int, error) {
			runtime.Goexit()
			return 0, nil
		})
		t.Error("it went on")
	}()
	<-done
	if failure, retry := s.sentError(t); !retry || failure.Type != "runtime.Goexit" {
		t.Errorf("told %+v, retry %t", failure, retry)
	}
}

// A result that cannot be stored is an error of the work, also where its encoding
// panics: the claim is never left open.
func TestResultThatIsNotJSON(t *testing.T) {
	s := script(t, says(acquired), says(released), says(acquired), says(released))
	c := &client.Client{URL: s.URL}
	if _, err := client.DoWith(t.Context(), c, order, returns(math.Inf(1), nil)); err == nil || !strings.Contains(err.Error(), "the result is not JSON") {
		t.Errorf("%v", err)
	}
	if failure, _ := s.sentError(t); failure.Type != "*json.UnsupportedValueError" {
		t.Errorf("told %+v", failure)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = client.DoWith(t.Context(), c, order, returns(panics{}, nil))
		t.Error("it went on")
	}()
	if failure, _ := s.sentError(t); failure.Type != "panic" {
		t.Errorf("told %+v", failure)
	}
}

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no JSON") }

// The end is told even if the work's own context has ended.
func TestEndedContext(t *testing.T) {
	for name, cause := range map[string]error{"complete": nil, "fail": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			s := script(t, says(acquired), says(completed))
			ctx, cancel := context.WithCancel(t.Context())
			_, err := client.DoWith(ctx, &client.Client{URL: s.URL}, order, func(context.Context) (string, error) {
				cancel()
				return "done", cause
			})
			if !errors.Is(err, cause) {
				t.Errorf("%v, want %v", err, cause)
			}
			if seen := s.requests(); len(seen) != 2 || seen[1].Path != "/"+name {
				t.Errorf("the sidecar saw %v", seen)
			}
		})
	}
}

func TestClaimInTheWorksContext(t *testing.T) {
	s := script(t,
		says(`{"status":"acquired","token":"t1","fence":7,"attempt":3,"lease_expires_at":1234,"previous_error":{"type":"T","message":"m"}}`),
		says(`{"status":"acquired","lease_expires_at":5678}`), says(completed))
	_, err := client.DoWith(t.Context(), &client.Client{URL: s.URL}, order, func(ctx context.Context) (string, error) {
		claim, ok := client.ClaimFrom(ctx)
		if !ok || claim.Token != "t1" || claim.Fence != 7 || claim.Attempt != 3 || claim.LeaseExpiresAt.UnixMilli() != 1234 ||
			*claim.PreviousError != (client.Failure{Type: "T", Message: "m"}) || claim.Unprotected {
			t.Errorf("the claim is %+v", claim)
		}
		until, err := claim.Renew(ctx, 1500*time.Microsecond)
		if until.UnixMilli() != 5678 {
			t.Errorf("renewed until %v", until)
		}
		return "", err
	})
	if err != nil {
		t.Fatal(err)
	}
	if renew := s.requests()[1]; renew.Path != "/renew" || renew.Raw != `{"token":"t1","lease_ms":2}` {
		t.Errorf("renewed with %s %s", renew.Path, renew.Raw)
	}
	if claim, ok := client.ClaimFrom(t.Context()); ok {
		t.Errorf("outside, there is the claim %+v", claim)
	}
}

type refused struct{ card string }

func (r *refused) Error() string { return "refused: " + r.card }

func TestFinal(t *testing.T) {
	if client.Final(nil) != nil {
		t.Error("no error is marked")
	}
	cause := &refused{"1"}
	for _, c := range []struct {
		err      error
		final    bool
		returned error
		kind     string
	}{
		{cause, false, cause, "*client_test.refused"},
		{client.Final(cause), true, cause, "*client_test.refused"},
		{client.Final(client.Final(cause)), true, cause, "*client_test.refused"},
		{fmt.Errorf("charge: %w", client.Final(cause)), true, nil, "*client_test.refused"},
		{errors.Join(io.EOF, client.Final(cause)), true, nil, "*errors.joinError"},
		{fmt.Errorf("charge: %w", cause), false, nil, "*client_test.refused"},
		{&fs.PathError{Op: "open", Path: "p", Err: cause}, false, nil, "*fs.PathError"},
		{fmt.Errorf("plain"), false, nil, "*errors.errorString"},
	} {
		want := c.returned
		if want == nil {
			want = c.err
		}
		answer := map[bool]string{true: failed, false: released}[c.final]
		s := script(t, says(acquired), says(answer))
		_, err := client.DoWith(t.Context(), &client.Client{URL: s.URL}, order, returns(0, c.err))
		if err != want { //nolint:errorlint // As it was.
			t.Errorf("returned %#v, want %#v", err, want)
		}
		if failure, retry := s.sentError(t); retry == c.final || failure.Type != c.kind && c.kind != "*errors.errorString" || failure.Message != c.err.Error() {
			t.Errorf("of %v told %+v, retry %t", c.err, failure, retry)
		}
	}
}

// A duplicate is told nothing rather than that the work be done twice for its
// size; its run is not told at all.
func TestResultTooLarge(t *testing.T) {
	s, warned := script(t, says(acquired), turn{Status: 413, Body: json.RawMessage(tooLarge)}, says(completed)), warnings(t)
	if got, err := client.DoWith(t.Context(), &client.Client{URL: s.URL}, order, returns("large", nil)); got != "large" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if last := s.requests()[2]; last.Path != "/complete" || last.Raw != `{"token":"t1","result":null}` || len(warned()) != 1 {
		t.Errorf("told %s %s, warned %q", last.Path, last.Raw, warned())
	}
}

// The work is done: an error would only make Lambda repeat it.
func TestEndThatIsRefused(t *testing.T) {
	s, warned := script(t, says(acquired), turn{Status: 404, Body: json.RawMessage(unknown)}), warnings(t)
	if got, err := client.DoWith(t.Context(), &client.Client{URL: s.URL}, order, returns("done", nil)); got != "done" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if list := warned(); len(list) != 1 || !strings.Contains(list[0], "claim_unknown") {
		t.Errorf("warned %q", list)
	}
}

// A lost claim's run returns its result, too.
func TestClaimLostHasTheResult(t *testing.T) {
	s := script(t, says(acquired), turn{Status: 409, Body: json.RawMessage(`{"code":"claim_lost","detail":"another took the key"}`)})
	got, err := client.DoWith(t.Context(), &client.Client{URL: s.URL}, order, returns(42, nil))
	lost, ok := errors.AsType[*client.ClaimLostError](err)
	if !ok || lost.Result != 42 || got != 42 || lost.Status != 409 {
		t.Errorf("%d, %#v", got, err)
	}
}

// What is stored is the function's own JSON, and is decoded without loss.
func TestResults(t *testing.T) {
	type receipt struct{ URL, Name string }
	want := receipt{"https://a/?b=1&c=<2>", "é\u2028☃"}
	s := script(t, says(acquired), says(completed))
	if got, err := client.DoWith(t.Context(), &client.Client{URL: s.URL}, order, returns(want, nil)); got != want || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	stored := s.requests()[1].Body["result"]
	if !strings.Contains(string(stored), `?b=1&c=<2>`) {
		t.Errorf("stored %s", stored)
	}
	replay := func(result string) turn { return says(`{"status":"completed","result":` + result + `}`) }
	s = script(t, replay(string(stored)), replay(`{"n": 12345678901234567890}`), replay(`"text"`), replay(`null`))
	c := &client.Client{URL: s.URL}
	if got, err := client.DoWith(t.Context(), c, order, returns(receipt{}, nil)); got != want || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := client.DoWith(t.Context(), c, order, returns(json.RawMessage{}, nil)); string(got) != `{"n": 12345678901234567890}` || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := client.DoWith(t.Context(), c, order, returns(1, nil)); err == nil || !strings.Contains(err.Error(), "does not fit int") {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := client.DoWith(t.Context(), c, order, returns(&want, nil)); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestDisabled(t *testing.T) {
	t.Setenv("IDEMPOTENCY_DISABLED", "true")
	s := script(t)
	c := &client.Client{URL: s.URL}
	for range 2 {
		runs := 0
		got, err := client.DoWith(t.Context(), c, order, func(ctx context.Context) (string, error) {
			runs++
			claim, ok := client.ClaimFrom(ctx)
			if !ok || !claim.Unprotected || claim.Fence == 0 || claim.Attempt != 1 {
				t.Errorf("the claim is %+v", claim)
			}
			_, err := claim.Renew(ctx, time.Second)
			return "done", err
		})
		if got != "done" || err != nil || runs != 1 {
			t.Errorf("%q, %v after %d runs", got, err, runs)
		}
	}
	if _, err := client.DoWith(t.Context(), c, order, returns(0, client.Final(io.EOF))); err != io.EOF { //nolint:errorlint // As it was.
		t.Errorf("%v", err)
	}
	if seen := s.requests(); len(seen) != 0 {
		t.Errorf("a sidecar was called: %v", seen)
	}
}
