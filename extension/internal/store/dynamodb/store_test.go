package dynamodb_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/dynamodb"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/storetest"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// account points the SDK's own settings at the engine.
func account(t *testing.T) dynamodblocal.Endpoint {
	t.Helper()
	local := dynamodblocal.Start(t)
	for name, value := range local.Env() {
		t.Setenv(name, value)
	}
	return local
}

// suite runs stores with the attributes given, each on a table of its own.
func suite(local dynamodblocal.Endpoint, a dynamodb.Attributes) storetest.Suite {
	tables := map[idempotency.Store]string{}
	open := func(t *testing.T, transport http.RoundTripper) idempotency.Store {
		table := dynamodblocal.CreateTable(t, local, dynamodblocal.Table{PartitionKey: a.ID, SortKey: a.Sort, TTL: a.Expiration})
		s := dynamodb.New(dynamodb.Options{Table: table, Attributes: a, Transport: transport})
		tables[s] = table
		return s
	}
	s := storetest.Suite{
		Open: func(t *testing.T, _ func() time.Time) idempotency.Store { return open(t, nil) },
		Second: func(_ *testing.T, first idempotency.Store) idempotency.Store {
			return dynamodb.New(dynamodb.Options{Table: tables[first], Attributes: a})
		},
		Lossy: func(t *testing.T, _ func() time.Time) (idempotency.Store, func()) {
			l := &lossy{next: http.DefaultTransport}
			t.Cleanup(func() {
				if l.lost.Load() < 5 {
					t.Errorf("only %d answers were lost", l.lost.Load())
				}
			})
			return open(t, l), func() { l.drop.Store(true) }
		},
	}
	if a.Sort != "" {
		s.Sort = "sun-ada-bucket-tokyo/smallfile"
	}
	return s
}

// lossy drops the answer of a write that the engine applied.
type lossy struct {
	next http.RoundTripper
	drop atomic.Bool
	lost atomic.Int32
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.next.RoundTrip(r)
	write := !strings.HasSuffix(r.Header.Get("X-Amz-Target"), "GetItem")
	if err != nil || !write || !l.drop.CompareAndSwap(true, false) {
		return res, err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if res.StatusCode == http.StatusOK {
		l.lost.Add(1)
	}
	return nil, io.ErrUnexpectedEOF
}

func TestStore(t *testing.T) {
	storetest.Run(t, suite(account(t), dynamodb.DefaultAttributes()))
}

func TestStoreWithSortKey(t *testing.T) {
	a := dynamodb.DefaultAttributes()
	a.Sort = "sk"
	s := suite(account(t), a)
	s.Rounds = 10
	storetest.Run(t, s)
}

// TestStoreOnTheOriginalTable runs on the table of the original sample: other
// names for the keys, the time to live and most else.
func TestStoreOnTheOriginalTable(t *testing.T) {
	a := dynamodb.DefaultAttributes()
	a.ID, a.Sort, a.Expiration = "JobId", "ObjKey", "ExpireTTL"
	a.Status, a.RequestID, a.Function, a.CreatedAt, a.Error, a.History = "Status", "RequestID", "Function", "CreatedAt", "Detail", "Histories"
	s := suite(account(t), a)
	s.Rounds = 10
	storetest.Run(t, s)
}

// TestItem shows the item as other software sees it.
func TestItem(t *testing.T) {
	local := account(t)
	a := dynamodb.DefaultAttributes()
	table := dynamodblocal.CreateTable(t, local, dynamodblocal.Table{TTL: a.Expiration})
	s := dynamodb.New(dynamodb.Options{Table: table, Attributes: a})
	now := time.Now().Truncate(time.Millisecond)
	rec := &idempotency.Record{
		Key: idempotency.Key{Partition: "fn#order-1"}, Status: idempotency.InProgress,
		Expiration: now.Truncate(time.Second).Add(time.Hour), LeaseExpiresAt: now.Add(time.Minute),
		Secret: "c2VjcmV0c2VjcmV0c2VjcmU", Fence: now.UnixMilli(), Attempt: 1, Function: "fn", RequestID: "r-1",
		CreatedAt: now, UpdatedAt: now,
		History: []idempotency.Event{{At: now, Status: idempotency.InProgress, RequestID: "r-1"}},
	}
	if err := s.Put(t.Context(), rec, idempotency.Condition{Now: now}); err != nil {
		t.Fatal(err)
	}
	change := idempotency.Change{
		Secret: rec.Secret, Fence: rec.Fence, Status: idempotency.Completed, UpdatedAt: now,
		Expiration: rec.Expiration, Result: []byte(`{"ok":true}`),
		Event: &idempotency.Event{At: now, Status: idempotency.Completed, RequestID: "r-1"},
	}
	if err := s.Update(t.Context(), rec.Key, change); err != nil {
		t.Fatal(err)
	}
	out, err := local.Client().GetItem(t.Context(), &sdk.GetItemInput{TableName: &table, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "fn#order-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"status": "COMPLETED", "data": `{"ok":true}`, "function": "fn", "request_id": "r-1", "created_at": now.UTC().Format("2006-01-02T15:04:05.000Z")} {
		if got, ok := out.Item[name].(*types.AttributeValueMemberS); !ok || got.Value != want {
			t.Errorf("%s is %v, want the string %q", name, out.Item[name], want)
		}
	}
	if _, ok := out.Item["expiration"].(*types.AttributeValueMemberN); !ok {
		t.Errorf("expiration is %v, want a number", out.Item["expiration"])
	}
	if h, ok := out.Item["history"].(*types.AttributeValueMemberL); !ok || len(h.Value) != 2 {
		t.Errorf("history is %v, want two entries", out.Item["history"])
	}
}

// TestForeignItems shows what the store makes of items that other software
// wrote, Powertools for AWS Lambda among them.
func TestForeignItems(t *testing.T) {
	local := account(t)
	table := dynamodblocal.CreateTable(t, local, dynamodblocal.Table{})
	s := dynamodb.New(dynamodb.Options{Table: table, Attributes: dynamodb.DefaultAttributes()})
	now := time.Now()
	str := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
	num := func(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }
	for name, c := range map[string]struct {
		item map[string]types.AttributeValue
		want idempotency.Verdict
	}{
		"completed by Powertools":          {map[string]types.AttributeValue{"status": str("COMPLETED"), "expiration": num("99999999999"), "data": str(`{"a":1}`)}, idempotency.Replay},
		"running, without an end":          {map[string]types.AttributeValue{"status": str("INPROGRESS"), "expiration": num("99999999999")}, idempotency.Wait},
		"running, lapsed":                  {map[string]types.AttributeValue{"status": str("INPROGRESS"), "expiration": num("99999999999"), "in_progress_expiration": num("1700000000000")}, idempotency.Grant},
		"lapsed, an empty token, no fence": {map[string]types.AttributeValue{"status": str("INPROGRESS"), "token": str(""), "fence": num("0"), "expiration": num("99999999999"), "in_progress_expiration": num("1700000000000")}, idempotency.Grant},
		"expired":                          {map[string]types.AttributeValue{"status": str("COMPLETED"), "expiration": num("1700000000")}, idempotency.Grant},
		"a status of the original sample":  {map[string]types.AttributeValue{"status": str("success"), "expiration": num("99999999999")}, idempotency.Wait},
		"another status, no lease":         {map[string]types.AttributeValue{"status": str("running"), "expiration": num("99999999999"), "in_progress_expiration": num("0")}, idempotency.Wait},
		"nothing but a key":                {map[string]types.AttributeValue{}, idempotency.Wait},
		"an expiration that is a fraction": {map[string]types.AttributeValue{"status": str("COMPLETED"), "expiration": num("99999999999.5")}, idempotency.Replay},
	} {
		t.Run(name, func(t *testing.T) {
			c.item["id"] = str(name)
			if _, err := local.Client().PutItem(t.Context(), &sdk.PutItemInput{TableName: &table, Item: c.item}); err != nil {
				t.Fatal(err)
			}
			rec, err := s.Get(t.Context(), idempotency.Key{Partition: name})
			if err != nil {
				t.Fatal(err)
			}
			if got := idempotency.Decide(rec, now, idempotency.Ask{Secret: "mine"}); got != c.want {
				t.Fatalf("an acquire would %s, want %s", got, c.want)
			}
			if c.want == idempotency.Wait && !rec.LeaseExpiresAt.After(now) {
				t.Fatalf("a claim that is waited for ends at %v", rec.LeaseExpiresAt)
			}
			if c.want != idempotency.Grant {
				return
			}
			mine := &idempotency.Record{Key: rec.Key, Status: idempotency.InProgress, Secret: "mine", Fence: now.UnixMilli(), Attempt: 1, Expiration: now.Add(time.Hour), LeaseExpiresAt: now.Add(time.Minute)}
			if err := s.Put(t.Context(), mine, idempotency.Condition{Prev: rec, Now: now}); err != nil {
				t.Fatalf("taking it over: %v", err)
			}
		})
	}
	for data, want := range map[types.AttributeValue]string{
		str(`{"a": 1}`): `{"a": 1}`,
		str("hello"):    `"hello"`,
		num("1.5"):      `1.5`,
		&types.AttributeValueMemberBOOL{Value: true}: `true`,
		&types.AttributeValueMemberNULL{Value: true}: `null`,
		&types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"b": &types.AttributeValueMemberL{Value: []types.AttributeValue{num("1"), str("x")}}, "a": str("é")}}: `{"a":"é","b":[1,"x"]}`,
	} {
		it := map[string]types.AttributeValue{"id": str("data"), "status": str("COMPLETED"), "expiration": num("99999999999"), "data": data}
		if _, err := local.Client().PutItem(t.Context(), &sdk.PutItemInput{TableName: &table, Item: it}); err != nil {
			t.Fatal(err)
		}
		if rec, err := s.Get(t.Context(), idempotency.Key{Partition: "data"}); err != nil || string(rec.Result) != want {
			t.Errorf("%v is replayed as %s (%v), want %s", data, rec.Result, err, want)
		}
	}
	bad := map[string]types.AttributeValue{"id": str("bad"), "status": num("1")}
	if _, err := local.Client().PutItem(t.Context(), &sdk.PutItemInput{TableName: &table, Item: bad}); err != nil {
		t.Fatal(err)
	}
	var down *idempotency.StoreError
	if _, err := s.Get(t.Context(), idempotency.Key{Partition: "bad"}); !errors.As(err, &down) || !strings.Contains(down.Detail, `"status" is not a string`) {
		t.Fatalf("an item that cannot be read: %v", err)
	}
}

// answering answers every call with one error of DynamoDB.
type answering struct {
	status int
	body   string
	err    error
	date   time.Time // of its clock; zero: it does not say
	calls  atomic.Int32
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.calls.Add(1)
	if a.err != nil {
		return nil, a.err
	}
	res := &http.Response{
		StatusCode: a.status, Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, ContentLength: int64(len(a.body)),
	}
	if !a.date.IsZero() {
		res.Header.Set("Date", a.date.UTC().Format(http.TimeFormat))
	}
	return res, nil
}

func TestErrors(t *testing.T) {
	local := account(t)
	amz := func(code string) string {
		return `{"__type":"com.amazonaws.dynamodb.v20120810#` + code + `","message":"said the service"}`
	}
	for name, c := range map[string]struct {
		transport *answering
		throttled bool
		retried   bool
		want      string
	}{
		"throttled":           {&answering{status: 400, body: amz("ThrottlingException")}, true, true, "throttles table jobs"},
		"over provisioned":    {&answering{status: 400, body: amz("ProvisionedThroughputExceededException")}, true, true, "throttles table jobs"},
		"denied":              {&answering{status: 400, body: amz("AccessDeniedException")}, false, false, "give the function's role dynamodb:GetItem, dynamodb:PutItem, dynamodb:UpdateItem"},
		"no such table":       {&answering{status: 400, body: amz("ResourceNotFoundException")}, false, false, "table jobs does not exist"},
		"expired credentials": {&answering{status: 400, body: amz("ExpiredTokenException")}, false, false, "credentials"},
		"wrong clock":         {&answering{status: 400, body: amz("InvalidSignatureException")}, false, false, "the clock of this host is wrong"},
		"other key schema":    {&answering{status: 400, body: amz("ValidationException")}, false, false, "IDEMPOTENCY_SORT_KEY_ATTR"},
		"internal":            {&answering{status: 500, body: amz("InternalServerError")}, false, true, "InternalServerError"},
		"a proxy's page":      {&answering{status: 502, body: "<html>"}, false, true, "try again"},
		"connection refused":  {&answering{err: errors.New("connect: connection refused")}, false, true, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes(), Transport: c.transport})
			ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
			defer cancel()
			rec := &idempotency.Record{Key: idempotency.Key{Partition: "k"}, Status: idempotency.InProgress}
			err := s.Put(ctx, rec, idempotency.Condition{})
			var down *idempotency.StoreError
			if !errors.As(err, &down) {
				t.Fatalf("got %v", err)
			}
			if down.Throttled != c.throttled || !strings.Contains(down.Detail, c.want) {
				t.Fatalf("throttled %v, %q; want %v, %q", down.Throttled, down.Detail, c.throttled, c.want)
			}
			if retried := c.transport.calls.Load() > 1; retried != c.retried {
				t.Fatalf("%d calls", c.transport.calls.Load())
			}
		})
	}
	t.Run("an endpoint that is no URL", func(t *testing.T) {
		t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", "127.0.0.1:9")
		s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes()})
		var down *idempotency.StoreError
		if err := s.Ping(t.Context()); !errors.As(err, &down) || !strings.Contains(down.Detail, "AWS_ENDPOINT_URL_DYNAMODB is not a URL") {
			t.Fatal(err)
		}
	})
	t.Run("no credentials", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
		t.Setenv("HOME", t.TempDir())
		s := dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes()})
		var down *idempotency.StoreError
		if err := s.Ping(t.Context()); !errors.As(err, &down) || !strings.Contains(down.Detail, "there are no AWS credentials") {
			t.Fatal(err)
		}
		// The metadata service does not answer until the call's time is up.
		silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		defer silent.Close()
		t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
		t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.URL)
		s = dynamodb.New(dynamodb.Options{Table: "jobs", Attributes: dynamodb.DefaultAttributes()})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := s.Ping(ctx); !errors.As(err, &down) || !strings.Contains(down.Detail, "there are no AWS credentials") {
			t.Fatal(err)
		}
	})
	t.Run("no such table, from the engine", func(t *testing.T) {
		s := dynamodb.New(dynamodb.Options{Table: "absent", Attributes: dynamodb.DefaultAttributes()})
		var down *idempotency.StoreError
		if err := s.Ping(t.Context()); !errors.As(err, &down) || !strings.Contains(down.Detail, "table absent does not exist") {
			t.Fatal(err)
		}
	})
	t.Run("another key schema, from the engine", func(t *testing.T) {
		table := dynamodblocal.CreateTable(t, local, dynamodblocal.Table{PartitionKey: "pk"})
		s := dynamodb.New(dynamodb.Options{Table: table, Attributes: dynamodb.DefaultAttributes()})
		var down *idempotency.StoreError
		if err := s.Ping(t.Context()); !errors.As(err, &down) || !strings.Contains(down.Detail, "IDEMPOTENCY_ATTR_ID") {
			t.Fatal(err)
		}
	})
}
