// Package config reads the environment. It is the only package that does: one
// list of settings makes Load, the help text and the table in the README.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/dynamodb"
)

// Prefix begins the name of every setting.
const Prefix = "IDEMPOTENCY_"

// The kinds of store.
const (
	StoreDynamoDB = "dynamodb"
	StoreMemory   = "memory"
	StoreFile     = "file"
)

// Config is what the environment says.
type Config struct {
	// RuntimeAPI is the address of Lambda's Extensions API; empty outside Lambda.
	RuntimeAPI string
	// Managed tells that this is Lambda Managed Instances.
	Managed bool
	// Function is the function's name.
	Function string

	Port      int
	AuthToken string

	Store      string
	FilePath   string
	TableName  string
	Attributes dynamodb.Attributes

	Scope       string
	KeyJMESPath string
	TTL         time.Duration
	Lease       time.Duration
	ClockSkew   time.Duration
	History     int
	MaxAttempts int
	// FailOnTimeout: a claim that a timeout left open becomes a final failure.
	FailOnTimeout bool
	// ProceedOnStoreError: without the store, work runs without protection.
	ProceedOnStoreError bool
	Disabled            bool

	// ProxyPort is the runtime proxy's; 0: DefaultProxyPort if it is free.
	ProxyPort int
	// UpstreamAPI is the Runtime API, or the next proxy, that calls are passed to.
	UpstreamAPI string
	// KeyIsRequestID, for calls through the runtime proxy: the invocation's id is
	// the key, instead of what is selected from the event.
	KeyIsRequestID bool
	// Batch: the records of a batch are claimed one by one.
	Batch bool
	// OnInProgress is "error", "wait" or "skip".
	OnInProgress string
	// RequireKey: an event without a key is an error.
	RequireKey bool
	// FailOnError: a handler's error becomes a final failure.
	FailOnError bool

	LogLevel slog.Level
	LogJSON  bool
}

// DefaultProxyPort is where runtimes look for the runtime proxy.
const DefaultProxyPort = 2775

// ManagedInstances is AWS_LAMBDA_INITIALIZATION_TYPE where Lambda runs many
// invocations at a time: https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html
const ManagedInstances = "lambda-managed-instances"

// InLambda tells whether the process is a Lambda extension.
func (c *Config) InLambda() bool { return c.RuntimeAPI != "" }

// Load reads the environment, given as os.Environ returns it. The error has one
// line for every variable that is wrong, with the mend; the Config is then only
// good for telling of it.
func Load(environ []string) (*Config, error) {
	env := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	c := &Config{
		RuntimeAPI: env["AWS_LAMBDA_RUNTIME_API"],
		Managed:    env["AWS_LAMBDA_INITIALIZATION_TYPE"] == ManagedInstances,
		Function:   env["AWS_LAMBDA_FUNCTION_NAME"],
		Attributes: dynamodb.DefaultAttributes(),
	}
	if c.Function == "" {
		c.Function = "local"
	}
	c.LogJSON = c.InLambda()
	c.Scope = c.Function

	var wrong []error
	told := map[string]bool{} // What is wrong already needs no second line.
	for _, s := range settings() {
		value, set := env[Prefix+s.name]
		if !set {
			value = s.def
		}
		if !set && s.def == "" {
			continue
		}
		if err := s.set(c, value); err != nil {
			told[s.name] = true
			wrong = append(wrong, s.wrong(value, err))
		}
	}
	wrong = append(wrong, unknown(env)...)
	wrong = append(wrong, c.resolve(env, told)...)
	return c, errors.Join(wrong...)
}

// resolve fills in what depends on more than one variable.
func (c *Config) resolve(env map[string]string, told map[string]bool) (wrong []error) {
	if c.Store == "" && !told["STORE"] {
		switch {
		case c.TableName == "" && c.Disabled:
			c.Store = StoreMemory // Nothing will be stored.
		case c.InLambda() || c.TableName != "" || told["TABLE_NAME"]:
			c.Store = StoreDynamoDB
		default:
			c.Store = StoreFile
			dir := cacheFolder(env)
			if dir == "" {
				wrong = append(wrong, errors.New("HOME is not set, so there is no folder to keep records in: set it, or set IDEMPOTENCY_STORE=memory or file:PATH"))
			}
			c.FilePath = filepath.Join(dir, "lambda-idempotency", "records.db")
		}
	}
	if c.Store == StoreDynamoDB && c.TableName == "" && !told["TABLE_NAME"] {
		wrong = append(wrong, errors.New("IDEMPOTENCY_TABLE_NAME is not set: name the DynamoDB table that keeps the records, or set IDEMPOTENCY_STORE=memory to try without one"))
	}
	if c.InLambda() && c.AuthToken == "" && !told["AUTH_TOKEN"] {
		// As the AWS Parameters and Secrets extension, callers prove themselves with
		// what only the function's own code has; under SnapStart it has another name:
		// https://docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html#snapstart-credentials
		c.AuthToken = env["AWS_SESSION_TOKEN"]
		if c.AuthToken == "" {
			c.AuthToken = env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
		}
		if c.AuthToken == "" {
			wrong = append(wrong, errors.New("IDEMPOTENCY_AUTH_TOKEN is not set, and neither is AWS_SESSION_TOKEN nor AWS_CONTAINER_AUTHORIZATION_TOKEN: set one, callers must prove themselves with it"))
		}
	}
	if c.UpstreamAPI == "" && !told["UPSTREAM_RUNTIME_API"] {
		c.UpstreamAPI = c.RuntimeAPI
	}
	if c.Port == c.ProxyPort && !told["PORT"] && !told["RUNTIME_PROXY_PORT"] {
		wrong = append(wrong, fmt.Errorf("IDEMPOTENCY_PORT and IDEMPOTENCY_RUNTIME_PROXY_PORT are both %d: give each its own", c.Port))
	}
	if own := net.JoinHostPort("127.0.0.1", strconv.Itoa(cmp.Or(c.ProxyPort, DefaultProxyPort))); c.UpstreamAPI == own {
		wrong = append(wrong, fmt.Errorf("IDEMPOTENCY_UPSTREAM_RUNTIME_API=%q: that is this proxy itself; name the one behind it, or leave it unset", own))
	}
	return append(wrong, c.attributesDiffer()...)
}

func (c *Config) attributesDiffer() (wrong []error) {
	used := map[string]string{}
	for _, a := range attributes(&c.Attributes) {
		if *a.field == "" {
			continue
		}
		names := []string{*a.field}
		if a.field == &c.Attributes.Data {
			names = append(names, c.Attributes.Derived()...)
		}
		for _, name := range names {
			if other, taken := used[name]; taken {
				wrong = append(wrong, fmt.Errorf("%s%s=%q: %s%s takes the name %q too; give each attribute its own", Prefix, a.setting, *a.field, Prefix, other, name))
			}
			used[name] = a.setting
		}
	}
	return wrong
}

// cacheFolder is os.UserCacheDir for the environment given; empty: there is none.
func cacheFolder(env map[string]string) string {
	if dir := env["XDG_CACHE_HOME"]; filepath.IsAbs(dir) {
		return dir
	}
	if home := env["HOME"]; home != "" {
		return filepath.Join(home, ".cache")
	}
	return env["LocalAppData"] // Windows.
}

// unknown tells of names that no setting has: a slip there would silently mean
// the default.
func unknown(env map[string]string) (wrong []error) {
	var names []string
	for _, s := range settings() {
		names = append(names, Prefix+s.name)
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !strings.HasPrefix(name, Prefix) || slices.Contains(names, name) {
			continue
		}
		wrong = append(wrong, fmt.Errorf("%s is not a setting; did you mean %s? (lambda-idempotency --help lists all)", name, nearest(name, names)))
	}
	return wrong
}

// nearest is the name that was probably meant: one that was cut short, else the
// one with the fewest edits.
func nearest(name string, names []string) string {
	for _, n := range names {
		if strings.HasPrefix(n, name+"_") {
			return n
		}
	}
	return slices.MinFunc(names, func(a, b string) int { return distance(a, name) - distance(b, name) })
}

// distance is the number of single-byte edits between two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost = 1 + min(last, row[j], row[j+1])
			}
			last, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
