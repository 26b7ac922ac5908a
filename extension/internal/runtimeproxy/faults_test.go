package runtimeproxy_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/runtimeproxy"
)

// A fault is what a side does to its message, on the bytes of the wire.
type fault string

const (
	none      fault = "whole"
	cut       fault = "cut"              // closed within the body
	cutHead   fault = "cut in the head"  // closed within the header
	short     fault = "wrong length"     // says more than it sends, and closes
	reset     fault = "reset"            // RST within the body
	silent    fault = "closed at once"   // nothing is sent
	garbage   fault = "garbage"          // no HTTP
	chunks    fault = "chunked"          // sound, without a length
	cutChunks fault = "chunks cut short" // no last chunk
	badChunk  fault = "chunk of no size"
)

var faults = []fault{none, cut, cutHead, short, reset, silent, garbage, chunks, cutChunks, badChunk}

// send writes a message with a fault; whole tells whether it is a sound one.
func send(c net.Conn, start string, header []string, body string, f fault, at float64) {
	part := int(at * float64(len(body)))
	chunkedHead := start + "\r\n" + strings.Join(append(header, "Transfer-Encoding: chunked"), "\r\n") + "\r\n\r\n"
	head := func(length int) string {
		return start + "\r\n" + strings.Join(append(slices.Clone(header), "Content-Length: "+strconv.Itoa(length)), "\r\n") + "\r\n\r\n"
	}
	write := func(s string) { _, _ = io.WriteString(c, s) }
	switch f {
	case none:
		write(head(len(body)) + body)
		return
	case chunks:
		write(chunkedHead + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body))
		return
	case cut:
		write(head(len(body)) + body[:part])
	case cutHead:
		h := head(len(body))
		write(h[:int(at*float64(len(h)-2))])
	case short:
		write(head(len(body)+7) + body)
	case reset:
		write(head(len(body)) + body[:part])
		_ = c.(*net.TCPConn).SetLinger(0)
	case silent:
	case garbage:
		write("\x16\x03\x01 this is no HTTP\r\n\r\n")
	case cutChunks:
		write(chunkedHead + fmt.Sprintf("%x\r\n%s\r\n", len(body), body))
	case badChunk:
		write(chunkedHead + "zz\r\n" + body + "\r\n")
	}
	_ = c.Close()
}

// sound faults are none.
func (f fault) sound() bool { return f == none || f == chunks }

// script is one exchange: an event, and the handler's answer to it.
type script struct {
	event      string
	eventFault fault
	call       string // "response" or "error"
	said       string
	saidFault  fault
	answer     string
	status     int
	ackFault   fault
	at         float64
}

// seen is what a side saw of a script. Of a call that did not go well only that is
// kept: how a connection breaks differs between two runs without a proxy, too.
type seen struct {
	runtime []string
	lambda  []string
}

// play runs a script with a runtime that calls an address made of upstream's.
func (sc script) play(t *testing.T, between func(upstream string) string) seen {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	heard := make(chan string, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go sc.serve(c, heard)
		}
	}()
	address := between(l.Addr().String())
	var got seen
	event := call(address, "GET "+invocations+"next HTTP/1.1", "", none, 0)
	got.runtime = append(got.runtime, event)
	if strings.HasPrefix(event, "200 ") {
		got.runtime = append(got.runtime, call(address, "POST "+invocations+"r1/"+sc.call+" HTTP/1.1", sc.said, sc.saidFault, sc.at))
		// A runtime whose call was sound waits for what comes of it, so Lambda has
		// heard it by now; of another, Lambda hears nothing whole.
		if sc.saidFault.sound() {
			select {
			case h := <-heard:
				got.lambda = append(got.lambda, h)
			case <-time.After(10 * time.Second):
				got.lambda = append(got.lambda, "nothing")
			}
		}
	}
	select {
	case h := <-heard:
		got.lambda = append(got.lambda, h)
	case <-time.After(time.Millisecond):
	}
	return got
}

// serve is the scripted Runtime API.
func (sc script) serve(c net.Conn, heard chan<- string) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if strings.HasSuffix(req.URL.Path, "/next") {
			header := []string{"Lambda-Runtime-Aws-Request-Id: r1", fmt.Sprintf("Lambda-Runtime-Deadline-Ms: %d", time.Now().Add(time.Minute).UnixMilli()), "X-Unknown: u"}
			send(c, "HTTP/1.1 200 OK", header, sc.event, sc.eventFault, sc.at)
			continue
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // Half a call is none.
		}
		heard <- req.Method + " " + req.URL.Path + " " + string(body)
		send(c, fmt.Sprintf("HTTP/1.1 %d X", sc.status), []string{"X-Ack: a", "Content-Type: application/json"}, sc.answer, sc.ackFault, sc.at)
	}
}

// call is the runtime's: what it saw.
func call(address, start, body string, f fault, at float64) string {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return "broken"
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	send(c, start, []string{"Host: " + address, "Content-Type: application/json"}, body, f, at)
	if !f.sound() {
		return "left"
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "broken"
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return "broken"
	}
	return fmt.Sprintf("%d %s %s %s %s", res.StatusCode, text, res.Header.Get("X-Unknown"), res.Header.Get("X-Ack"), res.Header.Get("Content-Type"))
}

func (sc script) compare(t *testing.T) {
	t.Helper()
	direct := sc.play(t, func(upstream string) string { return upstream })
	var s *sandbox
	proxied := sc.play(t, func(upstream string) string {
		s = newSandbox(t, func(o *runtimeproxy.Options) { o.Upstream = upstream })
		return strings.TrimPrefix(s.proxy, "http://")
	})
	if !slices.Equal(direct.runtime, proxied.runtime) || !slices.Equal(direct.lambda, proxied.lambda) {
		t.Errorf("%+v\nwithout the proxy: %.300q\nwith it:           %.300q", sc, direct, proxied)
	}
	sc.check(t, s)
}

// check holds the record against what became of the work.
func (sc script) check(t *testing.T, s *sandbox) {
	t.Helper()
	rec := s.record(sc.event)
	switch {
	case !sc.eventFault.sound():
		if rec != nil {
			t.Errorf("%+v\nthe event never came whole, and the record is %+v", sc, rec)
		}
	case !sc.saidFault.sound():
		s.held(sc.event) // Until the extension hears of the runtime's end.
	case sc.call == "error":
		s.released(sc.event, "Carrier")
	case rec == nil || string(rec.Result) != sc.said:
		t.Errorf("%+v\nthe handler is done, and the record is %+v", sc, rec)
	}
}

const carrier = `{"errorType":"Carrier","errorMessage":"no answer"}`

// The runtime and Lambda see the same with the proxy between them as without,
// whichever side fails at whatever point.
func TestFaults(t *testing.T) {
	for _, eventFault := range faults {
		sc := script{event: `{"order":1}`, eventFault: eventFault, call: "response", said: `{"a":1}`, saidFault: none, answer: "{}", status: 202, ackFault: none, at: 0.5}
		t.Run("event "+string(eventFault), func(t *testing.T) { t.Parallel(); sc.compare(t) })
	}
	for _, name := range []string{"response", "error"} {
		for _, saidFault := range faults {
			for _, ackFault := range faults {
				if !saidFault.sound() && ackFault != none {
					continue
				}
				sc := script{event: `{"order":1}`, eventFault: none, call: name, said: `{"a":1}`, saidFault: saidFault, answer: "{}", status: 202, ackFault: ackFault, at: 0.5}
				if name == "error" {
					sc.said = carrier
				}
				t.Run(fmt.Sprintf("%s %s, answer %s", name, saidFault, ackFault), func(t *testing.T) { t.Parallel(); sc.compare(t) })
			}
		}
	}
}

// draw makes a script at random.
func draw(r *rand.Rand) script {
	pick := func(list []fault) fault {
		if r.IntN(3) == 0 {
			return list[r.IntN(len(list))]
		}
		return []fault{none, chunks}[r.IntN(2)]
	}
	size := []int{0, 1, 10, 4096, 70_000, 1 << 20}[r.IntN(6)]
	sc := script{
		event:      fmt.Sprintf(`{"order":%d,"pad":%q}`, r.IntN(100), strings.Repeat("e", size)),
		eventFault: pick(faults), call: "response", saidFault: pick(faults), ackFault: pick(faults),
		answer: "{}", status: []int{202, 202, 400, 403, 410, 413, 500}[r.IntN(7)], at: r.Float64(),
	}
	sc.said = fmt.Sprintf(`{"pad":%q}`, strings.Repeat("s", size))
	if r.IntN(3) == 0 {
		sc.call, sc.said = "error", carrier
	}
	return sc
}

func TestFaultsAtRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i := range 60 {
		draw(rand.New(rand.NewPCG(seed, uint64(i)))).compare(t)
	}
}

// The same, with scripts of the fuzzer's choice.
func FuzzFaults(f *testing.F) {
	for i := range uint64(8) {
		f.Add(i, i*i)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) { draw(rand.New(rand.NewPCG(a, b))).compare(t) })
}
