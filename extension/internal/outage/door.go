package outage

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// doorState is what a connection attempt meets.
type doorState int

const (
	doorOpen   doorState = iota
	doorShut             // refused
	doorSilent           // not answered at all
)

// backlog is how many connections may wait to be accepted.
const backlog = 128

// door is a listener that can refuse connections, or leave them unanswered,
// without giving up its port. It does so with Linux's means: a listening socket
// that is shut down stays bound, and a filter drops what comes to one. No
// connection outlives the time in which it was made.
type door struct {
	*net.TCPListener

	accepting sync.Mutex // held while a connection is accepted, and while the state changes
	state     doorState
	opened    chan struct{} // closed when the door is open

	mu     sync.Mutex
	guests map[*guest]bool
}

// guest is a connection that was accepted.
type guest struct {
	net.Conn
	door *door
}

// newDoor opens a door. Between finding a free port and using it, another
// process may take it.
func newDoor(ctx context.Context) (*door, error) {
	for try := 1; ; try++ {
		d, err := tryDoor(ctx)
		if err == nil || try == 3 {
			return d, err
		}
	}
}

func tryDoor(ctx context.Context) (*door, error) {
	// A port that the system chose is given up when the socket is shut down, one
	// that was asked for is kept.
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // Filters are for TCP's own sockets.
	free, err := plain.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if err := free.Close(); err != nil {
		return nil, err
	}
	l, err := plain.Listen(ctx, "tcp", free.Addr().String())
	if err != nil {
		return nil, err
	}
	d := &door{TCPListener: l.(*net.TCPListener), opened: make(chan struct{}), guests: map[*guest]bool{}}
	close(d.opened)
	return d, nil
}

// Accept implements net.Listener. It waits while the door is not open.
func (d *door) Accept() (net.Conn, error) {
	for {
		d.accepting.Lock()
		opened := d.opened
		d.accepting.Unlock()
		<-opened
		conn, err := d.accept()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return conn, err
		}
	}
}

func (d *door) accept() (net.Conn, error) {
	d.accepting.Lock()
	defer d.accepting.Unlock()
	conn, err := d.TCPListener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{conn, d}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.guests[g] = true
	return g, nil
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.door.mu.Lock()
	delete(g.door.guests, g)
	g.door.mu.Unlock()
	return g.Conn.Close()
}

// Close implements net.Listener.
func (d *door) Close() error {
	_ = d.set(doorOpen)
	return d.TCPListener.Close()
}

// set changes what connection attempts meet from now on, and ends the
// connections that there are. One goroutine at a time may change a door.
func (d *door) set(to doorState) error {
	if to == d.state {
		return nil
	}
	_ = d.SetDeadline(time.Unix(1, 0)) // It ends the Accept under way.
	d.accepting.Lock()
	defer d.accepting.Unlock()
	if d.state == doorOpen {
		d.opened = make(chan struct{})
	}
	if d.state != doorShut { // Shut down twice, it would be for all connections to come, too.
		// The end of listening drops what waits, and what is being connected.
		if err := d.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RD) }); err != nil {
			return err
		}
	}
	d.state = to
	d.mu.Lock()
	for g := range d.guests {
		_ = g.Conn.Close()
	}
	clear(d.guests)
	d.mu.Unlock()
	switch to {
	case doorShut:
		return nil
	case doorSilent:
		return d.control(func(fd int) error { return errors.Join(deafen(fd), unix.Listen(fd, backlog)) })
	}
	_ = d.SetDeadline(time.Time{})
	err := d.control(func(fd int) error {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		if errors.Is(err, unix.ENOENT) {
			err = nil // There was none.
		}
		return errors.Join(err, unix.Listen(fd, backlog))
	})
	close(d.opened)
	return err
}

// deafen drops all that comes to a socket:
// https://docs.kernel.org/networking/filter.html
func deafen(fd int) error {
	nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
}

func (d *door) control(do func(fd int) error) error {
	raw, err := d.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}

func (d *door) url() string {
	return "http://127.0.0.1:" + strconv.Itoa(d.Addr().(*net.TCPAddr).Port)
}
