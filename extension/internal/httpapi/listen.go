package httpapi

import (
	"container/list"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	headerTimeout  = 5 * time.Second
	bodyTimeout    = 30 * time.Second
	maxHeaderBytes = 64 << 10
	// maxIdleConns is how many connections may be open without a request. A
	// sandbox has 1,024 file descriptors for all its processes:
	// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
	maxIdleConns = 256
)

// NewServer makes the server of a handler, to serve a listener made Patient. It
// closes no idle connection by a timer, which would fire at once when a frozen
// sandbox is thawed and break the next call; it bounds their number instead.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	idle := &idleConns{most: maxIdleConns, order: list.New(), at: map[net.Conn]*list.Element{}}
	return &http.Server{
		Handler: h,
		// OPTIONS * is answered like any other call, not by net/http past the
		// checks of host and secret.
		DisableGeneralOptionsHandler: true,

		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		IdleTimeout:       -1,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         idle.changed,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// idleConns closes the connection that has been idle longest when there are too
// many.
type idleConns struct {
	most int

	mu    sync.Mutex
	order *list.List // longest idle first
	at    map[net.Conn]*list.Element
}

func (c *idleConns) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(conn)
	if state != http.StateNew && state != http.StateIdle {
		return
	}
	c.at[conn] = c.order.PushBack(conn)
	if c.order.Len() > c.most {
		longest := c.order.Front().Value.(net.Conn)
		// Forgotten now and not at StateClosed, which comes later: until then the
		// next one over the limit would find this one again and close nothing.
		c.forget(longest)
		_ = longest.Close()
	}
}

func (c *idleConns) forget(conn net.Conn) {
	if e, known := c.at[conn]; known {
		c.order.Remove(e)
		delete(c.at, conn)
	}
}
