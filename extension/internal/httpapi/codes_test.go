package httpapi_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// Every code comes over HTTP, and no code comes that is not in the registry.
func TestEveryCodeIsProduced(t *testing.T) {
	store := &faulty{}
	s := serve(t, on(func(m idempotency.Store) idempotency.Store { store.Store = m; return store }))
	done := s.acquire(`{"key":"done","payload":1}`)
	s.complete(done, "1")

	got := map[httpapi.Code]answer{
		httpapi.BadRequest:       s.post("/acquire", `{"key":`),
		httpapi.KeyMissing:       s.post("/acquire", `{}`),
		httpapi.KeyInvalid:       s.post("/acquire", `{"key":""}`),
		httpapi.Unauthorized:     s.post("/acquire", `{"key":"a"}`, "X-Idempotency-Auth: -"),
		httpapi.ClaimUnknown:     s.post("/complete", `{"token":"x"}`),
		httpapi.NotFound:         s.get("/nothing"),
		httpapi.MethodNotAllowed: s.get("/acquire"),
		httpapi.ClaimLost:        s.post("/fail", `{"token":`+quote(done)+`}`),
		httpapi.TooLarge:         s.post("/complete", `{"result":"`+strings.Repeat("x", httpapi.MaxBody)+`"}`),
		httpapi.UnsupportedMedia: s.post("/acquire", `{"key":"a"}`, "Content-Type: text/plain"),
		httpapi.PayloadMismatch:  s.post("/acquire", `{"key":"done","payload":2}`),
		httpapi.StoreThrottled:   s.post("/acquire", `{"key":"throttled"}`),
		httpapi.Internal:         s.post("/acquire", `{"key":"panic"}`),
	}
	store.down.Store(true)
	got[httpapi.StoreUnavailable] = s.post("/acquire", `{"key":"a"}`)

	var registered, produced []string
	for _, e := range httpapi.Codes() {
		registered = append(registered, string(e.Code))
		if a, ok := got[e.Code]; ok {
			a.problem(e.Status, e.Code)
		}
	}
	for code := range got {
		produced = append(produced, string(code))
	}
	slices.Sort(registered)
	slices.Sort(produced)
	if diff := cmp.Diff(registered, produced); diff != "" {
		t.Errorf("codes() (-) and what was produced (+): %s", diff)
	}
}
