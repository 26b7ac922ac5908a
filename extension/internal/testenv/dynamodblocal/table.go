package dynamodblocal

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Table describes a table with string keys, billed on demand.
type Table struct {
	Name         string // a name of its own if empty
	PartitionKey string // "id" if empty
	SortKey      string // none if empty
	TTL          string // the attribute with the time to live; none if empty
}

// Client returns a client with the credentials that all tests share.
func (e Endpoint) Client() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region:       Region,
		BaseEndpoint: aws.String(e.URL),
		Credentials:  credentials.NewStaticCredentialsProvider(AccessKeyID, SecretAccessKey, ""),
	})
}

// CreateTable creates a table, waits until it can be used, removes it at the end of the test and returns its name.
func CreateTable(tb testing.TB, endpoint Endpoint, table Table) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if table.Name == "" {
		table.Name = "test-" + strings.ToLower(rand.Text())
	}
	if table.PartitionKey == "" {
		table.PartitionKey = "id"
	}
	in := &dynamodb.CreateTableInput{
		TableName:            &table.Name,
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &table.PartitionKey, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &table.PartitionKey, KeyType: types.KeyTypeHash}},
	}
	if table.SortKey != "" {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: &table.SortKey, AttributeType: types.ScalarAttributeTypeS})
		in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: &table.SortKey, KeyType: types.KeyTypeRange})
	}
	client := endpoint.Client()
	if _, err := client.CreateTable(ctx, in); err != nil {
		tb.Fatalf("create table %s: %v", table.Name, err)
	}
	tb.Cleanup(func() {
		// A context of its own: the test's ends before its clean-up runs.
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if _, err := client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table.Name}); err != nil {
			tb.Logf("delete table %s: %v", table.Name, err)
		}
	})
	if err := dynamodb.NewTableExistsWaiter(client).Wait(ctx, &dynamodb.DescribeTableInput{TableName: &table.Name}, 20*time.Second); err != nil {
		tb.Fatalf("wait for table %s: %v", table.Name, err)
	}
	if table.TTL != "" {
		_, err := client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName:               &table.Name,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &table.TTL, Enabled: aws.Bool(true)},
		})
		if err != nil {
			tb.Fatalf("set the time to live of table %s: %v", table.Name, err)
		}
	}
	return table.Name
}
