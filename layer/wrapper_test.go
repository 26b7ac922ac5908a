package layer_test

import (
	"os/exec"
	"testing"
)

func TestWrapper(t *testing.T) {
	for name, test := range map[string]struct {
		env  []string
		want string
	}{
		"in Lambda":      {[]string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001"}, "127.0.0.1:2775"},
		"port":           {[]string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001", "IDEMPOTENCY_RUNTIME_PROXY_PORT=3999"}, "127.0.0.1:3999"},
		"elsewhere":      {nil, ""}, // The entry point of AWS's images starts an emulator where this is empty.
		"elsewhere, too": {[]string{"AWS_LAMBDA_RUNTIME_API="}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			wrapped := exec.CommandContext(t.Context(), "./idempotency-wrapper", "/bin/sh", "-c", `printf '%s|' "$AWS_LAMBDA_RUNTIME_API" "$@"`, "sh", "a b", "", "*", "-c")
			wrapped.Env = test.env
			out, err := wrapped.CombinedOutput()
			if want := test.want + "|a b||*|-c|"; err != nil || string(out) != want {
				t.Errorf("the runtime has %q (%v), want %q", out, err, want)
			}
		})
	}
}
