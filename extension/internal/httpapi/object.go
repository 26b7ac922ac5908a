package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

// object writes one JSON object. encoding/json would re-format a stored result,
// which goes out byte for byte.
type object struct {
	b    []byte
	room [256]byte // that b starts in; most answers need no more
}

func newObject() *object {
	o := new(object)
	o.b = append(o.room[:0], '{')
	return o
}

func (o *object) name(name string) {
	if len(o.b) > 1 {
		o.b = append(o.b, ',')
	}
	o.b = append(canon.AppendQuote(o.b, name), ':')
}

func (o *object) text(name, value string) *object {
	o.name(name)
	o.b = canon.AppendQuote(o.b, value)
	return o
}

// textIf writes the member if it has a value.
func (o *object) textIf(name, value string) *object {
	if value == "" {
		return o
	}
	return o.text(name, value)
}

func (o *object) number(name string, n int64) *object {
	o.name(name)
	o.b = strconv.AppendInt(o.b, n, 10)
	return o
}

// flag writes a member that is true; where it is false, it is absent.
func (o *object) flag(name string) *object { return o.raw(name, []byte("true")) }

// moment writes a time as RFC 3339 in UTC with milliseconds.
func (o *object) moment(name string, t time.Time) *object {
	return o.text(name, t.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// millis writes a time as epoch milliseconds.
func (o *object) millis(name string, t time.Time) *object { return o.number(name, t.UnixMilli()) }

// millisIf writes the member if it has a value: other software's records lack
// some times.
func (o *object) millisIf(name string, t time.Time) *object {
	if t.IsZero() {
		return o
	}
	return o.millis(name, t)
}

// raw writes a value that is JSON text already.
func (o *object) raw(name string, value []byte) *object {
	o.name(name)
	o.b = append(o.b, value...)
	return o
}

func (o *object) object(name string, v *object) *object { return o.raw(name, v.bytes()) }

func (o *object) list(name string, items []*object) *object {
	o.name(name)
	o.b = append(o.b, '[')
	for i, item := range items {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = append(o.b, item.bytes()...)
	}
	o.b = append(o.b, ']')
	return o
}

func (o *object) bytes() []byte { return append(o.b, '}') }

func send(w http.ResponseWriter, status int, mediaType string, body *object) {
	b := append(body.bytes(), '\n')
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // A caller that went away has nothing to be told.
}
