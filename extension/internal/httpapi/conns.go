package httpapi

import (
	"cmp"
	"container/list"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxIdleConns is how many connections may stay open without a request.
	maxIdleConns = 256
	// idleTicks is how long a connection above maxIdleConns is left alone: short
	// of that, it belongs to a burst.
	idleTicks = 4
	idleTick  = time.Second
	// maxDescriptors is how many files may be open in a sandbox, by all its
	// processes:
	// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
	maxDescriptors = 1024
	// settling is how long callers wait for others to end before connections are
	// closed for them, and how long those have been idle. Short of that, their
	// clients may be about to use them.
	settling = 100 * time.Millisecond
	// slowHeader is how long a header may take while callers wait for others to end;
	// headerTimeout is for when there is room. Callers without the secret could
	// otherwise hold all connections with halves of headers.
	slowHeader = time.Second
)

// conns are the connections of a server, in bounds. One with a request under way
// is never closed; and one without, unless callers wait for another, not because
// of the time that the sandbox was frozen.
type conns struct {
	log  *slog.Logger
	idle int           // how many may stay without a request
	kept int           // with more open than that, answers end their connection
	most int           // how many may be open; callers beyond that wait
	tick time.Duration // the unit of time while there are too many

	answer time.Duration // how long writing one may take

	// room gets a value when a connection is gone or idle.
	room chan struct{}

	mu      sync.Mutex
	open    int
	waiting *list.List // each *conn without a request, the longest idle first
	headers *list.List // each *conn with a part of a header, the slowest first
	now     int        // ticks so far
	ticking bool
	full    time.Time // since when callers wait; zero: they do not
	// To be logged:
	closed int
	short  error // why callers waited
}

func newConns(log *slog.Logger) *conns {
	n := min(maxDescriptors, descriptorLimit())
	c := &conns{log: log, tick: idleTick, answer: answerTimeout, waiting: list.New(), headers: list.New(), room: make(chan struct{}, 1)}
	c.bound(max(n/4*3, 1))
	return c
}

func (s *conns) bound(most int) {
	s.most, s.kept, s.idle = most, most*2/3, min(maxIdleConns, most/3)
}

// conn is a connection of conns.
type conn struct {
	patientConn
	of *conns

	// Under of.mu:
	place  *list.Element // in of.waiting; nil: a request is under way
	header *list.Element // in of.headers; nil: all of the header has come, or nothing
	since  int           // the tick at which it became idle
	at     time.Time     // when it came to its list, by the clock
	gone   bool
}

func (s *conns) accepted(tcp *net.TCPConn) *conn {
	c := &conn{of: s, patientConn: patientConn{TCPConn: tcp, accepted: time.Now()}}
	s.mu.Lock()
	s.full = time.Time{}
	s.open++
	s.mu.Unlock()
	s.wait(c)
	return c
}

// changed is told by net/http. It calls a connection idle or new until a whole
// header has come; Read knows better.
func (s *conns) changed(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*conn)
	switch {
	case !ok:
	case state == http.StateActive:
		s.mu.Lock()
		s.busy(c)
		s.mu.Unlock()
	case state == http.StateIdle:
		s.wait(c)
	}
}

// wait notes that a connection is without a request.
func (s *conns) wait(c *conn) {
	s.mu.Lock()
	if !c.gone && c.place == nil {
		s.busy(c)
		c.since, c.at = s.now, time.Now()
		c.place = s.waiting.PushBack(c)
	}
	s.watch()
	s.mu.Unlock()
	s.tellRoom()
}

// busy notes that a request is under way.
func (s *conns) busy(c *conn) {
	if c.place != nil {
		s.waiting.Remove(c.place)
		c.place = nil
	}
	if c.header != nil {
		s.headers.Remove(c.header)
		c.header = nil
	}
}

// begun notes that bytes have come: of a header, where a request was waited for.
func (s *conns) begun(c *conn) {
	if c.place != nil {
		s.busy(c)
		c.header, c.at = s.headers.PushBack(c), time.Now()
	}
}

// take takes connections out, to be hung up: the longest idle first, while there
// are too many and the next is due.
func (s *conns) take(tooMany func() bool, due func(*conn) bool) (over []*conn) {
	for e := s.waiting.Front(); e != nil && tooMany() && due(e.Value.(*conn)); e = s.waiting.Front() {
		c := e.Value.(*conn)
		s.busy(c)
		if unread(c.TCPConn) {
			continue // A request has come that nobody has read yet.
		}
		s.leave(c)
		over = append(over, c)
	}
	return over
}

// takeSlow takes out those whose header is slow.
func (s *conns) takeSlow(now time.Time) (over []*conn) {
	for e := s.headers.Front(); e != nil && now.Sub(e.Value.(*conn).at) >= slowHeader; e = s.headers.Front() {
		c := e.Value.(*conn)
		s.busy(c)
		s.leave(c)
		over = append(over, c)
	}
	return over
}

func (s *conns) leave(c *conn) {
	c.gone = true
	s.open--
	s.closed++
}

func hangUp(over []*conn) {
	for _, c := range over {
		_ = c.TCPConn.Close() // Its descriptor is free when this returns.
	}
}

func (s *conns) tellRoom() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

func (s *conns) crowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open > s.kept
}

var errMost = errors.New("as many are open as leave enough descriptors to other uses")

// admit tells whether one more connection may be accepted, after the system
// refused it if refused is not nil. If it may not, callers wait, and then idle
// connections are closed for them.
func (s *conns) admit(refused error) bool {
	s.mu.Lock()
	if refused == nil && s.open < s.most {
		s.mu.Unlock()
		return true
	}
	now := time.Now()
	if s.full.IsZero() {
		s.full = now
	}
	var over []*conn
	if now.Sub(s.full) >= settling {
		s.short = cmp.Or(refused, errMost)
		over = s.take(
			func() bool { return s.open > s.idle },
			func(c *conn) bool { return now.Sub(c.at) >= settling },
		)
		over = append(over, s.takeSlow(now)...)
	}
	s.watch()
	s.mu.Unlock()
	hangUp(over)
	return len(over) > 0
}

// watch has the next tick come if there is something to be done then.
func (s *conns) watch() {
	if s.ticking || s.waiting.Len() <= s.idle && s.closed == 0 && s.short == nil {
		return
	}
	s.ticking = true
	start := time.Now()
	time.AfterFunc(s.tick, func() { s.ticked(time.Since(start)) })
}

// ticked closes what has been idle for idleTicks, and tells what happened since
// the last tick. A tick in which the sandbox was frozen does not count.
func (s *conns) ticked(took time.Duration) {
	s.mu.Lock()
	if took < 2*s.tick {
		s.now++
	}
	over := s.take(
		func() bool { return s.waiting.Len() > s.idle },
		func(c *conn) bool { return s.now-c.since >= idleTicks },
	)
	closed, short, open := s.closed, s.short, s.open
	s.closed, s.short, s.ticking = 0, nil, false
	s.watch()
	s.mu.Unlock()
	hangUp(over)
	if closed > 0 {
		s.log.Debug("closed idle connections: too many are open", "closed", closed, "open", open)
	}
	if short != nil {
		s.log.Warn("callers waited: no more connections could be open; let the handler use fewer at once", "open", open, "reason", short)
	}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.patientConn.Read(b)
	if n > 0 {
		c.of.mu.Lock()
		c.of.begun(c)
		c.of.mu.Unlock()
	}
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.patientConn.Close()
	c.of.mu.Lock()
	c.of.busy(c)
	if !c.gone {
		c.gone = true
		c.of.open--
	}
	c.of.mu.Unlock()
	c.of.tellRoom()
	return err
}
