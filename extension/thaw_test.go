package main_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi/extapitest"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/link"
)

// Lambda freezes an environment between invocations. DynamoDB closes, or the
// network forgets, the connections meanwhile. The first request after the thaw
// comes before anything in the sidecar could have seen that.
func TestFirstRequestAfterAThaw(t *testing.T) {
	tests := map[string]struct {
		open int
		fate func(*link.Link) int
	}{
		"the connections are alive": {5, func(*link.Link) int { return 5 }},
		"closed by the far end":     {5, (*link.Link).Close},
		"reset by the far end":      {5, (*link.Link).Reset},
		"forgotten by the network":  {5, (*link.Link).Silence},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := newTable(t)
			p, api := table.extension()
			api.Invoke(t, "a", time.Now().Add(3*time.Second))
			api.AwaitNext(t)
			if tt.open > 1 {
				p.burst(table.link, tt.open)
			}
			p.freeze()
			if n := tt.fate(table.link); n < tt.open {
				t.Fatalf("%d connections were open, want %d", n, tt.open)
			}
			api.Invoke(t, "b", time.Now().Add(6*time.Second))
			first := p.going("/acquire", `{"key":"k","request_id":"b","deadline_ms":%d}`, inMS(6*time.Second))
			time.Sleep(100 * time.Millisecond)
			p.thaw()
			a := <-first
			if a.body["status"] != "acquired" || a.body["attempt"] != 1.0 {
				t.Fatalf("the first request after the thaw was answered %s", a)
			}
			p.must("completed", "/complete", `{"token":%q,"result":1}`, a.body["token"])
		})
	}
}

// After a freeze longer than idle connections are trusted, not one of them is
// tried: each would cost two of the three seconds that a function has by default.
func TestFirstRequestAfterALongFreeze(t *testing.T) {
	if testing.Short() {
		t.Skip("waits 21 s")
	}
	t.Parallel()
	table := newTable(t)
	p, api := table.extension()
	api.Invoke(t, "a", time.Now().Add(3*time.Second))
	api.AwaitNext(t)
	p.burst(table.link, 5)
	p.freeze()
	if n := table.link.Silence(); n < 5 {
		t.Fatalf("%d connections were open", n)
	}
	time.Sleep(20500 * time.Millisecond)
	api.Invoke(t, "b", time.Now().Add(3*time.Second))
	first := p.going("/acquire", `{"key":"k","request_id":"b","deadline_ms":%d}`, inMS(3*time.Second))
	p.thaw()
	a := <-first
	if a.body["status"] != "acquired" {
		t.Fatalf("the first request after the thaw was answered %s", a)
	}
	p.must("completed", "/complete", `{"token":%q}`, a.body["token"])
}

// An environment is frozen as soon as the handler has answered, whatever it left
// open, and a lease goes on while nothing runs.
func TestFrozenWithAnOpenClaim(t *testing.T) {
	const acquire = `{"key":"k","lease_ms":700}`
	t.Run("the lease ends, and nobody comes", func(t *testing.T) {
		t.Parallel()
		p, _ := newTable(t).extension()
		claim := p.must("acquired", "/acquire", acquire)
		p.freeze()
		time.Sleep(800 * time.Millisecond)
		p.thaw()
		p.must("completed", "/complete", `{"token":%q,"result":"mine"}`, claim["token"])
		if got := p.must("completed", "/acquire", acquire); got["result"] != "mine" {
			t.Errorf("a duplicate got %v", got)
		}
	})
	t.Run("the lease ends, and another environment takes over", func(t *testing.T) {
		t.Parallel()
		table := newTable(t)
		p, _ := table.extension()
		claim := p.must("acquired", "/acquire", acquire)
		p.freeze()
		other := table.other()
		taken := other.must("acquired", "/acquire", `{"key":"k","lease_ms":60000,"wait_ms":9000}`)
		if taken["attempt"] != 2.0 || taken["fence"].(float64) <= claim["fence"].(float64) {
			t.Errorf("the second run got %v, the first %v", taken, claim)
		}
		before := text(other.record("k"))
		p.thaw()
		for path, body := range map[string]string{"/complete": `"result":"mine"`, "/fail": `"retry":false`, "/renew": `"lease_ms":60000`} {
			if a := <-p.going(path, `{"token":%q,%s}`, claim["token"], body); a.status != http.StatusConflict || a.body["code"] != "claim_lost" {
				t.Errorf("the late %s was answered %s", path, a)
			}
		}
		if after := text(other.record("k")); after != before {
			t.Errorf("the new holder's record was %s and became %s", before, after)
		}
		other.must("completed", "/complete", `{"token":%q,"result":"theirs"}`, taken["token"])
		if got := p.must("completed", "/acquire", acquire); got["result"] != "theirs" {
			t.Errorf("a duplicate got %v", got)
		}
	})
	t.Run("the next invocation comes", func(t *testing.T) {
		t.Parallel()
		p, api := newTable(t).extension()
		api.Invoke(t, "a", time.Now().Add(3*time.Second))
		api.AwaitNext(t)
		p.must("acquired", "/acquire", `{"key":"k","request_id":"a","lease_ms":600000}`)
		p.freeze()
		api.Invoke(t, "b", time.Now().Add(9*time.Second))
		retry := p.going("/acquire", `{"key":"k","request_id":"b","deadline_ms":%d,"wait_ms":8000}`, inMS(9*time.Second))
		time.Sleep(100 * time.Millisecond)
		p.thaw()
		if a := <-retry; a.body["attempt"] != 2.0 {
			t.Errorf("the retry was answered %s", a)
		}
	})
}

// A handler that answers while a call of its own is still under way has its
// environment frozen in the middle of that call.
func TestFrozenDuringAcquire(t *testing.T) {
	type call struct {
		*table
		p       *sidecar
		api     *extapitest.Server
		pass    func()
		acquire <-chan answered
	}
	// under makes a call, and freezes while its write is on the way.
	under := func(t *testing.T, deadline func() string) call {
		t.Helper()
		t.Parallel()
		table := newTable(t)
		p, api := table.extension()
		api.Invoke(t, "a", time.Now().Add(3*time.Second))
		api.AwaitNext(t)
		asked, pass := table.link.Asked(), table.link.Hold()
		acquire := p.going("/acquire", `{"key":"k","request_id":"a",%s}`, deadline())
		p.wait("the write is on its way", func() bool { return table.link.Asked() > asked })
		p.freeze()
		return call{table, p, api, pass, acquire}
	}
	long := func() string { return `"lease_ms":600000` }
	granted := func(t *testing.T, c call) {
		t.Helper()
		a := <-c.acquire
		if a.body["status"] != "acquired" || a.body["attempt"] != 1.0 {
			t.Fatalf("it was answered %s", a)
		}
		c.p.must("completed", "/complete", `{"token":%q}`, a.body["token"])
	}
	stored := func(t *testing.T, c call) {
		t.Helper()
		other := c.other()
		other.wait("the claim is stored", func() bool { return other.record("k")["status"] == "INPROGRESS" })
	}

	t.Run("the answer comes meanwhile", func(t *testing.T) {
		c := under(t, long)
		c.pass()
		stored(t, c)
		c.p.thaw()
		granted(t, c)
	})
	t.Run("the request is lost", func(t *testing.T) {
		c := under(t, long)
		c.link.Silence()
		c.pass()
		c.p.thaw()
		granted(t, c)
	})
	t.Run("the answer is lost", func(t *testing.T) {
		c := under(t, long)
		c.link.LoseAnswers()
		c.pass()
		stored(t, c)
		c.p.thaw()
		granted(t, c)
	})
	t.Run("the connection is closed meanwhile", func(t *testing.T) {
		c := under(t, long)
		c.link.Close()
		c.pass()
		c.p.thaw()
		granted(t, c)
	})
	// The caller must not be told that it may work: its time is over.
	t.Run("the freeze outlasts the invocation", func(t *testing.T) {
		var end int64
		c := under(t, func() string {
			end = inMS(4 * time.Second)
			return fmt.Sprintf(`"deadline_ms":%d`, end)
		})
		time.Sleep(time.Until(time.UnixMilli(end + 100)))
		c.pass()
		time.Sleep(100 * time.Millisecond) // Mostly, the write is taken meanwhile.
		c.p.thaw()
		if a := <-c.acquire; a.status != http.StatusServiceUnavailable {
			t.Errorf("it was answered %s", a)
		}
		c.other().must("acquired", "/acquire", `{"key":"k","wait_ms":9000}`)
	})
	// The claim is granted when nobody is left who could end it.
	t.Run("the next invocation begins before the write is taken", func(t *testing.T) {
		c := under(t, long)
		c.api.Invoke(t, "b", time.Now().Add(9*time.Second))
		c.p.thaw()
		c.api.AwaitNext(t)
		c.pass()
		stored(t, c)
		if a := <-c.p.going("/acquire", `{"key":"k","request_id":"b","deadline_ms":%d,"wait_ms":5000}`, inMS(9*time.Second)); a.body["attempt"] != 2.0 {
			t.Errorf("the retry was answered %s", a)
		}
	})
}
