package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
)

// bigBody is an acquire with a body over the size that is read in turn.
func bigBody(key string) string {
	return `{"key":` + quote(key) + `,"payload":"` + strings.Repeat("x", httpapi.BigBody) + `"}`
}

// One big body is read at a time; small ones do not wait for it.
func TestBigBodiesInTurn(t *testing.T) {
	s := serve(t)
	chunked := "POST /acquire HTTP/1.1\r\nHost: localhost\r\nX-Idempotency-Auth: " + s.secret +
		"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, request := range map[string]string{
		"sized":   s.postText("/acquire", bigBody("sized")),
		"chunked": fmt.Sprintf("%s%x\r\n%s\r\n0\r\n\r\n", chunked, len(bigBody("chunked")), bigBody("chunked")),
	} {
		t.Run(name, func(t *testing.T) {
			first := s.dial()
			text := s.postText("/acquire", bigBody("first "+name))
			if _, err := io.WriteString(first, text[:len(text)-1]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond) // It has its turn by now.

			second := s.dial()
			sent := make(chan error, 1)
			go func() { _, err := io.WriteString(second, request); sent <- err }()
			for i := range 10 {
				s.acquire(fmt.Sprintf(`{"key":"small %s %d"}`, name, i))
				s.post("/acquire", `{"key":"a","payload":"`+strings.Repeat("x", httpapi.BigBody-50)+`"}`)
			}
			if closed(second) {
				t.Error("a second big body did not wait for the first")
			}
			if _, err := io.WriteString(first, text[len(text)-1:]); err != nil {
				t.Fatal(err)
			}
			s.receive(first, text).want("acquired")
			s.receive(second, s.postText("/acquire", bigBody(name))).want("acquired")
			if err := <-sent; err != nil {
				t.Error(err)
			}
		})
	}
}

// A body's turn ends however its request ends, and before an acquire waits.
func TestBigBodiesGiveTheirTurn(t *testing.T) {
	s := serve(t)
	s.acquire(`{"key":"held"}`)
	big := bigBody("held")
	waiting := s.dial()
	if _, err := io.WriteString(waiting, s.postText("/acquire", big[:len(big)-1]+`,"wait_ms":60000}`)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	x := strings.Repeat("x", httpapi.BigBody)
	s.post("/acquire", `{"key":"`+x+`"}`).problem(400, httpapi.KeyInvalid)
	s.post("/acquire", `{"key":"a","scope":5,"payload":"`+x+`"}`).problem(400, httpapi.BadRequest)
	s.post("/acquire", `{"other":"`+x+`"}`).problem(400, httpapi.BadRequest)
	s.post("/acquire", x).problem(400, httpapi.BadRequest)
	s.post("/acquire", x+strings.Repeat("x", httpapi.MaxBody)).problem(413, httpapi.TooLarge)
	s.post("/complete", `{"token":"t","result":"`+x+`"}`).problem(404, httpapi.ClaimUnknown)
	s.post("/fail", `{"token":"t","error":{"message":"`+x+`"}}`).problem(404, httpapi.ClaimUnknown)
	s.post("/renew", `{"token":"`+x+`"}`).problem(404, httpapi.ClaimUnknown)
	broken := s.dial()
	if _, err := io.WriteString(broken, s.postText("/acquire", bigBody("broken"))[:1000]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	_ = broken.Close()
	s.post("/acquire", bigBody("last")).want("acquired")
}

// The wait for a turn ends with the caller's context, and with the time that the
// body has.
func TestBigBodyWaitsNoLonger(t *testing.T) {
	h, _ := bare(t)
	request := func(ctx context.Context, body io.Reader) *http.Request {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/acquire", body)
		r.Host, r.ContentLength = "localhost", int64(len(bigBody("a")))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Idempotency-Auth", "s")
		return r
	}
	read, write := io.Pipe()
	ended := make(chan struct{})
	go func() {
		h.ServeHTTP(httptest.NewRecorder(), request(t.Context(), read))
		close(ended)
	}()
	if _, err := io.WriteString(write, "{"); err != nil { // It has its turn now.
		t.Fatal(err)
	}
	left, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer leave()
	for name, ctx := range map[string]context.Context{
		"left": left,
		"late": context.WithValue(t.Context(), http.ServerContextKey, &http.Server{ReadTimeout: 50 * time.Millisecond}),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request(ctx, strings.NewReader(bigBody("a"))))
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "the body was not read") {
			t.Errorf("%s: answered %d %s", name, w.Code, w.Body)
		}
	}
	_ = write.Close()
	<-ended
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request(t.Context(), strings.NewReader(bigBody("b"))))
	if w.Code != http.StatusOK {
		t.Errorf("after all: answered %d %s", w.Code, w.Body)
	}
}

// Heavy selections are made one at a time, too, and in turn with big bodies; light
// ones wait for neither. Their turn ends with them, and a big body's own selection
// needs no other.
func TestHeavySelectionsInTurn(t *testing.T) {
	s := serve(t)
	heavy := func(id int, more string) string {
		return fmt.Sprintf(`{"event":{"id":%d,"l":[%s0]%s},"key_jmespath":"[id, length(sort(l))]"}`, id, strings.Repeat("0,", 50_000), more)
	}
	first := s.dial()
	text := s.postText("/acquire", bigBody("first"))
	if _, err := io.WriteString(first, text[:len(text)-1]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // It has its turn by now.
	second := s.dial()
	if _, err := io.WriteString(second, s.postText("/acquire", heavy(1, ""))); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		s.acquire(fmt.Sprintf(`{"event":{"id":"light %d"},"key_jmespath":"id"}`, i))
	}
	time.Sleep(50 * time.Millisecond)
	if closed(second) {
		t.Error("a heavy selection did not wait for the big body")
	}
	if _, err := io.WriteString(first, text[len(text)-1:]); err != nil {
		t.Fatal(err)
	}
	s.receive(first, text).want("acquired")
	s.receive(second, s.postText("/acquire", heavy(1, ""))).want("acquired")

	s.acquire(heavy(2, `,"big":"`+strings.Repeat("x", httpapi.BigBody)+`"`))
	s.post("/acquire", strings.Replace(heavy(3, ""), "sort(l)", "l[*].[sort($.l)]", 1)).problem(400, httpapi.KeyInvalid, "too much work")
	s.acquire(heavy(4, ""))
}
