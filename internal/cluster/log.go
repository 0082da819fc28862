package cluster

import (
	"bytes"
	"log"
	"os"
	"sync"
	"testing"
)

// CaptureLog collects the log of this process until the test ends, and returns a function that
// returns the log so far.
func CaptureLog(t testing.TB) func() string {
	t.Helper()
	l := new(capturedLog)
	log.SetOutput(l)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	return l.String
}

// capturedLog is a buffer that the log writes while a test reads.
type capturedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *capturedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *capturedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
