package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

// maxBody is Lambda's largest payload, and room for the other members:
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const maxBody = 6<<20 + 64<<10

// maxDrained is how much of a body that is too large is still taken in.
const maxDrained = 64 << 20

const jsonType = "application/json"

// bigBody is the size over which bodies are read and parsed one at a time: a
// parsed one takes many times its size, and a sandbox has 128 MB at least.
const bigBody = 256 << 10

// fields are the members of a request's body. The first member that is not as
// expected is kept as the error.
type fields struct {
	// of goes before the members' names in errors.
	of      string
	members []canon.Member
	err     error
	release func()
	// turn is the wait for a turn; nil if this is in one.
	turn func() (release func(), err error)
}

// alone waits until this is in its turn, which lasts until done.
func (f *fields) alone() error {
	if f.turn == nil {
		return nil
	}
	release, err := f.turn()
	if err == nil {
		f.turn, f.release = nil, release
	}
	return err
}

// done ends the use of the members. It goes before what can take long.
func (f *fields) done() {
	f.members = nil
	f.release()
}

// readFields reads a body that is one JSON object with no members but those
// allowed. The caller calls done.
func (a *api) readFields(w http.ResponseWriter, r *http.Request, allowed ...string) (*fields, error) {
	if given := r.Header.Get("Content-Type"); given != jsonType {
		if media, _, err := mime.ParseMediaType(given); err != nil || media != jsonType {
			return nil, problemf(UnsupportedMedia, "Content-Type is %q; send the header Content-Type: application/json", given)
		}
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, problemf(UnsupportedMedia, "Content-Encoding is %q; send the body as it is", enc)
	}
	body, release, err := a.readBody(w, r)
	if err != nil {
		release()
		awaited := r.ContentLength > maxBody && r.Header.Get("Expect") != "" // The caller has not begun to send.
		if problemOf(err).code == TooLarge && !awaited {
			// Many clients send all of a body before they read the answer, and
			// would see a broken connection instead of it.
			_, _ = io.CopyN(io.Discard, r.Body, maxDrained)
		}
		return nil, err
	}
	members, err := membersOf("body", body, allowed)
	if err != nil {
		release()
		return nil, err
	}
	f := &fields{members: members, release: release}
	if len(body) <= bigBody {
		f.turn = func() (func(), error) { return a.turn(r) }
	}
	return f, nil
}

// membersOf are the members of one JSON object, none but those allowed.
func membersOf(what string, text []byte, allowed []string) ([]canon.Member, error) {
	members, err := canon.Members(text, allowed...)
	if syntax, ok := errors.AsType[*canon.SyntaxError](err); ok {
		return nil, problemf(BadRequest, "the %s, at byte %d: %s; send one JSON object in UTF-8", what, syntax.Offset, syntax.Msg)
	}
	for _, m := range members {
		if !slices.Contains(allowed, m.Name) {
			return nil, problemf(BadRequest, "%q is not a member of this request; it takes %s", short(m.Name), strings.Join(allowed, ", "))
		}
	}
	return members, err
}

// readBody reads a body, a big one in its turn, which lasts until release.
func (a *api) readBody(w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	release = func() {}
	if r.ContentLength > maxBody {
		return nil, release, &http.MaxBytesError{Limit: maxBody}
	}
	if 0 <= r.ContentLength && r.ContentLength <= bigBody {
		body, err = readExactly(r.Body, int(r.ContentLength)) // net/http ends the body there.
		return body, release, brokeOff(err)
	}
	from := http.MaxBytesReader(w, r.Body, maxBody)
	if r.ContentLength < 0 {
		body, err = io.ReadAll(io.LimitReader(from, bigBody+1))
	}
	if err == nil && max(r.ContentLength, int64(len(body))) > bigBody {
		if release, err = a.turn(r); err != nil {
			return nil, release, err
		}
		all := bytes.NewBuffer(body)
		all.Grow(max(int(r.ContentLength), 0) + bytes.MinRead)
		_, err = all.ReadFrom(&steady{from, http.NewResponseController(w)})
		body = all.Bytes()
	}
	return body, release, brokeOff(err)
}

// usualBody is a length, in bytes, that most requests do not exceed.
const usualBody = 16 << 10

// readExactly reads a body of a declared length. To declare one costs nothing, so
// the room for a long one is made when the first of it is there.
func readExactly(from io.Reader, length int) ([]byte, error) {
	body := make([]byte, min(length, usualBody))
	if _, err := io.ReadFull(from, body); err != nil || len(body) == length {
		return body, err
	}
	whole := make([]byte, length)
	_, err := io.ReadFull(from, whole[copy(whole, body):])
	return whole, err
}

// brokeOff makes a problem of any error of reading but that the body is too large.
func brokeOff(err error) error {
	if _, large := errors.AsType[*http.MaxBytesError](err); err == nil || large {
		return err
	}
	return problemf(BadRequest, "the body broke off (%v); send all of it, within %d s", err, bodyTimeout/time.Second)
}

// stallTimeout is how long a big body may stand still in its turn, while others
// wait whose invocations end. On loopback, only a caller that has stopped does.
const stallTimeout = time.Second

// steady reads a body that must not stand still.
type steady struct {
	io.Reader
	conn *http.ResponseController
}

// Read implements io.Reader.
func (s *steady) Read(p []byte) (int, error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(stallTimeout))
	return s.Reader.Read(p)
}

// turn waits until no other big body is in use, nor a heavy selection made, as long
// as a body may take to come.
func (a *api) turn(r *http.Request) (release func(), err error) {
	within := bodyTimeout
	if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && s.ReadTimeout > 0 {
		within = s.ReadTimeout
	}
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	select {
	case a.big <- struct{}{}:
		collect()
		return sync.OnceFunc(func() { <-a.big }), nil
	case <-ctx.Done():
		return func() {}, problemf(BadRequest, "the body was not read: others of over %d bytes, or with heavy selections, came before it and took too long; send it again", bigBody)
	}
}

// collectFrom is the size of the heap from which what the last turn left is
// collected before the next one: both together would be too much for a small
// sandbox.
const collectFrom = 24 << 20

func collect() {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	if metrics.Read(heap); heap[0].Value.Kind() == metrics.KindUint64 && heap[0].Value.Uint64() > collectFrom {
		runtime.GC()
	}
}

// short is a caller's text as it fits an error.
func short(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

func (f *fields) find(name string) (canon.Member, bool) {
	for _, m := range f.members {
		if m.Name == name {
			return m, true
		}
	}
	return canon.Member{}, false
}

func (f *fields) has(name string) bool {
	_, ok := f.find(name)
	return ok
}

// loneSurrogate is all that can be wrong with a string in a body that was read.
const loneSurrogate = `holds an escape of a lone surrogate (\ud800 to \udfff), which is no character; send valid Unicode`

func (f *fields) wrong(name, want string) {
	if f.err == nil {
		m, _ := f.find(name)
		f.err = problemf(BadRequest, "%s%s is %s; it takes %s", f.of, name, short(string(m.Value)), want)
	}
}

// raw is the JSON text of a member; nil if it is absent.
func (f *fields) raw(name string) []byte {
	m, _ := f.find(name)
	return m.Value
}

// text is a member that is a string of least to most bytes; "" if it is absent.
func (f *fields) text(name string, least, most int) string {
	m, ok := f.find(name)
	if !ok {
		return ""
	}
	want := func() string {
		if most == 0 {
			return "a string"
		}
		return fmt.Sprintf("a string of %d to %d bytes", least, most)
	}
	if m.Value[0] != '"' {
		f.wrong(name, want())
		return ""
	}
	s, err := canon.Unquote(m.Value)
	switch {
	case err != nil:
		if f.err == nil {
			f.err = problemf(BadRequest, "%s%s %s", f.of, name, loneSurrogate)
		}
	case most > 0 && (len(s) < least || len(s) > most):
		f.wrong(name, want())
	}
	return s
}

// whole is a member that is a whole number; 0 if it is absent.
func (f *fields) whole(name string, least, most int64) int64 {
	m, ok := f.find(name)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(string(m.Value), 10, 64)
	if err != nil || n < least || n > most {
		f.wrong(name, fmt.Sprintf("a whole number from %d to %d", least, most))
		return 0
	}
	return n
}

// millis is a member in milliseconds; 0 if it is absent.
func (f *fields) millis(name string, least, most time.Duration) time.Duration {
	return time.Duration(f.whole(name, least.Milliseconds(), most.Milliseconds())) * time.Millisecond
}

// boolean is a member that is true or false, with what holds if it is absent.
func (f *fields) boolean(name string, absent bool) bool {
	m, ok := f.find(name)
	if !ok {
		return absent
	}
	switch string(m.Value) {
	case "true":
		return true
	case "false":
		return false
	}
	f.wrong(name, "true or false")
	return absent
}
