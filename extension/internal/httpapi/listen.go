package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	headerTimeout  = 5 * time.Second
	bodyTimeout    = 30 * time.Second
	maxHeaderBytes = 64 << 10
)

// Server serves a handler on a listener of loopback.
//
// Neither IdleTimeout nor the time for a first header closes a connection that
// waits for a request: such a timer would fire at once when a frozen sandbox is
// thawed, and break the next call. Their number is bounded instead.
type Server struct {
	http  *http.Server
	conns *conns
}

// NewServer makes the server of a handler.
func NewServer(h http.Handler, log *slog.Logger) *Server {
	conns := newConns(log)
	return &Server{conns: conns, http: &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r, rest := watchRest(r)
			h.ServeHTTP(&partingWriter{ResponseWriter: w, conns: conns, rest: rest}, r)
		}),
		ConnContext: withConn,
		// OPTIONS * is answered like any other call, not by net/http past the
		// checks of host and secret.
		DisableGeneralOptionsHandler: true,

		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		IdleTimeout:       -1,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         conns.changed,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
}

// Serve answers calls until the server is stopped, and then returns
// http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	return s.http.Serve(&listener{Listener: l, conns: s.conns, closed: make(chan struct{})})
}

// RegisterOnShutdown has f called when Shutdown begins.
func (s *Server) RegisterOnShutdown(f func()) { s.http.RegisterOnShutdown(f) }

// Shutdown stops the server and lets the answers under way end.
func (s *Server) Shutdown(ctx context.Context) error { return s.http.Shutdown(ctx) }

// Close stops the server at once.
func (s *Server) Close() error { return s.http.Close() }

// partingWriter asks for the end of the connection with the answer where too many
// are open: a caller that was told loses no call to it. And it bounds the wait for
// what is left of the request.
type partingWriter struct {
	http.ResponseWriter
	conns   *conns
	rest    *rest
	decided bool
}

func (w *partingWriter) decide() {
	if !w.decided {
		w.decided = true
		if w.conns.crowded() {
			w.Header().Set("Connection", "close")
		}
		w.rest.bound()
	}
}

func (w *partingWriter) WriteHeader(status int) {
	w.decide()
	w.ResponseWriter.WriteHeader(status)
}

func (w *partingWriter) Write(b []byte) (int, error) {
	w.decide()
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *partingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// fullPause is the pause between two tries to make room for a connection.
const fullPause = 20 * time.Millisecond

// listener hands its connections to conns.
type listener struct {
	net.Listener
	conns  *conns
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Accept implements net.Listener. While descriptors are short, callers wait in
// the listener's queue.
func (l *listener) Accept() (net.Conn, error) {
	var refused error
	for {
		for ; !l.conns.admit(refused); refused = nil {
			select {
			case <-l.conns.room:
			case <-time.After(fullPause):
			case <-l.closed:
				return nil, net.ErrClosed
			}
		}
		c, err := l.Listener.Accept()
		switch tcp, ok := c.(*net.TCPConn); {
		case err == nil && ok:
			return l.conns.accepted(tcp), nil
		case !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE):
			return c, err
		}
		refused = err // net/http would wait for up to a second.
	}
}
