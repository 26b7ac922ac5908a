package main_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/config"
)

func TestHelpListsEverySetting(t *testing.T) {
	for _, arg := range []string{"--help", "-h", "help"} {
		// It must help where the environment is wrong, too.
		code, stdout, stderr := refused(t, []string{arg}, "IDEMPOTENCY_TTL=soon")
		if code != 0 || stderr != "" {
			t.Errorf("%s ended with %d and said %q", arg, code, stderr)
		}
		contains(t, stdout, "lambda-idempotency 1.2.3:", config.Help(), "Usage:")
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := refused(t, []string{"--version"})
	if code != 0 || stdout != "lambda-idempotency 1.2.3\n" || stderr != "" {
		t.Errorf("ended with %d: %q, %q", code, stdout, stderr)
	}
}

func TestUnknownArgument(t *testing.T) {
	code, stdout, stderr := refused(t, []string{"--port=1"})
	if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 {
		t.Errorf("ended with %d: %q, %q", code, stdout, stderr)
	}
	contains(t, stderr, `unknown argument "--port=1"`, "lambda-idempotency --help")
}

func TestStartIsOneLine(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]struct {
		env  []string
		want string
	}{
		"default":           {[]string{"HOME=" + dir}, "stores in the file " + dir + "/.cache/lambda-idempotency/records.db"},
		"in memory":         {[]string{"IDEMPOTENCY_STORE=memory"}, "stores in memory"},
		"in a file":         {[]string{"IDEMPOTENCY_STORE=file:" + dir + "/new/folder/x.db"}, "stores in the file " + dir + "/new/folder/x.db"},
		"disabled":          {[]string{"IDEMPOTENCY_DISABLED=true"}, "stores nothing, because IDEMPOTENCY_DISABLED is true"},
		"disabled, a table": {[]string{"IDEMPOTENCY_DISABLED=true", "IDEMPOTENCY_TABLE_NAME=records"}, "stores nothing, because IDEMPOTENCY_DISABLED is true"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := local(t, tt.env...)
			want := fmt.Sprintf("lambda-idempotency 1.2.3 listens on http://127.0.0.1:%d and %s\n", p.Port, tt.want)
			p.acquired("k")
			if got := p.Stdout.String(); got != want || p.Stderr.String() != "" {
				t.Errorf("said %q and %q, want %q", got, p.Stderr, want)
			}
		})
	}
}

func TestSignalsEndIt(t *testing.T) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			p := local(t)
			p.acquired("k")
			idle, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Port))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = idle.Close() }()

			answered := make(chan error, 1)
			go func() {
				_, _, err := p.call(context.WithoutCancel(t.Context()), http.MethodPost, "/acquire", `{"key":"k","wait_ms":60000}`)
				answered <- err
			}()
			time.Sleep(50 * time.Millisecond) // The call waits for the claim's end by now.

			start := time.Now()
			p.signal(s)
			if code := p.exit(patience); code != 0 || time.Since(start) > 2*time.Second {
				t.Errorf("ended with %d after %v", code, time.Since(start))
			}
			if err := <-answered; err != nil && !gone(err) {
				t.Errorf("the call that waited: %v", err)
			}
			if p.Stderr.String() != "" {
				t.Errorf("said %q", p.Stderr)
			}
		})
	}
}

func TestPortIsTaken(t *testing.T) {
	first := local(t)
	code, stdout, stderr := refused(t, nil, fmt.Sprintf("IDEMPOTENCY_PORT=%d", first.Port), "IDEMPOTENCY_STORE=memory")
	if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 {
		t.Errorf("ended with %d: %q, %q", code, stdout, stderr)
	}
	contains(t, stderr, fmt.Sprintf("cannot listen on port %d", first.Port), "address already in use", "set IDEMPOTENCY_PORT to a free one")
}

func TestBadValuesAreOneLineEach(t *testing.T) {
	code, stdout, stderr := refused(t, nil, "HOME=/tmp", "IDEMPOTENCY_TTL=soon", "IDEMPOTENCY_AUTH_TOKEN=my secret", "IDEMPOTENCY_TTLS=1s")
	want := `lambda-idempotency: IDEMPOTENCY_AUTH_TOKEN: use visible ASCII characters, which a header can carry
lambda-idempotency: IDEMPOTENCY_TTL="soon": use a duration from 1s to 87840h0m0s, as in 90s, 15m or 24h
lambda-idempotency: IDEMPOTENCY_TTLS is not a setting; did you mean IDEMPOTENCY_TTL? (lambda-idempotency --help lists all)
`
	if code != 1 || stdout != "" || stderr != want {
		t.Errorf("ended with %d: %q,\n%s", code, stdout, stderr)
	}
}

func TestFileCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	noRecords := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(noRecords, []byte(strings.Repeat("notes ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	used := filepath.Join(dir, "used.db")
	local(t, "IDEMPOTENCY_STORE=file:"+used)
	tests := map[string]struct {
		path string
		want []string
	}{
		"below a file":    {noRecords + "/records.db", []string{"cannot make the folder", "name a path that can be written"}},
		"cannot be made":  {"/proc/nowhere/records.db", []string{"cannot make the folder", "name a path that can be written"}},
		"a folder":        {dir, []string{"cannot open", "name a path that can be written"}},
		"something else":  {noRecords, []string{"is not a record file", "move this one away"}},
		"used by another": {used, []string{"is in use by another process", "name another file"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := refused(t, nil, "IDEMPOTENCY_STORE=file:"+tt.path)
			if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 {
				t.Errorf("ended with %d: %q, %q", code, stdout, stderr)
			}
			contains(t, stderr, append(tt.want, "lambda-idempotency: IDEMPOTENCY_STORE: ", tt.path)...)
		})
	}
}

func TestRecordsSurviveSIGKILL(t *testing.T) {
	store := "IDEMPOTENCY_STORE=file:" + filepath.Join(t.TempDir(), "records.db")
	p := local(t, store)
	token := p.acquired("done")
	if status, answer := p.post("/complete", `{"token":"`+token+`","result":{"paid":9007199254740993}}`); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	open := p.acquired("open")
	p.signal(syscall.SIGKILL)
	p.exit(patience)

	p = local(t, store)
	if _, answer := p.post("/acquire", `{"key":"done"}`); answer["status"] != "completed" || fmt.Sprint(answer["result"]) != "map[paid:9.007199254740992e+15]" {
		t.Errorf("the duplicate got %v", answer)
	}
	if _, answer := p.post("/acquire", `{"key":"open"}`); answer["status"] != "in_progress" {
		t.Errorf("another got %v", answer)
	}
	// Its holder is another process, and goes on.
	if status, answer := p.post("/complete", `{"token":"`+open+`"}`); status != http.StatusOK {
		t.Errorf("its holder got %d %v", status, answer)
	}
}
