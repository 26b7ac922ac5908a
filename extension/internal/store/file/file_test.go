package file_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/idempotency"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/file"
	"github.com/lambda-idempotency/lambda-idempotency/extension/internal/store/storetest"
)

func open(t *testing.T, path string, now func() time.Time) *file.Store {
	t.Helper()
	s, err := file.Open(path, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	paths := map[idempotency.Store]string{}
	var clock func() time.Time
	storetest.Run(t, storetest.Suite{
		Open: func(t *testing.T, now func() time.Time) idempotency.Store {
			path := filepath.Join(t.TempDir(), "records.db")
			s := open(t, path, now)
			paths[s], clock = path, now
			return s
		},
		// A second process takes the file over when the first has let go of it.
		Second: func(t *testing.T, first idempotency.Store) idempotency.Store {
			if err := first.(*file.Store).Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, paths[first], clock)
		},
	})
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	inUse := filepath.Join(dir, "in-use.db")
	open(t, inUse, time.Now)
	foreign := filepath.Join(dir, "foreign.txt")
	if err := os.WriteFile(foreign, []byte(strings.Repeat("not a database\n", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(dir, "small.txt")
	if err := os.WriteFile(small, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"held by another": {inUse, "in use by another process"},
		"another format":  {foreign, "is not a record file"},
		"too small":       {small, "is not a record file"},
		"a folder":        {dir, "cannot open"},
		"below a file":    {filepath.Join(foreign, "x"), "cannot make the folder"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := file.Open(c.path, time.Now)
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
				t.Fatalf("error %q should name the path and say %q", err, c.want)
			}
		})
	}
}
