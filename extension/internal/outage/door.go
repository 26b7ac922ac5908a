package outage

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// doorState is what a connection attempt meets.
type doorState int

const (
	doorOpen   doorState = iota
	doorShut             // refused
	doorSilent           // not answered at all
)

// backlog is how many connections may wait at an open door.
const backlog = 128

// door is a listener that can refuse connections, or leave them unanswered,
// without giving up its port. It does so with Linux's means: a listening socket
// that is shut down stays bound, and one whose queue is full drops what comes.
type door struct {
	*net.TCPListener

	mu      sync.Mutex
	state   doorState
	opened  chan struct{} // closed when the door is open, or was closed for good
	closed  bool
	waiting []net.Conn // what fills the queue
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
	free, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if err := free.Close(); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", free.Addr().String())
	if err != nil {
		return nil, err
	}
	d := &door{TCPListener: l.(*net.TCPListener), opened: make(chan struct{})}
	close(d.opened)
	return d, nil
}

// Accept implements net.Listener. It waits while the door is not open.
func (d *door) Accept() (net.Conn, error) {
	for {
		d.mu.Lock()
		opened := d.opened
		d.mu.Unlock()
		<-opened
		conn, err := d.TCPListener.Accept()
		d.mu.Lock()
		again := err != nil && !d.closed && (d.state != doorOpen || opened != d.opened)
		d.mu.Unlock()
		if !again {
			return conn, err
		}
	}
}

// Close implements net.Listener.
func (d *door) Close() error {
	_ = d.set(doorOpen)
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	return d.TCPListener.Close()
}

// set changes what connection attempts meet from now on.
func (d *door) set(to doorState) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if to == d.state {
		return nil
	}
	if d.state == doorOpen {
		d.opened = make(chan struct{})
	}
	d.state = to
	if to != doorOpen {
		_ = d.SetDeadline(time.Unix(1, 0)) // It ends the Accept under way.
	}
	switch to {
	case doorShut:
		return d.control(func(fd int) error { return syscall.Shutdown(fd, syscall.SHUT_RD) })
	case doorSilent:
		err := d.control(func(fd int) error {
			d.drain(fd)
			return syscall.Listen(fd, 0)
		})
		if err != nil {
			return err
		}
		return d.fill()
	}
	_ = d.SetDeadline(time.Time{})
	err := d.control(func(fd int) error {
		d.drain(fd)
		return syscall.Listen(fd, backlog)
	})
	close(d.opened)
	return err
}

// fill takes the places of a short queue, so that no more connections are
// answered. Where another's connection got there first, it is dropped: it would
// look alive.
func (d *door) fill() error {
	for range backlog {
		conn, err := (&net.Dialer{Timeout: 100 * time.Millisecond}).DialContext(context.Background(), "tcp", d.Addr().String())
		switch {
		case err == nil:
			d.waiting = append(d.waiting, conn)
		case len(d.waiting) > 0:
			return nil
		default:
			if err := d.control(func(fd int) error { d.drain(fd); return nil }); err != nil {
				return err
			}
		}
	}
	return errors.New("the queue of a listener does not fill")
}

// drain drops what waits at a silent door, so that nothing which came then is
// taken later.
func (d *door) drain(fd int) {
	for _, conn := range d.waiting {
		_ = conn.Close()
	}
	d.waiting = nil
	for {
		conn, _, err := syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return // The socket is set not to wait: there are no more.
		}
		_ = syscall.Close(conn)
	}
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
