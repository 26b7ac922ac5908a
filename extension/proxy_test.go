package main_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi/extapitest"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

// invocations is a Runtime API, and the runtime that comes to it through the
// extension's proxy.
type invocations struct {
	*testing.T
	proxy  string
	events chan [2]string // id and body
	told   chan string    // path and body of what was answered
}

func throughTheProxy(t *testing.T, env ...string) *invocations {
	t.Helper()
	in := &invocations{T: t, events: make(chan [2]string, 4), told: make(chan string, 4)}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			select {
			case e := <-in.events:
				w.Header().Set("Lambda-Runtime-Aws-Request-Id", e[0])
				w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(time.Minute).UnixMilli()))
				_, _ = io.WriteString(w, e[1])
			case <-r.Context().Done():
			}
			return
		}
		body, _ := io.ReadAll(r.Body)
		in.told <- strings.TrimPrefix(r.URL.Path, "/2018-06-01/runtime/invocation/") + " " + string(body)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(upstream.Close)
	t.Cleanup(upstream.CloseClientConnections)
	port := program.FreePort()
	in.proxy = fmt.Sprintf("http://127.0.0.1:%d/2018-06-01/runtime/invocation/", port)
	extension(t, extapitest.New(), append([]string{
		"IDEMPOTENCY_STORE=memory",
		"IDEMPOTENCY_UPSTREAM_RUNTIME_API=" + upstream.Listener.Addr().String(),
		fmt.Sprintf("IDEMPOTENCY_RUNTIME_PROXY_PORT=%d", port),
	}, env...)...)
	return in
}

// send sends an event, and returns what became of it: "runs" if the handler got it,
// which then answers, else what Lambda was told.
func (in *invocations) send(id, body string) string {
	in.Helper()
	in.events <- [2]string{id, body}
	got := make(chan string, 1)
	go func() {
		res, err := http.Get(in.proxy + "next")
		if err != nil {
			got <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		event, _ := io.ReadAll(res.Body)
		got <- res.Header.Get("Lambda-Runtime-Aws-Request-Id") + " " + string(event)
	}()
	select {
	case told := <-in.told:
		in.events <- [2]string{"after " + id, `{"a":"after","c":"after"}`} // The runtime is still asking.
		<-got
		return told
	case event := <-got:
		if event != id+" "+body {
			in.Fatalf("the handler got %s", event)
		}
	}
	res, err := http.Post(in.proxy+id+"/response", "application/json", strings.NewReader(`"of `+id+`"`)) //nolint:gosec // The address is the test's.
	if err != nil {
		in.Fatal(err)
	}
	_ = res.Body.Close()
	if told := <-in.told; told != id+`/response "of `+id+`"` {
		in.Fatalf("Lambda was told %s", told)
	}
	return "runs"
}

func TestProxysKeys(t *testing.T) {
	record := func(id, body string) string {
		return fmt.Sprintf(`{"Records":[{"messageId":%q,"body":%q,"attributes":{},"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:123456789012:q"}]}`, id, body)
	}
	large := strings.Repeat("x", 1<<20)
	const replay, none = `r2/response "of r1"`, `r2/response {"batchItemFailures":[]}`
	for name, test := range map[string]struct {
		env                  []string
		id, first, then, got string
	}{
		"the whole event":             {nil, "r2", `{"a":1,"b":2.0}`, `{"b":2,"a":1}`, replay},
		"another event":               {nil, "r2", `{"a":1}`, `{"a":2}`, "runs"},
		"an expression":               {[]string{"IDEMPOTENCY_KEY_JMESPATH=a"}, "r2", `{"a":1,"b":1}`, `{"a":1,"b":2}`, replay},
		"an expression's other value": {[]string{"IDEMPOTENCY_KEY_JMESPATH=a"}, "r2", `{"a":1}`, `{"a":12}`, "runs"},
		"a large event":               {[]string{"IDEMPOTENCY_KEY_JMESPATH=a"}, "r2", `{"a":1,"b":"` + large + `1"}`, `{"a":1,"b":"` + large + `2"}`, replay},
		"no key":                      {[]string{"IDEMPOTENCY_KEY_JMESPATH=c"}, "r2", `{"a":1}`, `{"a":1}`, "runs"},
		"no JSON":                     {nil, "r2", `no JSON`, `no JSON`, "runs"},
		"the request's id":            {[]string{"IDEMPOTENCY_KEY=request-id"}, "r1", `{"a":1}`, `{"a":2}`, `r1/response "of r1"`},
		"another request's id":        {[]string{"IDEMPOTENCY_KEY=request-id"}, "r2", `{"a":1}`, `{"a":1}`, "runs"},
		"a record":                    {[]string{"IDEMPOTENCY_BATCH=records"}, "r2", record("m", "1"), record("m", "2"), none},
		"another record":              {[]string{"IDEMPOTENCY_BATCH=records"}, "r2", record("m", "1"), record("n", "1"), "runs"},
		"an expression on a record":   {[]string{"IDEMPOTENCY_BATCH=records", "IDEMPOTENCY_KEY_JMESPATH=body"}, "r2", record("m", "1"), record("n", "1"), none},
		"disabled":                    {[]string{"IDEMPOTENCY_DISABLED=true"}, "r2", `{"a":1}`, `{"a":1}`, "runs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := throughTheProxy(t, test.env...)
			if got := in.send("r1", test.first); got != "runs" {
				t.Fatalf("the first: %.300s", got)
			}
			if got := in.send(test.id, test.then); got != test.got {
				t.Errorf("then: %.300s, want %s", got, test.got)
			}
		})
	}
}

func TestProxyDemandsAKey(t *testing.T) {
	in := throughTheProxy(t, "IDEMPOTENCY_KEY_JMESPATH=c", "IDEMPOTENCY_ON_MISSING_KEY=error")
	if got := in.send("r1", `{"a":1}`); !strings.HasPrefix(got, "r1/error ") || !strings.Contains(got, "Idempotency.KeyMissing") || !strings.Contains(got, "IDEMPOTENCY_KEY_JMESPATH (c)") {
		t.Errorf("Lambda was told %s", got)
	}
}

// A port that was asked for has to be free.
func TestProxysPortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	api := extapitest.New()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	code, _, stderr := refused(t, nil, lambdaEnv(api.Start(t), "IDEMPOTENCY_STORE=memory", "IDEMPOTENCY_RUNTIME_PROXY_PORT="+port)...)
	if code != 1 {
		t.Errorf("ended with %d", code)
	}
	contains(t, stderr, "cannot listen on port "+port, "set IDEMPOTENCY_RUNTIME_PROXY_PORT to a free one")
}
