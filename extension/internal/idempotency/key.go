package idempotency

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

// MaxKeyBytes is the length of a caller's key, or of each of its two parts.
// DynamoDB allows 2,048 bytes in a partition key and 1,024 in a sort key:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const MaxKeyBytes = 1024

// MaxScopeBytes is the length of a scope.
const MaxScopeBytes = 255

const (
	// scopeEnd ends the scope within a partition key. No scope holds it, and a
	// key without a scope must not, so the first one tells where the key begins.
	scopeEnd = "#"
	// onePart is the sort part of a key of one part.
	onePart = "-"
	// reservedLeads begin keys that were made, not given: a joined pair, a
	// quoted plain key, a selection's hash, the hash of a key too long.
	reservedLeads = `["=~`
	// maxJoined leaves room in a partition key for the scope and for the prefix
	// that a store may need of its own.
	maxJoined = 1700
	// maxPartition is what DynamoDB allows.
	maxPartition = 2048
)

// KeyError says why a key cannot be used.
type KeyError struct{ Detail string }

func (e *KeyError) Error() string { return e.Detail }

// Keys turns what callers name into stored keys. No two different names share
// a stored key.
type Keys struct {
	// Scope is the default scope; it may be empty.
	Scope string
	// SortKey tells that the table has a sort key.
	SortKey bool
}

// Given makes the key for parts, one or two strings; scope nil is the default.
func (k Keys) Given(scope *string, parts ...string) (Key, error) {
	if len(parts) < 1 || len(parts) > 2 {
		return Key{}, &KeyError{fmt.Sprintf("key has %d parts; it is a string or a list of two strings", len(parts))}
	}
	for i, p := range parts {
		name := "key"
		if len(parts) > 1 {
			name = fmt.Sprintf("key[%d]", i)
		}
		switch {
		case p == "":
			return Key{}, &KeyError{name + " is empty; it takes 1 to 1,024 bytes"}
		case len(p) > MaxKeyBytes:
			return Key{}, &KeyError{fmt.Sprintf("%s has %d bytes; it takes 1 to 1,024 (send event and key_jmespath instead: the key is then a hash)", name, len(p))}
		case !utf8.ValidString(p):
			return Key{}, &KeyError{name + " is not valid UTF-8"}
		}
	}
	if len(parts) == 2 && k.SortKey {
		if parts[1] == onePart {
			return Key{}, &KeyError{`key[1] is "-", which this table's sort key holds for keys of one part; use another value`}
		}
		return k.key(scope, parts[0], parts[1])
	}
	return k.key(scope, joined(parts), onePart)
}

// Selected makes the key for the hash of a selection from an event.
func (k Keys) Selected(scope *string, hash string) (Key, error) {
	return k.key(scope, "="+hash, onePart)
}

func (k Keys) key(scope *string, partition, sort string) (Key, error) {
	in := k.Scope
	if scope != nil {
		in = *scope
	}
	if err := CheckScope(in); err != nil {
		return Key{}, err
	}
	switch {
	case in != "":
		partition = in + scopeEnd + partition
	case strings.Contains(partition, scopeEnd):
		return Key{}, &KeyError{`key holds "#" and has no scope; "#" separates scope and key: give a scope, or leave "#" out of the key`}
	}
	if !k.SortKey {
		sort = ""
	}
	return Key{Partition: partition, Sort: sort}, nil
}

// CheckScope tells whether a scope can be used.
func CheckScope(scope string) error {
	switch {
	case len(scope) > MaxScopeBytes:
		return &KeyError{fmt.Sprintf("scope has %d bytes; it takes up to 255", len(scope))}
	case strings.Contains(scope, scopeEnd):
		return &KeyError{`scope holds "#", which separates scope and key; leave it out`}
	case !utf8.ValidString(scope):
		return &KeyError{"scope is not valid UTF-8"}
	}
	return nil
}

// joined is the partition part that stands for a plain key or a pair. A plain
// key stays as it is, unless it could be taken for something that was made.
func joined(parts []string) string {
	var s string
	switch {
	case len(parts) == 2:
		b := canon.AppendQuote([]byte{'['}, parts[0])
		b = canon.AppendQuote(append(b, ','), parts[1])
		s = string(append(b, ']'))
	case strings.ContainsAny(parts[0][:1], reservedLeads):
		s = string(canon.AppendQuote(nil, parts[0]))
	default:
		s = parts[0]
	}
	if len(s) > maxJoined {
		sum := sha256.Sum256([]byte(s))
		return "~" + hex.EncodeToString(sum[:])
	}
	return s
}

// KeyHash is how a key shows where the key itself must not: the first 12 hex
// digits of its SHA-256.
func KeyHash(key Key) string {
	sum := sha256.Sum256([]byte(key.Partition + "\x00" + key.Sort))
	return hex.EncodeToString(sum[:6])
}
