package soak

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// CreateTable makes a table of the run's own, and returns its name.
func CreateTable(ctx context.Context, endpoint dynamodblocal.Endpoint) (string, error) {
	name, id := fmt.Sprintf("soak-%d", time.Now().UnixNano()), "id"
	_, err := endpoint.Client().CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            &name,
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &id, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &id, KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		return "", fmt.Errorf("create table: %w", err)
	}
	return name, nil
}
