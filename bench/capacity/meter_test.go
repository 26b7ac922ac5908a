package capacity_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/bench/capacity"
)

// table answers as DynamoDB does: to a put of the item that is there already with a condition that fails.
func table(t *testing.T, there string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			ReturnConsumedCapacity string
			Key, Item              map[string]struct{ S string }
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		op := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_20120810.")
		switch {
		case op == "PutItem" && asked.Item["id"].S == "taken":
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}`)
		case op == "GetItem" && asked.ReturnConsumedCapacity == "": // The meter's own.
			if asked.Key["id"].S != "taken" {
				t.Errorf("the meter asks for %v", asked.Key)
			}
			_, _ = io.WriteString(w, `{"Item":`+there+`}`)
		case asked.ReturnConsumedCapacity != "TOTAL":
			t.Errorf("%s was not made to return what it consumes", op)
		default:
			_, _ = io.WriteString(w, `{"ConsumedCapacity":{"CapacityUnits":3}}`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func call(t *testing.T, m *capacity.Meter, op, body string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, m.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+op)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func TestMeter(t *testing.T) {
	// 2 + 2041 for the text, 1 + 3 for the number, 1 + 1 for the null: one byte more than two units.
	text := `"` + strings.Repeat("x", 2041) + `"`
	m := capacity.New(table(t, `{"id":{"S":`+text+`},"n":{"N":"12"},"m":{"NULL":true}}`).URL)
	defer m.Close()
	call(t, m, "PutItem", `{"TableName":"t","Item":{"id":{"S":"new"}}}`)
	call(t, m, "GetItem", `{"TableName":"t","Key":{"id":{"S":"new"}}}`)
	if got, err := m.Take(); err != nil || got != (capacity.Units{Write: 3, Read: 3, Calls: 2}) {
		t.Errorf("a put and a get of 3 units: %+v, %v", got, err)
	}
	if status := call(t, m, "PutItem", `{"TableName":"t","Item":{"id":{"S":"taken"}}}`); status != http.StatusBadRequest {
		t.Errorf("the failed condition was answered with %d", status)
	}
	if got, err := m.Take(); err != nil || got != (capacity.Units{Write: 3, Calls: 1}) {
		t.Errorf("a condition that failed on 2049 bytes: %+v, %v", got, err)
	}
	if got, _ := m.Take(); got != (capacity.Units{}) {
		t.Errorf("units were told of twice: %+v", got)
	}
}

// What it cannot count must not be missing from a sum.
func TestMeterOfUnknown(t *testing.T) {
	m := capacity.New(table(t, `{}`).URL)
	defer m.Close()
	if status := call(t, m, "TransactWriteItems", `{}`); status != http.StatusBadGateway {
		t.Errorf("a call that it does not know was answered with %d", status)
	}
	if _, err := m.Take(); err == nil {
		t.Error("it has counted what it does not know")
	}
}
