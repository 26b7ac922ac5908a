package clienttest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/client/clienttest"
)

// step is one call. In its body, $NAME is the token that a step with as: NAME got,
// and $FUTURE and $PAST are times.
type step struct {
	after time.Duration
	path  string
	body  string
	as    string
	// want is the status or the code of the answer.
	want string
}

func acquire(body, want string) step { return step{path: "/acquire", body: body, want: want} }
func claimed(body, as string) step {
	return step{path: "/acquire", body: body, as: as, want: "acquired"}
}
func batch(path, as string, items ...string) step {
	return step{path: path + "/batch", body: `{"items":[` + strings.Join(items, ",") + `]}`, as: as, want: "batch"}
}
func call(path, body, want string) step   { return step{path: path, body: body, want: want} }
func (s step) later(d time.Duration) step { s.after = d; return s }
func completes(token, want string) step {
	return call("/complete", `{"token":"$`+token+`","result":{"n":1}}`, want)
}
func fails(token, retry, want string) step {
	return call("/fail", `{"token":"$`+token+`","retry":`+retry+`,"error":{"type":"T","message":"m <é>"}}`, want)
}

// agreement is what the sidecar and its stand-in are asked alike.
var agreement = map[string][]step{
	"a run and its duplicates": {
		claimed(`{"key":"k","request_id":"r1","deadline_ms":$FUTURE}`, "A"),
		acquire(`{"key":"k","request_id":"r2"}`, "in_progress"),
		acquire(`{"key":"k","wait_ms":20}`, "in_progress"),
		completes("A", "completed"),
		completes("A", "completed"),
		acquire(`{"key":"k"}`, "completed"),
		acquire(`{"key":"k","payload":1}`, "completed"),
		fails("A", "true", "claim_lost"),
		call("/renew", `{"token":"$A"}`, "claim_lost"),
	},
	"results": {
		claimed(`{"key":"absent"}`, "A"), call("/complete", `{"token":"$A"}`, "completed"), acquire(`{"key":"absent"}`, "completed"),
		claimed(`{"key":"null"}`, "B"), call("/complete", `{"token":"$B","result":null}`, "completed"), acquire(`{"key":"null"}`, "completed"),
		claimed(`{"key":"text"}`, "C"), call("/complete", `{"token":"$C","result":"<a&b>\u2028"}`, "completed"), acquire(`{"key":"text"}`, "completed"),
		claimed(`{"key":"number"}`, "D"), call("/complete", `{"token":"$D","result":12345678901234567890}`, "completed"), acquire(`{"key":"number"}`, "completed"),
	},
	"failures": {
		claimed(`{"key":"k"}`, "A"),
		fails("A", "true", "released"),
		fails("A", "true", "released"),
		completes("A", "claim_lost"),
		fails("A", "false", "claim_lost"),
		call("/renew", `{"token":"$A"}`, "claim_lost"),
		claimed(`{"key":"k","payload":"another"}`, "B"), // With the previous error.
		completes("A", "claim_lost"),
		fails("B", "false", "failed"),
		acquire(`{"key":"k"}`, "failed"),
		fails("B", "false", "failed"),
		completes("B", "claim_lost"),
		claimed(`{"key":"silent"}`, "C"), call("/fail", `{"token":"$C","retry":false}`, "failed"), acquire(`{"key":"silent"}`, "failed"),
		claimed(`{"key":"default"}`, "D"), call("/fail", `{"token":"$D"}`, "released"), acquire(`{"key":"default"}`, "acquired"),
		claimed(`{"key":"recovers"}`, "E"), fails("E", "true", "released"), claimed(`{"key":"recovers"}`, "F"), completes("F", "completed"), acquire(`{"key":"recovers"}`, "completed"),
	},
	"payloads": {
		claimed(`{"key":"k","payload":{"a":1,"b":[1.0,1e2]}}`, "A"),
		acquire(`{"key":"k","payload":{"b":[1,100],"a":1}}`, "in_progress"),
		acquire(`{"key":"k","payload":{"b":[1,101],"a":1}}`, "payload_mismatch"),
		acquire(`{"key":"k"}`, "in_progress"),
		completes("A", "completed"),
		acquire(`{"key":"k","payload":2}`, "payload_mismatch"),
		acquire(`{"key":"k"}`, "completed"),
	},
	"the same call again": {
		claimed(`{"key":"k","client_token":"0123456789abcdef","lease_ms":60000}`, "A"),
		acquire(`{"key":"k","client_token":"0123456789abcdef"}`, "acquired"),
		acquire(`{"key":"k","client_token":"0123456789abcdeg"}`, "in_progress"),
		fails("A", "true", "released"),
		acquire(`{"key":"k","client_token":"0123456789abcdef"}`, "claim_lost"),
		claimed(`{"key":"done","client_token":"0123456789abcdef"}`, "B"), completes("B", "completed"),
		acquire(`{"key":"done","client_token":"0123456789abcdef"}`, "completed"),
		claimed(`{"key":"lapsed","client_token":"0123456789abcdef","lease_ms":20}`, "C"),
		acquire(`{"key":"lapsed","client_token":"0123456789abcdef"}`, "acquired").later(30 * time.Millisecond),
		completes("C", "claim_lost"),
	},
	"leases": {
		claimed(`{"key":"k","lease_ms":20,"request_id":"r1"}`, "A"),
		claimed(`{"key":"late","lease_ms":20}`, "B"),
		completes("B", "completed").later(30 * time.Millisecond), // Nobody has taken the key.
		claimed(`{"key":"renewed","lease_ms":20}`, "C"),
		call("/renew", `{"token":"$C","lease_ms":60000}`, "acquired").later(30 * time.Millisecond),
		call("/renew", `{"token":"$C","lease_ms":1}`, "acquired"),
		claimed(`{"key":"k"}`, "D").later(1100 * time.Millisecond),
		acquire(`{"key":"renewed"}`, "in_progress"),
		completes("A", "claim_lost"),
		call("/renew", `{"token":"$A"}`, "claim_lost"),
		completes("D", "completed"),
	},
	"expiry": {
		claimed(`{"key":"k","ttl_seconds":1}`, "A"), completes("A", "completed"),
		claimed(`{"key":"longer","ttl_seconds":1}`, "B"), call("/complete", `{"token":"$B","ttl_seconds":60}`, "completed"),
		claimed(`{"key":"failed","ttl_seconds":1}`, "C"), fails("C", "true", "released"),
		acquire(`{"key":"k"}`, "acquired").later(2100 * time.Millisecond),
		acquire(`{"key":"longer"}`, "completed"),
		acquire(`{"key":"failed"}`, "acquired"),
		completes("A", "claim_lost"),
	},
	"keys": {
		claimed(`{"key":["a","b"]}`, "A"),
		acquire(`{"key":["a","b"]}`, "in_progress"),
		acquire(`{"key":["b","a"]}`, "acquired"),
		acquire(`{"key":"a"}`, "acquired"),
		acquire(`{"key":"[\"a\",\"b\"]"}`, "acquired"),
		acquire(`{"key":"a","scope":"other"}`, "acquired"),
		acquire(`{"key":"a","scope":""}`, "acquired"),
		acquire(`{"key":"a","scope":"function"}`, "in_progress"),
		acquire(`{"key":"#"}`, "acquired"),
		acquire(`{"key":"#","scope":""}`, "key_invalid"),
		acquire(`{"key":"k","scope":"#"}`, "key_invalid"),
		acquire(`{"key":""}`, "key_invalid"),
		acquire(`{"key":["a",""]}`, "key_invalid"),
		acquire(`{"key":["a"]}`, "key_invalid"),
		acquire(`{"key":["a","b","c"]}`, "key_invalid"),
		acquire(`{"key":"`+strings.Repeat("k", 1024)+`"}`, "acquired"),
		acquire(`{"key":"`+strings.Repeat("k", 1025)+`"}`, "key_invalid"),
		acquire(`{"key":1}`, "key_invalid"),
		acquire(`{"key":null}`, "key_invalid"),
		acquire(`{}`, "key_missing"),
	},
	"events": {
		claimed(`{"event":{"JobId":"1","ObjKey":"a","x":1},"key_jmespath":"[JobId, ObjKey]"}`, "A"),
		acquire(`{"event":{"ObjKey":"a","JobId":"1","x":2},"key_jmespath":" [ JobId ,ObjKey ] "}`, "in_progress"),
		acquire(`{"event":["1","a"]}`, "in_progress"), // The same selection.
		acquire(`{"event":{"ObjKey":"a"},"key_jmespath":"[JobId, ObjKey]"}`, "acquired"),
		acquire(`{"event":{},"key_jmespath":"[JobId, ObjKey]"}`, "key_missing"),
		acquire(`{"event":{"a":""},"key_jmespath":"a"}`, "key_missing"),
		acquire(`{"event":{"a":[]},"key_jmespath":"a"}`, "key_missing"),
		acquire(`{"event":{"a":{"b":null}},"key_jmespath":"a"}`, "key_missing"),
		acquire(`{"event":{"a":0},"key_jmespath":"a"}`, "acquired"),
		acquire(`{"event":{"a":0.0},"key_jmespath":"a"}`, "in_progress"),
		acquire(`{"event":{"a":false},"key_jmespath":"a"}`, "acquired"),
		acquire(`{"event":12345678901234567890}`, "acquired"),
		acquire(`{"event":12345678901234567891}`, "acquired"),
		acquire(`{"event":1234567890123456789.00e1}`, "in_progress"),
		acquire(`{"event":-5e-3}`, "acquired"),
		acquire(`{"event":-0.0050}`, "in_progress"),
		acquire(`{"event":null}`, "key_missing"),
		acquire(`{"event":{}}`, "key_missing"),
		acquire(`{"event":{"a":{"b":[{"c":"x"},{"c":"y"}]}},"key_jmespath":"a.b[1].c"}`, "acquired"),
		acquire(`{"event":"y"}`, "in_progress"),
		acquire(`{"event":{"a":{"b":[{"c":"x"},{"c":"y"}]}},"key_jmespath":"a.b[-2].c"}`, "acquired"),
		acquire(`{"event":"x"}`, "in_progress"),
		acquire(`{"event":{"a b":{"c":"z"}},"key_jmespath":"\"a b\".[c, c]"}`, "acquired"),
		acquire(`{"event":["z","z"]}`, "in_progress"),
		acquire(`{"event":{"a":1},"key_jmespath":"[b.[c], a]"}`, "acquired"),
		acquire(`{"event":[null,1]}`, "in_progress"),
		acquire(`{"event":[["q"]],"key_jmespath":"[0][0]"}`, "acquired"),
		acquire(`{"event":"q"}`, "in_progress"),
		acquire(`{"event":{"a":1},"key_jmespath":"[a"}`, "bad_request"),
		acquire(`{"event":{"a":1},"key_jmespath":"[a,]"}`, "bad_request"),
		acquire(`{"event":{"a":1},"key_jmespath":"a."}`, "bad_request"),
		acquire(`{"event":{"a":1},"key_jmespath":"a b"}`, "bad_request"),
		acquire(`{"event":{"a":1},"key_jmespath":"[a]]"}`, "bad_request"),
		acquire(`{"event":1,"key":"k"}`, "bad_request"),
		acquire(`{"key":"k","key_jmespath":"a"}`, "bad_request"),
	},
	"batches": {
		batch("/acquire", "A", `{"key":"a","request_id":"r1"}`, `{"key":"b","payload":1}`, `{"key":"a"}`, `{"key":"b","payload":2}`, `{"key":"b","payload":1}`, `{"key":""}`, `{"kee":1}`,
			`{"event":{"id":1},"key_jmespath":"id"}`, `{"event":{"id":1.0},"key_jmespath":"id"}`, `5`),
		batch("/acquire", "", `{"key":"a"}`, `{"key":"b","payload":2}`, `{"key":"b"}`, `{"key":"b","payload":3}`, `{"key":"a"}`),
		batch("/complete", "", `{"token":"$A0","result":{"n":1}}`, `{"token":"$A0"}`, `{"token":"none"}`, `{}`),
		batch("/fail", "", `{"token":"$A1","error":{"type":"T","message":"m"}}`, `{"token":"$A7","retry":false}`, `{"token":"$A0"}`),
		batch("/acquire", "B", `{"key":"a"}`, `{"key":"b"}`, `{"key":"a"}`, `{"key":"b"}`, `{"event":1}`, `{"event":1}`),
		batch("/acquire", "", `{"key":"t","client_token":"0123456789abcdef"}`, `{"key":"t","client_token":"0123456789abcdef"}`),
		call("/acquire/batch", `{"items":[]}`, "bad_request"),
		call("/acquire/batch", `{}`, "bad_request"),
		call("/acquire/batch", `{"key":"a"}`, "bad_request"),
		call("/complete/batch", `{"items":[`+strings.Repeat(`{},`, 1000)+`{}]}`, "bad_request"),
		call("/renew/batch", `{"items":[{}]}`, "not_found"),
	},
	"what is refused": {
		acquire(`{"key":"k","deadline_ms":$PAST}`, "bad_request"),
		acquire(`{"key":"k","deadline_ms":$FUTURE,"lease_ms":1}`, "bad_request"),
		acquire(`{"key":"k","detached":true}`, "bad_request"),
		acquire(`{"key":"k","ttl_seconds":-1}`, "bad_request"),
		acquire(`{"key":"k","lease_ms":0}`, "bad_request"),
		acquire(`{"key":"k","wait_ms":-1}`, "bad_request"),
		acquire(`{"key":"k","client_token":"short"}`, "bad_request"),
		acquire(`{"key":"k","tll_seconds":1}`, "bad_request"),
		acquire(`{"key":"k"`, "bad_request"),
		call("/complete", `{}`, "bad_request"),
		call("/complete", `{"token":"none"}`, "claim_unknown"),
		call("/fail", `{"token":"none"}`, "claim_unknown"),
		call("/renew", `{"token":""}`, "claim_unknown"),
		call("/nothing", `{}`, "not_found"),
		claimed(`{"key":"k","detached":true,"lease_ms":1000}`, "A"),
	},
}

// TestAgreement asks the sidecar itself and its stand-in the same, and compares
// what they answer.
func TestAgreement(t *testing.T) {
	for name, steps := range agreement {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			standIn := clienttest.New()
			defer standIn.Close()
			asked, told := &caller{T: t, url: sidecar(t)}, &caller{T: t, url: standIn.URL}
			last := time.Now()
			for i, s := range steps {
				time.Sleep(s.after)
				standIn.Advance(time.Since(last)) // Its clock stands still otherwise.
				last = time.Now()
				want, got := asked.ask(s), told.ask(s)
				if want["is"] != s.want {
					t.Errorf("step %d: %s %s: the sidecar answered %v, want %s", i, s.path, s.body, want, s.want)
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("step %d: %s %s: the stand-in answered %v,\nthe sidecar %v", i, s.path, s.body, got, want)
				}
			}
		})
	}
}

// caller asks one of them and keeps the tokens it got.
type caller struct {
	*testing.T
	url    string
	tokens []string
}

func (c *caller) ask(s step) map[string]any {
	c.Helper()
	future := time.Now().Add(time.Hour).UnixMilli()
	body := strings.NewReplacer(append([]string{"$FUTURE", fmt.Sprint(future), "$PAST", "1000000000000"}, c.tokens...)...).Replace(s.body)
	req, err := http.NewRequestWithContext(c.Context(), http.MethodPost, c.url+s.path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	var answer map[string]any
	if err != nil || json.Unmarshal(text, &answer) != nil {
		c.Fatalf("%s: %s %v", s.path, text, err)
	}
	if res.StatusCode != http.StatusOK {
		return map[string]any{"is": answer["code"], "http": res.StatusCode, "media": res.Header.Get("Content-Type"), "status": answer["status"], "explained": answer["detail"] != ""}
	}
	media := res.Header.Get("Content-Type")
	if items := members(c.T, text)["items"]; items != nil {
		var list []json.RawMessage
		if err := json.Unmarshal(items, &list); err != nil {
			c.Fatalf("%s: %s %v", s.path, text, err)
		}
		said := map[string]any{"is": "batch", "media": media}
		for i, item := range list {
			as := ""
			if s.as != "" {
				as = s.as + strconv.Itoa(i)
			}
			said[strconv.Itoa(i)] = c.told(item, as)
		}
		return said
	}
	is := c.told(text, s.as)
	is["media"] = media
	return is
}

// told is what an answer says. What differs between any two runs is replaced by what
// can be said of it.
func (c *caller) told(text []byte, as string) map[string]any {
	c.Helper()
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		c.Fatalf("%s: %v", text, err)
	}
	if code := answer["code"]; code != nil {
		return map[string]any{"is": code, "status": answer["status"], "same_as": answer["same_as"], "retry_after_ms": answer["retry_after_ms"], "explained": answer["detail"] != ""}
	}
	if token, _ := answer["token"].(string); as != "" && token != "" {
		c.tokens = append(c.tokens, "$"+as, token)
	}
	is := map[string]any{"is": answer["status"]}
	for name, value := range answer {
		switch name {
		case "token":
			value = len(value.(string)) > 16
		case "fence":
			value = value.(float64) > 1e12
		case "lease_expires_at", "completed_at", "failed_at":
			value = time.Until(time.UnixMilli(int64(value.(float64)))).Round(5 * time.Minute).String()
		case "retry_after_ms":
			value = value.(float64) > 0 && value.(float64) <= 5000
		}
		is[name] = value
	}
	// Byte for byte, and not as numbers that round.
	if result := members(c.T, text)["result"]; result != nil {
		is["result"] = string(result)
	}
	return is
}

func members(t *testing.T, text []byte) (m map[string]json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// built builds the sidecar, as it ships, once for all tests.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "clienttest-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "lambda-idempotency")
	cmd := exec.Command("go", "build", "-tags", "nethttpomithttp2", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, "../../extension")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binary, _ := built(); binary != "" {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// sidecar starts the sidecar itself, in memory, and returns where it listens.
func sidecar(t *testing.T) string {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	_ = l.Close()
	cmd := exec.Command(binary)
	cmd.Env = []string{"HOME=" + t.TempDir(), "IDEMPOTENCY_STORE=memory", "IDEMPOTENCY_SCOPE=function", "IDEMPOTENCY_PORT=" + port}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if said, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("it said %q (%v)", said, err)
	}
	return "http://127.0.0.1:" + port
}
