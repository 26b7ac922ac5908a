package httpapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// closed tells whether the server has closed a connection on which nothing is due.
func closed(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := conn.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func open(conns []*net.TCPConn) int {
	var n atomic.Int64
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			if !closed(c) {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return int(n.Load())
}

// use makes a request on a connection, and reads its short answer.
func use(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
}

// burst makes n calls at once with a client that keeps its connections, rounds
// times, and returns what went wrong.
func (s *service) burst(n, rounds int) (wrong []error) {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	call := func(key string) error {
		req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/acquire", strings.NewReader(`{"key":`+quote(key)+`}`))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Idempotency-Auth", s.secret)
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil && !bytes.Contains(body, []byte(`"status":"acquired"`)) {
			err = fmt.Errorf("answered %d %s", res.StatusCode, body)
		}
		return err
	}
	var mu sync.Mutex
	for round := range rounds {
		begin := make(chan struct{})
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				<-begin
				if err := call(fmt.Sprint(round, ".", i)); err != nil {
					mu.Lock()
					defer mu.Unlock()
					wrong = append(wrong, err)
				}
			})
		}
		close(begin)
		wg.Wait()
	}
	return wrong
}

// However many calls come at once, all are answered: on fresh connections, and
// on those that were kept.
func TestBurst(t *testing.T) {
	for _, n := range []int{400, 700} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := serve(t)
			if wrong := s.burst(n, 3); len(wrong) > 0 {
				t.Errorf("%d of %d calls failed, the first with %v", len(wrong), 3*n, wrong[0])
			}
		})
	}
}

// What comes over all limits waits, and is told of.
func TestBurstOverTheLimit(t *testing.T) {
	s := serve(t, func(set *setup) {
		set.server = func(server *httpapi.Server) { server.SetMost(100) }
	})
	if wrong := s.burst(300, 1); len(wrong) > 0 {
		t.Errorf("%d of 300 calls failed, the first with %v", len(wrong), wrong[0])
	}
	s.acquire(`{"key":"held"}`)
	text := s.postText("/acquire", `{"key":"held","wait_ms":600}`)
	var waiting []*net.TCPConn
	for range 120 {
		conn := s.dial()
		waiting = append(waiting, conn)
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	for _, conn := range waiting {
		s.receive(conn, text).want("in_progress")
	}
	soon(s, "told", func() bool {
		return strings.Contains(s.log.String(), "callers waited: no more connections could be open")
	})
}

// Connections without a request that an attacker opens do not keep the next call
// from being answered, nor do they take all descriptors.
func TestManyIdleConnections(t *testing.T) {
	s := serve(t, func(set *setup) { set.level = slog.LevelDebug })
	var conns []*net.TCPConn
	for i := range 2000 {
		conns = append(conns, s.dial())
		if i%200 == 199 {
			s.raw(s.postText("/acquire", fmt.Sprintf(`{"key":"during %d"}`, i))).want("acquired")
		}
	}
	s.raw(s.postText("/acquire", `{"key":"next"}`)).want("acquired")
	soon(s, "bounded", func() bool { return open(conns) <= httpapi.MaxConns })
	s.ask(conns[len(conns)-1], "newest").want("acquired")
	// Those that were taken out together are closed one after the other.
	soon(s, "all of the longest idle closed", func() bool { return open(conns[:2000-httpapi.MaxConns-50]) == 0 })
	soon(s, "told", func() bool { return strings.Contains(s.log.String(), "closed idle connections: too many are open") })
	if n := strings.Count(s.log.String(), "closed idle connections"); n > 3 {
		t.Errorf("told %d times within a second", n)
	}
}

// Of connections above the number that may stay idle, those go that have been
// idle longest, when they have been for a while; one with a request under way
// stays.
func TestIdleConnectionsAreBounded(t *testing.T) {
	for _, c := range []struct {
		name string
		used bool // a request was made before
	}{{"new", false}, {"used", true}} {
		t.Run(c.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			const tick = 250 * time.Millisecond
			var store *gated
			s := serve(t, on(func(m idempotency.Store) idempotency.Store { store = newGated(m); return store }), func(set *setup) {
				set.server = func(server *httpapi.Server) { server.SetTick(tick) }
			})
			token := s.acquire(`{"key":"busy"}`)
			s.client.CloseIdleConnections()
			busy, half := s.dial(), s.dial()
			text := s.postText("/complete", `{"token":`+quote(token)+`}`)
			if _, err := io.WriteString(busy, text); err != nil {
				t.Fatal(err)
			}
			<-store.begun
			if _, err := io.WriteString(half, text[:5]); err != nil {
				t.Fatal(err)
			}

			var conns []*net.TCPConn
			start := time.Now()
			for range 400 {
				conn := s.dial()
				conns = append(conns, conn)
				if c.used {
					use(t, conn)
				}
			}
			for {
				n, took := open(conns), time.Since(start)
				if took >= (httpapi.IdleTicks-1)*tick {
					break
				}
				if n < len(conns) {
					t.Fatalf("%d connections were closed within %v", len(conns)-n, took)
				}
				time.Sleep(20 * time.Millisecond)
			}
			soon(s, "bounded", func() bool { return open(conns) <= httpapi.MaxIdleConns })
			time.Sleep(3 * tick)
			if n := open(conns); n != httpapi.MaxIdleConns {
				t.Errorf("%d connections are left open, want the %d newest", n, httpapi.MaxIdleConns)
			}
			// The server notes that a connection is idle some time after its answer.
			const gone, late = 400 - httpapi.MaxIdleConns, 20
			if n := open(conns[:gone]); n > late {
				t.Errorf("%d of the longest idle are left open", n)
			}
			s.ask(conns[399], "newest").want("acquired")
			s.ask(conns[gone+late], "oldest left").want("acquired")

			if closed(half) {
				t.Error("a connection in the middle of a header was closed")
			}
			store.let <- struct{}{}
			s.receive(busy, text).want("completed")

			for _, conn := range append(conns, busy, half) {
				_ = conn.Close()
			}
			_ = s.server.Close()
		})
	}
}

// A connection on which a request has come is known before anybody reads it.
func TestUnread(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn := c.(*net.TCPConn)
	defer func() { _ = conn.Close() }()
	go func() { _, _ = io.ReadFull(conn, make([]byte, 2)) }()
	for _, sent := range []string{"a", "b", ""} {
		if httpapi.Unread(conn) {
			t.Errorf("before %q was sent, something is unread", sent)
		}
		_, _ = io.WriteString(client, sent)
		time.Sleep(20 * time.Millisecond) // It is read by now.
	}
	_, _ = io.WriteString(client, "c")
	time.Sleep(20 * time.Millisecond)
	if !httpapi.Unread(conn) {
		t.Error("what was sent is not seen")
	}
}
