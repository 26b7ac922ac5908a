package httpapi_test

import (
	"bytes"
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

func TestDocumentIsValid(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableSchemaFormatValidation()); err != nil {
		t.Error(err)
	}
	if doc.Info.Version != "1" {
		t.Errorf("the version is %q", doc.Info.Version)
	}
	got := serve(t).get("/openapi.json")
	if !bytes.Equal(got.body, httpapi.OpenAPI()) {
		t.Error("what is served is not the document")
	}
}

// The router and the document name the same calls.
func TestDocumentNamesEveryRoute(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	var documented, routed []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	h := httpapi.New(httpapi.Options{Engine: idempotency.NewEngine(nil, idempotency.Options{}), Metrics: http.NotFoundHandler()})
	if err := chi.Walk(h.(chi.Routes), func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routed = append(routed, method+" "+path)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(documented)
	slices.Sort(routed)
	if diff := cmp.Diff(routed, documented); diff != "" {
		t.Errorf("routes (-) and document (+): %s", diff)
	}
}

// The registry, the document and docs/problems.md name the same codes.
func TestCodesAreDocumented(t *testing.T) {
	var registered []string
	for _, e := range httpapi.Codes() {
		registered = append(registered, string(e.Code))
	}
	slices.Sort(registered)

	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, c := range doc.Components.Schemas["Problem"].Value.Properties["code"].Value.Enum {
		listed = append(listed, c.(string))
	}
	slices.Sort(listed)
	if diff := cmp.Diff(registered, listed); diff != "" {
		t.Errorf("codes() (-) and the document's list (+): %s", diff)
	}
	if diff := cmp.Diff(registered, documentedCodes(doc)); diff != "" {
		t.Errorf("codes() (-) and the codes of the document's answers (+): %s", diff)
	}

	page, err := os.ReadFile("../../../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	var described []string
	for _, m := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllSubmatch(page, -1) {
		described = append(described, string(m[1]))
	}
	slices.Sort(described)
	if diff := cmp.Diff(registered, described); diff != "" {
		t.Errorf("codes() (-) and the headings of docs/problems.md (+): %s", diff)
	}
	for _, e := range httpapi.Codes() {
		section := regexp.MustCompile(`(?m)^## ` + string(e.Code) + `\n\n\*\*(\d+)`).FindSubmatch(page)
		if section == nil || string(section[1]) != itoa(e.Status) {
			t.Errorf("docs/problems.md: the section %s does not begin with its status %d in bold", e.Code, e.Status)
		}
	}
}

// The checks of conforms are only worth what they refuse.
func TestConformanceIsChecked(t *testing.T) {
	problem := func(code, status string) string {
		return `{"type":"https://example.com/x","title":"t","status":` + status + `,"detail":"d","code":"` + code + `"}`
	}
	header := func(media string, more ...string) http.Header {
		h := http.Header{"Content-Type": {media}}
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return h
	}
	const (
		object = "application/json"
		fault  = "application/problem+json"
	)
	for name, c := range map[string]struct {
		ok           bool
		method, path string
		status       int
		header       http.Header
		body         string
	}{
		"completed":             {true, "POST", "/acquire", 200, header(object), `{"status":"completed","result":1e400,"completed_at":1}`},
		"a null result":         {true, "POST", "/acquire", 200, header(object), `{"status":"completed","result":null}`},
		"a null in a record":    {true, "GET", "/record", 200, header(object), `{"id":"a","status":"COMPLETED","expiration":1,"result":null,"fence":0,"attempt":0,"history":[]}`},
		"no result":             {false, "POST", "/acquire", 200, header(object), `{"status":"completed","completed_at":1}`},
		"both results":          {false, "POST", "/acquire", 200, header(object), `{"status":"completed","result":1,"result_omitted":true}`},
		"an unknown outcome":    {false, "POST", "/acquire", 200, header(object), `{"status":"lost"}`},
		"an unknown member":     {false, "POST", "/acquire", 200, header(object), `{"status":"completed","result":1,"more":1}`},
		"a member of another":   {false, "POST", "/acquire", 200, header(object), `{"status":"completed","result":1,"token":"t"}`},
		"a token lost":          {false, "POST", "/acquire", 200, header(object), `{"status":"acquired","fence":1,"attempt":1,"lease_expires_at":1}`},
		"a fraction":            {false, "POST", "/renew", 200, header(object), `{"status":"acquired","lease_expires_at":1.5}`},
		"not JSON":              {false, "POST", "/renew", 200, header(object), `{"status":"acquired","lease_expires_at":}`},
		"another media type":    {false, "POST", "/complete", 200, header("text/plain"), `{"status":"completed"}`},
		"a status not named":    {false, "POST", "/complete", 204, header(object), ``},
		"a code of another":     {false, "POST", "/complete", 400, header(fault), problem("key_missing", "400")},
		"the code":              {true, "POST", "/complete", 400, header(fault), problem("bad_request", "400")},
		"another status in it":  {false, "POST", "/complete", 400, header(fault), problem("bad_request", "401")},
		"no Retry-After":        {false, "POST", "/complete", 503, header(fault), problem("store_throttled", "503")},
		"Retry-After no number": {false, "POST", "/complete", 503, header(fault, "Retry-After", "soon"), problem("store_throttled", "503")},
		"Retry-After":           {true, "POST", "/complete", 503, header(fault, "Retry-After", "1"), problem("store_throttled", "503")},
		"Retry-After elsewhere": {false, "POST", "/complete", 400, header(fault, "Retry-After", "1"), problem("bad_request", "400")},
		"no Allow":              {false, "GET", "/complete", 405, header(fault), problem("method_not_allowed", "405")},
		"another path":          {true, "GET", "/", 404, header(fault), problem("not_found", "404")},
		"another path served":   {false, "GET", "/", 200, header(object), `{}`},
		"another method served": {false, "GET", "/complete", 200, header(object), `{"status":"completed"}`},
		"HEAD served":           {false, "HEAD", "/health", 200, header(object), ``},
	} {
		t.Run(name, func(t *testing.T) {
			c.header.Set("Content-Length", itoa(len(c.body)))
			err := conforms(c.method, c.path, c.status, c.header, []byte(c.body))
			if (err == nil) != c.ok {
				t.Errorf("the check answered: %v", err)
			}
		})
	}
}

func TestRequestsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		ok         bool
		path, body string
	}{
		"a key":               {true, "/acquire", `{"key":"a","payload":null}`},
		"two parts":           {true, "/acquire", `{"key":["a","b"]}`},
		"an event":            {true, "/acquire", `{"event":null,"key_jmespath":"a"}`},
		"neither":             {false, "/acquire", `{}`},
		"both":                {false, "/acquire", `{"key":"a","event":1}`},
		"selection from key":  {false, "/acquire", `{"key":"a","key_jmespath":"a"}`},
		"three parts":         {false, "/acquire", `{"key":["a","b","c"]}`},
		"an empty part":       {false, "/acquire", `{"key":["a",""]}`},
		"deadline and lease":  {false, "/acquire", `{"key":"a","deadline_ms":1,"lease_ms":1}`},
		"an unknown member":   {false, "/acquire", `{"key":"a","ttl":1}`},
		"a scope":             {false, "/acquire", `{"key":"a","scope":"a#b"}`},
		"a null result":       {true, "/complete", `{"token":"t","result":null}`},
		"no token":            {false, "/complete", `{"result":null}`},
		"no time":             {false, "/complete", `{"token":"t","ttl_seconds":0}`},
		"an error":            {true, "/fail", `{"token":"t","error":{"type":"a"}}`},
		"an error of numbers": {false, "/fail", `{"token":"t","error":{"type":1}}`},
		"a lease":             {true, "/renew", `{"token":"t","lease_ms":1}`},
		"a fraction":          {false, "/renew", `{"token":"t","lease_ms":1.5}`},
	} {
		if err := admits(c.path, []byte(c.body)); (err == nil) != c.ok {
			t.Errorf("%s: the document says: %v", name, err)
		}
	}
}
