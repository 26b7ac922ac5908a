package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lambda-idempotency/lambda-idempotency/bench/delay"
	"github.com/lambda-idempotency/lambda-idempotency/bench/driver"
	"github.com/lambda-idempotency/lambda-idempotency/bench/sidecar"
)

const region = "us-east-1"

// world is what the contenders run in: all of them on one DynamoDB Local.
type world struct {
	root, dir string // of the repository; of this run, removed at the end
	plan      plan
	sidecar   string // the built extension
	store     string // DynamoDB Local's URL
	relay     *delay.Relay
	secret    string
	tables    map[string]string
	client    *dynamodb.Client
}

// tables are each contender's own: ids must not meet.
var tables = []string{"SIDECAR_TABLE", "POWERTOOLS_TABLE", "SDK_TABLE"}

func open(ctx context.Context, p plan) (w *world, err error) {
	w = &world{plan: p, store: strings.TrimRight(os.Getenv("DYNAMODB_ENDPOINT"), "/"), tables: map[string]string{}}
	if w.store == "" {
		return nil, errors.New("there is no DynamoDB Local: `make bench` starts one")
	}
	at, err := url.Parse(w.store)
	if err != nil {
		return nil, err
	}
	if w.root, err = os.Getwd(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(w.path("bench", "drivers")); err != nil {
		return nil, errors.New("run this in the repository's root")
	}
	if w.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	// As long as the session token that callers prove themselves with in Lambda.
	w.secret = strings.Repeat(rand.Text(), 32)
	if w.sidecar, err = sidecar.Build(ctx, w.dir); err != nil {
		return nil, err
	}
	if err := w.prepareDrivers(ctx); err != nil {
		return nil, err
	}
	if w.relay, err = delay.Listen(at.Host); err != nil {
		return nil, err
	}
	w.client = dynamodb.New(dynamodb.Options{
		Region: region, BaseEndpoint: aws.String(w.store), Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	for _, name := range tables {
		table := strings.ToLower(name) + "-" + rand.Text()
		if _, err := w.client.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName:            &table,
			BillingMode:          types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
		}); err != nil {
			return nil, fmt.Errorf("create a table: %w", err)
		}
		w.tables[name] = table
	}
	return w, nil
}

func (w *world) close() {
	if w.relay != nil {
		w.relay.Close()
	}
	for _, table := range w.tables {
		// A context of its own: the program's may have ended.
		_, _ = w.client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table})
	}
	_ = os.RemoveAll(w.dir)
}

func (w *world) path(parts ...string) string {
	return filepath.Join(append([]string{w.root}, parts...)...)
}

func (w *world) temp(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// prepareDrivers builds those in Go, and puts together those in Node.js as a deployed function is: its files, its
// packages, and a bundle for those who deploy that.
func (w *world) prepareDrivers(ctx context.Context) error {
	for _, name := range []string{"plain", "sidecar", "sdk", "sqs"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-tags", "lambda.norpc", "-trimpath", "-ldflags", "-s -w", "-o", w.temp("go-"+name), "./bench/drivers/go/"+name)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build the driver: %w: %s", err, out)
		}
	}
	for _, part := range []string{w.python(), w.node(), w.path(".cache", "bench-node", "node_modules"), w.runtimeClient()} {
		if _, err := os.Stat(part); err != nil {
			return fmt.Errorf("%w: make part-bench", err)
		}
	}
	function := w.temp("node")
	if err := os.CopyFS(function, os.DirFS(w.path("bench", "drivers", "node"))); err != nil {
		return err
	}
	modules := filepath.Join(function, "node_modules")
	if err := os.Mkdir(modules, 0o755); err != nil {
		return err
	}
	for name, to := range map[string]string{
		"lambda-idempotency":     w.path("client", "node"),
		"@aws-lambda-powertools": w.path(".cache", "bench-node", "node_modules", "@aws-lambda-powertools"),
	} {
		if err := os.Symlink(to, filepath.Join(modules, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"powertools", "sidecar"} {
		// work.mjs stays apart, because the driver asks it what was done.
		cmd := exec.CommandContext(ctx, w.path(".cache", "bench-node", "node_modules", ".bin", "esbuild"), name+".mjs", "--bundle", "--minify",
			"--platform=node", "--format=esm", "--target=node20", "--external:./work.mjs", "--outfile="+name+"_bundled.mjs",
			"--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);")
		cmd.Dir = function
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("bundle: %w: %s", err, out)
		}
	}
	return nil
}

func (w *world) python() string { return w.path(".cache", "bench-python", "bin", "python") }

func (w *world) runtimeClient() string {
	return w.path(".cache", "node-ric", "node_modules", "aws-lambda-ric", "dist", "index.mjs")
}

func (w *world) node() string { return w.path(".cache", "node", "bin", "node") }

// environment is what each process has, and nothing of ours. store is where DynamoDB is for it.
func (w *world) environment(store string, more ...string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir,
		"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_SESSION_TOKEN=" + w.secret, "IDEMPOTENCY_AUTH_TOKEN=" + w.secret, "AWS_ENDPOINT_URL_DYNAMODB=" + store,
	}
	return append(env, more...)
}

func (w *world) viaRelay() string { return "http://" + w.relay.Addr }

// serve starts a sidecar on the store.
func (w *world) serve(ctx context.Context, store string, more ...string) (*sidecar.Sidecar, error) {
	return sidecar.Start(ctx, w.sidecar, w.environment(store, append([]string{"IDEMPOTENCY_TABLE_NAME=" + w.tables["SIDECAR_TABLE"], "IDEMPOTENCY_SCOPE=bench", "IDEMPOTENCY_LOG_LEVEL=warn"}, more...)...)...)
}

// drive starts a contender, which has its sidecar at the port.
func (w *world) drive(ctx context.Context, store, port string, c contender, on string) (*driver.Driver, error) {
	env := w.environment(store, "IDEMPOTENCY_PORT="+port, "AWS_LAMBDA_FUNCTION_NAME=bench", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1769")
	for _, name := range tables {
		env = append(env, name+"="+w.tables[name])
	}
	switch c.language {
	case "Python":
		env = append(env, "PYTHONPATH="+w.path("client", "python"), "PYTHONPYCACHEPREFIX="+w.temp("pycache"))
		return driver.Start(ctx, env, w.python(), w.path("bench", "drivers", "python", "driver.py"), c.module, on)
	case "Node.js":
		env = append(env, "RUNTIME_CLIENT="+w.runtimeClient())
		return driver.Start(ctx, env, w.node(), w.temp("node", "driver.mjs"), c.module, on)
	}
	return driver.Start(ctx, env, w.temp("go-"+c.module))
}

// crew are contenders that are measured beside each other.
type crew struct {
	contenders []contender
	drivers    []*driver.Driver
}

func (w *world) hire(ctx context.Context, store string, port func(contender) string, list []contender) (*crew, error) {
	c := &crew{contenders: list}
	for _, each := range list {
		d, err := w.drive(ctx, store, port(each), each, "lambda")
		if err != nil {
			c.stop()
			return nil, err
		}
		c.drivers = append(c.drivers, d)
	}
	return c, nil
}

func (c *crew) stop() {
	for _, d := range c.drivers {
		d.Stop()
	}
}

// turn is the order in a round: each begins once.
func (c *crew) turn(round int) []int {
	order := make([]int, 0, len(c.drivers))
	for i := range c.drivers {
		order = append(order, (i+round)%len(c.drivers))
	}
	if round/len(c.drivers)%2 == 1 { // And each comes after the one that came after it.
		slices.Reverse(order)
	}
	return order
}

// contender is one that is measured.
type contender struct {
	name     string
	language string
	module   string
	sidecar  bool // calls it
	memory   bool // calls the one that keeps its records in memory
}

const (
	plainPython, oursPython, theirsPython = "Python, plain handler", "Python, sidecar", "Python, Powertools"
	plainNode, oursNode, theirsNode       = "Node.js, plain handler", "Node.js, sidecar", "Node.js, Powertools"
	plainGo, oursGo, floorGo              = "Go, plain handler", "Go, sidecar", "Go, AWS SDK directly"
	// What is left of ours where no store is called: the client, the way to the sidecar and back, and its own work.
	inMemoryPython, inMemoryNode, inMemoryGo = "Python, sidecar in memory", "Node.js, sidecar in memory", "Go, sidecar in memory"
)

func handlers() []contender {
	return []contender{
		{plainPython, "Python", "plain", false, false},
		{oursPython, "Python", "sidecar", true, false},
		{inMemoryPython, "Python", "sidecar", true, true},
		{theirsPython, "Python", "powertools", false, false},
		{plainNode, "Node.js", "plain", false, false},
		{oursNode, "Node.js", "sidecar", true, false},
		{inMemoryNode, "Node.js", "sidecar", true, true},
		{theirsNode, "Node.js", "powertools", false, false},
		{plainGo, "Go", "plain", false, false},
		{oursGo, "Go", "sidecar", true, false},
		{inMemoryGo, "Go", "sidecar", true, true},
		{floorGo, "Go", "sdk", false, false},
	}
}
