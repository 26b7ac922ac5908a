package program_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

var binary string

func TestMain(m *testing.M) { os.Exit(program.Main(m, &binary)) }

func TestProcess(t *testing.T) {
	serve := func(t *testing.T, env ...string) (*program.Process, error) {
		t.Helper()
		p, err := program.Serve(t.Context(), t.TempDir(), []string{binary}, env...)
		if err == nil {
			t.Cleanup(func() { p.Kill() })
		}
		return p, err
	}
	serving := func(t *testing.T) *program.Process {
		t.Helper()
		p, err := serve(t, "IDEMPOTENCY_STORE=memory")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}

	t.Run("is killed and started again on its port", func(t *testing.T) {
		p := serving(t)
		first := p.Pid()
		if !p.Kill() {
			t.Error("it is said to have ended by itself")
		}
		if err := p.Restart(); err != nil {
			t.Fatal(err)
		}
		said := fmt.Sprintf("lambda-idempotency %s listens on %s ", program.Version, p.URL())
		for end := time.Now().Add(30 * time.Second); strings.Count(p.Printed(), said) < 2; time.Sleep(2 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("it printed %s", p.Printed())
			}
		}
		res, err := http.Get(p.URL() + "/health")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if p.Pid() == first {
			t.Error("it is the same process")
		}
	})
	t.Run("ends by itself", func(t *testing.T) {
		p := serving(t)
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-p.Ended()
		if p.Kill() || p.ExitCode() != 0 {
			t.Errorf("it is said to have been killed, and ended with %d", p.ExitCode())
		}
	})
	t.Run("cannot start", func(t *testing.T) {
		if _, err := serve(t, "IDEMPOTENCY_STORE=nonsense"); err == nil || !strings.Contains(err.Error(), "IDEMPOTENCY_STORE") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("has a port that stays taken", func(t *testing.T) {
		port := fmt.Sprintf("IDEMPOTENCY_PORT=%d", serving(t).Port)
		if _, err := serve(t, port, "IDEMPOTENCY_STORE=memory"); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("got %v", err)
		}
	})
}
