package runtimeproxy

import (
	"bytes"
	"encoding/json"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// envelope is how a response is stored that is not plain JSON. It names the
// product, so that no handler's own result is taken for one.
type envelope struct {
	Response *enveloped `json:"lambda-idempotency:response"`
}

type enveloped struct {
	ContentType string `json:"content_type,omitempty"`
	// Body is base64 in JSON.
	Body []byte `json:"body,omitempty"`
	// NotKept tells why there is no body: it was streamed, or was too large.
	NotKept string `json:"not_kept,omitempty"`
}

const envelopeMark = `"lambda-idempotency:response"`

// stored is the JSON text that is kept of a response. Plain JSON stays as it is,
// so that a caller of the HTTP API gets the same result.
func stored(contentType string, body []byte) []byte {
	// Content types with parameters are kept, and what looks like an envelope.
	if (contentType == "" || contentType == jsonType) && idempotency.ValidResult(body) && !bytes.Contains(body, []byte(envelopeMark)) {
		return body
	}
	text, _ := json.Marshal(envelope{&enveloped{ContentType: contentType, Body: body}}) // Strings and bytes always can.
	return text
}

// notKept is what is stored of a response without its body.
func notKept(why string) []byte {
	text, _ := json.Marshal(envelope{&enveloped{NotKept: why}})
	return text
}

// replayed is the response that was stored.
func replayed(result []byte) (contentType string, body []byte, why string) {
	if result == nil {
		return jsonType, []byte("null"), "" // It was completed over the HTTP API, without one.
	}
	if !bytes.Contains(result, []byte(envelopeMark)) {
		return jsonType, result, ""
	}
	var e envelope
	if err := json.Unmarshal(result, &e); err != nil || e.Response == nil {
		return jsonType, result, ""
	}
	return e.Response.ContentType, e.Response.Body, e.Response.NotKept
}
