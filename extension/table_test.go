package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi/extapitest"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/link"
)

// table is a table of the real engine, and the way to it.
type table struct {
	*testing.T
	name  string
	local dynamodblocal.Endpoint
	link  *link.Link
}

func newTable(t *testing.T) *table {
	t.Helper()
	local := dynamodblocal.Start(t)
	return &table{t, dynamodblocal.CreateTable(t, local, dynamodblocal.Table{TTL: "expiration"}), local, link.Start(t, local.URL)}
}

// env points a sidecar at the table, by way of the link.
func (t *table) env(more ...string) []string {
	env := []string{"IDEMPOTENCY_TABLE_NAME=" + t.name}
	for name, value := range t.local.Env() {
		env = append(env, name+"="+value)
	}
	return append(append(env, "AWS_ENDPOINT_URL_DYNAMODB="+t.link.URL), more...)
}

// extension starts an environment's sidecar on the table, its events scripted.
func (t *table) extension(more ...string) (*sidecar, *extapitest.Server) {
	t.Helper()
	api := extapitest.New()
	return extension(t.T, api, t.env(more...)...), api
}

// other is the sidecar of another environment, which reaches the table whatever
// becomes of the link.
func (t *table) other() *sidecar {
	t.Helper()
	return extension(t.T, extapitest.New(), t.env("AWS_ENDPOINT_URL_DYNAMODB="+t.local.URL)...)
}

// answered is what a call was answered.
type answered struct {
	status int
	body   map[string]any
	err    error
	took   time.Duration
}

func (a answered) String() string { return fmt.Sprint(a.status, " ", a.body, " ", a.err) }

// going makes a call that is answered later.
func (p *sidecar) going(path, format string, args ...any) <-chan answered {
	done := make(chan answered, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		start := time.Now()
		var a answered
		a.status, a.body, a.err = p.call(ctx, http.MethodPost, path, fmt.Sprintf(format, args...))
		a.took = time.Since(start)
		done <- a
	}()
	return done
}

// must is the answer to a call that must succeed with a status.
func (p *sidecar) must(status, path, format string, args ...any) map[string]any {
	p.Helper()
	a := <-p.going(path, format, args...)
	if a.status != http.StatusOK || a.body["status"] != status {
		p.Fatalf("%s was answered %s, want %s", path, a, status)
	}
	return a.body
}

// burst leaves so many idle connections to the table.
func (p *sidecar) burst(l *link.Link, n int) {
	p.Helper()
	pass := l.Hold()
	asked := l.Asked()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if a := <-p.going("/acquire", `{"key":"burst %d %d","lease_ms":60000,"detached":true}`, i, time.Now().UnixNano()); a.status != http.StatusOK {
				p.Error(a)
			}
		})
	}
	p.wait("all have asked the table at once", func() bool { return l.Asked() >= asked+n })
	pass()
	all.Wait()
}

// freeze stops the process as Lambda stops an environment: nothing in it runs,
// and its clocks go on.
func (p *sidecar) freeze() {
	p.Helper()
	p.signal(syscall.SIGSTOP)
	p.wait("it is stopped", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
		return strings.Contains(string(stat), ") T ")
	})
}

func (p *sidecar) thaw() { p.Helper(); p.signal(syscall.SIGCONT) }

// record is what the sidecar answers for a key.
func (p *sidecar) record(key string) map[string]any {
	p.Helper()
	_, rec, err := p.call(context.Background(), http.MethodGet, "/record?key="+key, "")
	if err != nil {
		p.Fatal(err)
	}
	return rec
}

// inMS is a moment so far from now, as the API and its callers write it.
func inMS(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
