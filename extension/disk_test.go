package main_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/testenv"
)

// smallDisk is a file system of its own, with little space.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		testenv.Unavailable(t, "a small disk for this test needs root: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "512k")
	records, plug := filepath.Join(dir, "records.db"), filepath.Join(dir, "plug")
	if err := os.WriteFile(plug, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	p := local(t, "IDEMPOTENCY_STORE=file:"+records)
	first := p.acquired("first")

	// Fill it until the store refuses.
	result := strings.Repeat("x", 8<<10)
	var completed []string
	var refused map[string]any
	for i := range 1000 {
		key := fmt.Sprint("k", i)
		status, answer := p.post("/acquire", `{"key":"`+key+`"}`)
		if status == http.StatusOK {
			status, answer = p.post("/complete", fmt.Sprintf(`{"token":%q,"result":%q}`, answer["token"], result))
		}
		if status != http.StatusOK {
			refused = answer
			break
		}
		completed = append(completed, key)
	}
	if refused["status"] != 503.0 || refused["code"] != "store_unavailable" || len(completed) == 0 {
		t.Fatalf("after %d records: %v", len(completed), refused)
	}
	contains(t, refused["detail"].(string), records, "no space left on device", "see that its disk has space")

	// What is there can be read, and is whole.
	if _, answer := p.post("/acquire", `{"key":"`+completed[0]+`"}`); answer["result"] != result {
		t.Errorf("a duplicate got %v", answer)
	}

	if err := os.Remove(plug); err != nil {
		t.Fatal(err)
	}
	if status, answer := p.post("/complete", fmt.Sprintf(`{"token":%q,"result":1}`, first)); status != http.StatusOK {
		t.Errorf("with space again, the first claim got %d %v", status, answer)
	}
	p.acquired("last")
	for _, key := range completed {
		if _, answer := p.post("/acquire", `{"key":"`+key+`"}`); answer["status"] != "completed" || answer["result"] != result {
			t.Errorf("%s is lost: %v", key, answer["status"])
		}
	}

	// And after a restart.
	p.signal(syscall.SIGKILL)
	p.exit(patience)
	p = local(t, "IDEMPOTENCY_STORE=file:"+records)
	for _, key := range append(completed, "first") {
		if _, answer := p.post("/acquire", `{"key":"`+key+`"}`); answer["status"] != "completed" {
			t.Errorf("%s is lost: %v", key, answer["status"])
		}
	}
}

func TestDiskFullAtStart(t *testing.T) {
	dir := smallDisk(t, "16k")
	if err := os.WriteFile(filepath.Join(dir, "plug"), make([]byte, 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := refused(t, nil, "IDEMPOTENCY_STORE=file:"+filepath.Join(dir, "records.db"))
	if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 {
		t.Errorf("ended with %d: %q, %q", code, stdout, stderr)
	}
	contains(t, stderr, "records.db", "no space left on device")
}
