package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client"
	"github.com/lambda-idempotency/lambda-idempotency/client/lambdahandler"
)

type batchVector struct {
	Name string
	Call struct {
		Event       json.RawMessage
		KeyJMESPath string `json:"key_jmespath"`
		Scope       *string
		TTLSeconds  int64  `json:"ttl_seconds"`
		RequestID   string `json:"request_id"`
		RemainingMS int64  `json:"remaining_ms"`
		Final       bool
	}
	Work map[string]struct {
		Throws  string
		TakesMS int64 `json:"takes_ms"`
	}
	Answers  []turn
	Requests []struct {
		Path     string
		Items    []map[string]json.RawMessage
		Deadline bool
	}
	Runs    []string
	Outcome struct {
		Failures []string
		Warnings *int

		Error        string
		Code         string
		RetryAfterMS int64 `json:"retry_after_ms"`
	}
}

// TestBatchVectors holds WrapSQS against what is expected of all batch helpers.
func TestBatchVectors(t *testing.T) {
	for _, v := range cases[batchVector](t, "batch-vectors.json") {
		t.Run(v.Name, v.test)
	}
}

type message struct {
	MessageID string `json:"messageId"`
}

func (v batchVector) test(t *testing.T) {
	server, warned := script(t, v.Answers...), warnings(t)
	t.Setenv("IDEMPOTENCY_PORT", server.URL[strings.LastIndexByte(server.URL, ':')+1:])
	ctx := t.Context()
	if v.Call.RemainingMS > 0 {
		within, cancel := context.WithTimeout(ctx, time.Duration(v.Call.RemainingMS)*time.Millisecond)
		defer cancel()
		ctx = within
	}
	if v.Call.RequestID != "" {
		ctx = client.WithRequestID(ctx, v.Call.RequestID)
	}
	runs := []string{}
	handler := lambdahandler.WrapSQS(func(ctx context.Context, m message) error {
		runs = append(runs, m.MessageID)
		if claim, ok := client.ClaimFrom(ctx); !ok || claim.Fence != 5 {
			t.Errorf("%s has the claim %+v", m.MessageID, claim)
		}
		work := v.Work[m.MessageID]
		time.Sleep(time.Duration(work.TakesMS) * time.Millisecond)
		switch {
		case work.Throws == "":
			return nil
		case v.Call.Final:
			return client.Final(errors.New(work.Throws))
		}
		return errors.New(work.Throws)
	}, client.AcquireRequest{KeyJMESPath: v.Call.KeyJMESPath, Scope: v.Call.Scope, TTL: time.Duration(v.Call.TTLSeconds) * time.Second})
	out, err := handler(ctx, v.Call.Event)
	if !slices.Equal(runs, v.Runs) {
		t.Errorf("run were %q, want %q", runs, v.Runs)
	}
	v.compareRequests(t, server.requests())
	want := v.Outcome
	if want.Error != "" {
		v.compareError(t, err)
		return
	}
	list := []map[string]string{}
	for _, id := range want.Failures {
		list = append(list, map[string]string{"itemIdentifier": id})
	}
	if report, _ := json.Marshal(map[string]any{"batchItemFailures": list}); err != nil || string(out) != string(report) {
		t.Errorf("it answered %s, %v; want %s", out, err, report)
	}
	if n := len(warned()); want.Warnings != nil && n != *want.Warnings {
		t.Errorf("%d warnings, want %d: %q", n, *want.Warnings, warned())
	}
}

func (v batchVector) compareRequests(t *testing.T, seen []asked) {
	t.Helper()
	if len(seen) != len(v.Requests) {
		t.Fatalf("the sidecar saw %v, want %d requests", seen, len(v.Requests))
	}
	tokens := map[string]bool{}
	for i, want := range v.Requests {
		got := seen[i]
		var items []map[string]json.RawMessage
		if err := json.Unmarshal(got.Body["items"], &items); err != nil || got.Path != want.Path || len(items) != len(want.Items) || len(got.Body) != 1 {
			t.Fatalf("request %d is %s %s, want %s of %d items", i, got.Path, got.Raw, want.Path, len(want.Items))
		}
		if i > 0 && seen[i-1].Path == got.Path {
			if got.Raw != seen[i-1].Raw {
				t.Errorf("%s was sent again as %s, after %s", got.Path, got.Raw, seen[i-1].Raw)
			}
			continue
		}
		for j, item := range items {
			if got.Path == "/acquire/batch" {
				if token := string(item["client_token"]); len(token) < 18 || tokens[token] {
					t.Errorf("the client_token is %s, in %v", token, tokens)
				}
				tokens[string(item["client_token"])] = true
				delete(item, "client_token")
			}
			if want.Deadline {
				var ms int64
				_ = json.Unmarshal(item["deadline_ms"], &ms)
				delete(item, "deadline_ms")
				taken := time.Duration(0)
				for _, work := range v.Work {
					taken += time.Duration(work.TakesMS) * time.Millisecond
				}
				if off := time.Until(time.UnixMilli(ms)) + taken - time.Duration(v.Call.RemainingMS)*time.Millisecond; off.Abs() > 2*time.Second {
					t.Errorf("deadline_ms is %d, %v off", ms, off)
				}
			}
			compareItem(t, got.Path, item, want.Items[j])
		}
	}
}

func compareItem(t *testing.T, path string, got, want map[string]json.RawMessage) {
	t.Helper()
	if text, ok := want["error_message"]; ok {
		var message string
		var sent client.Failure
		if json.Unmarshal(text, &message) != nil || json.Unmarshal(got["error"], &sent) != nil || sent.Type == "" || !strings.HasSuffix(sent.Message, message) {
			t.Errorf("%s has the error %s, want %s", path, got["error"], text)
		}
		delete(got, "error")
		delete(want, "error_message")
	}
	if len(got) != len(want) {
		t.Errorf("%s has %s, want %s", path, got, want)
	}
	for name, value := range want {
		if !same(got[name], value) {
			t.Errorf("%s has %s %s, want %s", path, name, got[name], value)
		}
	}
}

func (v batchVector) compareError(t *testing.T, err error) {
	t.Helper()
	want := v.Outcome
	var away *client.UnavailableError
	isAway := errors.As(err, &away)
	if isAway != (want.Error == "UnavailableError") {
		t.Fatalf("%v, want %+v", err, want)
	}
	if isAway {
		if away.Code != want.Code || away.RetryAfter != time.Duration(want.RetryAfterMS)*time.Millisecond {
			t.Errorf("%#v, want %+v", away, want)
		}
		return
	}
	if problem := as[*client.ProblemError](t, err); want.Error != "ProblemError" || problem.Code != want.Code {
		t.Errorf("%#v, want %+v", problem, want)
	}
}
