package canon_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/canon"
)

type vectors struct {
	About     []string `json:"about"`
	Canonical []struct {
		Name      string `json:"name"`
		Input     string `json:"input"`
		Canonical string `json:"canonical"`
		SHA256    string `json:"sha256"`
	} `json:"canonical"`
	Selections []struct {
		Name       string `json:"name"`
		Event      string `json:"event"`
		Expression string `json:"expression"`
		Canonical  string `json:"canonical"`
		SHA256     string `json:"sha256"`
		Missing    bool   `json:"missing"`
		Error      bool   `json:"error"`
	} `json:"selections"`
	Invalid []struct {
		Name     string `json:"name"`
		Input    string `json:"input"`
		InputHex string `json:"input_hex"`
		Offset   int64  `json:"offset"`
	} `json:"invalid"`
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	file, err := os.Open("vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var v vectors
	d := json.NewDecoder(file)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("vectors.json: %v", err)
	}
	return v
}

func mustParse(t testing.TB, text string) canon.Value {
	t.Helper()
	v, err := canon.Parse([]byte(text))
	if err != nil {
		t.Fatalf("Parse(%.200s): %v", text, err)
	}
	return v
}

func text(v canon.Value) string { return string(canon.Append(nil, v)) }

func TestVectors(t *testing.T) {
	v := readVectors(t)
	if len(v.About) == 0 || len(v.Canonical) < 50 || len(v.Selections) < 50 || len(v.Invalid) < 40 {
		t.Fatalf("vectors.json has too few cases: %d canonical, %d selections, %d invalid",
			len(v.Canonical), len(v.Selections), len(v.Invalid))
	}
	for _, c := range v.Canonical {
		t.Run("canonical/"+c.Name, func(t *testing.T) {
			value := mustParse(t, c.Input)
			if got := text(value); got != c.Canonical {
				t.Errorf("canonical text\n got %s\nwant %s", got, c.Canonical)
			}
			if got := canon.Hash(value); got != c.SHA256 {
				t.Errorf("hash: got %s, want %s", got, c.SHA256)
			}
		})
	}
	for _, c := range v.Selections {
		t.Run("selection/"+c.Name, func(t *testing.T) {
			value, err := choose(c.Expression, mustParse(t, c.Event))
			if c.Error {
				if err == nil {
					t.Fatalf("selected %s, want an error", text(value))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := text(value); got != c.Canonical {
				t.Errorf("canonical text\n got %s\nwant %s", got, c.Canonical)
			}
			if got := canon.Missing(value); got != c.Missing {
				t.Errorf("Missing: got %v, want %v", got, c.Missing)
			}
			if got := canon.Hash(value); !c.Missing && got != c.SHA256 {
				t.Errorf("hash: got %s, want %s", got, c.SHA256)
			}
		})
	}
	for _, c := range v.Invalid {
		t.Run("invalid/"+c.Name, func(t *testing.T) {
			input := []byte(c.Input)
			if c.InputHex != "" {
				var err error
				if input, err = hex.DecodeString(c.InputHex); err != nil {
					t.Fatal(err)
				}
			}
			value, err := canon.Parse(input)
			var syntax *canon.SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("Parse gave %s and the error %v, want a SyntaxError", text(value), err)
			}
			if syntax.Offset != c.Offset || syntax.Msg == "" {
				t.Errorf("got %v, want it at byte %d", err, c.Offset)
			}
		})
	}
}

// choose compiles and selects.
func choose(expression string, v canon.Value) (canon.Value, error) {
	e, err := canon.Compile(expression)
	if err != nil {
		return canon.Value{}, err
	}
	return e.Select(v)
}
