package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/dynamodb"
)

// pingFor pings within a time, and returns what is told of the failure.
func pingFor(t *testing.T, s *dynamodb.Store, limit time.Duration) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var down *idempotency.StoreError
	switch err := s.Ping(ctx); {
	case err == nil:
		return ""
	case !errors.As(err, &down):
		t.Fatalf("ping: %v", err)
	}
	return down.Detail
}

// container gives out credentials as under SnapStart, and points the SDK at
// itself.
func container(t *testing.T, handler http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.URL)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token")
	t.Setenv("HOME", t.TempDir())
}

func give(w http.ResponseWriter, id string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":"s","Token":"t","Expiration":%q}`, id, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// service is a transport that answers as DynamoDB to whoever has the right key.
type service struct {
	key   string
	calls atomic.Int32
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	s.calls.Add(1)
	status, body := 200, `{}`
	if !strings.Contains(r.Header.Get("Authorization"), "Credential="+s.key+"/") {
		status, body = 400, `{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token included in the request is expired"}`
	}
	return &http.Response{
		StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: r,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, ContentLength: int64(len(body)),
	}, nil
}

// A call for credentials that nobody answers must not keep later calls waiting.
func TestSilentCredentials(t *testing.T) {
	var asked atomic.Int32
	ended := make(chan struct{})
	container(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			<-ended // Whatever the client does: the host of a frozen connection does not know.
			return
		}
		give(w, "first")
	})
	t.Cleanup(func() { close(ended) })
	s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes(), Transport: &service{key: "first"}})
	if detail := pingFor(t, s, 100*time.Millisecond); !strings.Contains(detail, "the environment's own endpoint gives no AWS credentials") {
		t.Fatalf("while the endpoint is silent: %q", detail)
	}
	if detail := pingFor(t, s, 20*time.Second); detail != "" {
		t.Fatalf("after it: %q", detail)
	}
}

// Credentials that DynamoDB calls expired are fetched anew within the call.
func TestRevokedCredentials(t *testing.T) {
	var asked atomic.Int32
	container(t, func(w http.ResponseWriter, _ *http.Request) {
		give(w, fmt.Sprintf("key%d", asked.Add(1)))
	})
	transport := &service{key: "key2"}
	s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes(), Transport: transport})
	for range 2 {
		if detail := pingFor(t, s, 20*time.Second); detail != "" {
			t.Fatal(detail)
		}
	}
	if asked.Load() != 2 || transport.calls.Load() != 3 {
		t.Fatalf("credentials were asked for %d times, DynamoDB %d times", asked.Load(), transport.calls.Load())
	}
}

// errorOf is a transport on which each call fails in the same way.
type errorOf struct{ err error }

func (e errorOf) RoundTrip(r *http.Request) (*http.Response, error) {
	if e.err == nil {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return nil, e.err
}

// TestUnreached tells a missing way to DynamoDB from a broken and a slow one.
func TestUnreached(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	read := func(err error) error { return &net.OpError{Op: "read", Net: "tcp", Err: err} }
	const away = "DynamoDB cannot be reached; see the function's network"
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"no route to the host":        {dial(syscall.EHOSTUNREACH), away},
		"no route to the network":     {dial(syscall.ENETUNREACH), away},
		"refused":                     {dial(syscall.ECONNREFUSED), away},
		"no answer to the dialling":   {dial(context.DeadlineExceeded), away},
		"no such name":                {dial(&net.DNSError{Err: "no such host", IsNotFound: true}), away},
		"no connection within a call": {nil, "no connection to DynamoDB was made in time"},
		"reset":                       {read(syscall.ECONNRESET), "the connection to DynamoDB broke"},
		"closed":                      {io.EOF, "the connection to DynamoDB broke"},
		"closed within the answer":    {io.ErrUnexpectedEOF, "the connection to DynamoDB broke"},
		"written to what was hung up": {&net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}, "the connection to DynamoDB broke"},
	} {
		t.Run(name, func(t *testing.T) {
			s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes(), Transport: errorOf{c.err}})
			limit := 20 * time.Second
			if c.err == nil {
				limit = 50 * time.Millisecond
			}
			if detail := pingFor(t, s, limit); !strings.Contains(detail, c.want) {
				t.Fatalf("told %q, want %q", detail, c.want)
			}
		})
	}
}

// inTurn is a transport whose calls fail one way first and another way then.
type inTurn struct {
	first, then error
	calls       atomic.Int32
}

func (i *inTurn) RoundTrip(*http.Request) (*http.Response, error) {
	if i.calls.Add(1) == 1 {
		return nil, i.first
	}
	return nil, i.then
}

// A connection breaks when the way to DynamoDB does; that no other can be made is
// the news, also where the dial's own time was up.
func TestUnreachedAfterABreak(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_MAX_ATTEMPTS", "2")
	transport := &inTurn{first: io.EOF, then: &net.OpError{Op: "dial", Net: "tcp", Err: context.DeadlineExceeded}}
	s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes(), Transport: transport})
	if detail := pingFor(t, s, 20*time.Second); !strings.Contains(detail, "DynamoDB cannot be reached") {
		t.Fatalf("told %q", detail)
	}
}
