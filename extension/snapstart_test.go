package main_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi/extapitest"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

const containerToken = "the-container-token"

// snapStart is where a restored environment gets its credentials, and a table
// that notes with which ones it was called.
type snapStart struct {
	*table
	credentials, db *httptest.Server

	mu      sync.Mutex
	key     string        // the access key that is given out now; empty: none is
	lasts   time.Duration // how long from when it is given out
	fetched int
	refused int
	signed  []string // the keys of the calls to the table
}

var credential = regexp.MustCompile(`Credential=([^/]+)/`)

func newSnapStart(t *testing.T) *snapStart {
	t.Helper()
	s := &snapStart{table: newTable(t), key: "AKIAONE", lasts: time.Hour}
	s.credentials = httptest.NewServer(http.HandlerFunc(s.give))
	t.Cleanup(s.credentials.Close)
	target, err := url.Parse(s.local.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.db = httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		header := r.In.Header.Get("Authorization")
		found := credential.FindStringSubmatch(header)
		s.mu.Lock()
		defer s.mu.Unlock()
		if found == nil || r.In.Header.Get("X-Amz-Security-Token") != "session of "+found[1] {
			s.signed = append(s.signed, "unsigned: "+header)
			return
		}
		s.signed = append(s.signed, found[1])
		// The engine keeps a database for each access key.
		r.Out.Header.Set("Authorization", credential.ReplaceAllString(header, "Credential="+dynamodblocal.AccessKeyID+"/"))
	}})
	t.Cleanup(s.db.Close)
	return s
}

// give answers as Lambda's credentials endpoint, to those who prove themselves.
func (s *snapStart) give(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != containerToken:
		s.refused++
		w.WriteHeader(http.StatusUnauthorized)
	case s.key == "":
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		s.fetched++
		_, _ = fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":"secret","Token":%q,"Expiration":%q}`,
			s.key, "session of "+s.key, time.Now().Add(s.lasts).UTC().Format(time.RFC3339Nano))
	}
}

func (s *snapStart) set(key string, lasts time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.lasts = key, lasts
}

// restored starts a sidecar as SnapStart does: its environment has no
// credentials, and no session token either.
func (s *snapStart) restored() (*sidecar, *extapitest.Server) {
	s.Helper()
	api := extapitest.New()
	p := start(s.T, []string{binary},
		"AWS_LAMBDA_RUNTIME_API="+api.Start(s), "AWS_LAMBDA_FUNCTION_NAME=orders", "AWS_LAMBDA_INITIALIZATION_TYPE=snap-start",
		fmt.Sprintf("IDEMPOTENCY_RUNTIME_PROXY_PORT=%d", program.FreePort()),
		"AWS_REGION="+dynamodblocal.Region, "AWS_ENDPOINT_URL_DYNAMODB="+s.db.URL, "IDEMPOTENCY_TABLE_NAME="+s.name,
		"AWS_CONTAINER_CREDENTIALS_FULL_URI="+s.credentials.URL+"/2021-04-23/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN="+containerToken)
	p.token = containerToken
	api.AwaitNext(s)
	return p, api
}

// calls are the keys of the calls to the table since the last time.
func (s *snapStart) calls() (keys map[string]int, fetched int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys, fetched = map[string]int{}, s.fetched
	for _, key := range s.signed {
		keys[key]++
	}
	s.signed, s.fetched = nil, 0
	if s.refused > 0 {
		s.Errorf("the credentials endpoint refused %d calls", s.refused)
	}
	return keys, fetched
}

// Under SnapStart credentials come from an endpoint, and callers prove
// themselves with that endpoint's token.
func TestSnapStart(t *testing.T) {
	t.Parallel()
	s := newSnapStart(t)
	p, api := s.restored()
	api.Invoke(t, "a", time.Now().Add(9*time.Second))
	p.open(4, `"request_id":"a"`)
	claim := p.must("acquired", "/acquire", `{"key":"k","request_id":"a"}`)
	p.must("completed", "/complete", `{"token":%q,"result":1}`, claim["token"])
	p.must("completed", "/acquire", `{"key":"k"}`)
	if keys, fetched := s.calls(); len(keys) != 1 || keys["AKIAONE"] < 6 || fetched != 1 {
		t.Errorf("the table was called with %v, credentials were fetched %d times", keys, fetched)
	}
	for _, token := range []string{"", session} {
		p.token = token
		if status, answer := p.post("/acquire", `{"key":"k"}`); status != http.StatusUnauthorized {
			t.Errorf("a caller with %q was answered %d %v", token, status, answer)
		}
	}
	p.token = containerToken
	api.Shutdown(t, "spindown")
	if code := p.exit(patience); code != 0 {
		t.Errorf("ended with %d", code)
	}
	other := s.other()
	for i := range 4 {
		other.must("acquired", "/acquire", `{"key":"k%d"}`, i)
	}
}

// Credentials that a snapshot took along are old when it is restored. New ones
// are fetched before the old ones end, which the SDK does five minutes ahead.
func TestCredentialsAreRenewed(t *testing.T) {
	t.Parallel()
	const ahead, life = 5 * time.Minute, 2 * time.Second
	s := newSnapStart(t)
	s.set("AKIAONE", ahead+life)
	begin := time.Now()
	p, _ := s.restored()
	claim := p.must("acquired", "/acquire", `{"key":"k","lease_ms":60000}`)
	keys, _ := s.calls()
	if early := time.Since(begin) < life; early && (len(keys) != 1 || keys["AKIAONE"] < 2) {
		t.Errorf("the table was called with %v", keys)
	}
	s.set("", 0)
	p.freeze()
	time.Sleep(time.Until(begin.Add(life + 500*time.Millisecond)))
	p.thaw()

	// The endpoint is away: nothing runs on a guess.
	status, answer := p.post("/acquire", fmt.Sprintf(`{"key":"other","deadline_ms":%d}`, inMS(1500*time.Millisecond)))
	if status != http.StatusServiceUnavailable || answer["code"] != "store_unavailable" {
		t.Errorf("without credentials an acquire was answered %d %v", status, answer)
	}
	if keys, _ := s.calls(); len(keys) != 0 {
		t.Errorf("without credentials the table was called with %v", keys)
	}

	s.set("AKIATWO", time.Hour)
	p.must("completed", "/complete", `{"token":%q}`, claim["token"])
	p.must("acquired", "/acquire", `{"key":"other"}`)
	if keys, fetched := s.calls(); len(keys) != 1 || keys["AKIATWO"] != 2 || fetched != 1 {
		t.Errorf("the table was called with %v, credentials were fetched %d times", keys, fetched)
	}
}
