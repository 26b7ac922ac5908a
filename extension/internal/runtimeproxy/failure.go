package runtimeproxy

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

const (
	errorHeader = "Lambda-Runtime-Function-Error-Type"
	// errorBodyTrailer holds a streamed response's error, in base64.
	errorBodyTrailer = "Lambda-Runtime-Function-Error-Body"
)

// trailerError is the error that a response ended in; nil: none. Trailers that
// are announced and stay empty are of a normal one.
func trailerError(trailer http.Header) *idempotency.Failure {
	kind := trailer.Get(errorHeader)
	if kind == "" {
		return nil
	}
	body, _ := base64.StdEncoding.DecodeString(trailer.Get(errorBodyTrailer))
	failure := errorOf(trailer, body)
	return &failure
}

// errorOf reads what a runtime says of an error:
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-invokeerror
func errorOf(header http.Header, body []byte) idempotency.Failure {
	var said struct {
		ErrorType    string `json:"errorType"`
		ErrorMessage string `json:"errorMessage"`
	}
	_ = json.Unmarshal(body, &said) // It is only told; a runtime may send anything.
	return idempotency.Failure{Type: cmp.Or(said.ErrorType, header.Get(errorHeader), "Error"), Message: said.ErrorMessage}
}

// keepTrailers makes room for trailers that were not announced.
func keepTrailers(r *http.Request) {
	if r.Trailer == nil && len(r.TransferEncoding) > 0 {
		r.Trailer = http.Header{}
	}
}
