// Package capacity counts what calls of DynamoDB cost.
package capacity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// Units are what was consumed, and in how many calls.
type Units struct {
	Write, Read float64
	Calls       int
}

// Meter stands before a DynamoDB Local. It asks for the capacity that each call consumes, and adds it up. For a
// condition that fails DynamoDB tells none, but bills the write units of the item that is there: those are counted from
// its size.
type Meter struct {
	*httptest.Server

	target string
	mu     sync.Mutex
	sum    Units
	fault  error
}

// New starts one on a free port. The tables have the partition key "id" alone.
func New(target string) *Meter {
	m := &Meter{target: target}
	m.Server = httptest.NewServer(m)
	return m
}

// Take returns the units since it was called last.
func (m *Meter) Take() (Units, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := m.sum
	m.sum = Units{}
	return sum, m.fault
}

// ServeHTTP implements http.Handler.
func (m *Meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, header, answer, err := m.metered(r)
	if err != nil {
		m.mu.Lock()
		m.fault = err
		m.mu.Unlock()
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	for name, values := range header {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

func (m *Meter) metered(r *http.Request) (status int, header http.Header, answer []byte, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, nil, nil, err
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var asked map[string]json.RawMessage
	switch op {
	case "PutItem", "UpdateItem", "DeleteItem", "GetItem":
		if err := json.Unmarshal(body, &asked); err != nil {
			return 0, nil, nil, err
		}
		asked["ReturnConsumedCapacity"] = json.RawMessage(`"TOTAL"`)
		if body, err = json.Marshal(asked); err != nil {
			return 0, nil, nil, err
		}
	case "DescribeTable", "CreateTable":
	default:
		return 0, nil, nil, fmt.Errorf("what the call %q costs is not known", op)
	}
	if status, header, answer, err = m.send(r, op, body); err != nil || asked == nil {
		return status, header, answer, err
	}
	units := Units{Calls: 1}
	told := struct {
		Type             string `json:"__type"`
		ConsumedCapacity struct{ CapacityUnits float64 }
	}{}
	if err := json.Unmarshal(answer, &told); err != nil {
		return 0, nil, nil, err
	}
	switch {
	case status == http.StatusOK && op == "GetItem":
		units.Read = told.ConsumedCapacity.CapacityUnits
	case status == http.StatusOK:
		units.Write = told.ConsumedCapacity.CapacityUnits
	case strings.HasSuffix(told.Type, "#ConditionalCheckFailedException"):
		if units.Write, err = m.there(r, asked); err != nil {
			return 0, nil, nil, err
		}
	default:
		return 0, nil, nil, fmt.Errorf("%s was answered with %d: %s", op, status, answer)
	}
	if units.Write+units.Read == 0 {
		return 0, nil, nil, fmt.Errorf("%s told of no units: %s", op, answer)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sum.Write, m.sum.Read, m.sum.Calls = m.sum.Write+units.Write, m.sum.Read+units.Read, m.sum.Calls+1
	return status, header, answer, nil
}

func (m *Meter) send(r *http.Request, op string, body []byte) (status int, header http.Header, answer []byte, err error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, m.target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	// DynamoDB Local checks no signature.
	for _, name := range []string{"Authorization", "Content-Type", "X-Amz-Date"} {
		req.Header[name] = r.Header[name]
	}
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+op)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, res.Header, answer, err
}

// there is how many write units the item takes that a condition failed on.
func (m *Meter) there(r *http.Request, asked map[string]json.RawMessage) (float64, error) {
	var key map[string]json.RawMessage
	for _, member := range []string{"Item", "Key"} {
		if asked[member] != nil {
			if err := json.Unmarshal(asked[member], &key); err != nil {
				return 0, err
			}
		}
	}
	body, err := json.Marshal(map[string]any{"TableName": asked["TableName"], "Key": map[string]any{"id": key["id"]}, "ConsistentRead": true})
	if err != nil {
		return 0, err
	}
	_, _, answer, err := m.send(r, "GetItem", body)
	if err != nil {
		return 0, err
	}
	var found struct{ Item map[string]value }
	if err := json.Unmarshal(answer, &found); err != nil {
		return 0, err
	}
	size := 0
	for name, v := range found.Item {
		size += len(name) + v.size()
	}
	return max(math.Ceil(float64(size)/1024), 1), nil
}
