package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
)

type vector struct {
	Name string
	Call struct {
		Key         json.RawMessage
		Event       json.RawMessage
		KeyJMESPath string `json:"key_jmespath"`
		Payload     json.RawMessage
		Scope       *string
		TTLSeconds  int64  `json:"ttl_seconds"`
		WaitMS      int64  `json:"wait_ms"`
		RequestID   string `json:"request_id"`
		RemainingMS int64  `json:"remaining_ms"`
		Final       bool
	}
	Work struct {
		Returns json.RawMessage
		Throws  string
	}
	Answers  []turn
	Requests []struct {
		Path         string
		Body         map[string]json.RawMessage
		Deadline     bool
		ErrorMessage string `json:"error_message"`
	}
	Runs    int
	Outcome struct {
		Returns json.RawMessage
		Warning bool

		Error          string
		Message        string
		Type           string
		Code           string
		Detail         string
		RequestID      string `json:"request_id"`
		RetryAfterMS   int64  `json:"retry_after_ms"`
		LeaseExpiresAt int64  `json:"lease_expires_at"`
		Result         json.RawMessage
	}
}

// TestVectors holds the client against what is expected of all of them.
func TestVectors(t *testing.T) {
	for _, v := range cases[vector](t, "vectors.json") {
		t.Run(v.Name, v.test)
	}
}

// cases reads a file of vectors.
func cases[V any](t *testing.T, name string) []V {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		About string
		Cases []V
	}
	// Strictly: a member that this test does not know is one that it does not check.
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil || len(file.Cases) == 0 {
		t.Fatalf("%d cases, %v", len(file.Cases), err)
	}
	return file.Cases
}

func (v vector) test(t *testing.T) {
	server, warned := script(t, v.Answers...), warnings(t)
	ctx := t.Context()
	req := v.acquire(t)
	if v.Call.RemainingMS > 0 {
		within, cancel := context.WithTimeout(ctx, time.Duration(v.Call.RemainingMS)*time.Millisecond)
		defer cancel()
		ctx = within
	}
	if v.Call.RequestID != "" {
		ctx = client.WithRequestID(ctx, v.Call.RequestID)
	}
	runs := 0
	thrown := errors.New(v.Work.Throws)
	result, err := client.DoWith(ctx, &client.Client{URL: server.URL}, req, func(context.Context) (json.RawMessage, error) {
		runs++
		switch {
		case v.Work.Throws == "":
			return v.Work.Returns, nil
		case v.Call.Final:
			return nil, client.Final(thrown)
		}
		return nil, thrown
	})
	if runs != v.Runs {
		t.Errorf("the work ran %d times, want %d", runs, v.Runs)
	}
	if n := len(warned()); v.Outcome.Warning && n != 1 {
		t.Errorf("%d warnings: %q", n, warned())
	}
	v.compareRequests(t, server.requests())
	if v.Outcome.Error == "" {
		if got, _ := json.Marshal(result); err != nil || !same(got, v.Outcome.Returns) {
			t.Errorf("returned %s, %v; want %s", got, err, v.Outcome.Returns)
		}
		return
	}
	v.compareError(t, err, thrown)
}

func (v vector) acquire(t *testing.T) client.AcquireRequest {
	t.Helper()
	req := client.AcquireRequest{
		KeyJMESPath: v.Call.KeyJMESPath, Scope: v.Call.Scope,
		TTL: time.Duration(v.Call.TTLSeconds) * time.Second, Wait: time.Duration(v.Call.WaitMS) * time.Millisecond,
	}
	var one string
	switch {
	case v.Call.Key == nil:
		req.Event = v.Call.Event
	case json.Unmarshal(v.Call.Key, &one) == nil:
		req.Key = client.Key{one}
	default:
		if err := json.Unmarshal(v.Call.Key, (*[]string)(&req.Key)); err != nil {
			t.Fatal(err)
		}
	}
	if v.Call.Payload != nil {
		req.Payload = v.Call.Payload
	}
	return req
}

func (v vector) compareRequests(t *testing.T, seen []asked) {
	t.Helper()
	if len(seen) != len(v.Requests) {
		t.Fatalf("the sidecar saw %v, want %d requests", seen, len(v.Requests))
	}
	for i, want := range v.Requests {
		got := seen[i]
		if got.Path != want.Path {
			t.Errorf("request %d is to %s, want %s", i, got.Path, want.Path)
		}
		for name, value := range want.Body {
			if !same(got.Body[name], value) {
				t.Errorf("%s has %s %s, want %s", got.Path, name, got.Body[name], value)
			}
		}
		if want.Deadline {
			var ms int64
			_ = json.Unmarshal(got.Body["deadline_ms"], &ms)
			off := time.Until(time.UnixMilli(ms)) - time.Duration(v.Call.RemainingMS)*time.Millisecond
			if off.Abs() > 2*time.Second {
				t.Errorf("deadline_ms is %d, %v off", ms, off)
			}
		}
		if want.ErrorMessage != "" {
			var sent client.Failure
			_ = json.Unmarshal(got.Body["error"], &sent)
			if sent.Message != want.ErrorMessage || sent.Type == "" {
				t.Errorf("the error sent is %+v", sent)
			}
		}
		if want.Path == "/acquire" {
			again := i > 0 && seen[i-1].Path == "/acquire"
			if token := got.text("client_token"); len(token) < 16 || again && token != seen[i-1].text("client_token") {
				t.Errorf("the client_token is %q, repeated: %t", token, again)
			}
		}
	}
}

func (v vector) compareError(t *testing.T, err, thrown error) {
	t.Helper()
	want := v.Outcome
	var code, detail, requestID string
	var retryAfter time.Duration
	switch want.Error {
	case "work":
		if err != thrown || err.Error() != want.Message { //nolint:errorlint // As it was.
			t.Errorf("%v, want the work's own error as it was", err)
		}
		return
	case "InProgressError":
		e := as[*client.InProgressError](t, err)
		requestID, retryAfter = e.RequestID, e.RetryAfter
		if e.LeaseExpiresAt.UnixMilli() != want.LeaseExpiresAt {
			t.Errorf("the claim lapses at %v, want %d", e.LeaseExpiresAt, want.LeaseExpiresAt)
		}
	case "FailedError":
		if e := as[*client.FailedError](t, err); e.Type != want.Type || e.Message != want.Message {
			t.Errorf("%+v, want %+v", e, want)
		}
	case "PayloadMismatchError":
		e := as[*client.PayloadMismatchError](t, err)
		code, detail = e.Code, e.Detail
	case "ClaimLostError":
		e := as[*client.ClaimLostError](t, err)
		code = e.Code
		if result, _ := e.Result.(json.RawMessage); !same(result, want.Result) {
			t.Errorf("the error has the result %v", e.Result)
		}
	case "UnavailableError":
		e := as[*client.UnavailableError](t, err)
		code, retryAfter = e.Code, e.RetryAfter
	case "ProblemError":
		e := as[*client.ProblemError](t, err)
		code, detail = e.Code, e.Detail
		for _, other := range []any{new(*client.PayloadMismatchError), new(*client.ClaimLostError), new(*client.UnavailableError)} {
			if errors.As(err, other) {
				t.Errorf("%v is more than a problem", err)
			}
		}
	default:
		t.Fatalf("nothing checks %s", want.Error)
	}
	if code != want.Code || want.Detail != "" && detail != want.Detail || requestID != want.RequestID || retryAfter != time.Duration(want.RetryAfterMS)*time.Millisecond {
		t.Errorf("%#v, want %+v", err, want)
	}
	if problem, ok := errors.AsType[*client.ProblemError](err); want.Code != "" && (!ok || problem.Code != want.Code) {
		t.Errorf("%v is not the problem that was answered", err)
	}
}

// as finds an error of a type, also where it is joined with others.
func as[E error](t *testing.T, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](errors.Join(errors.New("another"), err))
	if !ok {
		t.Fatalf("%T %v, want %T", err, err, e)
	}
	return e
}

// same tells whether two JSON texts say the same.
func same(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}
