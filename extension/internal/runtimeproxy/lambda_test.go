package runtimeproxy_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/runtimeproxy"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/memory"
)

// lambda is a scripted Runtime API: it hands out the events that the test queues,
// and notes what is answered.
type lambda struct {
	t      *testing.T
	server *httptest.Server
	events chan event
	told   chan told
	// answer, if set, answers a call instead of 202, after its body was read; raw
	// before that.
	answer func(w http.ResponseWriter, r *http.Request, body []byte) bool
	raw    func(w http.ResponseWriter, r *http.Request) bool

	mu    sync.Mutex
	asked int // how often the next event was asked for
}

type event struct {
	id, body string
	deadline time.Time
	header   http.Header
}

// told is a request to the Runtime API that was no question for an event.
type told struct {
	method, path  string
	header        http.Header
	body          string
	trailer       http.Header
	length        int64
	broken        error
	contentLength string
}

func newLambda(t *testing.T) *lambda {
	l := &lambda{t: t, events: make(chan event, 16), told: make(chan told, 64)}
	l.server = httptest.NewServer(l)
	t.Cleanup(l.server.Close)
	t.Cleanup(l.server.CloseClientConnections)
	return l
}

func (l *lambda) address() string { return l.server.Listener.Addr().String() }

// ServeHTTP implements http.Handler.
func (l *lambda) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path == "/2018-06-01/runtime/invocation/next" {
		l.mu.Lock()
		l.asked++
		l.mu.Unlock()
		select {
		case e := <-l.events:
			for name, values := range e.header {
				w.Header()[name] = values
			}
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", e.id)
			if e.deadline.IsZero() {
				e.deadline = time.Now().Add(3 * time.Second)
			}
			w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(e.deadline.UnixMilli(), 10))
			_, _ = io.WriteString(w, e.body)
		case <-r.Context().Done():
		}
		return
	}
	if l.raw != nil && l.raw(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	l.told <- told{r.Method, r.URL.RequestURI(), r.Header.Clone(), string(body), r.Trailer.Clone(), r.ContentLength, err, r.Header.Get("Content-Length")}
	if l.answer != nil && l.answer(w, r, body) {
		return
	}
	w.Header().Set("X-From-Lambda", "yes")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}

// next is what Lambda was told.
func (l *lambda) next() told {
	l.t.Helper()
	select {
	case got := <-l.told:
		return got
	case <-time.After(10 * time.Second):
		l.t.Fatal("Lambda was told nothing")
		panic("unreachable")
	}
}

// nothing fails the test if Lambda was told anything.
func (l *lambda) nothing() {
	l.t.Helper()
	select {
	case got := <-l.told:
		l.t.Fatalf("Lambda was told %s %s %s", got.method, got.path, got.body)
	default:
	}
}

// sandbox is the proxy before a scripted Lambda, on a store of its own.
type sandbox struct {
	*lambda
	proxy  string
	engine *idempotency.Engine
	store  idempotency.Store
	log    *logLines
}

// keyed makes a key of the whole event; "{}" has none.
func keyed(event []byte) (idempotency.Key, error) {
	if string(event) == "{}" {
		return idempotency.Key{}, errors.New("nothing is selected")
	}
	sum := sha256.Sum256(event)
	return idempotency.Key{Partition: hex.EncodeToString(sum[:])}, nil
}

func newSandbox(t *testing.T, changes ...func(*runtimeproxy.Options)) *sandbox {
	t.Helper()
	return newSandboxOn(t, memory.New(time.Now), changes...)
}

func newSandboxOn(t *testing.T, store idempotency.Store, changes ...func(*runtimeproxy.Options)) *sandbox {
	t.Helper()
	s := &sandbox{lambda: newLambda(t), store: store, log: &logLines{}}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.engine = idempotency.NewEngine(store, idempotency.Options{TTL: time.Hour, History: 10, Now: time.Now, Random: rand.Reader, Log: log})
	options := runtimeproxy.Options{
		Upstream:     s.address(),
		Claims:       s.engine,
		Key:          func(event []byte, _ string) (idempotency.Key, error) { return keyed(event) },
		RecordKey:    func(_ []byte, id string) (idempotency.Key, error) { return idempotency.Key{Partition: id}, nil },
		OnInProgress: runtimeproxy.InProgressError,
		Lease:        time.Minute,
		Now:          time.Now,
		Log:          log,
	}
	for _, change := range changes {
		change(&options)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := runtimeproxy.NewServer(runtimeproxy.New(options), log)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	s.proxy = "http://" + listener.Addr().String()
	return s
}

// record is what is stored of an event; nil: nothing.
func (s *sandbox) record(event string) *idempotency.Record {
	s.t.Helper()
	key, err := keyed([]byte(event))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.get(key)
}

func (s *sandbox) get(key idempotency.Key) *idempotency.Record {
	s.t.Helper()
	rec, err := s.store.Get(s.t.Context(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	return rec
}

// take asks for the next event as a runtime does.
func (s *sandbox) take() (id, body string, header http.Header) {
	s.t.Helper()
	res, text := s.call(http.MethodGet, "/2018-06-01/runtime/invocation/next", "", nil)
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("next answered %s %s", res.Status, text)
	}
	return res.Header.Get("Lambda-Runtime-Aws-Request-Id"), text, res.Header
}

// answers posts the handler's response.
func (s *sandbox) answers(id, body string) {
	s.t.Helper()
	res, text := s.call(http.MethodPost, "/2018-06-01/runtime/invocation/"+id+"/response", body, http.Header{"Content-Type": {"application/json"}})
	if res.StatusCode != http.StatusAccepted || res.Header.Get("X-From-Lambda") == "" {
		s.t.Fatalf("the response was answered %s %s", res.Status, text)
	}
}

func (s *sandbox) call(method, path, body string, header http.Header) (*http.Response, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.proxy+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(text)
}

// logLines keeps what was logged.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logLines) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), part)
}
