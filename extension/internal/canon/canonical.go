package canon

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// Append appends the canonical text of v, which the package comment defines.
func Append(dst []byte, v Value) []byte {
	w := writer{buf: dst}
	w.value(v)
	return w.buf
}

// Hash returns the SHA-256 of the canonical text of v: 64 lower case hex digits.
func Hash(v Value) string {
	h := sha256.New()
	// The text goes to the hash in pieces, so that a large event is not held
	// once more as a whole.
	w := writer{buf: make([]byte, 0, flushAt+1024), flush: func(b []byte) { h.Write(b) }}
	w.value(v)
	h.Write(w.buf)
	return hex.EncodeToString(h.Sum(nil))
}

// flushAt is how much text writer collects before it hands it on.
const flushAt = 8 << 10

type writer struct {
	buf   []byte
	flush func([]byte) // nil: everything stays in buf
}

func (w *writer) value(v Value) {
	switch x := v.data.(type) {
	case nil:
		w.buf = append(w.buf, "null"...)
	case bool:
		if x {
			w.buf = append(w.buf, "true"...)
		} else {
			w.buf = append(w.buf, "false"...)
		}
	case number:
		w.buf = append(w.buf, x...)
	case string:
		w.buf = AppendQuote(w.buf, x)
	case []Value:
		w.buf = append(w.buf, '[')
		for i, item := range x {
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			w.value(item)
		}
		w.buf = append(w.buf, ']')
	case object:
		w.buf = append(w.buf, '{')
		for i, m := range x {
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			w.buf = AppendQuote(w.buf, m.name)
			w.buf = append(w.buf, ':')
			w.value(m.value)
		}
		w.buf = append(w.buf, '}')
	}
	if w.flush != nil && len(w.buf) >= flushAt {
		w.flush(w.buf)
		w.buf = w.buf[:0]
	}
}

// NullMembers names the members of a list (by position, from 0) or an object that
// are null.
func NullMembers(v Value) []string {
	var names []string
	switch x := v.data.(type) {
	case []Value:
		for i, item := range x {
			if item.data == nil {
				names = append(names, strconv.Itoa(i))
			}
		}
	case object:
		for _, m := range x {
			if m.value.data == nil {
				names = append(names, m.name)
			}
		}
	}
	return names
}

// Missing reports whether v selects nothing, and so is no key: null, "", [],
// {}, and a list or object whose members are all null. 0 and false are keys, as
// is a list that holds only empty lists.
func Missing(v Value) bool {
	switch x := v.data.(type) {
	case nil:
		return true
	case string:
		return x == ""
	case []Value:
		for _, item := range x {
			if item.data != nil {
				return false
			}
		}
		return true
	case object:
		for _, m := range x {
			if m.value.data != nil {
				return false
			}
		}
		return true
	}
	return false
}
