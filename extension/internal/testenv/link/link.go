// Package link is the network between the sidecar and its store, for tests that make it bad: slow, cut, or silent.
package link

import (
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Link passes TCP connections on to a server.
type Link struct {
	// URL is the server's, by way of the link.
	URL string

	to       string
	listener net.Listener
	pumps    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	delay  time.Duration
	held   chan struct{} // closed when what is held may pass; nil: nothing is held
	asked  int
	conns  map[*conn]bool
}

// conn is a connection from the sidecar and the one to the server that belongs to it.
type conn struct {
	near, far *net.TCPConn
	silent    bool // no request passes
	mute      bool // no answer passes
	ended     int  // sides that have sent all they had
}

// Start passes connections on to the server at a URL, until the test ends.
func Start(tb testing.TB, to string) *Link {
	tb.Helper()
	server, err := url.Parse(to)
	if err != nil {
		tb.Fatal(err)
	}
	l := &Link{to: server.Host, conns: map[*conn]bool{}}
	if l.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		tb.Fatal(err)
	}
	l.URL = "http://" + l.listener.Addr().String()
	l.pumps.Go(l.accept)
	tb.Cleanup(l.stop)
	return l
}

func (l *Link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		c := &conn{near: near.(*net.TCPConn), far: far.(*net.TCPConn)}
		l.mu.Lock()
		if l.closed {
			c.close()
		} else {
			l.conns[c] = true
		}
		l.mu.Unlock()
		l.pumps.Go(func() { l.pump(c, c.near, c.far, true) })
		l.pumps.Go(func() { l.pump(c, c.far, c.near, false) })
	}
}

func (c *conn) close() {
	_ = c.near.Close()
	_ = c.far.Close()
}

// pump passes on what one side sends. A request waits as long as the link says; a silent connection is read and kept, and
// nothing comes of it.
func (l *Link) pump(c *conn, from, to *net.TCPConn, request bool) {
	for chunk := make([]byte, 64<<10); ; {
		n, err := from.Read(chunk)
		if n > 0 && request {
			l.wait()
		}
		l.mu.Lock()
		silent := c.silent && request || c.mute && !request
		l.mu.Unlock()
		switch {
		case silent && err != nil:
			return
		case silent:
			continue
		}
		if n > 0 {
			if _, werr := to.Write(chunk[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			l.end(c, to, err)
			return
		}
	}
}

// end ends a direction of a connection, and the whole if it broke or the other direction has ended, too.
func (l *Link) end(c *conn, to *net.TCPConn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.ended++
	if errors.Is(err, io.EOF) && c.ended < 2 {
		_ = to.CloseWrite()
		return
	}
	l.drop(c)
}

func (l *Link) drop(c *conn) {
	delete(l.conns, c)
	c.close()
}

func (l *Link) wait() {
	l.mu.Lock()
	l.asked++
	delay, held := l.delay, l.held
	l.mu.Unlock()
	time.Sleep(delay)
	if held != nil {
		<-held
	}
}

// Delay lets each request from now on take so much longer.
func (l *Link) Delay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

// Hold keeps requests from the server until the function that it returns is called.
func (l *Link) Hold() (pass func()) {
	held := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.held == held {
			l.held = nil
		}
		close(held)
	})
}

// Asked is how many pieces of requests have come.
func (l *Link) Asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// Close closes the connections that are open, as a server does that has seen no request for a while. It returns how many.
func (l *Link) Close() int { return l.each(l.drop) }

// Reset breaks the connections that are open, as a server does that has forgotten them. It returns how many.
func (l *Link) Reset() int {
	return l.each(func(c *conn) {
		_ = c.near.SetLinger(0)
		l.drop(c)
	})
}

// Silence lets nothing pass any more on the connections that are open, and tells neither side, as a network does that has
// forgotten them. New ones are well. It returns how many.
func (l *Link) Silence() int {
	return l.each(func(c *conn) { c.silent, c.mute = true, true })
}

// LoseAnswers lets requests pass on the connections that are open, but no answers. It returns how many.
func (l *Link) LoseAnswers() int {
	return l.each(func(c *conn) { c.mute = true })
}

func (l *Link) each(do func(*conn)) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		if !c.silent {
			do(c)
			n++
		}
	}
	return n
}

func (l *Link) stop() {
	_ = l.listener.Close()
	l.mu.Lock()
	l.closed = true
	held := l.held
	l.held = nil
	for c := range l.conns {
		c.close()
	}
	l.mu.Unlock()
	if held != nil {
		close(held)
	}
	l.pumps.Wait()
}
