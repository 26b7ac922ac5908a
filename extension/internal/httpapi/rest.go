package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// restTimeout bounds the wait for the rest of a body that the answer does not
// need, as where the secret is wrong. net/http takes some of it in before it
// answers, because many clients send all before they read; callers without the
// secret that announce a body and send none would hold their connections until
// bodyTimeout, and enough of them all connections there may be.
const restTimeout = time.Second

// answerTimeout bounds the writing of an answer. Callers that do not read would
// hold their connections for ever.
const answerTimeout = 30 * time.Second

type connKey struct{}

// withConn is an http.Server.ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// rest is what has not been read of a request's body.
type rest struct {
	io.ReadCloser
	conn *conn
	none bool
}

// watchRest returns a copy of the request whose body is watched. The request
// itself stays as it is: net/http looks at its body's type.
func watchRest(r *http.Request) (*http.Request, *rest) {
	c, _ := r.Context().Value(connKey{}).(*conn)
	body := &rest{ReadCloser: r.Body, conn: c, none: c == nil || r.ContentLength == 0}
	if !body.none {
		watched := *r
		watched.Body, r = body, &watched
	}
	return r, body
}

// Read implements io.Reader.
func (b *rest) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.none = true
	}
	return n, err
}

// bound is called before the answer. net/http clears both deadlines before the next
// request.
func (b *rest) bound() {
	if b.conn != nil {
		_ = b.conn.SetWriteDeadline(time.Now().Add(b.conn.of.answer))
	}
	if !b.none {
		_ = b.conn.TCPConn.SetReadDeadline(time.Now().Add(restTimeout))
	}
}
