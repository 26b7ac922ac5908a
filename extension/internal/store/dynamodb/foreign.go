package dynamodb

import (
	"encoding/base64"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

// resultOf is a stored result as JSON text. Ours is that text already, as is what
// Powertools for AWS Lambda writes from Python; from TypeScript it writes a
// DynamoDB value, and so a string that need not be JSON.
func resultOf(v types.AttributeValue) []byte {
	if s, ok := v.(*types.AttributeValueMemberS); ok && canon.Valid([]byte(s.Value)) == nil {
		return []byte(s.Value)
	}
	return appendJSON(nil, v)
}

func appendJSON(b []byte, v types.AttributeValue) []byte {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return canon.AppendQuote(b, v.Value)
	case *types.AttributeValueMemberN:
		return append(b, v.Value...)
	case *types.AttributeValueMemberBOOL:
		if v.Value {
			return append(b, "true"...)
		}
		return append(b, "false"...)
	case *types.AttributeValueMemberB:
		return canon.AppendQuote(b, base64.StdEncoding.EncodeToString(v.Value))
	case *types.AttributeValueMemberL:
		b = append(b, '[')
		for i, e := range v.Value {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, e)
		}
		return append(b, ']')
	case *types.AttributeValueMemberM:
		b = append(b, '{')
		for i, name := range slices.Sorted(maps.Keys(v.Value)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(canon.AppendQuote(b, name), ':')
			b = appendJSON(b, v.Value[name])
		}
		return append(b, '}')
	}
	return append(b, "null"...) // NULL, and sets, which no JSON value becomes.
}
