package dynamodb

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// DynamoDB bills a condition that fails by the size of the item that is there,
// in units of 1 KB for a write and 4 KB for a read, so the item that claims
// contend on is kept small and a larger result has an item of its own:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
const (
	// inlineMost is the size of a result, in bytes, up to which it stays within
	// the record's item.
	inlineMost = 4 << 10
	// itemMost is the size up to which a result fits an item of its own: 400 KB
	// less its key and the other attributes.
	itemMost = 390 << 10
	// expandMost bounds what a compressed result may become.
	expandMost = 8 << 20
)

// layout is where a result goes: in the record's item as text, or compressed,
// in an item of its own, or nowhere.
type layout struct {
	text       []byte
	compressed []byte
	own        []byte
	omitted    bool
}

func layOut(result []byte, omitted bool) layout {
	switch {
	case omitted:
		return layout{omitted: true}
	case result == nil:
		return layout{}
	case len(result) <= inlineMost:
		return layout{text: result}
	}
	z := compress(result)
	switch {
	case len(z) <= inlineMost:
		return layout{compressed: z}
	case len(z) <= itemMost:
		return layout{own: z}
	}
	return layout{omitted: true}
}

func compress(b []byte) []byte {
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.BestSpeed)
	if err != nil {
		panic(err) // The level is valid.
	}
	_, _ = w.Write(b) // A bytes.Buffer takes every write.
	_ = w.Close()
	return buf.Bytes()
}

func expand(z []byte) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(z)), expandMost+1))
	if err == nil && len(b) > expandMost {
		err = fmt.Errorf("over %d bytes", expandMost)
	}
	return b, err
}

// resultLead begins the partition key of a result's own item. No record's key
// begins so: "#" ends a scope, and a key without a scope holds none.
const resultLead = "#result#"

// reference names a result's own item. It holds the claim's fence and the
// result's hash, so that no write of another claim, or of another end of this
// one, ever touches a result that a record points to.
func reference(fence int64, z []byte) string {
	sum := sha256.Sum256(z)
	return fmt.Sprintf("%s%d#%s#", resultLead, fence, hex.EncodeToString(sum[:6]))
}

// ownKey is the key of a result's own item.
func ownKey(reference string, key idempotency.Key) idempotency.Key {
	return idempotency.Key{Partition: reference + key.Partition, Sort: key.Sort}
}

func binaryValue(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }
