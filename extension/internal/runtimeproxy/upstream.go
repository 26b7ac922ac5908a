package runtimeproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"
)

const (
	// eventRoom is what is set aside at once for an event of unknown length.
	eventRoom = 64 << 10
	// maxHeaderBytes: aws-lambda-go sends a cause of up to 1 MB in a header.
	maxHeaderBytes = 4 << 20
	bufferSize     = 64 << 10
	// answerTimeout bounds the proxy's own answers. They stay on this machine.
	answerTimeout = 10 * time.Second
	// maxIdle is how many connections are kept: a Managed Instances runtime has one
	// for each invocation at once.
	maxIdle = 128
)

// newTransport has no timeout: the next event may be hours away.
func newTransport() *http.Transport {
	return &http.Transport{
		DisableCompression:    true,
		MaxIdleConns:          maxIdle,
		MaxIdleConnsPerHost:   maxIdle,
		ExpectContinueTimeout: time.Second,
		// net/http's own are 4 KB: an event of 6 MB would take 1,500 reads.
		ReadBufferSize:  bufferSize,
		WriteBufferSize: bufferSize,
		// A runtime may send what it has of a cause: over 1 MB in one header.
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// newForward passes a request as it came. Where upstream breaks, the runtime's
// connection is broken, as it would be without a proxy.
func (p *Proxy) newForward() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:     p.transport,
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: p.Upstream})
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			// A trailer's value comes after the body: the map has to be the same one.
			r.Out.Trailer = r.In.Trailer
			if body, ok := r.In.Body.(*watched); ok && r.Out.Body != nil {
				r.Out.Body = upload{r.Out.Body, body}
			}
			// Forwarded-for headers of the runtime's own pass, too.
			for name, values := range r.In.Header {
				if _, ok := r.Out.Header[name]; !ok && !hopByHop[name] {
					r.Out.Header[name] = values
				}
			}
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			if !errors.Is(err, context.Canceled) {
				p.Log.Warn("the Runtime API broke a call off", "path", r.URL.Path, "error", err)
			}
			panic(http.ErrAbortHandler)
		},
	}
}

// pass passes a request upstream, and the answer back. before, if set, is called
// with upstream's status before the runtime hears of it.
func (p *Proxy) pass(w http.ResponseWriter, r *http.Request, before func(status int)) {
	keepTrailers(r)
	p.forward.ServeHTTP(&answerWriter{ResponseWriter: w, before: before}, r)
}

// answerWriter adds nothing to upstream's answer.
type answerWriter struct {
	http.ResponseWriter
	before func(status int)
}

func (w *answerWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		asCame(w.Header())
		if w.before != nil {
			w.before(status)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap gives http.ResponseController the writer.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// asCame keeps net/http from filling in what upstream did not say.
func asCame(header http.Header) {
	for _, name := range []string{"Content-Type", "Date"} {
		if _, ok := header[name]; !ok {
			header[name] = nil
		}
	}
}

// hopByHop are the headers of one connection:
// https://www.rfc-editor.org/rfc/rfc9110.html#section-7.6.1
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true,
	"Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// answer is one of upstream, with its whole body.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// relay passes the answer to the runtime.
func (a answer) relay(w http.ResponseWriter) error {
	for name, values := range a.header {
		if !hopByHop[name] {
			w.Header()[name] = values
		}
	}
	asCame(w.Header())
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	w.WriteHeader(a.status)
	if _, err := w.Write(a.body); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

// askNext asks upstream for the next event, as the runtime asked.
func (p *Proxy) askNext(r *http.Request) (answer, error) {
	ask := r.Clone(r.Context())
	ask.RequestURI, ask.Body, ask.ContentLength = "", nil, 0
	ask.URL = p.url(r.URL)
	ask.Host = ""
	for name := range hopByHop {
		ask.Header.Del(name)
	}
	if _, ok := ask.Header["User-Agent"]; !ok {
		ask.Header["User-Agent"] = nil // None, instead of this library's.
	}
	res, err := p.transport.RoundTrip(ask)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	var event bytes.Buffer
	if res.ContentLength > 0 {
		event.Grow(int(min(res.ContentLength, 2*maxResponse)) + bytes.MinRead)
	} else {
		event.Grow(eventRoom)
	}
	_, err = event.ReadFrom(res.Body)
	return answer{res.StatusCode, res.Header, event.Bytes()}, err
}

// post sends an answer of the proxy's own. The error is nil if upstream took it.
func (p *Proxy) post(ctx context.Context, inv *invocation, call string, header http.Header, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	to := p.url(&url.URL{Path: inv.prefix + "/invocation/" + inv.id + "/" + call})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if inv.nonce != "" {
		req.Header.Set(nonceHeader, inv.nonce)
	}
	res, err := p.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("the Runtime API answered %s: %s", res.Status, text)
	}
	return nil
}

func (p *Proxy) url(of *url.URL) *url.URL {
	to := *of
	to.Scheme, to.Host = "http", p.Upstream
	return &to
}
