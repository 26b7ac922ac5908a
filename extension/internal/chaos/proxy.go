package chaos

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// proxy is the only way from the sidecars to the store. It makes the faults and
// notes the writes that took effect.
type proxy struct {
	url     string
	to      string
	plan    plan
	clock   clock
	witness *Witness
	tally   *Tally
	pick    func(*dice) Fault

	server  *http.Server
	forward *http.Client
	late    sync.WaitGroup
	passed  atomic.Int64

	gate sync.RWMutex // held for writing during a pause

	mu   sync.Mutex
	seen map[string]int // how often a request of that name came by
}

// startProxy serves a proxy to the store at the URL.
func startProxy(ctx context.Context, to string, p plan, c clock, witness *Witness, tally *Tally) (*proxy, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	x := &proxy{
		url: "http://" + listener.Addr().String(), to: to, plan: p, clock: c, witness: witness, tally: tally, pick: pick,
		forward: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}},
		seen:    map[string]int{},
	}
	x.server = &http.Server{Handler: x, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = x.server.Serve(listener) }()
	return x, nil
}

// stop waits for the late requests, so that nothing is applied after it.
func (x *proxy) stop() {
	_ = x.server.Close()
	x.late.Wait()
	x.forward.CloseIdleConnections()
}

// pauses holds all requests, now and then, until the context is done.
func (x *proxy) pauses(ctx context.Context, every time.Duration) {
	d := x.plan.stream("pauses")
	for {
		if !sleep(ctx, d.between(every/2, every*3/2)) {
			return
		}
		x.gate.Lock()
		x.tally.add(Pause)
		sleep(ctx, d.between(pauseLeast, pauseMost))
		x.gate.Unlock()
	}
}

// sleep waits; it tells whether the time passed before the context was done.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// dice are the choices for a request. They hang on what it is and on how often
// it was tried, not on the order in which requests come by.
func (x *proxy) dice(w *Write) *dice {
	name := "read"
	if w != nil {
		name = fmt.Sprintf("%s %s %s %s", w.Kind, w.Key, w.Request, w.Outcome)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen[name]++
	return x.plan.stream(fmt.Sprintf("%s try %d", name, x.seen[name]))
}

func (x *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The sidecar was killed within its request.
	}
	x.passed.Add(1)
	x.gate.RLock()
	x.gate.RUnlock() //nolint:staticcheck // Whoever comes in a pause waits for its end.
	write := parseWrite(r.Header.Get("X-Amz-Target"), body)
	d := x.dice(write)
	fault := x.pick(d)
	if fault != "" {
		x.tally.add(fault)
	}
	send := func() *answer { return x.send(r, body, write) }
	switch fault {
	case Latency:
		time.Sleep(d.between(0, latencyMost))
	case RequestDropped:
		hang(r)
		panic(http.ErrAbortHandler)
	case RequestReset:
		reset(w, nil)
		return
	case RequestLate:
		delay := d.between(0, lateMost)
		x.late.Go(func() {
			time.Sleep(delay)
			send()
		})
		panic(http.ErrAbortHandler)
	case InternalError, Throttled, ThroughputExceded:
		awsErrors[fault].answer().write(w)
		return
	}
	a := send()
	switch fault {
	case AnswerDropped:
		hang(r)
		panic(http.ErrAbortHandler)
	case AnswerClosed:
		panic(http.ErrAbortHandler)
	case AnswerCut:
		reset(w, a)
		return
	case AnswerInternal:
		a = awsErrors[fault].answer()
	}
	if a == nil {
		panic(http.ErrAbortHandler)
	}
	a.write(w)
}

// hang waits until the client gives up, or for as long as any would.
func hang(r *http.Request) { sleep(r.Context(), droppedFor) }

// reset ends the connection with RST; after half of an answer, if there is one.
func reset(w http.ResponseWriter, half *answer) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if half != nil {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n", half.status, len(half.body)+1)
		_, _ = conn.Write(half.body[:len(half.body)/2])
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// answer is an answer of the store.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) write(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

func (e awsError) answer() *answer {
	return &answer{e.status, http.Header{
		"Content-Type":     {"application/x-amz-json-1.0"},
		"X-Amzn-Requestid": {rand.Text()},
		"X-Amz-Crc32":      {strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(e.body))), 10)},
		"Content-Length":   {strconv.Itoa(len(e.body))},
	}, []byte(e.body)}
}

// send passes a request on and notes what it did. Whoever asked may be gone: a
// request that was sent is not taken back. It returns nil if there is no answer.
func (x *proxy) send(r *http.Request, body []byte, write *Write) *answer {
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, x.to+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return nil
	}
	for name, values := range r.Header {
		if name != "Connection" {
			req.Header[name] = values
		}
	}
	from := x.clock.stamp()
	note := func(doubtful bool) {
		if write == nil {
			return
		}
		seen := *write
		seen.From, seen.To, seen.Doubtful = from, x.clock.stamp(), doubtful
		x.witness.note(&seen)
	}
	res, err := x.forward.Do(req)
	if err != nil {
		note(true)
		return nil
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	switch {
	case res.StatusCode == http.StatusOK:
		note(false)
	case res.StatusCode >= http.StatusInternalServerError:
		note(true)
	}
	if err != nil {
		return nil
	}
	return &answer{res.StatusCode, res.Header, text}
}
