package soak

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// answerLimit bounds the wait for any answer.
const answerLimit = 30 * time.Second

// connection is one that is kept between requests.
type connection struct {
	*net.TCPConn
	answers *bufio.Reader
}

func (p *Process) connect(ctx context.Context) (*connection, error) {
	c, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &connection{c, bufio.NewReaderSize(c, 8<<10)}, nil
}

func (c *connection) close() { _ = c.Close() }

// request is one as a client would send it, but for what is said otherwise.
type request struct {
	method, path, body string
	// secret is sent instead of the right one; "-" sends none.
	secret string
	// last asks for the end of the connection.
	last bool
}

// text is the request as it stands on the wire.
func (r request) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", r.method, r.path)
	switch r.secret {
	case "":
		b.WriteString("X-Idempotency-Auth: " + secret + "\r\n")
	case "-":
	default:
		b.WriteString("X-Idempotency-Auth: " + r.secret + "\r\n")
	}
	if r.last {
		b.WriteString("Connection: close\r\n")
	}
	if r.method == http.MethodPost {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(r.body))
	}
	b.WriteString("\r\n" + r.body)
	return b.String()
}

type answer struct {
	status int
	body   []byte
	closed bool // the connection ends with it
}

// member is a member of the body that is a string without escapes.
func (a answer) member(name string) string {
	_, rest, _ := strings.Cut(string(a.body), `"`+name+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// do sends a request and reads its answer.
func (c *connection) do(r request) (answer, error) {
	_ = c.SetDeadline(time.Now().Add(answerLimit))
	if _, err := io.WriteString(c, r.text()); err != nil {
		return answer{}, err
	}
	return c.read()
}

func (c *connection) read() (answer, error) {
	res, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return answer{status: res.StatusCode, body: body, closed: res.Close}, err
}
