package runtimeproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

const (
	jsonType = "application/json"
	idHeader = "Lambda-Runtime-Aws-Request-Id"
	// nonceHeader comes with an event where an id may be used twice, and goes back
	// with its answer.
	nonceHeader = "Lambda-Runtime-Invocation-Id"
	// deadlineHeader is in epoch milliseconds.
	deadlineHeader = "Lambda-Runtime-Deadline-Ms"
)

// skipped is the log line of a skipped duplicate. The words are those of the
// sample that this project began as; alarms may look for them.
const skipped = "lambdaが多重起動したため処理を終了しました。 (a duplicate was skipped: another run holds the key)"

// next hands the next event that is not a duplicate to the runtime. It asks for
// one only when the runtime does: asking ends the init phase, and starts the clock
// of an invocation.
func (p *Proxy) next(w http.ResponseWriter, r *http.Request) {
	for {
		got, err := p.askNext(r)
		if err != nil {
			if r.Context().Err() == nil {
				p.Log.Warn("the Runtime API broke off while the next event was waited for", "error", err)
			}
			panic(http.ErrAbortHandler)
		}
		if got.status != http.StatusOK {
			_ = got.relay(w)
			return
		}
		inv := p.invocation(r, got.header)
		event, run := p.claim(r.Context(), inv, got.body)
		if !run {
			continue
		}
		got.body = event
		if inv.token != "" || inv.batch != nil {
			p.flights.add(inv, p.Now())
		}
		err = r.Context().Err()
		if err == nil {
			err = got.relay(w)
		}
		if err != nil {
			// The runtime went away and never had the event.
			if p.flights.drop(inv) {
				p.fail(inv, idempotency.Failure{Type: "Runtime.Gone", Message: "the runtime went away before it had the event"}, true)
			}
			panic(http.ErrAbortHandler)
		}
		return
	}
}

func (p *Proxy) invocation(r *http.Request, header http.Header) *invocation {
	prefix, _, _ := strings.Cut(r.URL.Path, "/invocation/")
	inv := &invocation{id: header.Get(idHeader), nonce: header.Get(nonceHeader), prefix: prefix}
	if ms, err := strconv.ParseInt(header.Get(deadlineHeader), 10, 64); err == nil {
		inv.deadline = time.UnixMilli(ms)
	}
	now := p.Now()
	if left := inv.deadline.Sub(now); left <= 0 || left > idempotency.MaxLease {
		inv.deadline = now.Add(p.Lease)
	}
	return inv
}

// claim takes the claim on an event. It returns the event that the handler is to
// run on, or false where it answered upstream itself.
func (p *Proxy) claim(ctx context.Context, inv *invocation, event []byte) ([]byte, bool) {
	if p.Off {
		return event, true
	}
	if p.Batch {
		if b := parseBatch(event); b != nil {
			return p.claimBatch(ctx, inv, event, b)
		}
	}
	key, err := p.Key(event, inv.id)
	if err != nil {
		if p.RequireKey {
			p.answerError(ctx, inv, idempotency.Failure{Type: "Idempotency.KeyMissing", Message: err.Error()})
			return nil, false
		}
		p.Log.Warn("the event has no key, and runs without protection", "request_id", inv.id, "error", err)
		return event, true
	}
	ask := p.ask(inv, key)
	if p.OnInProgress == InProgressWait {
		ask.Wait = inv.deadline.Sub(p.Now())
	}
	out, err := p.Claims.Acquire(ctx, ask)
	if err != nil {
		p.answerError(ctx, inv, unclaimed(err))
		return nil, false
	}
	switch out.Status {
	case idempotency.OutcomeAcquired:
		inv.token = out.Token
		return event, true
	case idempotency.OutcomeCompleted:
		contentType, body, why := replayed(out.Record.Result)
		if why == "" && out.Record.ResultOmitted {
			why = "it was too large"
		}
		if why != "" {
			p.Log.Warn("a duplicate is answered with null, because the response was not kept", "request_id", inv.id, "first_request_id", out.Record.RequestID, "why", why)
			contentType, body = jsonType, []byte("null")
		}
		p.answer(ctx, inv, contentType, body)
	case idempotency.OutcomeFailed:
		failure := idempotency.Failure{Type: "Error"}
		if out.Record.Error != nil {
			failure = *out.Record.Error
		}
		p.answerError(ctx, inv, failure)
	default:
		p.inProgress(ctx, inv, out)
	}
	return nil, false
}

// ask is the acquire of an invocation.
func (p *Proxy) ask(inv *invocation, key idempotency.Key) idempotency.AcquireRequest {
	return idempotency.AcquireRequest{Key: key, RequestID: inv.id, Deadline: inv.deadline, AnswerBy: inv.deadline}
}

// inProgress answers a duplicate of a run that has not ended.
func (p *Proxy) inProgress(ctx context.Context, inv *invocation, out idempotency.Outcome) {
	if p.OnInProgress == InProgressSkip {
		p.Log.Warn(skipped, "request_id", inv.id, "first_request_id", out.Record.RequestID)
		p.answer(ctx, inv, jsonType, []byte("null"))
		return
	}
	p.answerError(ctx, inv, idempotency.Failure{
		Type:    "Idempotency.InProgress",
		Message: fmt.Sprintf("request %s holds the key; try again in %v", out.Record.RequestID, out.RetryAfter.Round(time.Millisecond)),
	})
}

// unclaimed tells why no claim was made.
func unclaimed(err error) idempotency.Failure {
	var down *idempotency.StoreError
	if errors.As(err, &down) {
		return idempotency.Failure{Type: "Idempotency.StoreUnavailable", Message: err.Error()}
	}
	return idempotency.Failure{Type: "Idempotency.Refused", Message: err.Error()}
}

// answer ends an invocation that the handler never saw.
func (p *Proxy) answer(ctx context.Context, inv *invocation, contentType string, body []byte) {
	header := http.Header{}
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	p.told(inv, p.post(context.WithoutCancel(ctx), inv, "response", header, body))
}

func (p *Proxy) answerError(ctx context.Context, inv *invocation, failure idempotency.Failure) {
	header := http.Header{"Content-Type": {jsonType}, errorHeader: {headerText(failure.Type)}}
	body, _ := json.Marshal(map[string]any{"errorType": failure.Type, "errorMessage": failure.Message, "stackTrace": []string{}}) // Strings always can.
	p.told(inv, p.post(context.WithoutCancel(ctx), inv, "error", header, body))
}

// told logs an answer that did not arrive; Lambda then ends the invocation by its
// own means.
func (p *Proxy) told(inv *invocation, err error) {
	if err != nil {
		p.Log.Error("a duplicate's answer did not reach the Runtime API", "request_id", inv.id, "error", err)
	}
}

// headerText keeps of a name what a header can carry.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
