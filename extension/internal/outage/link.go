package outage

import (
	"bytes"
	"context"
	"crypto/rand"
	"hash/crc32"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// link is the only way from a sidecar to the store, and what makes it fail.
type link struct {
	door    *door
	to      string
	server  *http.Server
	forward *http.Client
	late    sync.WaitGroup

	mu    sync.Mutex
	treat treatment     // nil: requests pass
	over  chan struct{} // closed when the treatment ends
	clock time.Duration // how far the store's clock is ahead of this host's
}

// treatment is what becomes of a request.
type treatment func(*exchange)

func startLink(ctx context.Context, to string) (*link, error) {
	d, err := newDoor(ctx)
	if err != nil {
		return nil, err
	}
	l := &link{
		door: d, to: to, over: make(chan struct{}),
		forward: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}},
	}
	l.server = &http.Server{Handler: l, ReadHeaderTimeout: time.Minute}
	go func() { _ = l.server.Serve(d) }()
	return l, nil
}

// impair makes a condition hold, from now on.
func (l *link) impair(state doorState, treat treatment, clock time.Duration) error {
	l.mu.Lock()
	l.treat, l.clock = treat, clock
	l.mu.Unlock()
	return l.door.set(state)
}

// mend ends the condition. What was on its way arrives now.
func (l *link) mend() error {
	l.mu.Lock()
	l.treat = nil
	close(l.over)
	l.over = make(chan struct{})
	l.mu.Unlock()
	return l.door.set(doorOpen)
}

// stop waits for the late requests, so that nothing is applied after it.
func (l *link) stop() {
	_ = l.mend()
	_ = l.server.Close()
	l.late.Wait()
	l.forward.CloseIdleConnections()
}

func (l *link) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.late.Add(1)
	defer l.late.Done()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The sidecar gave up, or was ended.
	}
	l.mu.Lock()
	x := &exchange{link: l, w: w, r: r, body: body, over: l.over, clock: time.Now().Add(l.clock)}
	treat := l.treat
	l.mu.Unlock()
	if treat == nil {
		treat = (*exchange).pass
	}
	treat(x)
}

// exchange is one request and its answer.
type exchange struct {
	link  *link
	w     http.ResponseWriter
	r     *http.Request
	body  []byte
	over  <-chan struct{}
	clock time.Time // what the store's clock shows
}

// wait waits until d has passed or the condition is over.
func (x *exchange) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-x.over:
	}
}

// hang never answers.
func (x *exchange) hang() {
	select {
	case <-x.r.Context().Done():
	case <-x.over:
	}
	panic(http.ErrAbortHandler)
}

// pass gives the request to the store and the answer to the sidecar.
func (x *exchange) pass() { x.answer(x.send()) }

// credential is the access key's id in a signature. DynamoDB Local keeps a
// database for each.
var credential = regexp.MustCompile(`Credential=[^/]*/`)

// send gives the request to the store. Whoever asked may be gone: a request
// that was sent is not taken back. It returns nil if there is no answer.
func (x *exchange) send() *reply {
	req, err := http.NewRequestWithContext(context.WithoutCancel(x.r.Context()), x.r.Method, x.link.to+x.r.URL.Path, bytes.NewReader(x.body))
	if err != nil {
		return nil
	}
	req.Header = x.r.Header.Clone()
	req.Header.Set("Authorization", credential.ReplaceAllString(req.Header.Get("Authorization"), "Credential="+dynamodblocal.AccessKeyID+"/"))
	res, err := x.link.forward.Do(req)
	if err != nil {
		return nil
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil
	}
	return &reply{status: res.StatusCode, header: res.Header, body: text}
}

// reply is an answer of the store.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (x *exchange) answer(a *reply) {
	if a == nil {
		panic(http.ErrAbortHandler)
	}
	for name, values := range a.header {
		x.w.Header()[name] = values
	}
	x.w.Header().Set("Date", x.clock.UTC().Format(http.TimeFormat))
	x.w.WriteHeader(a.status)
	_, _ = x.w.Write(a.body)
}

// refuse answers with an error of DynamoDB.
func (x *exchange) refuse(e awsError) {
	x.answer(&reply{e.status, http.Header{
		"Content-Type":     {"application/x-amz-json-1.0"},
		"X-Amzn-Requestid": {rand.Text()},
		"X-Amz-Crc32":      {strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(e.body))), 10)},
	}, []byte(e.body)})
}
