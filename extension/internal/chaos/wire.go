package chaos

import (
	"encoding/json"
	"strconv"
	"strings"
)

// attribute is a value of DynamoDB's wire format, as far as it is needed.
type attribute struct{ S, N string }

func (a attribute) number() int64 {
	n, _ := strconv.ParseInt(a.N, 10, 64)
	return n
}

// parseWrite reads a request to DynamoDB as a write to a record; nil: it is
// none. The attributes are those of the record's documentation.
func parseWrite(target string, body []byte) *Write {
	_, call, _ := strings.Cut(target, ".")
	switch call {
	case "PutItem":
		return parsePut(body)
	case "UpdateItem":
		return parseUpdate(body)
	}
	return nil
}

func parsePut(body []byte) *Write {
	var put struct {
		Item map[string]json.RawMessage
	}
	if json.Unmarshal(body, &put) != nil {
		return nil
	}
	get := func(name string) (a attribute) {
		_ = json.Unmarshal(put.Item[name], &a)
		return a
	}
	if get("status").S == "" {
		return nil // A result's own item.
	}
	return &Write{
		Key: get("id").S, Kind: Acquire, Secret: get("token").S, Request: get("request_id").S,
		Fence: get("fence").number(), Attempt: int(get("attempt").number()),
		Lease: get("in_progress_expiration").number(), Expiration: get("expiration").number() * 1000,
	}
}

func parseUpdate(body []byte) *Write {
	var update struct {
		Key    map[string]attribute
		Values map[string]json.RawMessage `json:"ExpressionAttributeValues"`
	}
	if json.Unmarshal(body, &update) != nil {
		return nil
	}
	get := func(name string) (a attribute) {
		_ = json.Unmarshal(update.Values[name], &a)
		return a
	}
	w := &Write{Key: update.Key["id"].S, Secret: get(":token").S, Fence: get(":fence").number(), Expiration: get(":expiration").number() * 1000}
	var failed struct{ Message string }
	_ = json.Unmarshal([]byte(get(":error").S), &failed)
	w.Outcome = failed.Message
	switch lease := get(":lease").number(); {
	case get(":status").S == "COMPLETED":
		w.Kind = Complete
		// A result that has no such form is compressed or kept elsewhere.
		if text := get(":data").S; strings.HasPrefix(text, "{") {
			w.Outcome = text
		}
	case get(":status").S == "FAILED":
		w.Kind = Fail
	case lease == 0:
		w.Kind = Release
	default:
		w.Kind, w.Lease = Renew, lease
	}
	return w
}
