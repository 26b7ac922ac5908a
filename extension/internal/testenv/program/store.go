package program

import (
	"fmt"
	"os"
	"strings"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// Store is the store for the programs that a command starts: the DynamoDB Local that DYNAMODB_ENDPOINT names, or else one of
// its own, until end is called.
func Store() (store dynamodblocal.Endpoint, end func(), err error) {
	if url := os.Getenv(dynamodblocal.EnvEndpoint); url != "" {
		return dynamodblocal.Endpoint{URL: strings.TrimRight(url, "/")}, func() {}, nil
	}
	server, err := dynamodblocal.Launch()
	if err != nil {
		return store, nil, fmt.Errorf("DynamoDB Local: %w", err)
	}
	return server.Endpoint, server.Stop, nil
}
