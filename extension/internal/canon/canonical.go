package canon

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
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
	w := writer{buf: make([]byte, 0, 2*piece), hash: sha256.New()}
	w.value(v)
	w.flush()
	sum := w.hash.Sum(w.buf)
	return string(hex.AppendEncode(sum, sum)[len(sum):])
}

// piece is how much text writer collects before it hands it to the hash.
const piece = 512

// writer writes canonical text. It hands it to the hash in pieces, so that a large
// event is not held once more as a whole.
type writer struct {
	buf  []byte
	hash hash.Hash // nil: everything stays in buf
}

func (w *writer) flush() {
	w.hash.Write(w.buf)
	w.buf = w.buf[:0]
}

func (w *writer) text(s string) {
	w.buf = append(w.buf, '"')
	for ; w.hash != nil && len(s) > piece; s = s[piece:] {
		w.buf = appendEscaped(w.buf, s[:piece])
		w.flush()
	}
	w.buf = append(appendEscaped(w.buf, s), '"')
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
	case *number:
		w.buf = append(w.buf, *x...)
	case *string:
		w.text(*x)
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
			w.text(m.name)
			w.buf = append(w.buf, ':')
			w.value(m.value)
		}
		w.buf = append(w.buf, '}')
	}
	if w.hash != nil && len(w.buf) >= piece {
		w.flush()
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
	case *string:
		return *x == ""
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
