package main_test

import (
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi/extapitest"
)

// open makes so many claims, all at once.
func (p *sidecar) open(n int, format string, args ...any) {
	p.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if a := <-p.going("/acquire", `{"key":"k%d",%s}`, i, fmt.Sprintf(format, args...)); a.body["status"] != "acquired" {
				p.Error(a)
			}
		})
	}
	all.Wait()
}

// Lambda gives an extension two seconds after SHUTDOWN, and then SIGKILL. All
// claims are released in them although each write takes a good part of one.
func TestShutdownWithASlowTable(t *testing.T) {
	t.Parallel()
	const claims = 20
	table := newTable(t)
	p, api := table.extension()
	api.Invoke(t, "a", time.Now().Add(9*time.Second))
	p.open(claims, `"request_id":"a","lease_ms":600000`)
	table.link.Delay(300 * time.Millisecond)
	api.Shutdown(t, "timeout")
	if code := p.exit(patience); code != 0 {
		t.Errorf("ended with %d", code)
	}
	other := table.other()
	for i := range claims {
		got := other.must("acquired", "/acquire", `{"key":"k%d"}`, i)
		if previous, _ := got["previous_error"].(map[string]any); got["attempt"] != 2.0 || previous["type"] != "Sandbox.Timedout" {
			t.Errorf("the next run got %v", got)
		}
	}
}

// The table does not answer at all: the extension ends by itself all the same,
// and the claims lapse at their deadline.
func TestShutdownWithADeafTable(t *testing.T) {
	t.Parallel()
	const claims = 20
	table := newTable(t)
	p, api := table.extension()
	api.Invoke(t, "a", time.Now().Add(3*time.Second))
	p.open(claims, `"request_id":"a","deadline_ms":%d`, inMS(3*time.Second))
	table.link.Silence()
	table.link.Hold()
	api.Shutdown(t, "failure")
	if code := p.exit(patience); code != 0 {
		t.Errorf("ended with %d", code)
	}
	got := table.other().must("acquired", "/acquire", `{"key":"k0","wait_ms":9000}`)
	if got["attempt"] != 2.0 || got["previous_error"] != nil {
		t.Errorf("the next run got %v", got)
	}
}

// Without a word of SHUTDOWN: the host is gone, or the extension ran out of
// memory.
func TestSidecarIsKilled(t *testing.T) {
	t.Parallel()
	table := newTable(t)
	p, api := table.extension()
	api.Invoke(t, "a", time.Now().Add(9*time.Second))
	p.must("acquired", "/acquire", `{"key":"held","request_id":"a","lease_ms":700}`)
	done := p.must("acquired", "/acquire", `{"key":"done","request_id":"a"}`)
	late := p.must("acquired", "/acquire", `{"key":"late","request_id":"a","lease_ms":700}`)
	p.must("completed", "/complete", `{"token":%q,"result":1}`, done["token"])
	p.Kill()
	other := table.other()
	if got := other.must("completed", "/acquire", `{"key":"done"}`); got["result"] != 1.0 {
		t.Errorf("a duplicate got %v", got)
	}
	// The handler that lives on may end its claim by way of the next sidecar.
	other.must("completed", "/complete", `{"token":%q,"result":2}`, late["token"])
	if got := other.must("acquired", "/acquire", `{"key":"held","wait_ms":9000}`); got["attempt"] != 2.0 {
		t.Errorf("the next run got %v", got)
	}
}

// An environment that refuses INVOKE, as Lambda Managed Instances do, and says
// nothing of being one. Several requests are served at once: that another one
// begins does not mean that the last is over.
func TestInvokeIsRefused(t *testing.T) {
	t.Parallel()
	table, api := newTable(t), extapitest.New()
	api.RefuseInvoke = true
	p := extension(t, api, table.env()...)
	p.open(4, `"request_id":"a","lease_ms":600000`)
	for i := range 4 {
		p.must("in_progress", "/acquire", `{"key":"k%d","request_id":"b","lease_ms":600000}`, i)
	}
	api.Shutdown(t, "failure")
	if code := p.exit(patience); code != 0 {
		t.Errorf("ended with %d", code)
	}
	other := table.other()
	for i := range 4 {
		other.must("acquired", "/acquire", `{"key":"k%d"}`, i)
	}
}

// Two initialisations in a row cannot succeed, because something has the port;
// the third one does.
func TestThirdStartSucceeds(t *testing.T) {
	t.Parallel()
	table, squatter := newTable(t), local(t, "IDEMPOTENCY_STORE=memory")
	port := fmt.Sprintf("IDEMPOTENCY_PORT=%d", squatter.Port)
	for range 2 {
		api := extapitest.New()
		p := start(t, []string{binary}, lambdaEnv(api.Start(t), table.env(port)...)...)
		if code := p.exit(patience); code != 1 {
			t.Errorf("ended with %d", code)
		}
		if calls := api.Calls(); len(calls) != 2 || calls[1].Path != "/2020-01-01/extension/init/error" {
			t.Errorf("called %q", api.Called())
		}
	}
	squatter.signal(syscall.SIGTERM)
	squatter.exit(patience)
	p, _ := table.extension(port)
	p.Port = squatter.Port
	if status, answer := p.post("/acquire", `{"key":"k"}`); status != http.StatusOK || answer["attempt"] != 1.0 {
		t.Errorf("answered %d %v", status, answer)
	}
}
