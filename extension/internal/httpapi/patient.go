package httpapi

import (
	"net"
	"sync"
	"time"
)

// patientConn may wait for its first request as long as between two requests.
// net/http counts the time for a first header from the connection's acceptance,
// and so would close one that a client opened in advance: after headerTimeout, or
// at once when a frozen sandbox is thawed. This holds back the read deadlines
// until the first byte has come, and counts those of the first request from then.
type patientConn struct {
	*net.TCPConn
	accepted time.Time

	mu    sync.Mutex
	begun bool
	held  time.Time     // the deadline to set when the first byte has come
	late  time.Duration // how long after the acceptance that was
}

func (c *patientConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if n > 0 {
		c.begin()
	}
	return n, err
}

func (c *patientConn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun {
		return
	}
	c.begun, c.late = true, time.Since(c.accepted)
	if !c.held.IsZero() {
		_ = c.TCPConn.SetReadDeadline(c.held.Add(c.late))
	}
}

// SetReadDeadline implements net.Conn.
func (c *patientConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case t.IsZero():
		c.held, c.late = t, 0 // What follows is not the first request.
	case t.Before(c.accepted): // That is how net/http interrupts a Read.
	case !c.begun:
		c.held = t
		return nil
	default:
		t = t.Add(c.late)
	}
	return c.TCPConn.SetReadDeadline(t)
}
