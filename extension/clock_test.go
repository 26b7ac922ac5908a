package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/extapi/extapitest"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv/program"
)

// jumpingClock is the source of a clock that is off by what a file says.
const jumpingClock = `package main

import (
	"os"
	"time"
)

func jumpingNow() time.Time {
	text, err := os.ReadFile(os.Getenv("TEST_CLOCK"))
	if err != nil {
		panic(err)
	}
	off, err := time.ParseDuration(string(text))
	if err != nil {
		panic(err)
	}
	return time.Now().Add(off)
}
`

// buildWithJumpingClock builds the program as it is, but for the clock that it
// is wired to.
func buildWithJumpingClock(t *testing.T) (path string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wiring, err := os.ReadFile("sidecar.go")
	if err != nil {
		t.Fatal(err)
	}
	const clock = "time.Now"
	if n := strings.Count(string(wiring), clock); n < 6 {
		t.Fatalf("the wiring names the clock %d times", n)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(here, "sidecar.go"): write("sidecar.go", strings.ReplaceAll(string(wiring), clock, "jumpingNow")),
		filepath.Join(here, "jump.go"):    write("jump.go", jumpingClock),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if path, err = program.Build(t.Context(), dir, "-overlay", write("overlay.json", string(overlay))); err != nil {
		t.Fatal(err)
	}
	return path
}

// Between two requests the clock jumps by an hour: forward because the
// environment was frozen, or restored from a snapshot; back because it was wrong.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	binary := buildWithJumpingClock(t)
	for name, jump := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, api := newTable(t), extapitest.New()
			clock := filepath.Join(t.TempDir(), "clock")
			off := func(d time.Duration) {
				t.Helper()
				if err := os.WriteFile(clock+".new", []byte(d.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(clock+".new", clock); err != nil {
					t.Fatal(err)
				}
			}
			off(0)
			p := start(t, []string{binary}, lambdaEnv(api.Start(t), table.env("TEST_CLOCK="+clock)...)...)
			p.token = session
			api.AwaitNext(t)

			const timeout = 9 * time.Second
			api.Invoke(t, "a", time.Now().Add(timeout))
			api.AwaitNext(t)
			claim := map[string]map[string]any{}
			for key, lease := range map[string]string{
				"left open":  fmt.Sprintf(`"deadline_ms":%d`, inMS(timeout)),
				"lasts 24 h": `"lease_ms":60000`,
				"lasts 30 m": `"lease_ms":60000,"ttl_seconds":1800`,
				"held 30 m":  `"lease_ms":1800000,"detached":true`,
				"held 2 h":   `"lease_ms":7200000,"detached":true`,
			} {
				claim[key] = p.must("acquired", "/acquire", `{"key":%q,"request_id":"a",%s}`, key, lease)
			}
			for _, key := range []string{"lasts 24 h", "lasts 30 m"} {
				p.must("completed", "/complete", `{"token":%q,"result":1}`, claim[key]["token"])
			}

			off(jump)
			deadline := inMS(jump + timeout)
			api.Invoke(t, "b", time.UnixMilli(deadline))
			api.AwaitNext(t)
			again := func(key, status string) map[string]any {
				t.Helper()
				return p.must(status, "/acquire", `{"key":%q,"request_id":"b","deadline_ms":%d,"wait_ms":3000}`, key, deadline)
			}
			later := func(key string, attempt float64) {
				t.Helper()
				got := again(key, "acquired")
				if got["attempt"] != attempt || got["fence"].(float64) <= claim[key]["fence"].(float64) {
					t.Errorf("%s: the next run got %v, the first %v", key, got, claim[key])
				}
				p.must("completed", "/complete", `{"token":%q,"result":2}`, got["token"])
			}
			later("left open", 2)
			again("lasts 24 h", "completed")
			if jump > 0 {
				later("lasts 30 m", 1)
				later("held 30 m", 2)
				a := <-p.going("/complete", `{"token":%q,"result":"late"}`, claim["held 30 m"]["token"])
				if a.status != http.StatusConflict || a.body["code"] != "claim_lost" {
					t.Errorf("the late end was answered %s", a)
				}
				if got := again("held 30 m", "completed"); got["result"] != 2.0 {
					t.Errorf("a duplicate got %v", got)
				}
			} else {
				again("lasts 30 m", "completed")
				p.must("completed", "/complete", `{"token":%q}`, claim["held 30 m"]["token"])
			}
			again("held 2 h", "in_progress")
			p.must("completed", "/complete", `{"token":%q}`, claim["held 2 h"]["token"])

			// Where the handler says nothing, the claim holds for the function's timeout.
			got := p.must("acquired", "/acquire", `{"key":"new"}`)
			if left := time.UnixMilli(int64(got["lease_expires_at"].(float64))).Sub(time.Now().Add(jump)); left > timeout+time.Second || left < 0 {
				t.Errorf("a new claim holds for %v", left)
			}
		})
	}
}
