package soak

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv"
)

const (
	// mostResident is what the process may hold at any time: all that the smallest
	// sandbox has. What most attacks reach is a third of it.
	mostResident = 128e6
	// patience bounds the wait for the next good request. Where callers wait, a
	// header or a body that does not come is given up on within a second.
	patience = 15 * time.Second
)

// attacks are what hostile callers do. Each returns when all of it has come to
// the process; what it leaves open is closed when the test ends.
func attacks() map[string]func(*testing.T, *Process) {
	const head = "POST /acquire HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	const known = head + "X-Idempotency-Auth: " + secret + "\r\n"
	return map[string]func(*testing.T, *Process){
		"10,000 idle connections":                    func(t *testing.T, p *Process) { flood(t, p, 10_000, "") },
		"2,000 connections with half a header":       func(t *testing.T, p *Process) { flood(t, p, 2000, known[:60]) },
		"2,000 connections that never send the body": func(t *testing.T, p *Process) { flood(t, p, 2000, head+"Content-Length: 10\r\n\r\n{") },
		"2,000 connections in the middle of a chunk": func(t *testing.T, p *Process) { flood(t, p, 2000, head+"Transfer-Encoding: chunked\r\n\r\nff\r\n{") },
		"2,000 connections that never read their answer": func(t *testing.T, p *Process) {
			flood(t, p, 2000, strings.Repeat("GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nX-Idempotency-Auth: "+secret+"\r\n\r\n", 20))
		},
		"500 headers of 1 MB": func(t *testing.T, p *Process) {
			together(500, 50, func(int) {
				p.send(t, "GET /health HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge)
			})
		},
		"20 bodies of 100 MB, with their length": func(t *testing.T, p *Process) {
			together(20, 20, func(int) { p.stream(t, known+fmt.Sprintf("Content-Length: %d\r\n\r\n", 100<<20), megabyte(""), "") })
		},
		"20 bodies of 100 MB, in chunks": func(t *testing.T, p *Process) {
			together(20, 20, func(int) {
				p.stream(t, known+"Transfer-Encoding: chunked\r\n\r\n", "100000\r\n"+megabyte("")+"\r\n", "0\r\n\r\n")
			})
		},
		"2 bodies of 100 MB, in chunks of one byte": func(t *testing.T, p *Process) {
			together(2, 2, func(int) {
				p.stream(t, known+"Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("1\r\n \r\n", 1<<20/6), "0\r\n\r\n")
			})
		},
		"20 bodies of 100 MB, announced": func(t *testing.T, p *Process) {
			together(20, 20, func(int) {
				p.send(t, known+fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", 100<<20), http.StatusRequestEntityTooLarge)
			})
		},
		"20 bodies of 100 MB, without the secret": func(t *testing.T, p *Process) {
			together(20, 20, func(int) {
				p.send(t, head+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 100<<20, megabyte("")), http.StatusUnauthorized)
			})
		},
		"events that are large as values": func(t *testing.T, p *Process) {
			for name, event := range largeEvents() {
				together(4, 4, func(int) {
					if a := p.post(t, "/acquire", `{"event":`+event+`,"lease_ms":1}`); a.status != http.StatusOK && a.status != http.StatusBadRequest {
						t.Errorf("%s: answered %d %.300s", name, a.status, a.body)
					}
				})
			}
		},
		"payloads that nest": func(t *testing.T, p *Process) {
			together(8, 8, func(i int) {
				open, end := "[", "]"
				if i%2 == 0 {
					open, end = `{"a":`, "}"
				}
				n := (6 << 20) / (len(open) + 1)
				if a := p.post(t, "/acquire", `{"key":"a","payload":`+strings.Repeat(open, n)+"1"+strings.Repeat(end, n)+`}`); a.status != http.StatusBadRequest {
					t.Errorf("answered %d %.300s", a.status, a.body)
				}
			})
		},
		"expressions that are too much work": func(t *testing.T, p *Process) {
			all := bombs()
			together(4*len(all), 16, func(i int) {
				b := all[i%len(all)]
				if a := p.post(t, "/acquire", fmt.Sprintf(`{"event":%s,"key_jmespath":%q}`, b.event, b.expression)); a.status != http.StatusBadRequest {
					t.Errorf("%.80s: answered %d %.300s", b.expression, a.status, a.body)
				}
			})
		},
		"3,000 expressions": func(t *testing.T, p *Process) {
			together(3_000, 16, func(i int) {
				p.post(t, "/acquire", fmt.Sprintf(`{"event":{"a":1},"key_jmespath":"[a, '%d%s']","lease_ms":1000,"ttl_seconds":1}`, i, strings.Repeat("x", 3000)))
			})
		},
		"2,000 waits": func(t *testing.T, p *Process) {
			p.post(t, "/acquire", `{"key":"held"}`)
			flood(t, p, 2000, request{method: http.MethodPost, path: "/acquire", body: `{"key":"held","wait_ms":1000}`}.text())
		},
	}
}

// Whatever hostile callers do, memory stays bounded, the next good request is
// served, and nothing is left of them when they are gone.
func TestHostileCallers(t *testing.T) {
	for name, attack := range attacks() {
		t.Run(name, func(t *testing.T) {
			p := started(t)
			before, err := p.quiet(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			t.Run("attack", func(t *testing.T) {
				attack(t, p)
				took := time.Since(start)
				asked := time.Now()
				if a := p.post(t, "/acquire", `{"key":"good"}`); a.member("status") != "acquired" {
					t.Errorf("the next good request was answered %d %s", a.status, a.body)
				}
				waited := time.Since(asked)
				if waited > patience {
					t.Errorf("the next good request was answered after %v", waited)
				}
				peak, err := p.memory(vmHWM)
				if err != nil || peak > mostResident {
					t.Errorf("the process held up to %.1f MB (%v)", mega(peak), err)
				}
				t.Logf("took %d ms, the next good request %d ms; up to %.1f MB", took.Milliseconds(), waited.Milliseconds(), mega(peak))
			})
			after, err := p.quiet(t.Context())
			for end := time.Now().Add(patience); err == nil && after.Goroutines > before.Goroutines+slack && time.Now().Before(end); {
				after, err = p.quiet(t.Context()) // A connection that is ended lingers for a moment.
			}
			if err != nil {
				t.Fatal(err)
			}
			if after.Goroutines > before.Goroutines+slack || after.Descriptors > before.Descriptors+slack {
				t.Errorf("it left %+v, there were %+v", after, before)
			}
			if strings.Contains(p.Printed(), secret) {
				t.Error("the secret is logged")
			}
		})
	}
}

// together calls f n times, width at once.
func together(n, width int, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range width {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// flood opens n connections that each send the text and then nothing more.
func flood(t *testing.T, p *Process, n int, text string) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < uint64(n)+200 {
		testenv.Unavailable(t, fmt.Sprintf("%d connections take more files than may be open: ulimit -n is %d", n, limit.Cur))
	}
	var mu sync.Mutex
	var conns []net.Conn
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
	together(n, 500, func(int) {
		if t.Failed() {
			return
		}
		c, err := p.dial(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, text) // It may have been hung up already.
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
	})
}

// post makes a call on a connection of its own.
func (p *Process) post(t *testing.T, path, body string) answer {
	t.Helper()
	c, err := p.connect(t.Context())
	if err != nil {
		t.Error(err)
		return answer{}
	}
	defer c.close()
	a, err := c.do(request{method: http.MethodPost, path: path, body: body, last: true})
	if err != nil {
		t.Error(err)
	}
	return a
}

// send sends a text, whose answer must have the status.
func (p *Process) send(t *testing.T, text string, status int) {
	t.Helper()
	p.stream(t, text, "", "", status)
}

// stream sends head, a hundred times part, and tail, and reads meanwhile. The
// answer must have one of the statuses; 413 if none is given.
func (p *Process) stream(t *testing.T, head, part, tail string, statuses ...int) {
	t.Helper()
	c, err := p.dial(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(answerLimit))
	go func() {
		_, err := io.WriteString(c, head)
		for i := 0; i < 100 && err == nil; i++ {
			_, err = io.WriteString(c, part)
		}
		if err == nil {
			_, _ = io.WriteString(c, tail)
		}
	}()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Errorf("no answer: %v", err)
		return
	}
	_ = res.Body.Close()
	want := http.StatusRequestEntityTooLarge
	if len(statuses) > 0 {
		want = statuses[0]
	}
	if res.StatusCode != want {
		t.Errorf("answered %d, want %d", res.StatusCode, want)
	}
}

// megabyte is a text of that length.
func megabyte(start string) string { return start + strings.Repeat(" ", 1<<20-len(start)) }

// largeEvents take many times their size when they are read, or would.
func largeEvents() map[string]string {
	const size = 6 << 20
	fill := func(item string) string { return "[" + strings.Repeat(item+",", size/(len(item)+1)-1) + item + "]" }
	most := func(item string, n int) string { return "[" + strings.Repeat(item+",", n-1) + item + "]" }
	return map[string]string{
		"a list of numbers":    fill("0"),
		"a list of lists":      fill("[]"),
		"most objects":         most(`{"\n":1.0}`, 249_000),
		"one text of escapes":  `"` + strings.Repeat(`\u0001`, size/6) + `"`,
		"one number":           strings.Repeat("7", size),
		"one name for all":     `{"a":1` + strings.Repeat(`,"a":1`, size/6-1) + `}`,
		"names in a bad order": names(200_000),
	}
}

func names(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%d":0`, (i*7919)%n)
	}
	return "{" + b.String()[1:] + "}"
}

type bomb struct{ event, expression string }

// bombs are small requests, or large ones, that ask for more work than there is.
func bombs() []bomb {
	zeros := "[" + strings.Repeat("0,", 99_999) + "0]"
	text := strings.Repeat("x", 1<<20)
	return []bomb{
		{`1`, strings.Repeat("[@,@]|", 30) + "@"},
		{`{"a":1}`, strings.Repeat("merge(@,{b:[@,@]})|", 40) + "to_string(@)"},
		{`"x"`, strings.Repeat("join('',[@,@])|", 40) + "@"},
		{`"x"`, "pad_left(@, `1000000000`)"},
		{`{"l":` + zeros + `}`, "l[*].[$.l]"},
		{`{"l":` + zeros + `}`, "l[*].[sort($.l)]"},
		{`{"l":` + zeros + `,"x":"` + text + `"}`, "l[*].[reverse($.x)]"},
		{`{"l":` + zeros + `,"x":"` + text + `"}`, "l[*].[replace($.x, 'x', 'yy')]"},
		{`{"l":` + zeros + `,"x":"` + text + `"}`, "l[*].[contains($.x, 'y')]"},
		{`{"l":` + zeros + `}`, "l[*].[to_string($.l)]"},
		{`1e400`, "@ * @ * @ * @ // `1e-400`"},
		{`1`, strings.Repeat("[", 4000)},
	}
}
