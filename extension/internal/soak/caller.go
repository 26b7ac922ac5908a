package soak

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
)

// caller makes one call after the other, as a handler or as somebody worse.
type caller struct {
	*rand.Rand
	process *Process
	name    int
	keys    int // how many keys it takes in turn; 0: always a new one
	left    *atomic.Int64

	kept  *connection
	last  string // the key of the work that was done last
	works int
}

// step is one kind of what callers do, how often, and how.
type step struct {
	weight int
	name   string
	do     func(*caller, context.Context) error
}

// steps are what callers do. Each checks its answers.
func steps() []step {
	return []step{
		{400, "work", (*caller).work},
		{150, "duplicate", (*caller).duplicate},
		{80, "retry", (*caller).retry},
		{50, "wait", (*caller).wait},
		{50, "abandon", (*caller).abandon},
		{50, "select", (*caller).choose},
		{50, "renew", (*caller).renew},
		{40, "look", (*caller).look},
		{60, "mistake", (*caller).mistake},
		{30, "new connection", (*caller).once},
		{20, "hang up", (*caller).hangUp},
		{2, "big body", (*caller).big},
	}
}

// run makes steps until no request is left or one went wrong.
func (c *caller) run(ctx context.Context) error {
	defer c.drop()
	all := steps()
	total := 0
	for _, s := range all {
		total += s.weight
	}
	for c.left.Load() > 0 && ctx.Err() == nil {
		n := c.IntN(total)
		for _, s := range all {
			if n -= s.weight; n < 0 {
				if err := s.do(c, ctx); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				break
			}
		}
	}
	return ctx.Err()
}

func (c *caller) drop() {
	if c.kept != nil {
		c.kept.close()
		c.kept = nil
	}
}

// ask makes a call on the kept connection, whose answer must have the status and,
// if one is given, the outcome.
func (c *caller) ask(ctx context.Context, r request, status int, outcome string) (answer, error) {
	if c.kept == nil {
		var err error
		if c.kept, err = c.process.connect(ctx); err != nil {
			return answer{}, err
		}
	}
	c.left.Add(-1)
	a, err := c.kept.do(r)
	if err != nil {
		return a, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	if a.closed {
		c.drop()
	}
	if a.status != status || outcome != "" && a.member("status") != outcome {
		return a, fmt.Errorf("%.300s\nanswered %d %.300s, want %d %s", r.text(), a.status, a.body, status, outcome)
	}
	return a, nil
}

func (c *caller) post(ctx context.Context, path, body, outcome string) (answer, error) {
	return c.ask(ctx, request{method: http.MethodPost, path: path, body: body}, http.StatusOK, outcome)
}

func (c *caller) key() string {
	c.works++
	n := c.works
	if c.keys > 0 {
		n %= c.keys
	}
	return fmt.Sprintf("%d-%d", c.name, n)
}

// acquire takes the claim on a new key, to be ended.
func (c *caller) acquire(ctx context.Context) (key, token string, err error) {
	key = c.key()
	a, err := c.post(ctx, "/acquire", `{"key":"`+key+`","payload":{"amount":10},"request_id":"r","lease_ms":30000,"ttl_seconds":1}`, "acquired")
	return key, a.member("token"), err
}

func (c *caller) end(ctx context.Context, path, rest, token, outcome string) error {
	_, err := c.post(ctx, path, `{"token":"`+token+`"`+rest+`}`, outcome)
	return err
}

func (c *caller) work(ctx context.Context) error {
	key, token, err := c.acquire(ctx)
	if err == nil {
		err = c.end(ctx, "/complete", `,"result":{"ok":true}`, token, "completed")
		c.last = key
	}
	return err
}

// duplicate asks for work that was done, which may have been forgotten by now.
func (c *caller) duplicate(ctx context.Context) error {
	if c.last == "" {
		return nil
	}
	a, err := c.ask(ctx, request{method: http.MethodPost, path: "/acquire", body: `{"key":"` + c.last + `","payload":{"amount":10},"lease_ms":1000,"ttl_seconds":1}`}, http.StatusOK, "")
	if s := a.member("status"); err == nil && s != "completed" && s != "acquired" && s != "in_progress" {
		return fmt.Errorf("answered %s", a.body)
	}
	return err
}

func (c *caller) retry(ctx context.Context) error {
	key, token, err := c.acquire(ctx)
	if err == nil {
		err = c.end(ctx, "/fail", `,"error":{"type":"T","message":"m"}`, token, "released")
	}
	var a answer
	if err == nil {
		a, err = c.post(ctx, "/acquire", `{"key":"`+key+`","payload":{"amount":10},"lease_ms":1000,"ttl_seconds":1}`, "acquired")
	}
	if err == nil {
		err = c.end(ctx, "/fail", `,"retry":false`, a.member("token"), "failed")
	}
	return err
}

// wait waits for the end of a claim that does not end meanwhile.
func (c *caller) wait(ctx context.Context) error {
	key, token, err := c.acquire(ctx)
	if err == nil {
		_, err = c.post(ctx, "/acquire", `{"key":"`+key+`","payload":{"amount":10},"wait_ms":5}`, "in_progress")
	}
	if err == nil {
		err = c.end(ctx, "/complete", "", token, "completed")
	}
	return err
}

// abandon takes a claim and says nothing more.
func (c *caller) abandon(ctx context.Context) error {
	_, err := c.post(ctx, "/acquire", `{"key":"`+c.key()+`","lease_ms":1000,"ttl_seconds":1,"request_id":"left"}`, "acquired")
	return err
}

func (c *caller) choose(ctx context.Context) error {
	_, err := c.post(ctx, "/acquire", fmt.Sprintf(`{"event":{"id":%q,"items":[3,1,2]},"key_jmespath":"[id, sort(items), '%d']","lease_ms":1000,"ttl_seconds":1}`, c.key(), c.IntN(100)), "acquired")
	return err
}

func (c *caller) renew(ctx context.Context) error {
	_, token, err := c.acquire(ctx)
	if err == nil {
		err = c.end(ctx, "/renew", `,"lease_ms":500`, token, "acquired")
	}
	if err == nil {
		err = c.end(ctx, "/complete", "", token, "completed")
	}
	return err
}

func (c *caller) look(ctx context.Context) error {
	path := []string{"/health", "/openapi.json", "/metrics"}[c.IntN(3)]
	_, err := c.ask(ctx, request{method: http.MethodGet, path: path}, http.StatusOK, "")
	if err == nil {
		_, err = c.ask(ctx, request{method: http.MethodGet, path: "/record?key=none"}, http.StatusNotFound, "")
	}
	return err
}

// mistakes are requests that are refused, with the status.
func mistakes() []struct {
	request
	status int
} {
	post := func(path, body string) request { return request{method: http.MethodPost, path: path, body: body} }
	return []struct {
		request
		status int
	}{
		{request{method: http.MethodPost, path: "/acquire", body: `{"key":"a"}`, secret: "-"}, 401},
		{request{method: http.MethodPost, path: "/acquire", body: `{"key":"a"}`, secret: "another"}, 401},
		{post("/acquire", `{"key":`), 400},
		{post("/acquire", `{"key":"a","key":"b"}`), 400},
		{post("/acquire", "{\"key\":\"\xff\"}"), 400},
		{post("/acquire", `{"event":{"a":1},"key_jmespath":"a["}`), 400},
		{post("/acquire", `{"event":{"a":`+strings.Repeat("[", 300)+strings.Repeat("]", 300)+`}}`), 400},
		{post("/complete", `{"token":"AQAAAAAAAAAAAAAAAAAAAAAAAAEBAAABYQ"}`), 404},
		{post("/complete", `{"token":"none"}`), 404},
		{post("/nothing", `{}`), 404},
		{request{method: http.MethodGet, path: "/acquire"}, 405},
	}
}

func (c *caller) mistake(ctx context.Context) error {
	all := mistakes()
	m := all[c.IntN(len(all))]
	_, err := c.ask(ctx, m.request, m.status, "")
	return err
}

// once makes a call on a connection of its own.
func (c *caller) once(ctx context.Context) error {
	c.left.Add(-1)
	conn, err := c.process.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	a, err := conn.do(request{method: http.MethodPost, path: "/acquire", body: `{"key":"` + c.key() + `","lease_ms":1000,"ttl_seconds":1}`, last: true})
	if err == nil && a.member("status") != "acquired" {
		err = fmt.Errorf("answered %d %s", a.status, a.body)
	}
	return err
}

// hangUp leaves before the answer: in the header, in the body, or in the wait.
func (c *caller) hangUp(ctx context.Context) error {
	c.left.Add(-1)
	conn, err := c.process.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	text := request{method: http.MethodPost, path: "/acquire", body: `{"key":"held","lease_ms":2000,"ttl_seconds":1,"wait_ms":50}`}.text()
	if c.IntN(3) > 0 {
		text = text[:c.IntN(len(text))]
	}
	_, err = io.WriteString(conn, text)
	return err
}

// big sends a body that is read in turn.
func (c *caller) big(ctx context.Context) error {
	_, token, err := c.acquire(ctx)
	if err == nil {
		err = c.end(ctx, "/complete", `,"result":"`+strings.Repeat("x", 300<<10)+`"`, token, "completed")
	}
	return err
}
