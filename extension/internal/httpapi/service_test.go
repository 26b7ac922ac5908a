package httpapi_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/lifecycle"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/metrics"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

// setup is what a test can choose of a service.
type setup struct {
	now    func() time.Time
	store  func(idempotency.Store) idempotency.Store
	engine idempotency.Options
	api    httpapi.Options
	server func(*httpapi.Server)
	level  slog.Level
	// deadlines are those of a lease of defaultLease where they are nil.
	deadlines httpapi.Deadlines
}

// service is the API on a real listener.
type service struct {
	testing.TB
	addr   string
	secret string
	memory *memory.Store
	server *httpapi.Server
	client *http.Client
	log    *logged
}

// logged keeps what was logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

const defaultLease = 15 * time.Minute

func serve(t testing.TB, with ...func(*setup)) *service {
	t.Helper()
	log := &logged{}
	level := new(slog.LevelVar)
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level}))
	count := metrics.New("test")
	set := &setup{
		now:   time.Now,
		store: func(s idempotency.Store) idempotency.Store { return s },
		engine: idempotency.Options{
			Function: "fn", TTL: time.Hour, History: 10, Random: rand.Reader, Log: logger, Observer: count,
		},
		api: httpapi.Options{
			Keys: idempotency.Keys{Scope: "fn"}, AuthToken: "s3cret", Metrics: count.Handler(), Observer: count, Log: logger,
		},
		server: func(*httpapi.Server) {},
	}
	for _, w := range with {
		w(set)
	}
	level.Set(set.level)
	set.engine.Now, set.api.Now = set.now, set.now
	store := memory.New(set.now)
	set.api.Engine = idempotency.NewEngine(set.store(store), set.engine)
	set.api.Deadlines = set.deadlines
	if set.deadlines == nil {
		set.api.Deadlines = lifecycle.FixedDeadlines(set.now, defaultLease, nil)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{
		TB: t, addr: l.Addr().String(), secret: set.api.AuthToken, memory: store, log: log,
		server: httpapi.NewServer(httpapi.New(set.api), logger),
		client: &http.Client{Transport: &http.Transport{DisableCompression: true}},
	}
	set.server(s.server)
	ended := make(chan error, 1)
	go func() { ended <- s.server.Serve(l) }()
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		_ = s.server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended with %v", err)
		}
	})
	return s
}

// at serves with a clock that the test moves.
func at(now func() time.Time) func(*setup) { return func(s *setup) { s.now = now } }

// on serves on a store made of the one in memory.
func on(wrap func(idempotency.Store) idempotency.Store) func(*setup) {
	return func(s *setup) { s.store = wrap }
}

// answer is a response that conforms to the document.
type answer struct {
	testing.TB
	status  int
	header  http.Header
	body    []byte
	members map[string]json.RawMessage
}

// call makes a request; headers are "Name: value", a value of "-" sends none.
func (s *service) call(method, target, body string, headers ...string) answer {
	s.Helper()
	return s.send(method, target, strings.NewReader(body), headers...)
}

func (s *service) post(path, body string, headers ...string) answer {
	s.Helper()
	return s.call(http.MethodPost, path, body, headers...)
}

func (s *service) get(target string, headers ...string) answer {
	s.Helper()
	return s.call(http.MethodGet, target, "", headers...)
}

func (s *service) send(method, target string, body io.Reader, headers ...string) answer {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, "http://"+s.addr+target, body)
	if err != nil {
		s.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.secret != "" {
		req.Header.Set("X-Idempotency-Auth", s.secret)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		switch {
		case name == "Host":
			req.Host = value
		case value == "-":
			req.Header.Del(name)
		default:
			req.Header.Set(name, value)
		}
	}
	var sent bytes.Buffer
	if req.Body != nil {
		req.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(req.Body, &sent), req.Body}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.Fatalf("%s %s: %v", method, target, err)
	}
	return s.received(method, req.URL.Path, sent.Bytes(), resp)
}

// received reads a response and holds it, and the body it was given for, against
// the document.
func (s *service) received(method, path string, sent []byte, resp *http.Response) answer {
	s.Helper()
	body, err := io.ReadAll(resp.Body)
	if cerr := resp.Body.Close(); err != nil || cerr != nil {
		s.Fatalf("%s %s: %v %v", method, path, err, cerr)
	}
	a := answer{TB: s.TB, status: resp.StatusCode, header: resp.Header, body: body}
	if err := conforms(method, path, a.status, a.header, a.body); err != nil {
		s.Errorf("%v\n%.2000s", err, body)
	}
	if method != http.MethodHead && strings.Contains(a.header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(body, &a.members); err != nil {
			s.Fatalf("%s %s: %v\n%s", method, path, err, body)
		}
	}
	if a.status >= 400 && method != http.MethodHead {
		a.checkProblem()
	}
	switch {
	case a.status >= 300 || method != http.MethodPost:
	case strings.HasSuffix(path, "/batch"):
		a.checkItems(path, sent)
	default:
		if err := admits(path, sent); err != nil {
			s.Errorf("%s %s took a body that the document refuses: %v\n%.500s", method, path, err, sent)
		}
	}
	return a
}

// checkProblem holds a problem's members against the registry and each other.
func (a answer) checkProblem() {
	a.Helper()
	for _, e := range httpapi.Codes() {
		if string(e.Code) != a.text("code") {
			continue
		}
		if a.status != e.Status || a.text("title") != e.Title || a.text("type") != httpapi.ProblemPage+string(e.Code) ||
			string(a.members["status"]) != fmt.Sprint(a.status) {
			a.Errorf("answered %d %s, which is not the entry of its code: %+v", a.status, a.body, e)
		}
		return
	}
	a.Errorf("answered an unknown code: %s", a.body)
}

// raw sends bytes on a connection of its own and reads one response.
func (s *service) raw(request string) answer {
	s.Helper()
	conn := s.dial()
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		s.Fatal(err)
	}
	return s.receive(conn, request)
}

func (s *service) dial() *net.TCPConn {
	s.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

func (s *service) receive(conn net.Conn, request string) answer {
	s.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	method, rest, _ := strings.Cut(request, " ")
	target, _, _ := strings.Cut(rest, " ")
	u, err := url.Parse(target)
	if err != nil {
		s.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		s.Fatalf("no answer: %v", err)
	}
	_, body, _ := strings.Cut(request, "\r\n\r\n")
	return s.received(method, u.Path, []byte(body), resp)
}

// postText is a POST as it stands on the wire.
func (s *service) postText(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nX-Idempotency-Auth: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, s.secret, len(body), body)
}

// acquire asks for a claim that must be granted and returns its token.
func (s *service) acquire(body string) string {
	s.Helper()
	return s.post("/acquire", body).want("acquired").text("token")
}

func (s *service) complete(token, result string) {
	s.Helper()
	s.post("/complete", fmt.Sprintf(`{"token":%q,"result":%s}`, token, result)).want("completed")
}

// want checks the status of an outcome or of an ended claim.
func (a answer) want(status string) answer {
	a.Helper()
	if a.status != http.StatusOK || a.text("status") != status {
		a.Fatalf("answered %d %s, want the status %q", a.status, a.body, status)
	}
	return a
}

// problem checks for a problem whose detail holds each of the fragments.
func (a answer) problem(status int, code httpapi.Code, fragments ...string) answer {
	a.Helper()
	if a.status != status || a.text("code") != string(code) {
		a.Fatalf("answered %d %s, want %d %s", a.status, a.body, status, code)
	}
	for _, f := range fragments {
		if !strings.Contains(a.text("detail"), f) {
			a.Errorf("the detail is %q, want %q in it", a.text("detail"), f)
		}
	}
	return a
}

// text is a member that is a string.
func (a answer) text(name string) string {
	a.Helper()
	raw, ok := a.members[name]
	if !ok {
		return ""
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		a.Fatal(err)
	}
	s, _ := v.(string)
	return s
}

// number is a member that is a whole number; it must be there.
func (a answer) number(name string) int64 {
	a.Helper()
	var n int64
	if err := json.Unmarshal(a.members[name], &n); err != nil {
		a.Fatalf("%s in %s: %v", name, a.body, err)
	}
	return n
}

func (a answer) has(name string) bool {
	_, ok := a.members[name]
	return ok
}

func decode(body []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	return v, d.Decode(&v)
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}
