package httpapi_test

import (
	"strings"
	"testing"
)

// A slip in a member's name is told, once for an expression: all events that
// differ only there would share a key.
func TestNullMembersAreTold(t *testing.T) {
	s := serve(t, func(set *setup) { set.api.KeyJMESPath = "[JobId, ObjKye]" })
	told := func() (lines []string) {
		for line := range strings.Lines(s.log.String()) {
			if strings.Contains(line, "the key's expression selects null for some members") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	const event = `"event":{"JobId":1,"ObjKey":2,"None":null}`
	for _, members := range []string{
		event + `,"key_jmespath":"[JobId, ObjKey]"`,       // complete
		event + `,"key_jmespath":"{a: JobId, b: ObjKey}"`, // complete
		event + `,"key_jmespath":"JobId"`,                 // no members
		event,                                             // the default, told
		`"event":{"JobId":1,"more":3}`,                    // told before
		event + `,"key_jmespath":"[JobId, ObjKye]","scope":"other"`,
	} {
		s.post("/acquire", `{`+members+`}`)
	}
	if lines := told(); len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") ||
		!strings.Contains(lines[0], `key_jmespath="[JobId, ObjKye]"`) || !strings.Contains(lines[0], "null=1") {
		t.Errorf("told %q", lines)
	}

	s.post("/acquire", `{`+event+`,"key_jmespath":"{a: JobId, b: x, c: y}"}`)
	if lines := told(); len(lines) != 2 || !strings.Contains(lines[1], `null="b, c"`) {
		t.Errorf("told %q", lines)
	}

	whole := serve(t)
	whole.acquire(`{` + event + `}`)
	whole.post("/acquire", `{"event":{"a":1},"key_jmespath":"[b, c]"}`) // Refused: it is no key at all.
	if log := whole.log.String(); strings.Contains(log, "WARN") {
		t.Errorf("told %s", log)
	}
}
