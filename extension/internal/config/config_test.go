package config

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/dynamodb"
)

// local is an environment outside Lambda in which nothing is wrong.
func local(more ...string) []string { return append([]string{"HOME=/home/me", "PATH=/bin"}, more...) }

// lambda is one inside Lambda.
func lambda(more ...string) []string {
	return append([]string{
		"AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001", "AWS_LAMBDA_FUNCTION_NAME=orders",
		"AWS_SESSION_TOKEN=session", "IDEMPOTENCY_TABLE_NAME=records",
	}, more...)
}

func load(t *testing.T, environ []string) *Config {
	t.Helper()
	c, err := Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// problems loads what is wrong and returns the lines that say so.
func problems(t *testing.T, environ []string) []string {
	t.Helper()
	_, err := Load(environ)
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestDefaults(t *testing.T) {
	common := Config{
		Function: "orders", Scope: "orders", Port: 2774, AuthToken: "session",
		Store: StoreDynamoDB, TableName: "records", Attributes: dynamodb.DefaultAttributes(),
		TTL: 24 * time.Hour, Lease: 15 * time.Minute, ClockSkew: time.Second, History: 10, LogLevel: slog.LevelInfo,
		OnInProgress: "error",
	}
	tests := map[string]struct {
		environ []string
		want    func(c *Config)
	}{
		"Lambda": {lambda(), func(c *Config) {
			c.RuntimeAPI, c.LogJSON = "127.0.0.1:9001", true
		}},
		"Managed Instances": {lambda("AWS_LAMBDA_INITIALIZATION_TYPE=lambda-managed-instances"), func(c *Config) {
			c.RuntimeAPI, c.LogJSON, c.Managed = "127.0.0.1:9001", true, true
		}},
		"provisioned": {lambda("AWS_LAMBDA_INITIALIZATION_TYPE=provisioned-concurrency"), func(c *Config) {
			c.RuntimeAPI, c.LogJSON = "127.0.0.1:9001", true
		}},
		// https://docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html#snapstart-credentials
		"SnapStart": {[]string{
			"AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001", "AWS_LAMBDA_FUNCTION_NAME=orders", "IDEMPOTENCY_TABLE_NAME=records",
			"AWS_LAMBDA_INITIALIZATION_TYPE=snap-start", "AWS_CONTAINER_AUTHORIZATION_TOKEN=container",
		}, func(c *Config) {
			c.RuntimeAPI, c.LogJSON, c.AuthToken = "127.0.0.1:9001", true, "container"
		}},
		"a secret of one's own": {lambda("IDEMPOTENCY_AUTH_TOKEN=mine"), func(c *Config) {
			c.RuntimeAPI, c.LogJSON, c.AuthToken = "127.0.0.1:9001", true, "mine"
		}},
		"local": {local(), func(c *Config) {
			c.Function, c.Scope, c.AuthToken, c.TableName = "local", "local", "", ""
			c.Store, c.FilePath = StoreFile, "/home/me/.cache/lambda-idempotency/records.db"
		}},
		// A developer's own session must not become the secret unasked.
		"local with a table": {local("IDEMPOTENCY_TABLE_NAME=records", "AWS_SESSION_TOKEN=session"), func(c *Config) {
			c.Function, c.Scope, c.AuthToken = "local", "local", ""
		}},
		"disabled in Lambda without a table": {[]string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001", "AWS_LAMBDA_FUNCTION_NAME=orders", "AWS_SESSION_TOKEN=session", "IDEMPOTENCY_DISABLED=true"}, func(c *Config) {
			c.RuntimeAPI, c.LogJSON, c.Disabled = "127.0.0.1:9001", true, true
			c.TableName, c.Store = "", StoreMemory
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := common
			tt.want(&want)
			want.UpstreamAPI = want.RuntimeAPI
			if got := load(t, tt.environ); !reflect.DeepEqual(got, &want) {
				t.Errorf("got  %+v\nwant %+v", got, &want)
			}
		})
	}
}

func TestFileStorePath(t *testing.T) {
	tests := []struct {
		environ []string
		want    string // empty: an error
	}{
		{[]string{"HOME=/home/me"}, "/home/me/.cache/lambda-idempotency/records.db"},
		{[]string{"HOME=/home/me", "XDG_CACHE_HOME=/cache"}, "/cache/lambda-idempotency/records.db"},
		{[]string{"XDG_CACHE_HOME=/cache"}, "/cache/lambda-idempotency/records.db"},
		// "All paths set in these environment variables must be absolute", else ignored:
		// https://specifications.freedesktop.org/basedir-spec/latest/
		{[]string{"HOME=/home/me", "XDG_CACHE_HOME=cache"}, "/home/me/.cache/lambda-idempotency/records.db"},
		{[]string{"HOME=/home/me", "IDEMPOTENCY_STORE=file:/tmp/a:b.db"}, "/tmp/a:b.db"},
		{[]string{"IDEMPOTENCY_STORE=file:here.db"}, "here.db"},
		{[]string{"HOME="}, ""},
		{nil, ""},
	}
	for _, tt := range tests {
		c, err := Load(tt.environ)
		if tt.want == "" {
			if err == nil || !strings.Contains(err.Error(), "HOME") || !strings.Contains(err.Error(), "IDEMPOTENCY_STORE=memory") {
				t.Errorf("%q: error %v, want one that names HOME and another store", tt.environ, err)
			}
			continue
		}
		if err != nil || c.Store != StoreFile || c.FilePath != tt.want {
			t.Errorf("%q: %s %q, error %v, want %q", tt.environ, c.Store, c.FilePath, err, tt.want)
		}
	}
}

func TestWhatIsMissing(t *testing.T) {
	tests := map[string]struct {
		environ []string
		want    []string // what the only line holds
	}{
		"a table in Lambda": {[]string{"AWS_LAMBDA_RUNTIME_API=x", "AWS_SESSION_TOKEN=s"}, []string{"IDEMPOTENCY_TABLE_NAME is not set", "IDEMPOTENCY_STORE=memory"}},
		"a table by choice": {local("IDEMPOTENCY_STORE=dynamodb"), []string{"IDEMPOTENCY_TABLE_NAME is not set"}},
		"a secret":          {[]string{"AWS_LAMBDA_RUNTIME_API=x", "IDEMPOTENCY_TABLE_NAME=records"}, []string{"IDEMPOTENCY_AUTH_TOKEN is not set", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "set one"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			lines := problems(t, tt.environ)
			if len(lines) != 1 {
				t.Fatalf("got %d lines: %q", len(lines), lines)
			}
			for _, want := range tt.want {
				if !strings.Contains(lines[0], want) {
					t.Errorf("%q does not hold %q", lines[0], want)
				}
			}
		})
	}
}

// One slip must not make the reader look for three.
func TestOneWrongValueIsOneLine(t *testing.T) {
	for _, environ := range [][]string{
		{"AWS_LAMBDA_RUNTIME_API=x", "AWS_SESSION_TOKEN=s", "IDEMPOTENCY_TABLE_NAME="},
		{"AWS_LAMBDA_RUNTIME_API=x", "AWS_SESSION_TOKEN=s", "IDEMPOTENCY_TABLE_NAME=a b"},
		{"AWS_LAMBDA_RUNTIME_API=x", "AWS_SESSION_TOKEN=s", "IDEMPOTENCY_STORE=redis"},
		{"AWS_LAMBDA_RUNTIME_API=x", "IDEMPOTENCY_TABLE_NAME=records", "IDEMPOTENCY_AUTH_TOKEN="},
		{"IDEMPOTENCY_STORE=redis"},
		{"IDEMPOTENCY_TABLE_NAME="},
	} {
		if lines := problems(t, environ); len(lines) != 1 {
			t.Errorf("%q: got %d lines: %q", environ, len(lines), lines)
		}
	}
}

func TestAllThatIsWrongIsTold(t *testing.T) {
	lines := problems(t, lambda("IDEMPOTENCY_PORT=80", "IDEMPOTENCY_TTL=1 day", "IDEMPOTENCY_TABEL_NAME=x", "IDEMPOTENCY_ATTR_DATA=id"))
	want := []string{
		`IDEMPOTENCY_PORT="80": use a port from 1024 to 65535`,
		`IDEMPOTENCY_TTL="1 day": use a duration from 1s to 87840h0m0s, as in 90s, 15m or 24h`,
		`IDEMPOTENCY_TABEL_NAME is not a setting; did you mean IDEMPOTENCY_TABLE_NAME? (lambda-idempotency --help lists all)`,
		`IDEMPOTENCY_ATTR_DATA="id": IDEMPOTENCY_ATTR_ID takes the name "id" too; give each attribute its own`,
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
}

func TestUnknownNames(t *testing.T) {
	for name, nearest := range map[string]string{
		"IDEMPOTENCY_TTLS":           "IDEMPOTENCY_TTL",
		"IDEMPOTENCY_MAX_ATTEMPT":    "IDEMPOTENCY_MAX_ATTEMPTS",
		"IDEMPOTENCY_JMESPATH":       "IDEMPOTENCY_KEY_JMESPATH",
		"IDEMPOTENCY_ON_STORE_ERR":   "IDEMPOTENCY_ON_STORE_ERROR",
		"IDEMPOTENCY_port":           "IDEMPOTENCY_PORT",
		"IDEMPOTENCY_LOGLEVEL":       "IDEMPOTENCY_LOG_LEVEL",
		"IDEMPOTENCY_ATTR_HISTORIES": "IDEMPOTENCY_ATTR_HISTORY",
	} {
		lines := problems(t, local(name+"=a-secret-perhaps"))
		want := name + " is not a setting; did you mean " + nearest + "? (lambda-idempotency --help lists all)"
		if len(lines) != 1 || lines[0] != want {
			t.Errorf("got %q, want %q", lines, want)
		}
	}
	if lines := problems(t, local("IDEMPOTENCY=x", "POWERTOOLS_IDEMPOTENCY_DISABLED=1")); lines != nil {
		t.Errorf("names of others are complained of: %q", lines)
	}
}

func TestAttributesThatCollide(t *testing.T) {
	for _, environ := range [][]string{
		{"IDEMPOTENCY_ATTR_STATUS=id"},
		{"IDEMPOTENCY_SORT_KEY_ATTR=id"},
		{"IDEMPOTENCY_ATTR_ERROR=x", "IDEMPOTENCY_ATTR_FUNCTION=x"},
		// The result has other forms, with names made from its own.
		{"IDEMPOTENCY_ATTR_TOKEN=data_z"},
		{"IDEMPOTENCY_ATTR_FENCE=data_ref"},
		{"IDEMPOTENCY_ATTR_HISTORY=data_omitted"},
		{"IDEMPOTENCY_ATTR_DATA=d", "IDEMPOTENCY_ATTR_ID=d_z"},
	} {
		lines := problems(t, lambda(environ...))
		if len(lines) != 1 || !strings.Contains(lines[0], "give each attribute its own") {
			t.Errorf("%q: got %q", environ, lines)
		}
	}
	if lines := problems(t, lambda("IDEMPOTENCY_ATTR_ID=status", "IDEMPOTENCY_ATTR_STATUS=id")); lines != nil {
		t.Errorf("exchanged names: %q", lines)
	}
}
