// Package dynamodb keeps records in a DynamoDB table.
package dynamodb

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
)

// Actions are the permissions that the store needs on its table, and all it
// needs. They are the source of the policy in the documentation.
func Actions() []string {
	return []string{"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}
}

// Options are the settings of a store.
type Options struct {
	Table      string
	Attributes Attributes
	// Transport carries the HTTP calls in tests; nil: one made for Lambda.
	Transport http.RoundTripper
	// OnCapacity is told the capacity units that each call consumed; nil: nobody.
	OnCapacity func(op string, units float64)
}

// Store is an idempotency.Store in a DynamoDB table. The client is made at the
// first use, so that an extension can register before it.
type Store struct {
	opt    Options
	client func() (*client, error)
}

// New makes a store. It does not reach out.
func New(opt Options) *Store {
	if opt.OnCapacity == nil {
		opt.OnCapacity = func(string, float64) {}
	}
	return &Store{opt: opt, client: sync.OnceValues(func() (*client, error) { return newClient(opt) })}
}

// Ping implements idempotency.Store. It reads an item that no record has, which
// needs the table, the permission to read it and fresh credentials.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.get(ctx, "ping", idempotency.Key{Partition: "#ping", Sort: "-"})
	return err
}

// Get implements idempotency.Store.
func (s *Store) Get(ctx context.Context, key idempotency.Key) (*idempotency.Record, error) {
	it, err := s.get(ctx, "get", key)
	if err != nil || it == nil {
		return nil, err
	}
	return s.record(ctx, "get", it)
}

func (s *Store) get(ctx context.Context, op string, key idempotency.Key) (item, error) {
	client, err := s.client()
	if err != nil {
		return nil, s.unusable(op, err)
	}
	var out dynamodb.GetItemOutput
	met, err := client.call(ctx, getItem, &dynamodb.GetItemInput{
		TableName:              &s.opt.Table,
		Key:                    s.opt.Attributes.key(key),
		ConsistentRead:         aws.Bool(true),
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}, &out)
	if err != nil {
		return nil, s.failed(op, met, err)
	}
	s.consumed(op, out.ConsumedCapacity)
	return out.Item, nil
}

// outline makes an item a record, but for a result in an item of its own.
func (s *Store) outline(_ context.Context, op string, it item) (*idempotency.Record, error) {
	rec, _, err := s.decode(op, it)
	return rec, err
}

func (s *Store) decode(op string, it item) (*idempotency.Record, string, error) {
	rec, reference, err := s.opt.Attributes.decode(it)
	if err != nil {
		return nil, "", &idempotency.StoreError{Op: op, Seen: true, Err: err,
			Detail: "the item of this key in table " + s.opt.Table + " cannot be read: " + err.Error() + "; see that no other software writes it, or that IDEMPOTENCY_ATTR_* name the right attributes"}
	}
	return rec, reference, nil
}

// record makes an item a record, with its result wherever that is.
func (s *Store) record(ctx context.Context, op string, it item) (*idempotency.Record, error) {
	rec, reference, err := s.decode(op, it)
	if err != nil || reference == "" {
		return rec, err
	}
	own, err := s.get(ctx, "get_result", ownKey(reference, rec.Key))
	var down *idempotency.StoreError
	if errors.As(err, &down) {
		down.Seen = true
		return nil, down
	}
	if z, ok := own[s.opt.Attributes.compressed()].(*types.AttributeValueMemberB); ok {
		if rec.Result, err = expand(z.Value); err == nil {
			return rec, nil
		}
	}
	// The work was done; that its result is gone must not do it again.
	rec.Result, rec.ResultOmitted = nil, true
	return rec, nil
}

// Put implements idempotency.Store.
func (s *Store) Put(ctx context.Context, rec *idempotency.Record, when idempotency.Condition) error {
	condition, names, values := s.condition(rec, when)
	return s.put(ctx, "put", &dynamodb.PutItemInput{
		TableName:                           &s.opt.Table,
		Item:                                s.opt.Attributes.encode(rec),
		ConditionExpression:                 &condition,
		ExpressionAttributeNames:            names,
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		ReturnConsumedCapacity:              types.ReturnConsumedCapacityTotal,
	})
}

func (s *Store) put(ctx context.Context, op string, in *dynamodb.PutItemInput) error {
	client, err := s.client()
	if err != nil {
		return s.unusable(op, err)
	}
	var out dynamodb.PutItemOutput
	met, err := client.call(ctx, putItem, in, &out)
	if err != nil {
		return s.conflictOr(ctx, op, met, err)
	}
	s.consumed(op, out.ConsumedCapacity)
	return nil
}

// condition is Condition.Holds as an expression.
func (s *Store) condition(rec *idempotency.Record, when idempotency.Condition) (string, map[string]string, item) {
	a := s.opt.Attributes
	if when.Prev == nil {
		return "attribute_not_exists(#id) OR #expiration <= :now AND (attribute_not_exists(#fence) OR #fence < :fence)",
			map[string]string{"#id": a.ID, "#expiration": a.Expiration, "#fence": a.Fence},
			item{":now": number(when.Now.Unix()), ":fence": number(rec.Fence)}
	}
	prev := when.Prev
	names := map[string]string{"#token": a.Token, "#status": a.Status, "#fence": a.Fence, "#lease": a.InProgressExpiration}
	values := item{":lease": millis(prev.LeaseExpiresAt)}
	// Other software's items lack some of these attributes, or have them empty.
	same := func(name, value string, is types.AttributeValue, absent bool) string {
		values[value] = is
		if absent {
			return "(attribute_not_exists(" + name + ") OR " + name + " = " + value + ")"
		}
		return name + " = " + value
	}
	return strings.Join([]string{
		same("#token", ":token", text(prev.Secret), prev.Secret == ""),
		same("#status", ":status", text(string(prev.Status)), prev.Status == ""),
		same("#fence", ":fence", number(prev.Fence), prev.Fence == 0),
		"(attribute_not_exists(#lease) OR #lease = :lease)",
	}, " AND "), names, values
}

// Update implements idempotency.Store. A result too large for the record's item
// is written first, under a name that only this end of this claim has, so a
// record never points to a result that is not there.
func (s *Store) Update(ctx context.Context, key idempotency.Key, change idempotency.Change) error {
	a := s.opt.Attributes
	if a.Sort != "" && key.Sort == "" {
		return &idempotency.ConditionError{} // A claim of a table without a sort key.
	}
	to := layOut(change.Result, change.ResultOmitted)
	ref := ""
	if to.own != nil {
		ref = reference(change.Fence, to.own)
		if err := s.putResult(ctx, ownKey(ref, key), to.own, change.Expiration); err != nil {
			return err
		}
	}
	client, err := s.client()
	if err != nil {
		return s.unusable("update", err)
	}
	condition := "#token = :token AND #fence = :fence AND #status = :held AND #lease > :released"
	if change.Renewal() {
		condition += " AND #lease <= :lease"
	}
	expression, names, values := s.update(change, to, ref)
	var out dynamodb.UpdateItemOutput
	met, err := client.call(ctx, updateItem, &dynamodb.UpdateItemInput{
		TableName:                           &s.opt.Table,
		Key:                                 a.key(key),
		UpdateExpression:                    &expression,
		ConditionExpression:                 &condition,
		ExpressionAttributeNames:            names,
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		ReturnConsumedCapacity:              types.ReturnConsumedCapacityTotal,
	}, &out)
	if err != nil {
		return s.conflictOr(ctx, "update", met, err)
	}
	s.consumed("update", out.ConsumedCapacity)
	return nil
}

// putResult writes a result's own item, unless it is there already and stays long
// enough: a repeated end must not shorten what the first one promised.
func (s *Store) putResult(ctx context.Context, key idempotency.Key, z []byte, expiration time.Time) error {
	a := s.opt.Attributes
	own := a.key(key)
	own[a.Expiration] = number(expiration.Unix())
	own[a.compressed()] = binaryValue(z)
	err := s.put(ctx, "put_result", &dynamodb.PutItemInput{
		TableName: &s.opt.Table, Item: own,
		ConditionExpression:       aws.String("attribute_not_exists(#id) OR #expiration < :expiration"),
		ExpressionAttributeNames:  map[string]string{"#id": a.ID, "#expiration": a.Expiration},
		ExpressionAttributeValues: item{":expiration": number(expiration.Unix())},
		ReturnConsumedCapacity:    types.ReturnConsumedCapacityTotal,
	})
	var there *idempotency.ConditionError
	if errors.As(err, &there) {
		return nil
	}
	return err
}

// update is Change.Apply as an expression.
func (s *Store) update(change idempotency.Change, to layout, ref string) (string, map[string]string, item) {
	a := s.opt.Attributes
	names := map[string]string{"#token": a.Token, "#fence": a.Fence, "#status": a.Status, "#lease": a.InProgressExpiration}
	values := item{":token": text(change.Secret), ":fence": number(change.Fence), ":held": text(string(idempotency.InProgress)), ":released": number(0)}
	var sets, removes []string
	set := func(name, attribute, value string, is types.AttributeValue) {
		names[name], values[value] = attribute, is
		sets = append(sets, name+" = "+value)
	}
	remove := func(name, attribute string) {
		names[name] = attribute
		removes = append(removes, name)
	}
	set("#status", a.Status, ":status", text(string(change.Status)))
	set("#expiration", a.Expiration, ":expiration", number(change.Expiration.Unix()))
	set("#updated", a.UpdatedAt, ":updated", moment(change.UpdatedAt))
	if change.Status == idempotency.InProgress {
		set("#lease", a.InProgressExpiration, ":lease", millis(change.LeaseExpiresAt))
	} else {
		remove("#lease", a.InProgressExpiration)
	}
	if to.text != nil {
		set("#data", a.Data, ":data", text(string(to.text)))
	}
	if to.compressed != nil {
		set("#dataz", a.compressed(), ":data", binaryValue(to.compressed))
	}
	if ref != "" {
		set("#dataref", a.reference(), ":data", text(ref))
	}
	if to.omitted {
		set("#omitted", a.omitted(), ":data", &types.AttributeValueMemberBOOL{Value: true})
	}
	switch {
	case change.Error != nil:
		set("#error", a.Error, ":error", failure(change.Error))
	case change.Status == idempotency.Completed:
		remove("#error", a.Error)
	}
	if change.Event != nil {
		names["#history"] = a.History
		values[":event"] = &types.AttributeValueMemberL{Value: []types.AttributeValue{event(*change.Event)}}
		values[":none"] = &types.AttributeValueMemberL{}
		sets = append(sets, "#history = list_append(if_not_exists(#history, :none), :event)")
	}
	expression := "SET " + strings.Join(sets, ", ")
	if len(removes) > 0 {
		expression += " REMOVE " + strings.Join(removes, ", ")
	}
	return expression, names, values
}

// conflictOr makes a failed condition a *idempotency.ConditionError, and any
// other error a *idempotency.StoreError.
func (s *Store) conflictOr(ctx context.Context, op string, met *attempts, err error) error {
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		return s.failed(op, met, err)
	}
	if failed.Item == nil {
		return &idempotency.ConditionError{}
	}
	load := s.record
	if op == "update" {
		load = s.outline // Whoever ends a claim needs no result.
	}
	rec, err := load(ctx, op, failed.Item)
	if err != nil {
		return err
	}
	return &idempotency.ConditionError{Stored: rec}
}

func (s *Store) consumed(op string, c *types.ConsumedCapacity) {
	if c != nil && c.CapacityUnits != nil {
		s.opt.OnCapacity(op, *c.CapacityUnits)
	}
}
