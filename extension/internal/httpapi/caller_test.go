package httpapi_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
)

// Only a name of loopback is answered: a page of another name that was pointed
// at loopback must not call.
func TestHost(t *testing.T) {
	s := serve(t)
	for _, host := range []string{
		"localhost", "LOCALHOST", "localhost:2774", "127.0.0.1", "127.0.0.1:80", "127.0.0.2", "[::1]", "[::1]:2774", "[::ffff:127.0.0.1]:1",
	} {
		if got := s.get("/health", "Host: "+host); got.status != http.StatusOK {
			t.Errorf("Host %s is answered %d %s", host, got.status, got.body)
		}
	}
	for _, host := range []string{
		"127.0.0.1.evil.com", "evil.com", "evil.com:2774", "localhost.evil.com", "evil-localhost", "127.0.0.1.", "127.1", "2130706433", "0x7f000001",
		"0.0.0.0", "[::]", "10.0.0.1", "169.254.169.254", "[fe80::1]",
	} {
		for _, target := range []string{"/health", "/metrics", "/openapi.json", "/record?key=a", "/nothing"} {
			s.get(target, "Host: "+host).problem(400, httpapi.BadRequest, "Host is "+quote(host), "call 127.0.0.1 or localhost")
		}
		s.post("/acquire", `{"key":"a"}`, "Host: "+host).problem(400, httpapi.BadRequest, "call 127.0.0.1 or localhost")
	}
	s.raw("GET /health HTTP/1.0\r\n\r\n").problem(400, httpapi.BadRequest, `Host is ""`)
	s.raw("GET /health HTTP/1.1\r\nHost:\r\n\r\n").problem(400, httpapi.BadRequest, `Host is ""`)
	s.raw("GET http://evil.com/health HTTP/1.1\r\nHost: localhost\r\n\r\n").problem(400, httpapi.BadRequest, `Host is "evil.com"`)
}

// A session token has a thousand characters, and each of them counts.
func TestLongSecret(t *testing.T) {
	secret := strings.Repeat("0123456789abcdef", 80) + "end"
	s := serve(t, func(set *setup) { set.api.AuthToken = secret })
	s.post("/acquire", `{"key":"a"}`).want("acquired")
	for _, wrong := range []string{secret[:len(secret)-1], secret + "0", secret[:512], secret[512:], secret[:1024], secret[:len(secret)-1] + "D", "1" + secret[1:], secret[:600] + "_" + secret[601:]} {
		s.post("/acquire", `{"key":"a"}`, "X-Idempotency-Auth: "+wrong).problem(401, httpapi.Unauthorized, "X-Idempotency-Auth is wrong")
	}
}

func TestSecret(t *testing.T) {
	s := serve(t)
	for _, target := range []string{"/acquire", "/complete", "/fail", "/renew", "/record?key=a", "/metrics", "/openapi.json", "/nothing", "/health/", "//health", "/x/../health", "/health%2f"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			s.call(method, target, "{}", "X-Idempotency-Auth: -").problem(401, httpapi.Unauthorized, "X-Idempotency-Auth is absent", "send the value of AWS_SESSION_TOKEN", "IDEMPOTENCY_AUTH_TOKEN")
			for _, wrong := range []string{"s3cre", "s3crett", "S3CRET", "Bearer s3cret"} {
				s.call(method, target, "{}", "X-Idempotency-Auth: "+wrong).problem(401, httpapi.Unauthorized, "X-Idempotency-Auth is wrong")
			}
		}
	}
	if got := s.get("/health", "X-Idempotency-Auth: -"); got.status != http.StatusOK {
		t.Errorf("/health without a secret is answered %d", got.status)
	}
	if got := s.get("/healt%68", "X-Idempotency-Auth: -"); got.status != http.StatusOK {
		t.Errorf("/health, spelled otherwise, is answered %d", got.status)
	}
	if got := s.get("/health", "X-Idempotency-Auth: wrong"); got.status != http.StatusOK {
		t.Errorf("/health with a wrong secret is answered %d", got.status)
	}
	if strings.Contains(s.log.String(), "s3cret") {
		t.Error("the secret is logged")
	}
}

func TestNoSecretAskedFor(t *testing.T) {
	s := serve(t, func(set *setup) { set.api.AuthToken = "" })
	s.acquire(`{"key":"a"}`)
	s.post("/acquire", `{"key":"b"}`, "X-Idempotency-Auth: any").want("acquired")
}

func TestMethods(t *testing.T) {
	s := serve(t)
	for path, allow := range map[string]string{
		"/acquire": "POST", "/complete": "POST", "/fail": "POST", "/renew": "POST",
		"/record": "GET", "/health": "GET", "/metrics": "GET", "/openapi.json": "GET",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "BREW"} {
			if method == allow {
				continue
			}
			got := s.call(method, path, "")
			if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != allow {
				t.Errorf("%s %s is answered %d with Allow: %s", method, path, got.status, got.header.Get("Allow"))
			}
			if method != http.MethodHead {
				got.problem(405, httpapi.MethodNotAllowed, path+" takes "+allow+", not "+method)
			}
		}
	}
	s.raw("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nX-Idempotency-Auth: s3cret\r\n\r\n").problem(404, httpapi.NotFound)
	s.raw("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").problem(401, httpapi.Unauthorized)
}

func TestUnknownPaths(t *testing.T) {
	s := serve(t)
	for _, path := range []string{"/", "/nothing", "/acquire/", "/Acquire", "//acquire", "/acquire/../health", "/v1/acquire", "/acquire%2f", "/%ff", "/acquire%00", "/" + strings.Repeat("x", 5000)} {
		for _, method := range []string{"GET", "POST", "DELETE", "BREW"} {
			s.call(method, path, "{}").problem(404, httpapi.NotFound, "there is no ", "GET /openapi.json tells what there is")
		}
	}
}

func TestMediaTypes(t *testing.T) {
	s := serve(t)
	for i, media := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON"} {
		s.post("/acquire", fmt.Sprintf(`{"key":"%d"}`, i), "Content-Type: "+media).want("acquired")
	}
	s.post("/acquire", `{"key":"identity"}`, "Content-Encoding: Identity").want("acquired")
	for _, media := range []string{"-", "text/plain", "application/x-www-form-urlencoded", "application/problem+json", "json", "application/json, text/plain", "application/json; charset"} {
		got := s.post("/acquire", `{"key":"a"}`, "Content-Type: "+media)
		if media == "-" {
			media = ""
		}
		got.problem(415, httpapi.UnsupportedMedia, "Content-Type is "+quote(media), "send the header Content-Type: application/json")
	}
	var zipped strings.Builder
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, `{"key":"a"}`)
	_ = z.Close()
	s.post("/acquire", zipped.String(), "Content-Encoding: gzip").problem(415, httpapi.UnsupportedMedia, `Content-Encoding is "gzip"; send the body as it is`)
}
