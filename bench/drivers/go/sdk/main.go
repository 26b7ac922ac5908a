// Command sdk drives a handler that calls DynamoDB itself, with the least that can protect it: a conditional put, and
// an update. It is the floor: there is no payload to check, nothing to find out about a run that died, and a JSON of
// two members for the key.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/bench/drivers/go/turns"
)

func main() {
	settings, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	t := &table{client: dynamodb.NewFromConfig(settings), name: os.Getenv("SDK_TABLE")}
	turns.Serve(lambda.NewHandler(t.handle))
}

type table struct {
	client *dynamodb.Client
	name   string
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func (t *table) handle(ctx context.Context, j turns.Job) (receipt turns.Receipt, err error) {
	key, err := json.Marshal([]string{j.JobID, j.ObjKey})
	if err != nil {
		return receipt, err
	}
	id, now := map[string]types.AttributeValue{"id": text(string(key))}, time.Now()
	deadline, _ := ctx.Deadline()
	_, err = t.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &t.name,
		Item: map[string]types.AttributeValue{
			"id": id["id"], "status": text("INPROGRESS"), "expiration": number(now.Add(24 * time.Hour).Unix()), "in_progress_expiration": number(deadline.UnixMilli()),
		},
		ConditionExpression:                 aws.String("attribute_not_exists(id) OR expiration < :now OR (#status = :inprogress AND in_progress_expiration < :now_ms)"),
		ExpressionAttributeNames:            map[string]string{"#status": "status"},
		ExpressionAttributeValues:           map[string]types.AttributeValue{":now": number(now.Unix()), ":now_ms": number(now.UnixMilli()), ":inprogress": text("INPROGRESS")},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if there, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		data, ok := there.Item["data"].(*types.AttributeValueMemberS)
		if !ok {
			return receipt, fmt.Errorf("%s is in progress", key)
		}
		return receipt, json.Unmarshal([]byte(data.Value), &receipt)
	}
	if err != nil {
		return receipt, err
	}
	if receipt, err = turns.Work(ctx, j); err != nil {
		return receipt, err
	}
	data, err := json.Marshal(receipt)
	if err != nil {
		return receipt, err
	}
	_, err = t.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                 &t.name,
		Key:                       id,
		UpdateExpression:          aws.String("SET #status = :completed, #data = :data, expiration = :expiration"),
		ConditionExpression:       aws.String("#status = :inprogress AND in_progress_expiration = :deadline"),
		ExpressionAttributeNames:  map[string]string{"#status": "status", "#data": "data"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":completed": text("COMPLETED"), ":inprogress": text("INPROGRESS"), ":deadline": number(deadline.UnixMilli()), ":data": text(string(data)), ":expiration": number(time.Now().Add(24 * time.Hour).Unix())},
	})
	return receipt, err
}
