package httpapi_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/storetest"
)

// ends are the calls that take a token, with what they take besides.
var ends = map[string]string{"/complete": `,"result":"forged"`, "/fail": `,"retry":false`, "/renew": `,"lease_ms":3600000`}

// refused sends a token to each call that takes one; each must refuse it, and the
// record of the key must stay as it is.
func (s *service) refused(what, key, token string, status int, codes ...httpapi.Code) {
	s.Helper()
	before := s.get("/record?key=" + key)
	for path, rest := range ends {
		got := s.post(path, `{"token":`+quote(token)+rest+`}`)
		known := false
		for _, code := range codes {
			known = known || got.text("code") == string(code)
		}
		if !known || status != 0 && got.status != status {
			s.Errorf("%s at %s: answered %d %s", what, path, got.status, got.body)
		}
	}
	if after := s.get("/record?key=" + key); string(after.body) != string(before.body) {
		s.Errorf("%s changed the record\nfrom %s\nto   %s", what, before.body, after.body)
	}
}

// A token ends its own claim and no other: not with another's secret, key, fence or
// scope put in, nor with any byte changed.
func TestTokenOfAnotherClaim(t *testing.T) {
	clock := storetest.NewClock()
	s := serve(t, at(clock.Now))
	mine := s.acquire(`{"key":"aaaa"}`)
	clock.Advance(time.Millisecond)
	theirs := s.acquire(`{"key":"bbbb"}`)
	s.acquire(`{"key":"aaaa","scope":"gn"}`)

	raw := func(text string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	text := base64.RawURLEncoding.EncodeToString
	a, b := raw(mine), raw(theirs)
	if len(a) != len(b) || !strings.HasSuffix(string(a), "fn#aaaa") {
		t.Fatalf("tokens of another form: %x, %x", a, b)
	}
	both := []httpapi.Code{httpapi.ClaimLost, httpapi.ClaimUnknown}
	s.refused("another's key", "bbbb", text([]byte(strings.Replace(string(a), "fn#aaaa", "fn#bbbb", 1))), 409, httpapi.ClaimLost)
	s.refused("another scope", "aaaa&scope=gn", text([]byte(strings.Replace(string(a), "fn#", "gn#", 1))), 409, httpapi.ClaimLost)
	s.refused("a key that is not there", "aaaa", text([]byte(strings.Replace(string(a), "fn#aaaa", "fn#cccc", 1))), 404, httpapi.ClaimUnknown)
	for n := 3; n <= 2+16; n++ { // With more and more of the other's secret.
		if forged := text(append(append([]byte{}, b[:n]...), a[n:]...)); forged != mine {
			s.refused(fmt.Sprintf("%d bytes of another's", n), "aaaa", forged, 409, httpapi.ClaimLost)
		}
	}
	// No bit of the secret and the fence can be guessed one by one.
	for i := 2; i < 2+16+6; i++ {
		forged := append([]byte{}, a...)
		forged[i] ^= 1
		s.refused(fmt.Sprintf("byte %d changed", i), "aaaa", text(forged), 0, both...)
	}
	s.refused("another version", "aaaa", text(append([]byte{2}, a[1:]...)), 404, httpapi.ClaimUnknown)
	s.refused("twice", "aaaa", mine+mine, 404, httpapi.ClaimUnknown)
	for _, end := range []string{mine, theirs} {
		s.complete(end, "1")
	}
}

// Any sidecar on the same records ends a claim; one on other records does not know
// it, whatever the key there.
func TestTokenOfAnotherSidecar(t *testing.T) {
	var shared idempotency.Store
	first := serve(t, on(func(m idempotency.Store) idempotency.Store { shared = m; return m }))
	second := serve(t, on(func(idempotency.Store) idempotency.Store { return shared }), func(set *setup) {
		set.api.Keys.Scope, set.api.AuthToken = "another function", "another secret"
	})
	elsewhere := serve(t)
	token := first.acquire(`{"key":"a"}`)
	elsewhere.refused("of other records, without such a key", "a", token, 404, httpapi.ClaimUnknown)
	own := elsewhere.acquire(`{"key":"a"}`)
	elsewhere.refused("of other records, with such a key", "a", token, 409, httpapi.ClaimLost)
	second.complete(token, `"by the second"`)
	if got := first.post("/acquire", `{"key":"a"}`).want("completed"); string(got.members["result"]) != `"by the second"` {
		t.Errorf("answered %s", got.body)
	}
	elsewhere.complete(own, "1")
}

// A token that is used again changes nothing, whatever became of its claim.
func TestReplayedTokens(t *testing.T) {
	clock := storetest.NewClock()
	s := serve(t, at(clock.Now))
	again := func(path, token, rest, status string) {
		t.Helper()
		s.post(path, `{"token":`+quote(token)+rest+`}`).want(status)
	}

	// After complete: the same call answers as it did, and what it brings is not stored.
	token := s.acquire(`{"key":"done"}`)
	s.complete(token, `"first"`)
	before := s.get("/record?key=done")
	clock.Advance(time.Minute)
	again("/complete", token, `,"result":"second","ttl_seconds":1000000`, "completed")
	for path, rest := range ends {
		if path != "/complete" {
			s.post(path, `{"token":`+quote(token)+rest+`}`).problem(409, httpapi.ClaimLost, "ended already, as COMPLETED")
		}
	}
	if after := s.get("/record?key=done"); string(after.body) != string(before.body) {
		t.Errorf("the record became %s, was %s", after.body, before.body)
	}

	// After fail: the same, and no call ends it otherwise.
	token = s.acquire(`{"key":"freed"}`)
	again("/fail", token, "", "released")
	before = s.get("/record?key=freed")
	again("/fail", token, `,"error":{"type":"Forged"}`, "released")
	s.post("/fail", `{"token":`+quote(token)+`,"retry":false}`).problem(409, httpapi.ClaimLost, "ended already, as RELEASED")
	s.post("/complete", `{"token":`+quote(token)+`}`).problem(409, httpapi.ClaimLost)
	s.post("/renew", `{"token":`+quote(token)+`}`).problem(409, httpapi.ClaimLost)
	if after := s.get("/record?key=freed"); string(after.body) != string(before.body) {
		t.Errorf("the record became %s, was %s", after.body, before.body)
	}

	// After another took the key, freed or lapsed, and after that one's end.
	next := s.acquire(`{"key":"freed"}`)
	s.refused("a freed claim's", "freed", token, 409, httpapi.ClaimLost)
	s.complete(next, `"theirs"`)
	s.refused("a freed claim's, after the next was completed", "freed", token, 409, httpapi.ClaimLost)

	token = s.acquire(`{"key":"lapsed","lease_ms":1000}`)
	clock.Advance(time.Second)
	next = s.acquire(`{"key":"lapsed"}`)
	s.refused("a lapsed claim's", "lapsed", token, 409, httpapi.ClaimLost)
	s.post("/fail", `{"token":`+quote(next)+`,"retry":false}`).want("failed")
	s.refused("a lapsed claim's, after the next had failed", "lapsed", token, 409, httpapi.ClaimLost)

	// After the record expired and the key was taken anew: attempt 1 as before, and yet
	// another claim.
	token = s.acquire(`{"key":"expired","lease_ms":1000,"ttl_seconds":1}`)
	clock.Advance(3 * time.Second)
	next = s.acquire(`{"key":"expired"}`)
	s.refused("an expired claim's", "expired", token, 409, httpapi.ClaimLost)
	s.complete(next, "1")

	// A claim's client_token does not bring it back.
	const body = `{"key":"again","client_token":"0123456789abcdef"}`
	token = s.acquire(body)
	s.complete(token, "1")
	s.post("/acquire", body).want("completed")
	s.refused("under another client_token", "again", derived(s, "0123456789abcdeg"), 0, httpapi.ClaimLost)
}

// derived is a token that the same client_token gives for another key.
func derived(s *service, clientToken string) string {
	s.Helper()
	other := s.acquire(`{"key":"other","client_token":"` + clientToken + `"}`)
	b, err := base64.RawURLEncoding.DecodeString(other)
	if err != nil {
		s.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(b), "fn#other", "fn#again", 1)))
}
