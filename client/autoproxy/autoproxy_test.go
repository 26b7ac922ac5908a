package autoproxy_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	_ "github.com/lambda-idempotency/lambda-idempotency/client/autoproxy"
)

// The test runs itself as a function that has the import.
func TestMain(m *testing.M) {
	if os.Getenv("AS_FUNCTION") != "" {
		address, set := os.LookupEnv("AWS_LAMBDA_RUNTIME_API")
		_, _ = os.Stdout.WriteString(strings.Join([]string{map[bool]string{true: "set", false: "unset"}[set], address}, " "))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestRuntimeAPI(t *testing.T) {
	for name, test := range map[string]struct {
		env  []string
		want string
	}{
		"in Lambda":             {[]string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001"}, "set 127.0.0.1:2775"},
		"on another port":       {[]string{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001", "IDEMPOTENCY_RUNTIME_PROXY_PORT=3999"}, "set 127.0.0.1:3999"},
		"outside Lambda":        {nil, "unset "},
		"outside, with a port":  {[]string{"IDEMPOTENCY_RUNTIME_PROXY_PORT=3999"}, "unset "},
		"with an empty address": {[]string{"AWS_LAMBDA_RUNTIME_API="}, "set "},
	} {
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), program)
		c.Env = slices.Concat([]string{"AS_FUNCTION=1"}, test.env)
		if out, err := c.Output(); err != nil || string(out) != test.want {
			t.Errorf("%s: %q %v, want %q", name, out, err, test.want)
		}
	}
}
