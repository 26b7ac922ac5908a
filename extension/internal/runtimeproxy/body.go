package runtimeproxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
)

// bodyRoom is what is set aside at once for a body of unknown length.
const bodyRoom = 16 << 10

// read reads the body up to most bytes, and puts it back for upstream, with what
// is left of it and the error that ended it.
func read(r *http.Request, most int64) (body []byte, rest bool, err error) {
	var b bytes.Buffer
	switch {
	case r.ContentLength > 0:
		b.Grow(int(min(r.ContentLength, most)) + bytes.MinRead)
	case r.ContentLength < 0:
		b.Grow(bodyRoom)
	}
	_, err = b.ReadFrom(io.LimitReader(r.Body, most+1))
	left := io.Reader(r.Body)
	if err != nil {
		left = broken{err}
	}
	rest = int64(b.Len()) > most
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b.Bytes()), left), r.Body}
	// The runtime was told to go on, so upstream need not be asked.
	r.Header.Del("Expect")
	return b.Bytes(), rest, err
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// replace gives a request another body, in the framing that it came with.
func replace(r *http.Request, body []byte) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	if r.ContentLength >= 0 {
		r.ContentLength = int64(len(body))
		r.Header.Del("Content-Length")
	}
}

// watched is a body that tells when it has been read.
type watched struct {
	io.ReadCloser
	once sync.Once
	end  chan struct{}
	err  error // that ended it; io.EOF: it is complete
}

// watch follows the reading of a request's body.
func watch(r *http.Request) *watched {
	w := &watched{ReadCloser: r.Body, end: make(chan struct{})}
	if r.ContentLength == 0 {
		w.ended(io.EOF) // It will not be read.
	}
	r.Body = w
	return w
}

func (w *watched) ended(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.end)
	})
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	if err != nil {
		w.ended(err)
	}
	return n, err
}

// over tells whether the body has ended.
func (w *watched) over() bool {
	select {
	case <-w.end:
		return true
	default:
		return false
	}
}

// read waits until the body has ended, and tells whether it was read to its end.
func (w *watched) read() bool {
	<-w.end
	return errors.Is(w.err, io.EOF)
}

// upload is a watched body on its way upstream, which may be closed before its
// end has been read.
type upload struct {
	io.ReadCloser
	of *watched
}

var errNotRead = errors.New("upstream has not read all of the body")

func (u upload) Close() error {
	u.of.ended(errNotRead)
	return u.ReadCloser.Close()
}
