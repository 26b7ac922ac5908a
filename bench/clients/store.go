package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const region = "us-east-1"

// store is DynamoDB Local behind a proxy that delays each call, as the way to a real table does.
type store struct {
	delay  time.Duration
	proxy  *httptest.Server
	client *dynamodb.Client
	table  string

	mu   sync.Mutex
	took []time.Duration
}

// openStore makes a table in the DynamoDB Local that DYNAMODB_ENDPOINT names. Without one there is no store, and why.
func openStore(ctx context.Context, delay time.Duration) (s *store, why string, err error) {
	endpoint := os.Getenv("DYNAMODB_ENDPOINT")
	if endpoint == "" {
		return nil, "there is no DynamoDB Local: `make bench-clients` starts one", nil
	}
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, "", err
	}
	s = &store{delay: delay, table: "bench-" + rand.Text()}
	s.client = dynamodb.New(dynamodb.Options{
		Region:       region,
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	if _, err := s.client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            &s.table,
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
	}); err != nil {
		return nil, "", fmt.Errorf("create a table: %w", err)
	}
	s.proxy = httptest.NewServer(s.delayed(httputil.NewSingleHostReverseProxy(target)))
	return s, "", nil
}

func (s *store) delayed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		time.Sleep(s.delay)
		next.ServeHTTP(w, r)
		took := time.Since(begin)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.took = append(s.took, took)
	})
}

// settings make a sidecar use it.
func (s *store) settings() []string {
	return []string{
		"IDEMPOTENCY_TABLE_NAME=" + s.table, "AWS_ENDPOINT_URL_DYNAMODB=" + s.proxy.URL, "AWS_REGION=" + region,
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
	}
}

// median is how long a call took, with the delay.
func (s *store) median() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.took)
	return quantile(s.took, 0.5)
}

func (s *store) close() {
	s.proxy.Close()
	// A context of its own: the program's may have ended.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, _ = s.client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &s.table})
}
