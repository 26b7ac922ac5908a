package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
)

// authHeader carries the caller's secret.
const authHeader = "X-Idempotency-Auth"

const healthPath = "/health"

// seenWriter notes what was answered.
type seenWriter struct {
	http.ResponseWriter
	status int
	code   Code
}

func (w *seenWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *seenWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *seenWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (a *api) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		seen := &seenWriter{ResponseWriter: w}
		next.ServeHTTP(seen, r)
		call := "unknown" // A path of the caller's choice is no label.
		if p := chi.RouteContext(r.Context()).RoutePattern(); p != "" {
			call = strings.TrimPrefix(p, "/")
		}
		took := time.Since(start)
		a.Observer.Answered(call, seen.status, string(seen.code), took)
		if a.Log.Enabled(r.Context(), slog.LevelDebug) {
			a.Log.Debug("answered", "call", call, "status", seen.status, "code", string(seen.code), "took", took.String())
		}
	})
}

func (a *api) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				a.answer(w, r, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// decodedPath makes the decoded path the only one: checkAuth looks at that, and
// chi would route by the encoded one where the two differ.
func decodedPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawPath = ""
		next.ServeHTTP(w, r)
	})
}

// checkHost refuses a name that is not loopback's: a page that a browser loaded
// under such a name, which was then pointed at loopback, must not call.
func checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopback(r.Host) {
			problemf(BadRequest, "Host is %q; call 127.0.0.1 or localhost", short(r.Host)).write(noted(w, BadRequest))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// checkAuth asks for the secret that only the function's own code has. The
// comparison takes the same time whatever is sent.
func (a *api) checkAuth(next http.Handler) http.Handler {
	want := sum(a.AuthToken)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.AuthToken == "" || r.URL.Path == healthPath {
			next.ServeHTTP(w, r)
			return
		}
		given := r.Header.Get(authHeader)
		got := sum(given)
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			how := "is wrong"
			if given == "" {
				how = "is absent"
			}
			problemf(Unauthorized, "the header %s %s; send the value of AWS_SESSION_TOKEN (under SnapStart AWS_CONTAINER_AUTHORIZATION_TOKEN), or of IDEMPOTENCY_AUTH_TOKEN where that is set", authHeader, how).write(noted(w, Unauthorized))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sum is the SHA-256 of a secret, which is long and is not copied as a whole.
func sum(secret string) (sum [sha256.Size]byte) {
	h := sha256.New()
	var piece [512]byte
	for len(secret) > 0 {
		n := copy(piece[:], secret)
		h.Write(piece[:n])
		secret = secret[n:]
	}
	h.Sum(sum[:0])
	return sum
}

// noted notes the problem's code for the metrics.
func noted(w http.ResponseWriter, code Code) http.ResponseWriter {
	if seen, ok := w.(*seenWriter); ok {
		seen.code = code
	}
	return w
}
