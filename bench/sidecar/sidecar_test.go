package sidecar_test

import (
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"strings"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/bench/sidecar"
)

// A program with other flags than the layer's would be measured instead of it.
func TestBuildIsAsTheLayerHasIt(t *testing.T) {
	path, err := sidecar.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
		if strings.HasPrefix(s.Key, "vcs") {
			t.Errorf("%s is %s, which the layer leaves out", s.Key, s.Value)
		}
	}
	for key, want := range map[string]string{"-tags": "nethttpomithttp2", "-trimpath": "true", "CGO_ENABLED": "0"} {
		if set[key] != want {
			t.Errorf("%s is %q, not %q", key, set[key], want)
		}
	}
	if symbols(t, path) {
		t.Error("it has symbols")
	}
}

func TestBuildTakesFlags(t *testing.T) {
	path, err := sidecar.Build(t.Context(), t.TempDir(), "-ldflags=")
	if err != nil {
		t.Fatal(err)
	}
	if !symbols(t, path) {
		t.Error("it has no symbols")
	}
}

func symbols(t *testing.T, path string) bool {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	_, err = file.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		t.Fatal(err)
	}
	return err == nil
}
