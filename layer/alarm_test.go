package layer_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestAlarm: each line that the extension logs when it cannot use its table is
// counted by the metric filter of the templates, and no other line is.
func TestAlarm(t *testing.T) {
	binary := built(t)
	pattern, _ := plainFacts(t)["AWS::Logs::MetricFilter FilterPattern"].(string)
	counts := func(t *testing.T, line string, want bool) {
		t.Helper()
		got, err := matches(pattern, line)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s counts %v: %s", pattern, got, line)
		}
	}
	const refused, atStart = "the store did not answer", "the store cannot be used now"
	t.Run("away", func(t *testing.T) {
		s := run(t, binary, away()...)
		counts(t, s.logged(atStart), true)
		before := len(s.lines())
		if status, answer := s.call("/acquire", map[string]any{"key": "a", "deadline_ms": time.Now().Add(2 * time.Second).UnixMilli()}); status != http.StatusServiceUnavailable {
			t.Errorf("answered %d %v", status, answer)
		}
		counts(t, s.logged(refused), true)
		if lines := len(s.lines()) - before; lines != 1 {
			t.Errorf("one refused call logs %d lines", lines)
		}
	})
	t.Run("without protection", func(t *testing.T) {
		s := run(t, binary, append(away(), "IDEMPOTENCY_ON_STORE_ERROR=proceed")...)
		if status, answer := s.call("/acquire", map[string]any{"key": "a", "deadline_ms": time.Now().Add(2 * time.Second).UnixMilli()}); answer["unprotected"] != true {
			t.Errorf("answered %d %v", status, answer)
		}
		counts(t, s.logged(refused+"; the work runs without protection because IDEMPOTENCY_ON_STORE_ERROR is proceed"), true)
	})
	t.Run("denied", func(t *testing.T) {
		g := tableOf(t)
		g.allows = nil
		s := run(t, binary, g.env()...)
		counts(t, s.logged(atStart), true)
		s.call("/acquire", map[string]any{"key": "a"})
		counts(t, s.logged(refused), true)
	})
	t.Run("at shutdown", func(t *testing.T) {
		g, api := tableOf(t), newEnvironment(t)
		s := run(t, binary, append(g.env(), api.env()...)...)
		if status, answer := s.call("/acquire", map[string]any{"key": "a", "request_id": "r", "lease_ms": 60_000}); answer["status"] != "acquired" {
			t.Fatalf("answered %d %v", status, answer)
		}
		g.fall()
		api.shutdown <- struct{}{}
		counts(t, s.logged("could not settle an open claim; it holds until its lease ends"), true)
	})
	t.Run("all well", func(t *testing.T) {
		g, api := tableOf(t), newEnvironment(t)
		s := run(t, binary, append(g.env(), append(api.env(), "IDEMPOTENCY_LOG_LEVEL=debug")...)...)
		s.take(steps())
		s.call("/acquire", map[string]any{"key": ""})
		s.call("/acquire", map[string]any{"key": "b", "request_id": "r"})
		api.shutdown <- struct{}{}
		s.logged("settled a claim that its handler left open")
		if len(s.lines()) < len(steps()) {
			t.Errorf("only %d lines were logged", len(s.lines()))
		}
		for _, line := range s.lines() {
			counts(t, line, false)
		}
	})
	t.Run("others'", func(t *testing.T) {
		for _, line := range []string{
			"the store did not answer", // A handler's own, no JSON.
			`{"level":"ERROR","message":"the store did not answer"}`,
			`{"level":"ERROR","msg":"order 1: the store did not answer"}`,
			`{"level":"ERROR","msg":"it could not settle the bill"}`,
			`{"time":"2026-01-01T00:00:00Z","type":"platform.report","record":{"status":"timeout"}}`,
		} {
			counts(t, line, false)
		}
	})
}

// away are the settings of a sidecar whose table cannot be reached.
func away() []string {
	return []string{"IDEMPOTENCY_TABLE_NAME=away", "AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:1",
		"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"}
}

// environment is the Extensions API of a Lambda environment in which one
// invocation begins, and the end comes when it is told to.
type environment struct {
	url      string
	shutdown chan struct{}
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	e := &environment{shutdown: make(chan struct{}, 1)}
	events := make(chan string, 2)
	events <- fmt.Sprintf(`{"eventType":"INVOKE","requestId":"r","deadlineMs":%d}`, time.Now().Add(time.Minute).UnixMilli())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Lambda-Extension-Identifier", "identifier")
		_, _ = fmt.Fprint(w, `{"functionName":"function","functionVersion":"$LATEST","handler":"app.handler"}`)
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		select {
		case event := <-events:
			_, _ = fmt.Fprint(w, event)
		case <-e.shutdown:
			_, _ = fmt.Fprintf(w, `{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":%d}`, time.Now().Add(2*time.Second).UnixMilli())
		case <-r.Context().Done():
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	e.url = server.URL
	return e
}

func (e *environment) env() []string {
	return []string{"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(e.url, "http://"), "AWS_LAMBDA_FUNCTION_NAME=function", "AWS_SESSION_TOKEN=" + callersSecret}
}

// matches tells whether a metric filter counts a line. Of the language of
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
// it knows what the templates use: strings of JSON members with * for any text,
// joined with && and ||, and parentheses. The rest is an error.
func matches(pattern, line string) (bool, error) {
	p := &filter{rest: strings.TrimSpace(pattern)}
	if !p.eat("{") {
		return false, fmt.Errorf("%s is no pattern for JSON", pattern)
	}
	if err := json.Unmarshal([]byte(line), &p.line); err != nil {
		p.line = nil // A line that is no JSON has no members.
	}
	matched, err := p.either()
	if err == nil && (!p.eat("}") || p.rest != "") {
		err = fmt.Errorf("not understood: %s", p.rest)
	}
	return matched, err
}

type filter struct {
	rest string
	line any
}

func (p *filter) eat(token string) bool {
	p.rest = strings.TrimSpace(p.rest)
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = strings.TrimSpace(rest)
	}
	return ok
}

func (p *filter) either() (bool, error) {
	matched, err := p.both()
	for err == nil && p.eat("||") {
		var more bool
		more, err = p.both()
		matched = matched || more
	}
	return matched, err
}

func (p *filter) both() (bool, error) {
	matched, err := p.one()
	for err == nil && p.eat("&&") {
		var more bool
		more, err = p.one()
		matched = matched && more
	}
	return matched, err
}

func (p *filter) one() (bool, error) {
	if p.eat("(") {
		matched, err := p.either()
		if err == nil && !p.eat(")") {
			err = fmt.Errorf("not understood: %s", p.rest)
		}
		return matched, err
	}
	if !p.eat("$.") {
		return false, fmt.Errorf("not understood: %s", p.rest)
	}
	member, rest, _ := strings.Cut(p.rest, " ")
	p.rest = rest
	if !p.eat("=") || !p.eat(`"`) {
		return false, fmt.Errorf("not understood: %s", p.rest)
	}
	want, rest, closed := strings.Cut(p.rest, `"`)
	if p.rest = rest; !closed {
		return false, fmt.Errorf("%q is not closed", want)
	}
	is, ok := at(p.line, member).(string)
	return ok && fits(want, is), nil
}

// fits tells whether a text is as wanted, where * stands for any text.
func fits(want, is string) bool {
	parts := strings.Split(want, "*")
	if len(parts) == 1 {
		return want == is
	}
	rest, ok := strings.CutPrefix(is, parts[0])
	for _, part := range parts[1 : len(parts)-1] {
		var found bool
		_, rest, found = strings.Cut(rest, part)
		ok = ok && found
	}
	return ok && strings.HasSuffix(rest, parts[len(parts)-1])
}
