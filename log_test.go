package headless

import (
	"errors"
	"testing"
)

// TestLogLine checks that values are quoted: an object's name may hold a line
// break where no API server has looked at it.
func TestLogLine(t *testing.T) {
	sink := logSink{}.WithValues("reflector", "pods").(logSink)
	got := sink.line("failed", []any{"err", errors.New("a\nb"), "n", 7, "odd"})
	if want := `failed reflector="pods" err="a\nb" n="7"`; got != want {
		t.Errorf("the line is %q, want %q", got, want)
	}
	if !sink.Enabled(0) || sink.Enabled(2) {
		t.Error("the wrong levels are enabled")
	}
}
