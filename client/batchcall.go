package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// What one batch call takes. The sidecar takes some more bytes, for what is around
// the items.
const (
	mostItems = 1000
	mostBytes = 6 << 20
)

// sending is what is sent in batch calls, as few as there can be.
type sending struct {
	items []int // Which task each text is of.
	texts []json.RawMessage
}

func (s *sending) add(item int, text json.RawMessage) {
	s.items, s.texts = append(s.items, item), append(s.texts, text)
}

// each makes the calls and tells the answer to every item, in order: chunk are the
// tasks of its call, and at is its place among them. An error is that of the call.
func (s *sending) each(ctx context.Context, c *Client, path string, wait time.Duration, tell func(chunk []int, at int, answer json.RawMessage, err error)) {
	for from := 0; from < len(s.texts); {
		to, size := from, 0
		for to < len(s.texts) && to-from < mostItems && (to == from || size+len(s.texts[to]) < mostBytes) {
			size += len(s.texts[to]) + 1
			to++
		}
		answers, err := c.batch(ctx, path, s.texts[from:to], wait)
		for at := range to - from {
			var answer json.RawMessage
			if err == nil {
				answer = answers[at]
			}
			tell(s.items[from:to], at, answer, err)
		}
		from = to
	}
}

// batch makes one batch call.
func (c *Client) batch(ctx context.Context, path string, texts []json.RawMessage, wait time.Duration) ([]json.RawMessage, error) {
	var told struct {
		Items []json.RawMessage `json:"items"`
	}
	body := bytes.NewBufferString(`{"items":[`)
	for i, text := range texts {
		if i > 0 {
			body.WriteByte(',')
		}
		body.Write(text)
	}
	body.WriteString("]}")
	if err := c.send(ctx, path, body.Bytes(), &told, max(wait, 0)); err != nil {
		return nil, err
	}
	if len(told.Items) != len(texts) {
		return nil, notOfSidecar(path, fmt.Errorf("%d items were answered with %d", len(texts), len(told.Items)))
	}
	return told.Items, nil
}

// problemIn is the problem that an item was answered with, or nil. Nothing but a
// problem has a code.
func problemIn(answer json.RawMessage) error {
	var told struct {
		Code       string          `json:"code"`
		Status     json.RawMessage `json:"status"`
		Detail     string          `json:"detail"`
		RetryAfter int64           `json:"retry_after_ms"`
	}
	if err := json.Unmarshal(answer, &told); err != nil {
		return notOfSidecar("a batch", err)
	}
	if told.Code == "" {
		return nil
	}
	p := ProblemError{Code: told.Code, Detail: told.Detail}
	_ = json.Unmarshal(told.Status, &p.Status) // Without it the code still says what is wrong.
	return named(p, time.Duration(told.RetryAfter)*time.Millisecond)
}

func notOfSidecar(path string, why error) error {
	return &ProblemError{Status: http.StatusOK, Detail: fmt.Sprintf("%s was not answered by a sidecar (%v); is something else on that port?", path, why)}
}
