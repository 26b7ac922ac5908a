package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

const (
	exampleDir = root + "/examples/python-handler"
	objKey     = "sun-ada-bucket-tokyo/smallfile"
	duplicate  = "lambdaが多重起動したため処理を終了しました。"
	jobFailed  = "An unexpected error has occurred."
	realError  = "no such object: the detail for the log"
)

// stage gives the example, which stays as it is, work that does what its event
// says and that can be counted in the log.
const stage = `
import os
import time

import app
import lambda_idempotency
from app import handler

print("the client is", lambda_idempotency.__file__, flush=True)


def process(event):
    print("working on", event["JobId"], flush=True)
    do = event.get("do", "")
    if do.startswith("sleep "):
        time.sleep(float(do.split()[1]))
    if do == "fail":
        raise FileNotFoundError("` + realError + `")
    if do == "exit":
        os._exit(1)
    return {"processed": event["ObjKey"]}


app.process = process
`

// jobs is a table as the example's README has it, and what is deployed on it.
type jobs struct {
	*testing.T
	local dynamodblocal.Endpoint
	table string
}

func newJobs(t *testing.T) *jobs {
	t.Helper()
	t.Parallel()
	local := dynamodblocal.Start(t)
	return &jobs{t, local, dynamodblocal.CreateTable(t, local, dynamodblocal.Table{PartitionKey: "JobId", SortKey: "ObjKey", TTL: "ExpireTTL"})}
}

// deploy deploys the example with the README's settings. Its handler is
// app.handler, or stage.handler for work that does as told.
func (j *jobs) deploy(handler string, timeout time.Duration, env map[string]string) *emulator.Emulator {
	j.Helper()
	dir := functionOf(j.T, "python-handler", "stage.py", stage)
	all := j.local.Env()
	maps.Copy(all, readmeSettings(j.T))
	maps.Copy(all, map[string]string{
		"IDEMPOTENCY_TABLE_NAME": j.table,
		"IDEMPOTENCY_PORT":       strconv.Itoa(emulator.FreePort(j)),
		proxyPort:                strconv.Itoa(emulator.FreePort(j)),
		"AWS_SESSION_TOKEN":      secret,
		"PYTHONPATH":             "/opt/python", // As Lambda's runtime has it.
	})
	maps.Copy(all, env)
	return emulator.Start(j, emulator.Config{
		Opt: built.opt, Dir: dir, Env: all, Timeout: timeout, FunctionName: "python-handler",
		Command: []string{emulator.Python(j), "-m", "awslambdaric", handler},
	})
}

// launched is what the caller of a launch gets.
type launched struct {
	StatusCode   int
	Body         string
	ErrorType    string
	ErrorMessage string
	raw          string
}

func (j *jobs) launch(e *emulator.Emulator, job, do string) launched {
	j.Helper()
	event := map[string]string{"JobId": job, "ObjKey": objKey}
	if do != "" {
		event["do"] = do
	}
	payload, err := json.Marshal(event)
	if err != nil {
		j.Fatal(err)
	}
	res, err := e.Invoke(j.Context(), payload)
	if err != nil {
		j.Fatal(err)
	}
	l := launched{raw: string(res.Body)}
	_ = json.Unmarshal(res.Body, &l) // A timeout is plain text.
	return l
}

const processed = `{"processed": "` + objKey + `"}`

func (j *jobs) mustRun(e *emulator.Emulator, job, do string) {
	j.Helper()
	if l := j.launch(e, job, do); l.StatusCode != http.StatusOK || l.Body != processed {
		j.Fatalf("a launch of job %s got %s", job, l.raw)
	}
}

// mustGiveWay launches a duplicate and checks its answer and its one warning.
func (j *jobs) mustGiveWay(e *emulator.Emulator, job, body string) {
	j.Helper()
	before := warnings(e)
	if l := j.launch(e, job, ""); l.StatusCode != http.StatusOK || l.Body != body {
		j.Fatalf("a duplicate of job %s got %s", job, l.raw)
	}
	for end := time.Now().Add(5 * time.Second); warnings(e) == before && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond) // A line of the log may come after the answer.
	}
	if n := warnings(e) - before; n != 1 {
		j.Fatalf("a duplicate of job %s logged %d warnings", job, n)
	}
}

// warning is the line of the original's log.
var warning = regexp.MustCompile(`(?m)\[WARNING\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t[0-9a-f-]{36}\t(.*)$`)

func warnings(e *emulator.Emulator) int {
	n := 0
	for _, m := range warning.FindAllStringSubmatch(e.Log(), -1) {
		if strings.TrimSpace(m[1]) == duplicate {
			n++
		}
	}
	return n
}

func runs(job string, list ...*emulator.Emulator) int {
	n := 0
	for _, e := range list {
		n += strings.Count(e.Log(), "working on "+job)
	}
	return n
}

// item is a job's item as it is in the table, as plain JSON; nil if there is none.
func (j *jobs) item(job string) map[string]any {
	j.Helper()
	out, err := j.local.Client().GetItem(j.Context(), &dynamodb.GetItemInput{
		TableName: &j.table, ConsistentRead: aws.Bool(true),
		Key: map[string]types.AttributeValue{"JobId": &types.AttributeValueMemberS{Value: job}, "ObjKey": &types.AttributeValueMemberS{Value: objKey}},
	})
	if err != nil {
		j.Fatal(err)
	}
	if out.Item == nil {
		return nil
	}
	return plain(&types.AttributeValueMemberM{Value: out.Item}).(map[string]any)
}

func (j *jobs) put(item map[string]types.AttributeValue) {
	j.Helper()
	if _, err := j.local.Client().PutItem(j.Context(), &dynamodb.PutItemInput{TableName: &j.table, Item: item}); err != nil {
		j.Fatal(err)
	}
}

func plain(v types.AttributeValue) any {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return json.Number(v.Value)
	case *types.AttributeValueMemberM:
		m := map[string]any{}
		for name, value := range v.Value {
			m[name] = plain(value)
		}
		return m
	case *types.AttributeValueMemberL:
		list := make([]any, len(v.Value))
		for i, value := range v.Value {
			list[i] = plain(value)
		}
		return list
	}
	return fmt.Sprintf("%T", v)
}

// mustBe checks the attributes that the original's table has.
func (j *jobs) mustBe(item map[string]any, status, detail string, history ...string) {
	j.Helper()
	if item == nil {
		j.Fatal("there is no item")
	}
	if item["Status"] != status || item["ObjKey"] != objKey || item["Function"] != "python-handler" {
		j.Errorf("the item is %v", item)
	}
	if got, _ := item["Detail"].(string); got != detail {
		j.Errorf("Detail is %q, want %q", got, detail)
	}
	if id, _ := item["RequestID"].(string); !regexp.MustCompile(`^[0-9a-f-]{36}$`).MatchString(id) {
		j.Errorf("RequestID is %v", item["RequestID"])
	}
	created, err := time.Parse("2006-01-02T15:04:05.000Z", item["CreatedAt"].(string))
	if age := time.Since(created); err != nil || age < 0 || age > time.Minute {
		j.Errorf("CreatedAt is %v (%v)", item["CreatedAt"], err)
	}
	// 24 h from the end; while it runs, from the invocation's deadline.
	seconds, err := item["ExpireTTL"].(json.Number).Int64()
	if off := time.Unix(seconds, 0).Sub(created.Add(24 * time.Hour)); err != nil || off < 0 || off > 30*time.Second {
		j.Errorf("ExpireTTL is %v, 24h and %v from CreatedAt (%v)", item["ExpireTTL"], off, err)
	}
	var entries []string
	for _, entry := range item["Histories"].([]any) {
		e := entry.(map[string]any)
		if _, err := time.Parse(time.RFC3339Nano, e["at"].(string)); err != nil {
			j.Error(err)
		}
		text := e["status"].(string)
		if d, ok := e["detail"].(string); ok {
			text += ": " + d
		}
		entries = append(entries, text)
	}
	if !reflect.DeepEqual(entries, history) {
		j.Errorf("Histories has %q, want %q", entries, history)
	}
}

// mustBeShown checks an item against the README, but for its times and ids.
func (j *jobs) mustBeShown(item map[string]any, name string) {
	j.Helper()
	dec := json.NewDecoder(strings.NewReader(readmeBlock(j.T, "item: "+name)))
	dec.UseNumber()
	var shown map[string]any
	if err := dec.Decode(&shown); err != nil {
		j.Fatal(err)
	}
	if got, want := shape("", item), shape("", shown); !reflect.DeepEqual(got, want) {
		text, _ := json.MarshalIndent(item, "", "  ")
		j.Errorf("the README shows %v;\nthe item is %s", want, text)
	}
}

// shape is a value with the kind of each time and id in its place.
func shape(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for name, value := range v {
			m[name] = shape(name, value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, value := range v {
			list[i] = shape("", value)
		}
		return list
	case json.Number:
		if v == "0" || len(v) < 10 {
			return v
		}
		return fmt.Sprintf("number of %d digits", len(v))
	case string:
		switch name {
		case "token":
			return "text"
		case "RequestID", "request_id", "CreatedAt", "updated_at", "at":
			return regexp.MustCompile(`[0-9a-f]`).ReplaceAllString(v, "0")
		}
	}
	return v
}

func readmeBlock(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(exampleDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)<!-- " + name + " -->\\s*```[a-z]*\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatalf("the README has no block %q", name)
	}
	return string(m[1])
}

func readmeSettings(t *testing.T) map[string]string {
	t.Helper()
	env := map[string]string{}
	for line := range strings.Lines(readmeBlock(t, "settings")) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			t.Fatalf("%q is no setting", line)
		}
		env[name] = value
	}
	return env
}

func TestPythonSuccess(t *testing.T) {
	j := newJobs(t)
	e := j.deploy("app.handler", 10*time.Second, nil)
	j.mustRun(e, "12345", "")
	item := j.item("12345")
	j.mustBe(item, "COMPLETED", "", "INPROGRESS", "COMPLETED")
	j.mustBeShown(item, "success")
	if !strings.Contains(e.Log(), fmt.Sprintf("START RequestId: %v ", item["RequestID"])) {
		t.Errorf("%v is not the request's id", item["RequestID"])
	}
	if n := warnings(e); n != 0 {
		t.Errorf("the first launch logged %d warnings", n)
	}
	j.mustGiveWay(e, "12345", processed)
	if again := j.item("12345"); !reflect.DeepEqual(again, item) {
		t.Errorf("the duplicate changed the item from %v to %v", item, again)
	}
}

func TestPythonError(t *testing.T) {
	j := newJobs(t)
	e := j.deploy("stage.handler", 10*time.Second, nil)
	if l := j.launch(e, "12345", "fail"); l.ErrorType != "RuntimeError" || l.ErrorMessage != jobFailed {
		t.Fatal(l.raw)
	}
	e.WaitLog(t, realError, 5*time.Second)
	e.WaitLog(t, "the client is /opt/python/lambda_idempotency/__init__.py", 5*time.Second)
	item := j.item("12345")
	j.mustBe(item, "FAILED", `{"type":"RuntimeError","message":"`+jobFailed+`"}`, "INPROGRESS", "FAILED: "+jobFailed)
	j.mustBeShown(item, "error")
	// Lambda's automatic retries.
	for range 2 {
		j.mustGiveWay(e, "12345", `{"status": "failed", "error": {"type": "RuntimeError", "message": "`+jobFailed+`"}}`)
	}
	if n := runs("12345", e); n != 1 {
		t.Errorf("the work ran %d times", n)
	}
	if again := j.item("12345"); !reflect.DeepEqual(again, item) {
		t.Errorf("the retries changed the item from %v to %v", item, again)
	}
}

func TestPythonErrorThatMayBeRetried(t *testing.T) {
	j := newJobs(t)
	e := j.deploy("stage.handler", 10*time.Second, map[string]string{"RETRY_FAILED": "1"})
	if l := j.launch(e, "12345", "fail"); l.ErrorType != "RuntimeError" {
		t.Fatal(l.raw)
	}
	j.mustRun(e, "12345", "")
	if n := runs("12345", e); n != 2 {
		t.Errorf("the work ran %d times", n)
	}
}

func TestPythonFiveLaunchesAtOnce(t *testing.T) {
	const launches = 5
	j := newJobs(t)
	var environments []*emulator.Emulator
	var warm sync.WaitGroup
	for i := range launches {
		e := j.deploy("stage.handler", 20*time.Second, nil)
		environments = append(environments, e)
		warm.Go(func() { j.launch(e, fmt.Sprint("warm-up ", i), "") })
	}
	warm.Wait()

	answers := make([]launched, launches)
	var all sync.WaitGroup
	for i, e := range environments {
		all.Go(func() { answers[i] = j.launch(e, "12345", "sleep 2") })
	}
	for deadline := time.Now().Add(10 * time.Second); j.item("12345") == nil && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	item := j.item("12345")
	j.mustBe(item, "INPROGRESS", "", "INPROGRESS")
	j.mustBeShown(item, "running")
	all.Wait()

	ran, gaveWay := 0, 0
	for i, l := range answers {
		switch l.Body {
		case processed:
			ran++
		case `{"status": "in_progress"}`:
			gaveWay++
			environments[i].WaitLog(t, duplicate, 5*time.Second)
		default:
			t.Errorf("a launch got %s", l.raw)
		}
		if got := warnings(environments[i]); got > 1 {
			t.Errorf("a launch logged %d warnings", got)
		}
	}
	if n := runs("12345", environments...); n != 1 || ran != 1 || gaveWay != launches-1 {
		t.Errorf("the work ran %d times, %d launches got its result, %d gave way", n, ran, gaveWay)
	}
	j.mustBe(j.item("12345"), "COMPLETED", "", "INPROGRESS", "COMPLETED")
}

// TestPythonLeftOpen is fault b: what a launch left behind blocks nobody.
func TestPythonLeftOpen(t *testing.T) {
	for do, c := range map[string]struct {
		timeout time.Duration
		detail  string
	}{
		"sleep 30": {3 * time.Second, "Sandbox.Timedout"},
		"exit":     {60 * time.Second, "Runtime.ExitError"},
	} {
		t.Run(do, func(t *testing.T) {
			j := newJobs(t)
			e := j.deploy("stage.handler", c.timeout, nil)
			if l := j.launch(e, "12345", do); l.StatusCode == http.StatusOK {
				t.Fatal(l.raw)
			}
			// The environment's end may come a moment after the caller's answer.
			var item map[string]any
			for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
				if item = j.item("12345"); item["in_progress_expiration"] == json.Number("0") {
					break
				}
			}
			if detail := fmt.Sprint(item["Detail"]); item["Status"] != "INPROGRESS" || item["in_progress_expiration"] != json.Number("0") || !strings.Contains(detail, c.detail) {
				t.Fatalf("the item is %v", item)
			}
			j.mustRun(e, "12345", "")
			if n := runs("12345", e); n != 2 {
				t.Errorf("the work ran %d times", n)
			}
			if item = j.item("12345"); item["Status"] != "COMPLETED" || item["attempt"] != json.Number("2") {
				t.Errorf("the item is %v", item)
			}
		})
	}
}

// TestPythonOnTheOriginalsItems takes over the original's table: what the
// original wrote keeps duplicates out for as long as it said, and fault a is
// gone: not until the item is deleted.
func TestPythonOnTheOriginalsItems(t *testing.T) {
	j := newJobs(t)
	e := j.deploy("stage.handler", 10*time.Second, nil)
	j.mustRun(e, "warm-up", "")
	written := func(job, status string, expires time.Time) {
		text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
		entry := func(status string) types.AttributeValue {
			return &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"Timestamp": text("2024-03-10 11:36:47"), "Status": text(status), "Detail": text("")}}
		}
		j.put(map[string]types.AttributeValue{
			"JobId": text(job), "ObjKey": text(objKey), "Status": text(status), "RequestID": text("50d363b4-b6ab-48d2-843d-aab3a0043aec"),
			"Function": text("original"), "CreatedAt": text("2024-03-10 11:36:47"), "Detail": text(""),
			"ExpireTTL": &types.AttributeValueMemberN{Value: strconv.FormatInt(expires.Unix(), 10)},
			"Histories": &types.AttributeValueMemberL{Value: []types.AttributeValue{entry("running"), entry(status)}},
		})
	}
	for _, status := range []string{"running", "success", "error"} {
		written("kept-"+status, status, time.Now().Add(time.Hour))
		j.mustGiveWay(e, "kept-"+status, `{"status": "in_progress"}`)
		if n := runs("kept-"+status, e); n != 0 {
			t.Errorf("the work of a job that the original left as %s ran", status)
		}
		written("expired-"+status, status, time.Now().Add(-time.Second))
		j.mustRun(e, "expired-"+status, "")
		j.mustBe(j.item("expired-"+status), "COMPLETED", "", "INPROGRESS", "COMPLETED")
	}
}

// TestPythonStoreAway is fault c: the caller gets the real error, in time.
func TestPythonStoreAway(t *testing.T) {
	j := newJobs(t)
	e := j.deploy("stage.handler", 5*time.Second, map[string]string{"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:9"})
	l := j.launch(e, "12345", "")
	if l.ErrorType != "UnavailableError" || !strings.Contains(l.ErrorMessage, "store_unavailable: DynamoDB cannot be reached") {
		t.Error(l.raw)
	}
	if item := j.item("12345"); item != nil || runs("12345", e) != 0 {
		t.Errorf("the work ran, or the item is there: %v", item)
	}
}

// unreliable stands before DynamoDB. It lets the first answer of each operation
// get lost, or refuses updates while they are away.
type unreliable struct {
	*httptest.Server
	loses bool
	away  atomic.Bool

	mu   sync.Mutex
	lost map[string]int
}

var errLost = errors.New("the answer was lost")

func newUnreliable(j *jobs, loses bool) *unreliable {
	j.Helper()
	target, err := url.Parse(j.local.URL)
	if err != nil {
		j.Fatal(err)
	}
	u := &unreliable{loses: loses, lost: map[string]int{}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(res *http.Response) error {
			_, op, _ := strings.Cut(res.Request.Header.Get("X-Amz-Target"), ".")
			u.mu.Lock()
			defer u.mu.Unlock()
			if u.lost[op]++; u.loses && u.lost[op] == 1 {
				return errLost
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u.away.Load() && strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".UpdateItem") {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	j.Cleanup(u.Close)
	return u
}

// TestPythonLostAnswers is fault f: a write whose answer was lost is repeated,
// and recognises itself.
func TestPythonLostAnswers(t *testing.T) {
	j := newJobs(t)
	db := newUnreliable(j, true)
	e := j.deploy("stage.handler", 15*time.Second, map[string]string{"AWS_ENDPOINT_URL_DYNAMODB": db.URL})
	j.mustRun(e, "12345", "")
	j.mustBe(j.item("12345"), "COMPLETED", "", "INPROGRESS", "COMPLETED")
	if n := runs("12345", e); n != 1 || warnings(e) != 0 {
		t.Errorf("the work ran %d times, with %d warnings", n, warnings(e))
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.lost["PutItem"] < 2 || db.lost["UpdateItem"] < 2 {
		t.Errorf("no answer was lost: %v", db.lost)
	}
}

// TestPythonEndDuringAnOutage: work that is done stays done, though its end
// could not be written at once.
func TestPythonEndDuringAnOutage(t *testing.T) {
	j := newJobs(t)
	db := newUnreliable(j, false)
	e := j.deploy("stage.handler", 4*time.Second, map[string]string{"AWS_ENDPOINT_URL_DYNAMODB": db.URL})
	j.mustRun(e, "warm-up", "")
	db.away.Store(true)
	j.mustRun(e, "12345", "")
	e.WaitLog(t, "the work is done, but that could not be stored", 5*time.Second)
	j.mustBe(j.item("12345"), "INPROGRESS", "", "INPROGRESS")
	db.away.Store(false)
	j.mustGiveWay(e, "12345", processed)
	if n := runs("12345", e); n != 1 {
		t.Errorf("the work ran %d times", n)
	}
	j.mustBe(j.item("12345"), "COMPLETED", "", "INPROGRESS", "COMPLETED")
}
