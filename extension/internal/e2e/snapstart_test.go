package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

// withoutCredentials writes a script that runs a program as Lambda does under
// SnapStart. The emulator leaves its own credentials in the environment.
func withoutCredentials(t *testing.T, dir, program string) (script string) {
	t.Helper()
	script = filepath.Join(dir, filepath.Base(program))
	text := fmt.Sprintf("#!/bin/sh\nunset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN\nexec '%s'\n", program)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return script
}

// Under SnapStart there are no credentials in the environment, and no session
// token: credentials come from an endpoint, and its token is what callers prove
// themselves with.
func TestSnapStart(t *testing.T) {
	t.Parallel()
	extensions := t.TempDir()
	withoutCredentials(t, extensions, filepath.Join(built.extensions, sidecar))
	f := deploy(t, emulator.Config{
		Timeout: 5 * time.Second, SnapStart: true,
		ExtensionDir: extensions, Command: []string{withoutCredentials(t, t.TempDir(), built.goHandler)},
	})
	f.mustAcquire("k", "complete", 1)
	if a, body := f.invoke("k", "complete"); a.Status != "completed" {
		t.Errorf("a duplicate got %s", body)
	}
	env := f.environment(sidecar)
	for name, want := range map[string]bool{
		"AWS_ACCESS_KEY_ID": false, "AWS_SECRET_ACCESS_KEY": false, "AWS_SESSION_TOKEN": false,
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": true, "AWS_CONTAINER_AUTHORIZATION_TOKEN": true,
	} {
		if _, got := env[name]; got != want {
			t.Errorf("the sidecar has %s: %v", name, got)
		}
	}
	for secret, want := range map[string]int{
		"": http.StatusUnauthorized, secret: http.StatusUnauthorized, env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]: http.StatusOK,
	} {
		if got := f.asks(secret); got != want {
			t.Errorf("a caller with %q was answered %d", secret, got)
		}
	}
	if _, err := f.Invoke(t.Context(), []byte(`{"key":"late","do":"exit","lease_ms":600000}`)); err != nil {
		t.Fatal(err)
	}
	f.mustAcquire("late", "complete", 2)
}

// environment is that of the process of a program.
func (f *function) environment(program string) map[string]string {
	f.Helper()
	env := map[string]string{}
	for _, p := range f.Processes() {
		if filepath.Base(p.Args[0]) != program {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
		if err != nil {
			f.Fatal(err)
		}
		for pair := range strings.SplitSeq(string(text), "\x00") {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		return env
	}
	f.Fatalf("no process runs %s: %v", program, f.Processes())
	return nil
}

// asks is the status that a caller with a secret is answered with.
func (f *function) asks(secret string) int {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/record?key=k", f.port), nil)
	if err != nil {
		f.Fatal(err)
	}
	req.Header.Set("X-Idempotency-Auth", secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode
}
