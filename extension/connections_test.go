package main_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

func (p *sidecar) dial() net.Conn {
	p.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Port))
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = conn.Close() })
	return conn
}

// healthy asks for /health on a connection that was opened before.
func (p *sidecar) healthy(conn net.Conn) {
	p.Helper()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		p.Fatal(err)
	}
	answer := make([]byte, 1024)
	n, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200 ") {
		p.Fatalf("answered %q, %v", answer[:n], err)
	}
}

// A client may open a connection long before its first request.
func TestEarlyConnectionIsAnswered(t *testing.T) {
	if testing.Short() {
		t.Skip("waits 6 s")
	}
	t.Parallel()
	p := local(t, "IDEMPOTENCY_STORE=memory")
	conn := p.dial()
	time.Sleep(6 * time.Second)
	p.healthy(conn)
	p.healthy(conn)
}

// That time passed while the sandbox was frozen closes nothing.
func TestFrozenConnectionsAreAnswered(t *testing.T) {
	if testing.Short() {
		t.Skip("waits 12 s")
	}
	t.Parallel()
	p := local(t, "IDEMPOTENCY_STORE=memory")
	var conns []net.Conn
	for i := range 300 {
		conns = append(conns, p.dial())
		if i%2 == 0 {
			p.healthy(conns[i])
		}
	}
	for range 5 {
		p.signal(syscall.SIGSTOP)
		time.Sleep(2200 * time.Millisecond)
		p.signal(syscall.SIGCONT)
		time.Sleep(50 * time.Millisecond)
	}
	for _, conn := range conns {
		p.healthy(conn)
	}
}

// However few files it may have open, connections without a request do not keep
// the next call from being answered for long.
func TestFewDescriptors(t *testing.T) {
	for _, most := range []int{24, 128, 1024} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			p := serve(t, program.FewDescriptors(binary, most), "IDEMPOTENCY_STORE=memory")
			for i := range most * 2 {
				p.dial()
				if i%(most/2) == 0 {
					before := time.Now()
					p.acquired(fmt.Sprint(i))
					http.DefaultClient.CloseIdleConnections()
					if took := time.Since(before); took > 3*time.Second {
						t.Errorf("answered after %v", took)
					}
				}
			}
			open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid()))
			if own := 30; err == nil && len(open) > most*3/4+own {
				t.Errorf("%d files are open", len(open))
			}
		})
	}
}
