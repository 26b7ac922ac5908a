package dynamodb

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// Attributes are the names of an item's attributes. The defaults of those that
// Powertools for AWS Lambda has too are its names, so one table can serve both:
// https://docs.aws.amazon.com/powertools/python/latest/utilities/idempotency/
type Attributes struct {
	ID string
	// Sort is the table's sort key; empty: it has none.
	Sort                 string
	Status               string
	Expiration           string
	InProgressExpiration string
	// Data holds the result. The names of its compressed form, of the reference
	// to an item of its own and of the mark that it was omitted are made from it.
	Data       string
	Validation string
	Token      string
	Fence      string
	Attempt    string
	Error      string
	Function   string
	RequestID  string
	CreatedAt  string
	UpdatedAt  string
	History    string
}

// DefaultAttributes are the names that a table has unless it is told otherwise.
func DefaultAttributes() Attributes {
	return Attributes{
		ID: "id", Status: "status", Expiration: "expiration", InProgressExpiration: "in_progress_expiration",
		Data: "data", Validation: "validation", Token: "token", Fence: "fence", Attempt: "attempt", Error: "error",
		Function: "function", RequestID: "request_id", CreatedAt: "created_at", UpdatedAt: "updated_at", History: "history",
	}
}

func (a Attributes) compressed() string { return a.Data + "_z" }
func (a Attributes) reference() string  { return a.Data + "_ref" }
func (a Attributes) omitted() string    { return a.Data + "_omitted" }

// Derived are the names made from Data's, which no other attribute may have.
func (a Attributes) Derived() []string { return []string{a.compressed(), a.reference(), a.omitted()} }

type item = map[string]types.AttributeValue

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func moment(t time.Time) types.AttributeValue { return text(t.UTC().Format(timeFormat)) }

// millis is a lease's end as stored: 0 for a released claim.
func millis(t time.Time) types.AttributeValue {
	if t.IsZero() {
		return number(0)
	}
	return number(t.UnixMilli())
}

func (a Attributes) key(key idempotency.Key) item {
	k := item{a.ID: text(key.Partition)}
	if a.Sort != "" {
		k[a.Sort] = text(key.Sort)
	}
	return k
}

// encode makes the item of a claim. A claim has no result yet.
func (a Attributes) encode(rec *idempotency.Record) item {
	it := a.key(rec.Key)
	it[a.Status] = text(string(rec.Status))
	it[a.Expiration] = number(rec.Expiration.Unix())
	if rec.Status == idempotency.InProgress {
		it[a.InProgressExpiration] = millis(rec.LeaseExpiresAt)
	}
	it[a.Token] = text(rec.Secret)
	it[a.Fence] = number(rec.Fence)
	it[a.Attempt] = number(int64(rec.Attempt))
	it[a.CreatedAt] = moment(rec.CreatedAt)
	it[a.UpdatedAt] = moment(rec.UpdatedAt)
	for name, value := range map[string]string{a.Validation: rec.Validation, a.Function: rec.Function, a.RequestID: rec.RequestID} {
		if value != "" {
			it[name] = text(value)
		}
	}
	if rec.Error != nil {
		it[a.Error] = failure(rec.Error)
	}
	if len(rec.History) > 0 {
		list := make([]types.AttributeValue, len(rec.History))
		for i, e := range rec.History {
			list[i] = event(e)
		}
		it[a.History] = &types.AttributeValueMemberL{Value: list}
	}
	return it
}

func failure(f *idempotency.Failure) types.AttributeValue {
	b, err := json.Marshal(f)
	if err != nil {
		panic(err) // Two strings always marshal.
	}
	return text(string(b))
}

func event(e idempotency.Event) types.AttributeValue {
	m := item{"at": moment(e.At), "status": text(string(e.Status))}
	if e.Detail != "" {
		m["detail"] = text(e.Detail)
	}
	if e.RequestID != "" {
		m["request_id"] = text(e.RequestID)
	}
	return &types.AttributeValueMemberM{Value: m}
}

// decoder reads an item's attributes and keeps the first thing that is wrong.
type decoder struct {
	item item
	err  error
}

func (d *decoder) wrong(name, want string) {
	if d.err == nil {
		d.err = fmt.Errorf("attribute %q is not %s", name, want)
	}
}

func (d *decoder) text(name string) string {
	v, ok := d.item[name]
	if !ok {
		return ""
	}
	s, ok := v.(*types.AttributeValueMemberS)
	if !ok {
		d.wrong(name, "a string")
		return ""
	}
	return s.Value
}

func (d *decoder) number(name string) int64 {
	v, ok := d.item[name]
	if !ok {
		return 0
	}
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		d.wrong(name, "a number")
		return 0
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(n.Value, 64)
		if ferr != nil || math.Abs(f) > math.MaxInt64/2 {
			d.wrong(name, "a whole number")
			return 0
		}
		i = int64(f)
	}
	return i
}

func (d *decoder) moment(name string) time.Time {
	s := d.text(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{} // Other software's own format; nothing is decided by it.
	}
	return t
}

// never is the expiration of an item that has none: it is not ours to replace.
var never = time.Unix(1<<40, 0)

// decode reads a record, but for a result in an item of its own, whose name it
// returns. Items of other software lack what only ours have.
func (a Attributes) decode(it item) (rec *idempotency.Record, reference string, err error) {
	d := &decoder{item: it}
	rec = &idempotency.Record{
		Key:        idempotency.Key{Partition: d.text(a.ID)},
		Status:     idempotency.Status(d.text(a.Status)),
		Expiration: never,
		Secret:     d.text(a.Token),
		Fence:      d.number(a.Fence),
		Attempt:    int(d.number(a.Attempt)),
		Validation: d.text(a.Validation),
		Function:   d.text(a.Function),
		RequestID:  d.text(a.RequestID),
		CreatedAt:  d.moment(a.CreatedAt),
		UpdatedAt:  d.moment(a.UpdatedAt),
	}
	if a.Sort != "" {
		rec.Key.Sort = d.text(a.Sort)
	}
	if _, ok := it[a.Expiration]; ok {
		rec.Expiration = time.Unix(d.number(a.Expiration), 0)
	}
	if rec.Status != idempotency.Completed && rec.Status != idempotency.Failed {
		rec.LeaseExpiresAt = d.lease(a.InProgressExpiration, rec)
	}
	if s := d.text(a.Error); s != "" {
		rec.Error = new(idempotency.Failure)
		if json.Unmarshal([]byte(s), rec.Error) != nil {
			rec.Error = &idempotency.Failure{Message: s}
		}
	}
	rec.History = d.history(a.History)
	if v, ok := it[a.omitted()].(*types.AttributeValueMemberBOOL); ok {
		rec.ResultOmitted = v.Value
	}
	if v, ok := it[a.Data]; ok {
		rec.Result = resultOf(v)
	}
	if v, ok := it[a.compressed()].(*types.AttributeValueMemberB); ok {
		if rec.Result, err = expand(v.Value); err != nil {
			d.wrong(a.compressed(), "a compressed result")
		}
	}
	return rec, d.text(a.reference()), d.err
}

// lease is a claim's end: the zero time for a released one. Other software's claim
// without an end, or under a status of its own, holds until it expires.
func (d *decoder) lease(name string, rec *idempotency.Record) time.Time {
	_, leased := d.item[name]
	switch ms := d.number(name); {
	case !leased, ms == 0 && rec.Status != idempotency.InProgress:
		return rec.Expiration
	case ms == 0:
		return time.Time{}
	default:
		return time.UnixMilli(ms)
	}
}

func (d *decoder) history(name string) []idempotency.Event {
	list, ok := d.item[name].(*types.AttributeValueMemberL)
	if !ok {
		return nil
	}
	var events []idempotency.Event
	for _, v := range list.Value {
		m, ok := v.(*types.AttributeValueMemberM)
		if !ok {
			continue
		}
		e := &decoder{item: m.Value}
		events = append(events, idempotency.Event{
			At: e.moment("at"), Status: idempotency.Status(e.text("status")),
			Detail: e.text("detail"), RequestID: e.text("request_id"),
		})
	}
	return events
}
