package outage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

// bench is what all conditions share.
type bench struct {
	Config
	folder string
	binary string
}

func newBench(ctx context.Context, cfg Config) (*bench, error) {
	folder, err := os.MkdirTemp("", "outage-")
	if err != nil {
		return nil, err
	}
	b := &bench{Config: cfg, folder: folder}
	if b.binary, err = program.Build(ctx, folder); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() { _ = os.RemoveAll(b.folder) }

// world is a table, a link to it and the sidecars of one condition.
type world struct {
	*bench
	table       string
	store       *dynamodb.Client
	link        *link
	credentials *credentialsEndpoint
	// sidecar is the one whose way to the store fails, and other one that always
	// reaches it, as another host's.
	sidecar, other *sidecar
	// called is who is called while the condition holds: mostly sidecar.
	called *sidecar
	stops  []func()
}

func (b *bench) newWorld(ctx context.Context, c Condition, settings ...string) (*world, error) {
	w := &world{bench: b, table: "outage-" + strings.ToLower(rand.Text()), store: b.Store.Client()}
	if err := w.assemble(ctx, c, settings); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) assemble(ctx context.Context, c Condition, settings []string) (err error) {
	if err := w.createTable(ctx); err != nil {
		return err
	}
	w.stops = append(w.stops, func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = w.dropTable(ctx)
	})
	if w.link, err = startLink(ctx, w.Store.URL); err != nil {
		return err
	}
	w.stops = append(w.stops, w.link.stop)
	settings = append(settings, "IDEMPOTENCY_TABLE_NAME="+w.table, "IDEMPOTENCY_SCOPE=")
	failing := settings
	if c.credentials != 0 {
		if w.credentials, err = startCredentials(ctx, c.credentials); err != nil {
			return err
		}
		w.stops = append(w.stops, w.credentials.stop)
		failing = append(failing[:len(failing):len(failing)], w.credentials.env()...)
	}
	start := func(endpoint string, own bool, settings []string) (*sidecar, error) {
		env := settings[:len(settings):len(settings)]
		for name, value := range (dynamodblocal.Endpoint{URL: endpoint}).Env() {
			if !own || !strings.Contains(name, "KEY") {
				env = append(env, name+"="+value)
			}
		}
		s, err := startSidecar(ctx, w.binary, w.folder, env)
		if err == nil {
			w.stops = append(w.stops, s.stop)
		}
		return s, err
	}
	if w.sidecar, err = start(w.link.door.url(), c.credentials != 0, failing); err != nil {
		return err
	}
	if w.other, err = start(w.Store.URL, false, settings); err != nil {
		return err
	}
	w.called = w.sidecar
	if c.endpoint != "" {
		w.called, err = start(c.endpoint, false, settings)
	}
	return err
}

func (w *world) close() {
	for i := len(w.stops) - 1; i >= 0; i-- {
		w.stops[i]()
	}
}

func (w *world) createTable(ctx context.Context) error {
	_, err := w.store.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            &w.table,
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
	})
	var there *types.ResourceInUseException // The SDK repeats a call whose answer it did not get.
	if err != nil && !errors.As(err, &there) {
		return fmt.Errorf("create table: %w", err)
	}
	return dynamodb.NewTableExistsWaiter(w.store).Wait(ctx, &dynamodb.DescribeTableInput{TableName: &w.table}, patience)
}

func (w *world) dropTable(ctx context.Context) error {
	_, err := w.store.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &w.table})
	return err
}

// State is what the table holds of a key.
type State string

// The states.
const (
	Nothing   State = "nothing"
	Claimed   State = "claimed"
	Free      State = "released" // after a run that failed
	Completed State = "completed"
	Failed    State = "failed"
)

// state reads a record past the sidecars.
func (w *world) state(ctx context.Context, key string) (State, error) {
	out, err := w.store.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &w.table, Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: key}}, ConsistentRead: aws.Bool(true),
	})
	var gone *types.ResourceNotFoundException
	switch {
	case errors.As(err, &gone), err == nil && out.Item == nil:
		return Nothing, nil
	case err != nil:
		return "", err
	}
	status, _ := out.Item["status"].(*types.AttributeValueMemberS)
	lease, _ := out.Item["in_progress_expiration"].(*types.AttributeValueMemberN)
	switch {
	case status == nil:
		return "", fmt.Errorf("the item of %s has no status", key)
	case status.Value == "COMPLETED":
		return Completed, nil
	case status.Value == "FAILED":
		return Failed, nil
	case lease != nil && lease.Value == "0":
		return Free, nil
	}
	return Claimed, nil
}

// until waits until the record of a key is in a state, for as long as there is
// patience since the store is back, and returns the last one seen.
func (w *world) until(ctx context.Context, back time.Time, key string, want State) (State, error) {
	for end := back.Add(patience); ; {
		got, err := w.state(ctx, key)
		if err != nil || got == want || time.Now().After(end) {
			return got, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
