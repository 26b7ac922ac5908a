package config

import (
	"reflect"
	"strings"
	"testing"
)

// values has a value for each setting that is not its default, and those that
// must be refused, each with a part of the mend.
func values() map[string]struct {
	good string
	bad  map[string]string
} {
	type row = struct {
		good string
		bad  map[string]string
	}
	durations := func(good string) row {
		const mend = "use a duration from 1s to "
		return row{good, map[string]string{
			"": mend, "24": mend, "1d": mend, "24 h": mend, "999ms": mend, "0s": mend, "-1h": mend, "100000h": mend, "1e400h": mend, "soon": mend,
		}}
	}
	words := func(good string, all ...string) row {
		bad := map[string]string{}
		for _, v := range []string{"", "yes", "1", " " + good, good + " ", strings.ToUpper(good)} {
			bad[v] = "use " + all[0]
		}
		return row{good, bad}
	}
	attribute := row{"another", map[string]string{"": "1 to 255 bytes", strings.Repeat("a", 256): "1 to 255 bytes"}}
	list := map[string]row{
		"TABLE_NAME": {"another-table", map[string]string{
			"": "3 to 255", "ab": "3 to 255", "a b c": "a-z A-Z 0-9", "tåble": "a-z A-Z 0-9", strings.Repeat("a", 256): "3 to 255",
			"arn:aws:s3:::bucket": "its ARN", "\"quoted\"": "a-z A-Z 0-9",
		}},
		"STORE": {"memory", map[string]string{
			"": "use dynamodb, memory or file:PATH", "redis": "file:PATH", "Memory": "file:PATH", "memory:": "file:PATH",
			"file": "name the file", "file:": "name the file", "dynamodb:x": "file:PATH", "/tmp/x.db": "file:PATH",
		}},
		"PORT": {"2773", map[string]string{
			"": "1024 to 65535", "80": "1024 to 65535", "0": "1024 to 65535", "-1": "1024 to 65535", "65536": "1024 to 65535",
			"2774.0": "1024 to 65535", "http": "1024 to 65535", "9001": "use another port", "99999999999999999999": "1024 to 65535",
		}},
		"AUTH_TOKEN": {"visible", map[string]string{
			"": "visible ASCII", "two words": "visible ASCII", "sécret": "visible ASCII", "line\nbreak": "visible ASCII", "end ": "visible ASCII",
		}},
		"SCOPE": {"", map[string]string{
			"a#b": "leave it out", strings.Repeat("s", 256): "up to 255", "\xff": "UTF-8",
		}},
		"KEY_JMESPATH": {"[a, b.c]", map[string]string{
			"": "whole event", "[": "as in [user, order.id]", "nosuch(@)": "as in [user, order.id]", "a\nb": "as in [user, order.id]",
		}},
		"TTL":   durations("168h"),
		"LEASE": durations("90s"),
		"CLOCK_SKEW": {"250ms", map[string]string{
			"": "from 0s to 1m0s", "1": "from 0s to 1m0s", "-1s": "from 0s to 1m0s", "61s": "from 0s to 1m0s",
		}},
		"MAX_ATTEMPTS": {"3", map[string]string{
			"": "whole number from 0", "-1": "whole number from 0", "3.0": "whole number", "many": "whole number", "1000001": "to 1000000",
		}},
		"HISTORY": {"0", map[string]string{
			"": "2 to 100, or 0", "1": "2 to 100, or 0", "101": "2 to 100, or 0", "-2": "2 to 100, or 0", "all": "2 to 100, or 0",
		}},
		"RUNTIME_PROXY_PORT": {"2776", map[string]string{"": "1024 to 65535", "80": "1024 to 65535", "9001": "use another port"}},
		"UPSTREAM_RUNTIME_API": {"127.0.0.1:9009", map[string]string{
			"": "as in 127.0.0.1:9009", "9009": "as in 127.0.0.1:9009", ":9009": "as in 127.0.0.1:9009", "127.0.0.1:": "as in 127.0.0.1:9009",
		}},
		"KEY":            words("request-id", "event or request-id"),
		"BATCH":          words("records", "event or records"),
		"ON_IN_PROGRESS": words("skip", "error, wait or skip"),
		"ON_MISSING_KEY": words("error", "run or error"),
		"ON_ERROR":       words("fail", "release or fail"),
		"ON_TIMEOUT":     words("fail", "release or fail"),
		"ON_STORE_ERROR": words("proceed", "reject or proceed"),
		"DISABLED":       words("true", "false or true"),
		"LOG_LEVEL":      words("debug", "debug, info, warn or error"),
		"LOG_FORMAT":     words("json", "text or json"),
		"SORT_KEY_ATTR":  attribute,
	}
	for _, name := range []string{
		"ATTR_ID", "ATTR_STATUS", "ATTR_EXPIRATION", "ATTR_IN_PROGRESS_EXPIRATION", "ATTR_DATA", "ATTR_VALIDATION", "ATTR_TOKEN", "ATTR_FENCE",
		"ATTR_ATTEMPT", "ATTR_ERROR", "ATTR_FUNCTION", "ATTR_REQUEST_ID", "ATTR_CREATED_AT", "ATTR_UPDATED_AT", "ATTR_HISTORY",
	} {
		list[name] = attribute
	}
	return list
}

func TestEverySettingChangesTheConfig(t *testing.T) {
	known := values()
	changed := map[string]string{} // which field, by which setting
	for _, s := range settings() {
		v, ok := known[s.name]
		if !ok {
			t.Errorf("%s has no values here", s.name)
			continue
		}
		delete(known, s.name)
		before, after := reflect.ValueOf(*load(t, local())), reflect.ValueOf(*load(t, local(Prefix+s.name+"="+v.good)))
		fields := differences(before, after, "")
		if len(fields) == 0 {
			t.Errorf("%s%s=%q changes nothing", Prefix, s.name, v.good)
		}
		// What two settings change, neither sets.
		for _, f := range fields {
			if other := changed[f]; other != "" && f != "Store" && f != "FilePath" {
				t.Errorf("%s and %s both change %s", s.name, other, f)
			}
			changed[f] = s.name
		}
	}
	for name := range known {
		t.Errorf("%s is no setting any more", name)
	}
}

// differences names the fields in which two structs differ.
func differences(a, b reflect.Value, in string) (names []string) {
	for i := range a.NumField() {
		name := in + a.Type().Field(i).Name
		switch x, y := a.Field(i), b.Field(i); {
		case x.Kind() == reflect.Struct:
			names = append(names, differences(x, y, name+".")...)
		case !x.Equal(y):
			names = append(names, name)
		}
	}
	return names
}

func TestEveryBadValueIsToldWithItsMend(t *testing.T) {
	for name, v := range values() {
		for value, mend := range v.bad {
			lines := problems(t, local(Prefix+name+"="+value))
			if len(lines) != 1 {
				t.Errorf("%s=%q: got %d lines: %q", name, value, len(lines), lines)
				continue
			}
			shown := Prefix + name + "="
			if name == "AUTH_TOKEN" {
				shown = Prefix + name + ": "
				if value != "" && strings.Contains(lines[0], value) {
					t.Errorf("the secret is shown: %s", lines[0])
				}
			}
			if !strings.HasPrefix(lines[0], shown) || !strings.Contains(lines[0], mend) {
				t.Errorf("%s=%q: got %q, want %s… and %q", name, value, lines[0], shown, mend)
			}
		}
	}
}

func TestGoodValues(t *testing.T) {
	for _, pair := range []string{
		"IDEMPOTENCY_TABLE_NAME=arn:aws:dynamodb:eu-west-1:123456789012:table/records",
		"IDEMPOTENCY_TABLE_NAME=a.b",
		"IDEMPOTENCY_STORE=file:/tmp/with space.db",
		"IDEMPOTENCY_PORT=1024", "IDEMPOTENCY_PORT=65535",
		"IDEMPOTENCY_TTL=1s", "IDEMPOTENCY_TTL=87840h", "IDEMPOTENCY_TTL=1h30m", "IDEMPOTENCY_LEASE=8784h",
		"IDEMPOTENCY_HISTORY=2", "IDEMPOTENCY_HISTORY=100",
		"IDEMPOTENCY_SCOPE=" + strings.Repeat("s", 255),
		"IDEMPOTENCY_AUTH_TOKEN=a=b#c!~",
		"IDEMPOTENCY_ATTR_ID=" + strings.Repeat("a", 255),
	} {
		if lines := problems(t, local(pair)); lines != nil {
			t.Errorf("%s: %q", pair, lines)
		}
	}
	if c := load(t, lambda("IDEMPOTENCY_SCOPE=")); c.Scope != "" {
		t.Errorf("an empty scope became %q", c.Scope)
	}
}

func TestListsNameEachSettingOnce(t *testing.T) {
	markdown, help := Markdown(), Help()
	for _, s := range settings() {
		if n := strings.Count(markdown, "| `"+Prefix+s.name+"` |"); n != 1 {
			t.Errorf("the table has %s %d times", s.name, n)
		}
		if n := strings.Count(help, "  "+Prefix+s.name+" (default: "); n != 1 {
			t.Errorf("the help has %s %d times", s.name, n)
		}
		if s.shown() == "" || s.doc == "" {
			t.Errorf("%s has no default, or nothing on what it is for", s.name)
		}
	}
	if lines := strings.Count(markdown, "\n"); lines != 2+len(settings()) {
		t.Errorf("the table has %d lines", lines)
	}
	for line := range strings.Lines(markdown) {
		if strings.Count(line, "|") != 4 {
			t.Errorf("the table's line has not three columns: %q", line)
		}
	}
	if strings.Contains(help, "`") {
		t.Error("the help has Markdown in it")
	}
}
