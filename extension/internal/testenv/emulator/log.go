package emulator

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// logBuffer is written by the goroutine that copies the output and read by tests.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Log returns everything that the emulator, the function and the extensions have printed so far.
func (e *Emulator) Log() string { return e.log.String() }

// WaitLog waits until the log contains a text: output arrives through a pipe, a little after what caused it.
func (e *Emulator) WaitLog(tb testing.TB, text string, limit time.Duration) {
	tb.Helper()
	for deadline := time.Now().Add(limit); !strings.Contains(e.Log(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("the log has no %q after %v", text, limit)
		}
	}
}
