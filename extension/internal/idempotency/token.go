package idempotency

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"time"
	"unicode/utf8"
)

// secretBytes is the unguessable part of a token: 128 bits.
const secretBytes = 16

// token is what a caller holds of a claim. Its text is self-contained, so that
// any sidecar on the same table can end the claim it names.
type token struct {
	key     Key
	secret  string
	fence   int64
	attempt int
	ttl     time.Duration
	// answerBy is when the invocation that made the claim ends; zero: unknown.
	answerBy time.Time

	// unprotected: the store did not answer the acquire, the work runs on trust.
	unprotected bool
	// unstored: nothing was or will be stored (IDEMPOTENCY_DISABLED).
	unstored bool
}

// claimID names a claim: a secret is made anew from a client token that is used
// again, the fence is not.
type claimID struct {
	secret string
	fence  int64
}

func (t token) id() claimID { return claimID{t.secret, t.fence} }

// names tells whether the token's claim is the one on the record.
func (t token) names(rec *Record) bool { return t.id() == claimID{rec.Secret, rec.Fence} }

const (
	tokenVersion     = 1
	flagUnprotected  = 1
	flagUnstored     = 2
	maxTokenTextSize = 8 << 10
)

var tokenEncoding = base64.RawURLEncoding.Strict()

// newSecret takes a secret from the system's randomness, at the time of the
// request: a SnapStart snapshot is shared, so nothing unique may be made at init.
// https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
func newSecret(random io.Reader) (string, error) {
	b := make([]byte, secretBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", err
	}
	return tokenEncoding.EncodeToString(b), nil
}

// derivedSecret is the secret that a client token stands for: the same call,
// sent again, names the same claim.
func derivedSecret(key Key, clientToken string) string {
	h := sha256.New()
	for _, s := range []string{"client_token", clientToken, key.Partition, key.Sort} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	return tokenEncoding.EncodeToString(h.Sum(nil)[:secretBytes])
}

// usualToken is the length up to which a token is made and read on the stack.
const usualToken = 256

func (t token) text() string {
	var flags byte
	if t.unprotected {
		flags |= flagUnprotected
	}
	if t.unstored {
		flags |= flagUnstored
	}
	b := append(make([]byte, 0, usualToken), tokenVersion, flags)
	b, _ = tokenEncoding.AppendDecode(b, []byte(t.secret))
	b = binary.AppendUvarint(b, uint64(t.fence))
	b = binary.AppendUvarint(b, uint64(t.attempt))
	b = binary.AppendUvarint(b, uint64(t.ttl/time.Millisecond))
	b = binary.AppendUvarint(b, uint64(max(0, t.answerBy.UnixMilli())))
	b = binary.AppendUvarint(b, uint64(len(t.key.Partition)))
	b = append(b, t.key.Partition...)
	b = append(b, t.key.Sort...)
	return string(tokenEncoding.AppendEncode(make([]byte, 0, usualToken), b))
}

var errNotAToken = errors.New("not a token of an acquire")

func parseToken(text string) (token, error) {
	if len(text) > maxTokenTextSize {
		return token{}, errNotAToken
	}
	b, err := tokenEncoding.AppendDecode(make([]byte, 0, usualToken), []byte(text))
	if err != nil || len(b) < 2+secretBytes || b[0] != tokenVersion || b[1] > flagUnprotected|flagUnstored {
		return token{}, errNotAToken
	}
	t := token{
		unprotected: b[1]&flagUnprotected != 0,
		unstored:    b[1]&flagUnstored != 0,
		secret:      tokenEncoding.EncodeToString(b[2 : 2+secretBytes]),
	}
	b = b[2+secretBytes:]
	var n [5]uint64
	for i := range n {
		v, used := binary.Uvarint(b)
		if used <= 0 || v > 1<<53 {
			return token{}, errNotAToken
		}
		n[i], b = v, b[used:]
	}
	if n[4] > uint64(len(b)) || n[4] == 0 || n[1] > 1<<31 || n[2] > uint64(MaxTTL/time.Millisecond) {
		return token{}, errNotAToken
	}
	t.fence, t.attempt = int64(n[0]), int(n[1])
	t.ttl = time.Duration(n[2]) * time.Millisecond
	if n[3] > 0 {
		t.answerBy = time.UnixMilli(int64(n[3]))
	}
	t.key = Key{Partition: string(b[:n[4]]), Sort: string(b[n[4]:])}
	if len(t.key.Partition) > maxPartition || len(t.key.Sort) > MaxKeyBytes || !utf8.ValidString(t.key.Partition) || !utf8.ValidString(t.key.Sort) {
		return token{}, errNotAToken
	}
	return t, nil
}
