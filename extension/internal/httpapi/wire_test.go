package httpapi_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
)

// statuses sends bytes on a connection of its own and returns the statuses of up to
// n answers, and whether the server then ended the connection: if not, it answers
// one more request there.
func (s *service) statuses(request string, n int) (list []int, ended bool) {
	s.Helper()
	conn := s.dial()
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	sent := make(chan struct{})
	go func() { _, _ = io.WriteString(conn, request); close(sent) }()
	r := bufio.NewReader(conn)
	next := func() (status int, err error) {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode, err
	}
	for len(list) < n {
		status, err := next()
		if err != nil {
			return list, true
		}
		list = append(list, status)
	}
	<-sent
	_, _ = io.WriteString(conn, "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nX-Idempotency-Auth: s3cret\r\n\r\n")
	status, err := next()
	if err == nil && status != http.StatusOK {
		s.Errorf("the next request on the connection was answered %d", status)
	}
	return list, err != nil
}

// What is not HTTP/1.1 as it must be is refused and its connection ended; what
// could be read in two ways gives nobody a request that does not carry the secret
// itself; and the next good request is served.
func TestWireShapes(t *testing.T) {
	s := serve(t, func(set *setup) {
		set.server = func(server *httpapi.Server) { server.HTTP().ReadHeaderTimeout = time.Second }
	})
	const (
		host   = "Host: localhost\r\n"
		hidden = "GET /record?key=x HTTP/1.1\r\n" + host + "\r\n"
	)
	post := func(header, body string) string {
		return "POST /acquire HTTP/1.1\r\n" + host + "X-Idempotency-Auth: s3cret\r\nContent-Type: application/json\r\n" + header + "\r\n" + body
	}
	get := func(header string) string { return "GET /health HTTP/1.1\r\n" + header + "\r\n" }
	n := 0
	key := func() string { n++; return fmt.Sprintf(`{"key":"%04d"}`, n) } // 14 bytes
	chunked := func() string { return "e\r\n" + key() + "\r\n0\r\n\r\n" }
	for _, c := range []struct {
		name, request string
		statuses      []int
		ended         bool
	}{
		// Two lengths, or none that is a number.
		{"two lengths", post("Content-Length: 14\r\nContent-Length: 0\r\n", key()+hidden), []int{400}, true},
		{"one length twice", post("Content-Length: 14\r\nContent-Length: 14\r\n", key()), []int{200}, false},
		{"length with a sign", post("Content-Length: +14\r\n", key()), []int{400}, true},
		{"negative length", post("Content-Length: -1\r\n", key()), []int{400}, true},
		{"length in hex", post("Content-Length: 0x0e\r\n", key()), []int{400}, true},
		{"list of lengths", post("Content-Length: 14,14\r\n", key()), []int{400}, true},
		{"length too large", post("Content-Length: 99999999999999999999\r\n", key()), []int{400}, true},
		// Chunks go before a length, and what follows them has to prove itself.
		{"length and chunks", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", chunked()+hidden), []int{200, 401}, false},
		{"chunks and length", post("Transfer-Encoding: chunked\r\nContent-Length: 14\r\n", chunked()+hidden), []int{200, 401}, false},
		{"chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", chunked()+hidden), []int{501}, true},
		{"chunked in two headers", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunked()+hidden), []int{501}, true},
		{"gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", chunked()+hidden), []int{501}, true},
		{"xchunked", post("Transfer-Encoding: xchunked\r\n", chunked()+hidden), []int{501}, true},
		{"identity", post("Transfer-Encoding: identity\r\nContent-Length: 14\r\n", key()+hidden), []int{501}, true},
		{"chunked after a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", chunked()+hidden), []int{400}, true},
		{"chunked before a colon", post("Transfer-Encoding : chunked\r\nContent-Length: 14\r\n", key()+hidden), []int{400}, true},
		{"chunk of a negative size", post("Transfer-Encoding: chunked\r\n", "-e\r\n"+key()+"\r\n0\r\n\r\n"), []int{400}, true},
		{"chunk size with a prefix", post("Transfer-Encoding: chunked\r\n", "0xe\r\n"+key()+"\r\n0\r\n\r\n"), []int{400}, true},
		{"chunk size too large", post("Transfer-Encoding: chunked\r\n", "10000000000000000\r\n"+key()+"\r\n0\r\n\r\n"), []int{400}, true},
		{"chunk without its end", post("Transfer-Encoding: chunked\r\n", "e\r\n"+key()+"0\r\n\r\n"+hidden), []int{400}, true},
		{"chunk with a long extension", post("Transfer-Encoding: chunked\r\n", "e;"+strings.Repeat("x", 100_000)+"\r\n"+key()+"\r\n0\r\n\r\n"), []int{400}, true},
		{"long trailer", post("Transfer-Encoding: chunked\r\n", "e\r\n"+key()+"\r\n0\r\nX: "+strings.Repeat("y", 1<<20)+"\r\n\r\n"), []int{400}, true},
		{"body of a GET", get(host+"Content-Length: 5\r\n") + "hello" + hidden, []int{200, 401}, false},
		// Headers.
		{"no host", get(""), []int{400}, true},
		{"two hosts", get(host + "Host: evil.com\r\n"), []int{400}, true},
		{"host before a space", get("Host : localhost\r\n"), []int{400}, true},
		{"NUL in a value", get(host + "X: a\x00b\r\n"), []int{400}, true},
		{"CR in a value", get(host + "X: a\rb\r\n"), []int{400}, true},
		{"name with a space", get(host + "X Y: a\r\n"), []int{400}, true},
		{"first line folded", get(" x: y\r\n" + host), []int{400}, true},
		{"one long header", get(host + "X: " + strings.Repeat("x", 80<<10) + "\r\n"), []int{431}, true},
		{"many headers", get(host + strings.Repeat("X: y\r\n", 20_000)), []int{431}, true},
		{"long target", "GET /" + strings.Repeat("x", 80<<10) + " HTTP/1.1\r\n" + host + "\r\n", []int{431}, true},
		{"header of 60 kB", get(host + "X: " + strings.Repeat("x", 60_000) + "\r\n"), []int{200}, false},
		{"wrong secret, then the right one", "GET /record?key=x HTTP/1.1\r\n" + host + "X-Idempotency-Auth: no\r\nX-Idempotency-Auth: s3cret\r\n\r\n", []int{401}, false},
		{"unknown expectation", post("Expect: more\r\nContent-Length: 14\r\n", key()), []int{417}, true},
		// Other protocols.
		{"HTTP/0.9", "GET /health\r\n", []int{400}, true},
		{"HTTP/3.0", "GET /health HTTP/3.0\r\n" + host + "\r\n", []int{505}, true},
		{"HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", []int{400}, true},
		{"HTTP/2 by upgrade", get(host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), []int{200}, false},
		{"WebSocket", get(host + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n"), []int{200}, false},
		{"TLS", clientHello(t), []int{400}, true},
		{"a tunnel, without the secret", "CONNECT localhost:1 HTTP/1.1\r\n" + host + "\r\n", []int{401}, false},
		{"a tunnel", "CONNECT localhost:1 HTTP/1.1\r\n" + host + "X-Idempotency-Auth: s3cret\r\n\r\n", []int{404}, false},
		{"other words", "EHLO localhost\r\nMAIL FROM:<a@b>\r\n", []int{400}, true},
		{"other bytes", strings.Repeat("\x00\xff\n", 1000), []int{400}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ended := s.statuses(c.request, len(c.statuses))
			if fmt.Sprint(got) != fmt.Sprint(c.statuses) || ended != c.ended {
				t.Errorf("answered %v (ended: %v), want %v (%v)", got, ended, c.statuses, c.ended)
			}
			s.raw(s.postText("/acquire", `{"key":`+quote("after "+c.name)+`}`)).want("acquired")
		})
	}
	if strings.Contains(s.log.String(), "s3cret") {
		t.Error("the secret is logged")
	}
}

// clientHello is what a client sends first that takes the port for one of TLS.
func clientHello(t *testing.T) string {
	t.Helper()
	ours, theirs := net.Pipe()
	defer func() { _ = ours.Close() }()
	go func() {
		// A line's end within it would have it answered as bad HTTP at once.
		_ = tls.Client(theirs, &tls.Config{ServerName: "localhost"}).Handshake()
	}()
	defer func() { _ = theirs.Close() }()
	hello := make([]byte, 4096)
	n, err := ours.Read(hello)
	if err != nil || hello[0] != 0x16 {
		t.Fatalf("no ClientHello: %x, %v", hello[:n], err)
	}
	return string(bytes.ReplaceAll(hello[:n], []byte("\n"), []byte("x")))
}

// Requests that are sent all at once are answered in their order.
func TestPipeline(t *testing.T) {
	s := serve(t)
	const n = 1000
	var all strings.Builder
	for i := range n {
		all.WriteString(s.postText("/acquire", fmt.Sprintf(`{"key":"%d"}`, i%2)))
	}
	conn := s.dial()
	go func() { _, _ = io.WriteString(conn, all.String()) }()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(conn)
	for i := range n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(i, err)
		}
		body, _ := io.ReadAll(resp.Body)
		want := `"status":"acquired"`
		if i > 1 {
			want = `"status":"in_progress"`
		}
		if resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(want)) {
			t.Fatalf("request %d was answered %d %s", i, resp.StatusCode, body)
		}
	}
}

// A caller that asks before it sends is told of a body too large without having
// sent any of it.
func TestExpectation(t *testing.T) {
	s := serve(t)
	conn := s.dial()
	text := s.postText("/acquire", `{"key":"a"}`)
	for _, c := range []struct {
		length int
		want   string
	}{
		{100 << 20, "HTTP/1.1 413 "}, {httpapi.MaxBody + 1, "HTTP/1.1 413 "}, {len(`{"key":"a"}`), "HTTP/1.1 100 Continue\r\n\r\n"},
	} {
		conn = s.dial()
		header, _, _ := strings.Cut(text, "Content-Length")
		if _, err := fmt.Fprintf(conn, "%sExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", header, c.length); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		got := make([]byte, len(c.want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != c.want {
			t.Errorf("with %d bytes to come, answered %q, %v; want %q", c.length, got, err, c.want)
		}
	}
	_, _ = io.WriteString(conn, `{"key":"a"}`)
	s.receive(conn, text).want("acquired")
}

// What is refused without a look at its body is not waited for long: callers
// without the secret must not hold connections by bodies that they never send.
func TestRefusedBodyIsNotWaitedFor(t *testing.T) {
	const (
		to  = " HTTP/1.1\r\nHost: localhost\r\n"
		ten = "Content-Length: 10\r\n\r\n"
	)
	requests := map[string]string{
		"no secret":                "POST /acquire" + to + ten,
		"wrong secret":             "POST /complete" + to + "X-Idempotency-Auth: no\r\n" + ten,
		"foreign host":             "POST /acquire HTTP/1.1\r\nHost: evil.com\r\n" + ten,
		"health":                   "GET /health" + to + ten,
		"wrong method":             "POST /health" + to + ten,
		"media type":               "POST /acquire" + to + "X-Idempotency-Auth: s3cret\r\n" + ten,
		"chunked":                  "POST /acquire" + to + "Transfer-Encoding: chunked\r\n\r\n",
		"a chunk that breaks off":  "POST /acquire" + to + "Transfer-Encoding: chunked\r\n\r\n5\r\n{",
		"a length that is not met": "POST /acquire" + to + "Content-Length: 100000\r\n\r\n{",
	}
	s := serve(t, func(set *setup) {
		set.server = func(server *httpapi.Server) { server.SetMost(30) }
	})
	start := time.Now()
	slow := map[string]net.Conn{}
	for range 7 { // Of all together, twice as many as there may be connections.
		for name, request := range requests {
			slow[name] = s.dial()
			if _, err := io.WriteString(slow[name], request); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.raw(s.postText("/acquire", `{"key":"next"}`)).want("acquired")
	if took := time.Since(start); took > httpapi.BodyTimeout/2 {
		t.Errorf("the next good request was answered after %v", took)
	}
	for name, conn := range slow {
		_ = conn.SetReadDeadline(start.Add(httpapi.BodyTimeout / 2))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: the connection was not ended: %v", name, err)
		}
	}
}

// One that sends its body, if late, is told what is wrong and keeps its connection.
func TestRefusedBodyThatComes(t *testing.T) {
	s := serve(t)
	conn := s.dial()
	text := strings.Replace(s.postText("/acquire", `{"key":"a"}`), "s3cret", "wrong!", 1)
	for range 3 {
		if _, err := io.WriteString(conn, text[:len(text)-5]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		if _, err := io.WriteString(conn, text[len(text)-5:]); err != nil {
			t.Fatal(err)
		}
		s.receive(conn, text).problem(401, httpapi.Unauthorized)
	}
	time.Sleep(1200 * time.Millisecond) // No deadline is left of it.
	s.ask(conn, "a").want("acquired")
}
