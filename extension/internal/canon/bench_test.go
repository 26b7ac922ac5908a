package canon_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

// event makes an event of at least size bytes, shaped like a batch of messages.
func event(size int) []byte {
	var b strings.Builder
	b.WriteString(`{"Records":[`)
	for i := 0; b.Len() < size-100; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"messageId": "059f36b4-87a3-44ab-83d2-%012d", "attributes": {"SentTimestamp": "1545082649183", "ApproximateReceiveCount": "1"}, "amount": %d.50, "body": "{\"orderId\": %d}"}`, i, i, i)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

func benchmarkHash(b *testing.B, data []byte) {
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		v, err := canon.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		canon.Hash(v)
	}
}

func BenchmarkHash1KB(b *testing.B) { benchmarkHash(b, event(1<<10)) }
func BenchmarkHash6MB(b *testing.B) { benchmarkHash(b, event(6<<20)) }

func BenchmarkHash6MBNumber(b *testing.B) {
	benchmarkHash(b, []byte("0."+strings.Repeat("123456789", 6<<20/9)))
}

func BenchmarkValid6MB(b *testing.B) {
	data := event(6 << 20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := canon.Valid(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSelect1KB(b *testing.B) {
	v := mustParse(b, string(event(1<<10)))
	e, err := canon.Compile("Records[*].[messageId, powertools_json(body).orderId]")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Select(v); err != nil {
			b.Fatal(err)
		}
	}
}
