package runtimeproxy_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/runtimeproxy"
)

func TestDuplicateIsAnsweredWithoutTheHandler(t *testing.T) {
	s := newSandbox(t)
	const order, result = `{"order": 1}`, `{ "receipt" : 12345678901234567891 }`
	s.events <- event{id: "r1", body: order, header: http.Header{"Lambda-Runtime-Unknown": {"a", "b"}, "Content-Type": {"application/json"}}}
	id, body, header := s.take()
	if id != "r1" || body != order || len(header["Lambda-Runtime-Unknown"]) != 2 {
		t.Fatalf("the handler got %s %s %v", id, body, header)
	}
	s.nothing()
	s.answers(id, result)
	if got := s.next(); got.path != "/2018-06-01/runtime/invocation/r1/response" || got.body != result {
		t.Fatalf("Lambda was told %+v", got)
	}
	if rec := s.record(order); rec.Status != idempotency.Completed || string(rec.Result) != result || rec.RequestID != "r1" {
		t.Fatalf("stored: %+v", rec)
	}

	// The duplicate is answered, and the handler gets the event after it.
	s.events <- event{id: "r2", body: order}
	s.events <- event{id: "r3", body: `{"order": 2}`}
	if id, _, _ := s.take(); id != "r3" {
		t.Fatalf("the handler got %s", id)
	}
	if got := s.next(); got.path != "/2018-06-01/runtime/invocation/r2/response" || got.body != result || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("Lambda was told %+v", got)
	}
	s.nothing()
}

func TestDuplicateOfARunInProgress(t *testing.T) {
	for mode, check := range map[runtimeproxy.InProgress]func(t *testing.T, s *sandbox){
		runtimeproxy.InProgressError: func(t *testing.T, s *sandbox) {
			if got := s.next(); got.path != "/2018-06-01/runtime/invocation/r2/error" || got.header.Get("Lambda-Runtime-Function-Error-Type") != "Idempotency.InProgress" {
				t.Fatalf("Lambda was told %+v", got)
			}
		},
		runtimeproxy.InProgressSkip: func(t *testing.T, s *sandbox) {
			if got := s.next(); got.path != "/2018-06-01/runtime/invocation/r2/response" || got.body != "null" {
				t.Fatalf("Lambda was told %+v", got)
			}
			if !s.log.has("level=WARN") || !s.log.has("lambdaが多重起動したため処理を終了しました。") {
				t.Fatal("no warning")
			}
		},
		runtimeproxy.InProgressWait: func(t *testing.T, s *sandbox) {
			time.Sleep(100 * time.Millisecond)
			s.nothing()
			s.answers("r1", `"late"`)
			if got := s.next(); got.path != "/2018-06-01/runtime/invocation/r1/response" {
				t.Fatalf("Lambda was told %+v", got)
			}
			if got := s.next(); got.path != "/2018-06-01/runtime/invocation/r2/response" || got.body != `"late"` {
				t.Fatalf("Lambda was told %+v", got)
			}
		},
	} {
		t.Run(string(mode), func(t *testing.T) {
			s := newSandbox(t, func(o *runtimeproxy.Options) { o.OnInProgress = mode })
			s.events <- event{id: "r1", body: `{"order":1}`}
			s.take()
			s.events <- event{id: "r2", body: `{"order":1}`}
			s.events <- event{id: "r3", body: `{"order":2}`}
			taken := make(chan string, 1)
			go func() {
				id, _, _ := s.take()
				taken <- id
			}()
			check(t, s)
			if id := <-taken; id != "r3" {
				t.Fatalf("the handler got %s", id)
			}
		})
	}
}
