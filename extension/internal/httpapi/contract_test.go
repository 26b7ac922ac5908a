package httpapi_test

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/httpapi"
)

var document = sync.OnceValues(func() (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromData(httpapi.OpenAPI())
})

// route finds what the document says of a call. An unknown path has no operation
// in a document; what it is answered with is said at a component.
func route(doc *openapi3.T, method, path string) *routers.Route {
	r := &routers.Route{Spec: doc, Path: path, Method: method, PathItem: doc.Paths.Value(path)}
	if r.PathItem == nil {
		answers := doc.Components.Responses
		r.Operation = &openapi3.Operation{Responses: openapi3.NewResponses(
			openapi3.WithStatus(http.StatusNotFound, answers["NotFound"]),
			openapi3.WithStatus(http.StatusBadRequest, answers["BadRequest"]),
			openapi3.WithStatus(http.StatusUnauthorized, answers["Unauthorized"]),
			openapi3.WithStatus(http.StatusInternalServerError, answers["Internal"]),
		)}
		return r
	}
	// Each path takes one method; its operation tells how the others are answered.
	for _, r.Operation = range r.PathItem.Operations() {
	}
	return r
}

// conforms tells whether an answer is as the document says: status, headers,
// media type and body. kin-openapi lets pass headers that the document does not
// name, media types that match a wildcard, and any answer to HEAD, so these are
// checked here. It checks a schema by JSON Schema 2020-12 only if the schema has
// no $ref, or a keyword that is new there, such as const; else it goes by OpenAPI
// 3.0, where a schema without a type refuses null. The document is written so
// that all its schemas that allow null are checked by 2020-12.
func conforms(method, path string, status int, header http.Header, body []byte) error {
	doc, err := document()
	if err != nil {
		return err
	}
	r := route(doc, method, path)
	ref := r.Operation.Responses.Status(status)
	if ref == nil {
		return fmt.Errorf("%s %s answered %d, which is not in the document", method, path, status)
	}
	if r.PathItem != nil && r.PathItem.GetOperation(method) == nil && status < 400 {
		return fmt.Errorf("%s %s answered %d; the method is not in the document", method, path, status)
	}
	for _, name := range []string{"Retry-After", "Allow", "Www-Authenticate"} {
		documented := ref.Value.Headers[name] != nil || name == "Www-Authenticate" && ref.Value.Headers["WWW-Authenticate"] != nil
		if documented != (header.Get(name) != "") {
			return fmt.Errorf("%s %s answered %d with %s %q; in the document: %v", method, path, status, name, header.Get(name), documented)
		}
	}
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || ref.Value.Content[media] == nil {
		return fmt.Errorf("%s %s answered %d as %q, which is not in the document", method, path, status, header.Get("Content-Type"))
	}
	if method == http.MethodHead {
		return nil
	}
	if n := header.Get("Content-Length"); media != "text/plain" && n != strconv.Itoa(len(body)) {
		return fmt.Errorf("%s %s: Content-Length is %q, the body has %d", method, path, n, len(body))
	}
	if media != "text/plain" {
		if err := canon.Valid(body); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: &http.Request{Method: method}, Route: r},
		Status:                 status,
		Header:                 header,
		Options:                &openapi3filter.Options{IncludeResponseStatus: true},
	}
	return openapi3filter.ValidateResponse(context.Background(), in.SetBodyBytes(body))
}

// admits tells whether the document allows a request's body.
func admits(path string, body []byte) error {
	doc, err := document()
	if err != nil {
		return err
	}
	schema := doc.Paths.Value(path).Post.RequestBody.Value.Content["application/json"].Schema.Value
	v, err := decode(body)
	if err != nil {
		return err
	}
	return schema.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.VisitAsRequest())
}

// documentedCodes are the codes that some answer in the document can carry.
func documentedCodes(doc *openapi3.T) []string {
	var list []string
	for _, ref := range doc.Components.Responses {
		media := ref.Value.Content["application/problem+json"]
		for _, part := range media.Schema.Value.AllOf {
			if code := part.Value.Properties["code"]; code != nil {
				for _, c := range code.Value.Enum {
					list = append(list, c.(string))
				}
				if c, ok := code.Value.Const.(string); ok {
					list = append(list, c)
				}
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func itoa(n int) string { return strconv.Itoa(n) }
