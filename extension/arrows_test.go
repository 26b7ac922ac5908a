package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows are the project's own packages that each may import. Data flows one
// way; only main knows all.
var arrows = map[string][]string{
	"internal/canon":          {},
	"internal/idempotency":    {"internal/canon"},
	"internal/store/memory":   {"internal/idempotency"},
	"internal/store/file":     {"internal/idempotency"},
	"internal/store/dynamodb": {"internal/canon", "internal/idempotency"},
	"internal/metrics":        {"internal/idempotency"},
	"internal/extapi":         {},
	"internal/lifecycle":      {"internal/extapi", "internal/idempotency"},
	"internal/selection":      {"internal/canon"},
	"internal/httpapi":        {"internal/canon", "internal/idempotency", "internal/selection"},
	"internal/runtimeproxy":   {"internal/idempotency"},
	// It checks expressions and scopes, and fills in attribute names.
	"internal/config": {"internal/canon", "internal/idempotency", "internal/store/dynamodb"},
	"": {"internal/config", "internal/extapi", "internal/httpapi", "internal/idempotency", "internal/lifecycle",
		"internal/canon", "internal/runtimeproxy", "internal/selection", "internal/metrics", "internal/store/dynamodb", "internal/store/file", "internal/store/memory"},
}

func TestArrows(t *testing.T) {
	const module = "github.com/lambda-idempotency/lambda-idempotency/extension"
	list := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for packages := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		allowed, known := arrows[strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")]
		if !known {
			continue // Tests' own packages.
		}
		seen++
		for _, i := range p.Imports {
			if own, ok := strings.CutPrefix(i, module+"/"); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s", p.ImportPath, own)
			}
			if strings.HasPrefix(i, "github.com/aws/aws-lambda-go") || strings.HasPrefix(i, "github.com/getkin/") {
				t.Errorf("%s links %s", p.ImportPath, i)
			}
		}
	}
	if seen != len(arrows) {
		t.Errorf("%d of %d packages seen", seen, len(arrows))
	}
}
