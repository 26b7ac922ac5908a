package layer_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// step is one call of the API, and what it is answered where all is well.
type step struct {
	path   string
	body   map[string]any
	status string
	keep   string // the name to keep the claim's token under
	token  string // the name of the token to send
}

// steps are all that the extension does with its table.
func steps() []step {
	const large = 100 << 10 // More than stays within the record's own item.
	words := make([]byte, large)
	for i := range words {
		words[i] = 'a' + byte(rand.IntN(26))
	}
	return []step{
		{path: "/health"},
		{path: "/acquire", body: map[string]any{"key": "small", "lease_ms": 60_000}, status: "acquired", keep: "small"},
		{path: "/acquire", body: map[string]any{"key": "small"}, status: "in_progress"},
		{path: "/renew", body: map[string]any{"lease_ms": 90_000}, token: "small", status: "acquired"},
		{path: "/complete", body: map[string]any{"result": "done"}, token: "small", status: "completed"},
		{path: "/acquire", body: map[string]any{"key": "small"}, status: "completed"},
		{path: "/acquire", body: map[string]any{"key": "large"}, status: "acquired", keep: "large"},
		{path: "/complete", body: map[string]any{"result": string(words)}, token: "large", status: "completed"},
		{path: "/acquire", body: map[string]any{"key": "large"}, status: "completed"},
		{path: "/acquire", body: map[string]any{"key": "failing"}, status: "acquired", keep: "first"},
		{path: "/fail", body: map[string]any{}, token: "first", status: "released"},
		{path: "/acquire", body: map[string]any{"key": "failing"}, status: "acquired", keep: "second"},
		{path: "/fail", body: map[string]any{"retry": false}, token: "second", status: "failed"},
		{path: "/acquire", body: map[string]any{"key": "failing"}, status: "failed"},
		// The lease outlasts its own grant on a slow machine, too.
		{path: "/acquire", body: map[string]any{"key": "lapsing", "lease_ms": 3000}, status: "acquired"},
		{path: "/acquire", body: map[string]any{"key": "lapsing", "wait_ms": 60_000}, status: "acquired"},
		{path: "/acquire", body: map[string]any{"key": "lapsing", "wait_ms": 50}, status: "in_progress"},
		{path: "/record?key=large"},
	}
}

// take takes all steps, and returns what went otherwise than it should.
func (s *sidecar) take(steps []step) (wrong []string) {
	s.Helper()
	tokens := map[string]any{}
	for _, step := range steps {
		if step.token != "" {
			if tokens[step.token] == nil {
				continue // Its acquire went wrong.
			}
			step.body["token"] = tokens[step.token]
		}
		status, answer := s.call(step.path, step.body)
		if status != http.StatusOK || step.status != "" && answer["status"] != step.status {
			wrong = append(wrong, fmt.Sprintf("%s of %v answered %d %v", step.path, step.body["key"], status, answer))
		} else if step.keep != "" {
			tokens[step.keep] = answer["token"]
		}
	}
	return wrong
}

// TestPolicy runs the extension on the template's table, with a gate that denies
// what the template's policy does not allow.
func TestPolicy(t *testing.T) {
	binary := built(t)
	g := tableOf(t)
	s := run(t, binary, g.env()...)
	if wrong := s.take(steps()); wrong != nil {
		t.Errorf("with the template's policy:\n%s", strings.Join(wrong, "\n"))
	}
	used, denied := g.seen()
	if denied != nil {
		t.Errorf("the policy does not allow %v", denied)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(g.allows)), used); diff != "" {
		t.Errorf("the policy allows what the extension does not need:\n%s", diff)
	}
	t.Run("TTL", func(t *testing.T) { hasTTL(t, g) })
	for _, action := range g.allows {
		t.Run("without "+action, func(t *testing.T) { isDenied(t, binary, action) })
	}
	t.Run("README", func(t *testing.T) {
		text, err := os.ReadFile("../README.md")
		if err != nil {
			t.Fatal(err)
		}
		isTheReadmes(t, g.allows, string(text))
	})
}

// hasTTL: each item has what the table's TTL goes by.
func hasTTL(t *testing.T, g *gate) {
	attribute, _ := plainFacts(t)["AWS::DynamoDB::Table TimeToLiveSpecification.AttributeName"].(string)
	items := operate(t, g.local, "Scan", map[string]any{"TableName": g.table})["Items"].([]any)
	if len(items) < 5 { // Four records, and the large result.
		t.Fatalf("%d items are in the table", len(items))
	}
	for _, item := range items {
		ends, err := strconv.ParseInt(fmt.Sprint(at(item, attribute+".N")), 10, 64)
		if left := time.Until(time.Unix(ends, 0)); err != nil || left < time.Hour || left > 48*time.Hour {
			t.Errorf("an item's TTL, %s, is %v from now: %v", attribute, left, err)
		}
	}
}

// isDenied: without one action some call is refused, with the mend in its words,
// which hold the code's own list.
func isDenied(t *testing.T, binary, action string) {
	t.Parallel()
	g := tableOf(t)
	all := slices.Clone(g.allows)
	g.allows = slices.DeleteFunc(slices.Clone(all), func(a string) bool { return a == action })
	wrong := run(t, binary, g.env()...).take(steps())
	if _, denied := g.seen(); !slices.Equal(denied, []string{action}) {
		t.Errorf("denied were %v, want %s", denied, action)
	}
	slices.Sort(all)
	want := "access to table " + g.table + " is denied; give the function's role " + strings.Join(all, ", ") + " on it"
	told := false
	for _, answer := range wrong {
		told = told || strings.Contains(answer, "503") && strings.Contains(answer, want)
	}
	if !told {
		t.Errorf("no answer says %q:\n%s", want, strings.Join(wrong, "\n"))
	}
}

// isTheReadmes compares with every list of actions in the text.
func isTheReadmes(t *testing.T, actions []string, text string) {
	lists := regexp.MustCompile(`(?s)"Action": (\[[^]]*\])`).FindAllStringSubmatch(text, -1)
	if len(lists) == 0 {
		t.Fatal("the README has no policy")
	}
	for _, list := range lists {
		var said []string
		if err := json.Unmarshal([]byte(list[1]), &said); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(actions, said); diff != "" {
			t.Errorf("the README's policy is not that of the templates:\n%s", diff)
		}
	}
}
