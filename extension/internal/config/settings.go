package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/dynamodb"
)

// setting is one environment variable.
type setting struct {
	name string
	// def is the value where the variable is not set; empty: see otherwise.
	def string
	// otherwise says in words what holds where there is no def.
	otherwise string
	doc       string
	set       func(c *Config, value string) error
}

// secret tells that the value must not be shown.
func (s setting) secret() bool { return s.name == "AUTH_TOKEN" }

// wrong says that the value cannot be used, on one line.
func (s setting) wrong(value string, why error) error {
	if s.secret() {
		return fmt.Errorf("%s%s: %w", Prefix, s.name, why)
	}
	return fmt.Errorf("%s%s=%q: %w", Prefix, s.name, value, why)
}

// settings are all of them, in the order in which they are shown.
func settings() []setting {
	list := []setting{
		{"TABLE_NAME", "", "required in Lambda", "The DynamoDB table that keeps the records.",
			func(c *Config, v string) error { return tableName(&c.TableName, v) }},
		{"STORE", "", "`dynamodb` in Lambda or where a table is named, else a file in the user's cache folder", "Where records are kept: `dynamodb`, `memory`, or `file:PATH`.",
			store},
		{"PORT", "2774", "", "The port on 127.0.0.1 that the API is served on.",
			func(c *Config, v string) error { return port(&c.Port, v) }},
		{"AUTH_TOKEN", "", "in Lambda `AWS_SESSION_TOKEN`, under SnapStart `AWS_CONTAINER_AUTHORIZATION_TOKEN`; elsewhere none", "The secret that callers send as `X-Idempotency-Auth`.",
			func(c *Config, v string) error { return authToken(&c.AuthToken, v) }},
		{"SCOPE", "", "the function's name", "Keeps functions that share a table apart; set it to nothing for none. No `#`.",
			func(c *Config, v string) error { c.Scope = v; return idempotency.CheckScope(v) }},
		{"KEY_JMESPATH", "", "the whole event", "JMESPath that selects the key from an `event` sent without `key_jmespath`.",
			keyJMESPath},
		{"TTL", "24h", "", "How long an outcome is remembered, counted from its end.",
			func(c *Config, v string) error { return duration(&c.TTL, v, time.Second, idempotency.MaxTTL) }},
		{"LEASE", "15m", "", "How long a claim holds where neither the handler nor Lambda tells a deadline.",
			func(c *Config, v string) error { return duration(&c.Lease, v, time.Second, idempotency.MaxLease) }},
		{"CLOCK_SKEW", "1s", "", "How far the clocks of two hosts may differ: another run's claim is taken over only when its lease ended this long ago.",
			func(c *Config, v string) error { return duration(&c.ClockSkew, v, 0, time.Minute) }},
		{"MAX_ATTEMPTS", "0", "", "The number of runs after which a failure is final; 0: no end.",
			func(c *Config, v string) error { return whole(&c.MaxAttempts, v, 0, 1_000_000) }},
		{"HISTORY", "10", "", "How many state changes a record remembers: 2 to 100, or 0 for none.",
			history},
		{"ON_TIMEOUT", "release", "", "What becomes of a claim that a timeout left open: `release` frees the key, `fail` makes it a final failure.",
			func(c *Config, v string) error { return choice(&c.FailOnTimeout, v, "release", "fail") }},
		{"ON_STORE_ERROR", "reject", "", "What an acquire answers when the store is away: `reject` (503) or `proceed` (the work runs without protection).",
			func(c *Config, v string) error { return choice(&c.ProceedOnStoreError, v, "reject", "proceed") }},
		{"RUNTIME_PROXY_PORT", "", "`2775`, or no proxy where that is taken", "The port on 127.0.0.1 of the runtime proxy, for functions without code of their own.",
			func(c *Config, v string) error { return port(&c.ProxyPort, v) }},
		{"UPSTREAM_RUNTIME_API", "", "`AWS_LAMBDA_RUNTIME_API`", "Runtime proxy: the host and port that calls are passed to; another proxy's, where two are chained.",
			func(c *Config, v string) error { return hostPort(&c.UpstreamAPI, v) }},
		{"KEY", "event", "", "Runtime proxy: `event` (what `IDEMPOTENCY_KEY_JMESPATH` selects) or `request-id` (the invocation's id, which Lambda keeps over the retries of an asynchronous event).",
			func(c *Config, v string) error { return choice(&c.KeyIsRequestID, v, "event", "request-id") }},
		{"BATCH", "event", "", "Runtime proxy: `event`, or `records`: each record of SQS, Kinesis and DynamoDB Streams is claimed on its own.",
			func(c *Config, v string) error { return choice(&c.Batch, v, "event", "records") }},
		{"ON_IN_PROGRESS", "error", "", "Runtime proxy: a duplicate of a run in progress is answered with an `error`, made to `wait` for its end, or `skip`ped with an empty success.",
			func(c *Config, v string) error { return oneOf(&c.OnInProgress, v, "error", "wait", "skip") }},
		{"ON_MISSING_KEY", "run", "", "Runtime proxy: an event without a key is `run` without protection, or answered with an `error`.",
			func(c *Config, v string) error { return choice(&c.RequireKey, v, "run", "error") }},
		{"ON_ERROR", "release", "", "Runtime proxy: a handler's error frees the key (`release`) or is a final failure (`fail`).",
			func(c *Config, v string) error { return choice(&c.FailOnError, v, "release", "fail") }},
		{"DISABLED", "false", "", "`true`: every acquire is granted and nothing is stored. For tests.",
			func(c *Config, v string) error { return choice(&c.Disabled, v, "false", "true") }},
		{"LOG_LEVEL", "info", "", "`debug`, `info`, `warn` or `error`. Keys show in full at `debug` only.",
			func(c *Config, v string) error { return logLevel(&c.LogLevel, v) }},
		{"LOG_FORMAT", "", "`json` in Lambda, else `text`", "`json` or `text`.",
			func(c *Config, v string) error { return choice(&c.LogJSON, v, "text", "json") }},
		{"SORT_KEY_ATTR", "", "the table has none", "The name of the table's sort key.",
			func(c *Config, v string) error { return attribute(&c.Attributes.Sort, v) }},
	}
	for i, a := range attributes(new(dynamodb.Attributes)) {
		if a.setting == "SORT_KEY_ATTR" {
			continue
		}
		def := dynamodb.DefaultAttributes()
		list = append(list, setting{a.setting, *attributes(&def)[i].field, "", a.doc, func(c *Config, v string) error {
			return attribute(attributes(&c.Attributes)[i].field, v)
		}})
	}
	return list
}

type attributeSetting struct {
	setting string
	field   *string
	doc     string
}

// attributes are the attributes whose names can be set.
func attributes(a *dynamodb.Attributes) []attributeSetting {
	return []attributeSetting{
		{"SORT_KEY_ATTR", &a.Sort, ""},
		{"ATTR_ID", &a.ID, "Attribute: the table's partition key."},
		{"ATTR_STATUS", &a.Status, "Attribute: `INPROGRESS`, `COMPLETED` or `FAILED`."},
		{"ATTR_EXPIRATION", &a.Expiration, "Attribute: when the record counts as absent, in epoch seconds; the table's TTL."},
		{"ATTR_IN_PROGRESS_EXPIRATION", &a.InProgressExpiration, "Attribute: when the claim lapses, in epoch milliseconds; 0: released."},
		{"ATTR_DATA", &a.Data, "Attribute: the result; with `_z` compressed, `_ref` kept in an item of its own, `_omitted` too large."},
		{"ATTR_VALIDATION", &a.Validation, "Attribute: the hash of the payload."},
		{"ATTR_TOKEN", &a.Token, "Attribute: the current claim's secret."},
		{"ATTR_FENCE", &a.Fence, "Attribute: the fence."},
		{"ATTR_ATTEMPT", &a.Attempt, "Attribute: the number of the run."},
		{"ATTR_ERROR", &a.Error, "Attribute: the last failure, as JSON."},
		{"ATTR_FUNCTION", &a.Function, "Attribute: the function that made the claim."},
		{"ATTR_REQUEST_ID", &a.RequestID, "Attribute: the invocation that made the claim."},
		{"ATTR_CREATED_AT", &a.CreatedAt, "Attribute: when the key was first claimed."},
		{"ATTR_UPDATED_AT", &a.UpdatedAt, "Attribute: when the record last changed."},
		{"ATTR_HISTORY", &a.History, "Attribute: the state changes, oldest first."},
	}
}

func store(c *Config, v string) error {
	kind, path, _ := strings.Cut(v, ":")
	switch {
	case v == StoreDynamoDB, v == StoreMemory:
	case kind == StoreFile && strings.HasPrefix(path, "~"):
		return errors.New("a quoted ~ stays as it is; name the file in full, as in file:/tmp/records.db")
	case kind == StoreFile && path != "":
	case kind == StoreFile:
		return errors.New("name the file, as in file:/tmp/records.db")
	default:
		return errors.New("use dynamodb, memory or file:PATH")
	}
	c.Store, c.FilePath = kind, path
	return nil
}

// tableName checks what DynamoDB would refuse; an ARN names a table elsewhere:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
func tableName(to *string, v string) error {
	*to = v
	if strings.HasPrefix(v, "arn:") && strings.Contains(v, ":dynamodb:") && strings.Contains(v, ":table/") {
		return nil
	}
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
	bad := strings.IndexFunc(v, func(r rune) bool { return !strings.ContainsRune(allowed, r) })
	if len(v) < 3 || len(v) > 255 || bad >= 0 {
		return errors.New("use a table's name (3 to 255 of a-z A-Z 0-9 _ . -) or its ARN")
	}
	return nil
}

func port(to *int, v string) error {
	n, err := strconv.Atoi(v)
	*to = n
	switch {
	case err != nil || n < 1024 || n > 65535:
		return errors.New("use a port from 1024 to 65535")
	case n == 9001:
		return errors.New("9001 is the port of Lambda's own API; use another port")
	}
	return nil
}

func authToken(to *string, v string) error {
	*to = v
	if v == "" || strings.ContainsFunc(v, func(r rune) bool { return r < '!' || r > '~' }) {
		return errors.New("use visible ASCII characters, which a header can carry")
	}
	return nil
}

func keyJMESPath(c *Config, v string) error {
	c.KeyJMESPath = v
	if v == "" {
		return errors.New("use a JMESPath expression, as in [user, order.id], or unset it for the whole event")
	}
	if _, err := canon.Compile(v); err != nil {
		return fmt.Errorf("%w; use a JMESPath expression, as in [user, order.id]", err)
	}
	return nil
}

func duration(to *time.Duration, v string, least, most time.Duration) error {
	d, err := time.ParseDuration(v)
	if err != nil || d < least || d > most {
		return fmt.Errorf("use a duration from %v to %v, as in 90s, 15m or 24h", least, most)
	}
	*to = d
	return nil
}

func whole(to *int, v string, least, most int) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return fmt.Errorf("use a whole number from %d to %d", least, most)
	}
	*to = n
	return nil
}

func history(c *Config, v string) error {
	if err := whole(&c.History, v, 0, 100); err != nil || c.History == 1 {
		return errors.New("use a whole number from 2 to 100, or 0 for none; a run makes two entries")
	}
	return nil
}

// choice is true for the second of two words.
func choice(to *bool, v, no, yes string) error {
	if v != no && v != yes {
		return fmt.Errorf("use %s or %s", no, yes)
	}
	*to = v == yes
	return nil
}

func oneOf(to *string, v string, words ...string) error {
	if !slices.Contains(words, v) {
		last := len(words) - 1
		return fmt.Errorf("use %s or %s", strings.Join(words[:last], ", "), words[last])
	}
	*to = v
	return nil
}

func hostPort(to *string, v string) error {
	host, number, err := net.SplitHostPort(v)
	if err != nil || host == "" || number == "" {
		return errors.New("use a host and a port, as in 127.0.0.1:9009")
	}
	*to = v
	return nil
}

func logLevel(to *slog.Level, v string) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[v]
	if !ok {
		return errors.New("use debug, info, warn or error")
	}
	*to = level
	return nil
}

// attribute checks a name as DynamoDB does.
func attribute(to *string, v string) error {
	if v == "" || len(v) > 255 {
		return errors.New("use an attribute's name of 1 to 255 bytes")
	}
	*to = v
	return nil
}

// Markdown is the table of settings for the README.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| Variable | Default | Meaning |\n| --- | --- | --- |\n")
	for _, s := range settings() {
		fmt.Fprintf(&b, "| `%s%s` | %s | %s |\n", Prefix, s.name, s.shown(), s.doc)
	}
	return b.String()
}

// Help is the list of settings for a terminal.
func Help() string {
	var b strings.Builder
	for _, s := range settings() {
		fmt.Fprintf(&b, "  %s%s (default: %s)\n      %s\n", Prefix, s.name, strings.ReplaceAll(s.shown(), "`", ""), strings.ReplaceAll(s.doc, "`", ""))
	}
	return b.String()
}

func (s setting) shown() string {
	if s.def == "" {
		return s.otherwise
	}
	return "`" + s.def + "`"
}
