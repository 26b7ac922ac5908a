package dynamodblocal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
)

// A failed condition has to give the old item: everything else in this repository rests on that.
func TestFailedConditionReturnsTheOldItem(t *testing.T) {
	endpoint := dynamodblocal.Start(t)
	if again := dynamodblocal.Start(t); again != endpoint {
		t.Errorf("two endpoints in one test binary: %v and %v", endpoint, again)
	}
	table := dynamodblocal.CreateTable(t, endpoint, dynamodblocal.Table{PartitionKey: "pk", SortKey: "sk", TTL: "expires"})
	client := endpoint.Client()
	put := func(owner string) error {
		_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{
			TableName: &table,
			Item: map[string]types.AttributeValue{
				"pk":    &types.AttributeValueMemberS{Value: "a"},
				"sk":    &types.AttributeValueMemberS{Value: "b"},
				"owner": &types.AttributeValueMemberS{Value: owner},
			},
			ConditionExpression:                 aws.String("attribute_not_exists(pk)"),
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		})
		return err
	}
	if err := put("first"); err != nil {
		t.Fatal(err)
	}
	failed, ok := errors.AsType[*types.ConditionalCheckFailedException](put("second"))
	if !ok {
		t.Fatal("the second put did not fail its condition")
	}
	if owner, _ := failed.Item["owner"].(*types.AttributeValueMemberS); owner == nil || owner.Value != "first" {
		t.Errorf("old item: %v", failed.Item)
	}
	ttl, err := client.DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: &table})
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToString(ttl.TimeToLiveDescription.AttributeName); got != "expires" {
		t.Errorf("time to live is attribute %q", got)
	}
}

// The test binary is started anew as a process that launches a DynamoDB Local and is then killed, which no clean-up survives.
func TestServerEndsWithItsProcess(t *testing.T) {
	if os.Getenv("LAUNCH_AND_WAIT") != "" {
		s, err := dynamodblocal.Launch()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("endpoint %s\n", s.Endpoint.URL)
		time.Sleep(time.Minute)
		return
	}
	dynamodblocal.Start(t) // skips where there is none
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestServerEndsWithItsProcess$")
	cmd.Env = append(os.Environ(), "LAUNCH_AND_WAIT=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var url string
	for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
		url, _ = strings.CutPrefix(lines.Text(), "endpoint ")
		if !strings.HasPrefix(url, "http") {
			url = ""
		}
	}
	if url == "" {
		t.Fatal("the process launched nothing")
	}
	if !answers(url) {
		t.Errorf("%s does not answer", url)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); answers(url); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("DynamoDB Local outlived the process that launched it")
		}
	}
}

func answers(url string) bool {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return true
}
