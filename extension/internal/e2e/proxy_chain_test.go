package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/emulator"
)

// Two proxies, each an extension of its own name and ports: the runtime comes
// through the outer one, whose upstream is the inner one, which talks to Lambda.
// All extensions get the same variables, so a script sets each one's.
func TestProxiesChained(t *testing.T) {
	each(t, func(s *shop, c runtimeClient) {
		opt := layer(s.T)
		innerPort, outerPort := emulator.FreePort(s.T), emulator.FreePort(s.T)
		for name, settings := range map[string]string{
			"inner": fmt.Sprintf("IDEMPOTENCY_RUNTIME_PROXY_PORT=%d", innerPort),
			"outer": fmt.Sprintf("IDEMPOTENCY_RUNTIME_PROXY_PORT=%d IDEMPOTENCY_UPSTREAM_RUNTIME_API=127.0.0.1:%d", outerPort, innerPort),
		} {
			install(s.T, filepath.Join(built.extensions, "lambda-idempotency"), filepath.Join(opt, "copies", name))
			script := fmt.Sprintf("#!/bin/sh\nexport %s IDEMPOTENCY_SCOPE=%s IDEMPOTENCY_PORT=%d\nexec /opt/copies/%s\n", settings, name, emulator.FreePort(s.T), name)
			if err := os.WriteFile(filepath.Join(opt, "extensions", name), []byte(script), 0o755); err != nil { //nolint:gosec // It is a program.
				s.Fatal(err)
			}
		}
		if err := os.Remove(filepath.Join(opt, "extensions", "lambda-idempotency")); err != nil {
			s.Fatal(err)
		}
		dir, err := filepath.Abs("plain")
		if err != nil {
			s.Fatal(err)
		}
		e := s.deploy(emulator.Config{Command: c.command(s.T), Dir: dir, Opt: opt, Timeout: 5 * time.Second}, map[string]string{proxyPort: strconv.Itoa(outerPort)})
		first, second := s.order(e, "o", "return"), s.order(e, "o", "return")
		if first != second || first == "" {
			s.Errorf("first %s, second %s", first, second)
		}
		s.mustRun(1, "o", e)
		s.order(e, "e", "error")
		s.succeed(e, "e")
		s.mustRun(2, "e", e)
		// Each has its records.
		all, err := s.local.Client().Scan(s.Context(), &dynamodb.ScanInput{TableName: &s.table})
		if err != nil {
			s.Fatal(err)
		}
		if len(all.Items) != 4 {
			s.Errorf("the table has %d items: %v", len(all.Items), all.Items)
		}
	})
}
