package chaos

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/dynamodblocal"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

// Config says what a run is like.
type Config struct {
	Seed     uint64
	Sidecars int
	Handlers int
	// For ends the run after that time, Operations after so many calls; 0: not by
	// that.
	For        time.Duration
	Operations int
	// Store is where DynamoDB Local answers.
	Store dynamodblocal.Endpoint
}

// Run lets handlers and faults loose on sidecars and judges what happened. An
// error says that the run could not be made, not that a promise was broken.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	folder, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	path, err := program.Build(ctx, folder)
	if err != nil {
		return nil, err
	}
	table, drop, err := createTable(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer drop()

	r := &run{cfg: cfg, plan: plan{cfg.Seed}, clock: newClock()}
	if r.proxy, err = startProxy(ctx, cfg.Store.URL, r.plan, r.clock, &r.witness, &r.tally); err != nil {
		return nil, err
	}
	err = r.start(ctx, folder, path, table)
	began := time.Now()
	if err == nil {
		err = r.handlers(ctx)
	}
	took := time.Since(began)
	for _, s := range r.sidecars {
		r.kill(s)
	}
	r.proxy.stop()
	if err != nil {
		return nil, err
	}
	return r.report(took), nil
}

// run is a run under way.
type run struct {
	cfg      Config
	plan     plan
	clock    clock
	recorder Recorder
	witness  Witness
	tally    Tally
	proxy    *proxy
	sidecars []*program.Process
	died     int    // how often a sidecar ended and was not killed
	log      string // what the last of those printed last
}

// start starts the sidecars and waits for them.
func (r *run) start(ctx context.Context, folder, path, table string) error {
	store := r.cfg.Store
	env := []string{
		fmt.Sprintf("IDEMPOTENCY_CLOCK_SKEW=%dms", clockSkew),
		"IDEMPOTENCY_STORE=dynamodb", "IDEMPOTENCY_TABLE_NAME=" + table, "IDEMPOTENCY_SCOPE=", "IDEMPOTENCY_LOG_LEVEL=error",
	}
	store.URL = r.proxy.url
	for name, value := range store.Env() {
		env = append(env, name+"="+value)
	}
	for range r.cfg.Sidecars {
		s, err := program.Serve(ctx, folder, []string{path}, env...)
		if err != nil {
			return err
		}
		r.sidecars = append(r.sidecars, s)
	}
	return nil
}

// pauseEvery is the mean time between two pauses of the store.
const pauseEvery = 8 * time.Second

// handlers runs the handlers, with kills and pauses, to their end.
func (r *run) handlers(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if r.cfg.For > 0 {
		timer := time.AfterFunc(r.cfg.For, cancel)
		defer timer.Stop()
	}
	var urls []string
	for _, s := range r.sidecars {
		urls = append(urls, s.URL())
	}
	w := newWorkload(r.plan, newClient(urls, r.clock, &r.recorder), r.cfg.Sidecars, func() bool {
		return r.cfg.Operations > 0 && r.recorder.count() >= r.cfg.Operations
	})
	defer w.client.http.CloseIdleConnections()

	var background, foreground sync.WaitGroup
	var failed error
	background.Go(func() { r.proxy.pauses(ctx, pauseEvery) })
	background.Go(func() {
		if failed = r.havoc(ctx); failed != nil {
			cancel()
		}
	})
	for n := range r.cfg.Handlers {
		foreground.Go(func() { w.run(ctx, n) })
	}
	foreground.Wait()
	cancel()
	background.Wait()
	return failed
}

// createTable makes a table of the run's own.
func createTable(ctx context.Context, cfg Config) (name string, drop func(), err error) {
	name = fmt.Sprintf("chaos-%d-%d", cfg.Seed, time.Now().UnixNano())
	client := cfg.Store.Client()
	id := "id"
	_, err = client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            &name,
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &id, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &id, KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		return "", nil, fmt.Errorf("create table: %w", err)
	}
	return name, func() {
		_, _ = client.DeleteTable(context.WithoutCancel(ctx), &dynamodb.DeleteTableInput{TableName: &name})
	}, nil
}
