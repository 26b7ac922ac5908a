package dynamodb_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/dynamodb"
)

// seen is a transport that keeps the last request, and answers as DynamoDB does
// to a key that is free.
type seen struct {
	req  *http.Request
	body []byte
}

func (s *seen) RoundTrip(r *http.Request) (*http.Response, error) {
	s.req = r
	var err error
	s.body, err = io.ReadAll(r.Body)
	return &http.Response{
		StatusCode: 200, Body: io.NopCloser(strings.NewReader("{}")), Request: r,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, ContentLength: 2,
	}, err
}

// TestAsTheSDK compares a call with that of the SDK's own client: where it goes,
// what it says, and what its signature is for.
func TestAsTheSDK(t *testing.T) {
	for name, settings := range map[string]map[string]string{
		"a region":                    {"AWS_REGION": "eu-central-1"},
		"a region of China":           {"AWS_REGION": "cn-north-1"},
		"DynamoDB Local's region":     {"AWS_REGION": "local"},
		"FIPS":                        {"AWS_REGION": "us-east-1", "AWS_USE_FIPS_ENDPOINT": "true"},
		"dual stack":                  {"AWS_REGION": "us-east-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
		"an endpoint with a path":     {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:8000/db"},
		"an endpoint with a query":    {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:8000/db?x=1"},
		"an endpoint of all services": {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "https://gateway.example.com"},
		"a table's ARN":               {"AWS_REGION": "us-east-1", "table": "arn:aws:dynamodb:us-east-1:123456789012:table/jobs"},
		"an account's endpoint":       {"AWS_REGION": "us-east-1", "AWS_ACCOUNT_ID": "123456789012"},
		"no account's endpoint":       {"AWS_REGION": "us-east-1", "AWS_ACCOUNT_ID": "123456789012", "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"},
		"an account's endpoint only":  {"AWS_REGION": "us-east-1", "AWS_ACCOUNT_ID": "123456789012", "AWS_ACCOUNT_ID_ENDPOINT_MODE": "required"},
		"a session's token":           {"AWS_REGION": "us-east-1", "AWS_SESSION_TOKEN": "session"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, unset := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_SESSION_TOKEN", "AWS_ACCOUNT_ID"} {
				t.Setenv(unset, "")
			}
			t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
			table := "jobs"
			for name, value := range settings {
				if name == "table" {
					table = value
					continue
				}
				t.Setenv(name, value)
			}
			ours, theirs := &seen{}, &seen{}
			store := dynamodb.New(dynamodb.Options{Table: table, Attributes: dynamodb.DefaultAttributes(), Transport: ours})
			if _, err := store.Get(t.Context(), idempotency.Key{Partition: "fn#order-1"}); err != nil {
				t.Fatal(err)
			}
			cfg, err := config.LoadDefaultConfig(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			cfg.HTTPClient = &http.Client{Transport: theirs}
			if _, err := sdk.NewFromConfig(cfg).GetItem(t.Context(), &sdk.GetItemInput{
				TableName: &table, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "fn#order-1"}},
				ConsistentRead: aws.Bool(true), ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
			}); err != nil {
				t.Fatal(err)
			}
			if got, want := ours.req.URL.String(), theirs.req.URL.String(); got != want {
				t.Errorf("the call goes to %s, the SDK's to %s", got, want)
			}
			if !bytes.Equal(ours.body, theirs.body) {
				t.Errorf("the call says %s, the SDK's %s", ours.body, theirs.body)
			}
			for _, header := range []string{"X-Amz-Target", "Content-Type", "Accept-Encoding", "X-Amz-Security-Token"} {
				if got, want := ours.req.Header.Get(header), theirs.req.Header.Get(header); got != want {
					t.Errorf("%s is %q, the SDK's %q", header, got, want)
				}
			}
			scope := func(s *seen) string {
				_, after, _ := strings.Cut(s.req.Header.Get("Authorization"), "Credential=AKID/")
				_, after, _ = strings.Cut(after, "/") // After the day.
				scope, _, _ := strings.Cut(after, ",")
				return scope
			}
			if got, want := scope(ours), scope(theirs); got != want || got == "" {
				t.Errorf("the signature is for %q, the SDK's for %q", got, want)
			}
		})
	}
}

// signature makes a request's signature anew from what arrived of it:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func signature(r *http.Request, body []byte, secret string) (string, error) {
	_, after, found := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	credential, after, found2 := strings.Cut(after, ", SignedHeaders=")
	signed, _, found3 := strings.Cut(after, ", Signature=")
	if !found || !found2 || !found3 {
		return "", fmt.Errorf("the authorization is %q", r.Header.Get("Authorization"))
	}
	_, scope, _ := strings.Cut(credential, "/")
	var headers strings.Builder
	for name := range strings.SplitSeq(signed, ";") {
		value := strings.TrimSpace(r.Header.Get(name))
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		headers.WriteString(name + ":" + value + "\n")
	}
	hash := func(text []byte) string {
		sum := sha256.Sum256(text)
		return hex.EncodeToString(sum[:])
	}
	request := strings.Join([]string{r.Method, r.URL.EscapedPath(), "", headers.String(), signed, hash(body)}, "\n")
	toSign := strings.Join([]string{"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), scope, hash([]byte(request))}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range append(strings.Split(scope, "/"), toSign) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return hex.EncodeToString(key), nil
}

// TestSignature has what arrives over a connection signed rightly, of each
// operation and on a retry.
func TestSignature(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		want, err := signature(r, body, "secret")
		if err != nil || !strings.HasSuffix(r.Header.Get("Authorization"), ", Signature="+want) {
			t.Errorf("%s is signed with %q, want %s (%v)", r.Header.Get("X-Amz-Target"), r.Header.Get("Authorization"), want, err)
		}
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_SESSION_TOKEN", "session")
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", server.URL)
	store := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes()})
	key := idempotency.Key{Partition: "fn#order-é"}
	if _, err := store.Get(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), &idempotency.Record{Key: key, Status: idempotency.InProgress}, idempotency.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := store.Update(t.Context(), key, idempotency.Change{Status: idempotency.Completed, Result: []byte(`"é"`)}); err != nil {
		t.Fatal(err)
	}
	if calls.Load() != 4 {
		t.Fatalf("DynamoDB was called %d times", calls.Load())
	}
}

// distant is a transport that answers as a DynamoDB whose clock is ahead, and
// refuses what is signed at another time than it has.
type distant struct {
	ahead  time.Duration
	code   string
	silent bool          // of the time
	pause  time.Duration // of its answer on its way
	calls  int
}

func (d *distant) RoundTrip(r *http.Request) (*http.Response, error) {
	d.calls++
	signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return nil, err
	}
	status, body := 200, "{}"
	now := time.Now().Add(d.ahead)
	if now.Sub(signed).Abs() > 5*time.Minute {
		status, body = 400, `{"__type":"com.amazon.coral.service#`+d.code+`","message":"Signature not yet current"}`
	}
	res := &http.Response{
		StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: r, ContentLength: int64(len(body)),
		Header: http.Header{"Date": {now.UTC().Format(http.TimeFormat)}},
	}
	if d.silent {
		res.Header.Del("Date")
	}
	time.Sleep(d.pause)
	return res, nil
}

// TestDistantClock signs by DynamoDB's clock where this host's is wrong, from the
// second attempt on, and again when the clocks agree.
func TestDistantClock(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for _, code := range []string{"InvalidSignatureException", "RequestTimeTooSkewed", "AccessDeniedException"} {
		for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
			transport := &distant{ahead: ahead, code: code}
			s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes(), Transport: transport})
			for i, want := range []int{2, 3, 5} {
				if i == 2 {
					transport.ahead = 0
				}
				if detail := pingFor(t, s, 20*time.Second); detail != "" || transport.calls != want {
					t.Fatalf("%s, %v ahead: after ping %d, %d calls, want %d: %q", code, ahead, i+1, transport.calls, want, detail)
				}
			}
		}
	}
	// What is refused for another reason is not tried again.
	refused := &answering{status: 400, body: `{"__type":"com.amazon.coral.service#AccessDeniedException","message":"no"}`, date: time.Now()}
	s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes(), Transport: refused})
	if detail := pingFor(t, s, 20*time.Second); !strings.Contains(detail, "access to table jobs is denied") || refused.calls.Load() != 1 {
		t.Fatalf("%d calls, told %q", refused.calls.Load(), detail)
	}
}

// TestProxysClock gives up what was learned of a clock that was not DynamoDB's.
func TestProxysClock(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	proxy := &answering{status: 502, body: "<html>", date: time.Now().Add(time.Hour)}
	service := &distant{code: "InvalidSignatureException", silent: true}
	s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes(), Transport: firstThen{proxy, service}})
	for i, want := range []int{2, 3} {
		if detail := pingFor(t, s, 20*time.Second); detail != "" || service.calls != want {
			t.Fatalf("ping %d: %d calls of DynamoDB, want %d: %q", i+1, service.calls, want, detail)
		}
	}
}

// firstThen is a transport whose first call goes elsewhere.
type firstThen struct {
	first *answering
	then  http.RoundTripper
}

func (f firstThen) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.first.calls.Load() == 0 {
		return f.first.RoundTrip(r)
	}
	return f.then.RoundTrip(r)
}

// A sandbox that was frozen while an answer was on its way has no wrong clock.
func TestFrozenOnTheWay(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	synctest.Test(t, func(t *testing.T) {
		transport := &distant{code: "InvalidSignatureException", pause: 6 * time.Minute}
		s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes(), Transport: transport})
		for i := range 3 {
			if err := s.Ping(t.Context()); err != nil || transport.calls != i+1 {
				t.Fatalf("ping %d: %v after %d calls", i+1, err, transport.calls)
			}
			transport.pause = 0
		}
	})
}

// What is no region's name must not become part of another host's.
func TestNoRegion(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for _, region := range []string{"us east", "example.com/", "us_east", "-"} {
		t.Setenv("AWS_REGION", region)
		transport := &seen{}
		s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes(), Transport: transport})
		if detail := pingFor(t, s, 20*time.Second); !strings.Contains(detail, "AWS_REGION") || transport.req != nil {
			t.Errorf("%q: told %q, called %v", region, detail, transport.req != nil)
		}
	}
}

// A call that is over before it begins reaches nobody.
func TestOverBeforeItBegan(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	transport := &seen{}
	s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes(), Transport: transport})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ping(ctx); err == nil || transport.req != nil {
		t.Fatalf("the ping ended with %v, DynamoDB was called: %v", err, transport.req != nil)
	}
}
