package idempotency

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := token{
			key:         Key{Partition: rapid.StringN(1, 300, 2048).Draw(t, "partition"), Sort: rapid.StringN(0, 200, 1024).Draw(t, "sort")},
			secret:      base64.RawURLEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "secret")),
			fence:       rapid.Int64Range(0, 1<<53).Draw(t, "fence"),
			attempt:     rapid.IntRange(0, 1<<31).Draw(t, "attempt"),
			ttl:         time.Duration(rapid.Int64Range(0, MaxTTL.Milliseconds()).Draw(t, "ttl")) * time.Millisecond,
			unprotected: rapid.Bool().Draw(t, "unprotected"),
			unstored:    rapid.Bool().Draw(t, "unstored"),
		}
		if ms := rapid.Int64Range(0, 1<<53).Draw(t, "answer_by"); ms > 0 {
			want.answerBy = time.UnixMilli(ms)
		}
		got, err := parseToken(want.text())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(token{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzToken shows that a token of anybody's making is refused or names a key
// that a store can be asked for.
func FuzzToken(f *testing.F) {
	f.Add([]byte{tokenVersion, 0})
	good, err := base64.RawURLEncoding.DecodeString(token{key: Key{Partition: "scope#k", Sort: "-"}, secret: "AAAAAAAAAAAAAAAAAAAAAA", fence: 1, attempt: 1}.text())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for n := range good {
		f.Add(good[:n])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseToken(base64.RawURLEncoding.EncodeToString(b))
		if err != nil {
			return
		}
		if got.key.Partition == "" || len(got.key.Partition) > maxPartition || len(got.key.Sort) > MaxKeyBytes || got.ttl > MaxTTL {
			t.Fatalf("%+v", got)
		}
		if again, err := parseToken(got.text()); err != nil || again != got {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
	})
}
