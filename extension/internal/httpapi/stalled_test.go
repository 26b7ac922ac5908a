package httpapi_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// A big body whose caller has stopped does not keep other callers' from being read.
func TestStalledBodyGivesWay(t *testing.T) {
	s := serve(t)
	stalled := s.postText("/acquire", fmt.Sprintf(`{"key":"stalled","payload":%q}`, strings.Repeat("x", 600_000)))
	if _, err := io.WriteString(s.dial(), stalled[:400_000]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	start := time.Now()
	s.raw(s.postText("/acquire", fmt.Sprintf(`{"key":"next","payload":%q}`, strings.Repeat("x", 300_000)))).want("acquired")
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("the next one was answered after %v", took)
	}
}
