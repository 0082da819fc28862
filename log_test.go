package headless

import (
	"bytes"
	"errors"
	"fmt"
	golog "log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/coredns/caddy"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestLogLine checks that values are quoted. The name of an object may contain a line break if
// no API server has validated it.
func TestLogLine(t *testing.T) {
	sink := logSink{}.WithValues("reflector", "pods").(logSink)
	got := sink.line("failed", []any{"err", errors.New("a\nb"), "n", 7, "odd"})
	if want := `failed reflector="pods" err="a\nb" n="7"`; got != want {
		t.Errorf("got line %q, want %q", got, want)
	}
	if !sink.Enabled(0) || sink.Enabled(2) {
		t.Errorf("got level 0 enabled %t and level 2 enabled %t, want true and false", sink.Enabled(0), sink.Enabled(2))
	}
}

// hostile are texts that an object may contain if no API server has validated it.
var hostile = []string{
	"a\nb", "a\r\n2026/01/01 00:00:00 [INFO] plugin/headless: all is well", "\x00", "\t", "\x1b[2J\x1b]0;title\a", "\u0085\u2028\u2029", "\u202e", "\xff\xfe",
	`"quoted" 'and' \ not`, `kind="pods"`, "%s%d%!n(MISSING)", strings.Repeat("x", 1<<16),
}

// logged returns what f writes to the log.
func logged(t *testing.T, f func()) string {
	t.Helper()
	var b bytes.Buffer
	golog.SetOutput(&b)
	defer golog.SetOutput(os.Stderr)
	f()
	golog.SetOutput(os.Stderr) // so that no goroutine writes to b below
	return b.String()
}

// checkLine checks that a text is one line of the level, and all of it printable.
func checkLine(t *testing.T, text, level string) {
	t.Helper()
	line, rest, ended := strings.Cut(text, "\n")
	if !ended || rest != "" || !strings.Contains(line, " ["+level+"] plugin/headless: ") {
		t.Errorf("got log %q, want one line of level %s", text, level)
	}
	if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("got the unprintable %q in the log", line[i:])
	}
}

// TestLoggerInjection checks that the logger writes one line, whatever is in a message, an error
// or a value.
func TestLoggerInjection(t *testing.T) {
	for _, text := range hostile {
		l := sourceLogger("").WithValues("reflector", text)
		checkLine(t, logged(t, func() { l.Info("message", "name", text) }), "INFO")
		checkLine(t, logged(t, func() { l.Info(text) }), "INFO")
		line := logged(t, func() { l.Error(errors.New(text), "message", "object", fmt.Errorf("%s", text)) })
		checkLine(t, line, "ERROR")
		checkLine(t, logged(t, func() { l.Error(nil, "message", "name", text) }), "WARNING")
		if strings.Count(text, "%") == 0 && strings.Contains(line, "%") {
			t.Errorf("%q was used as a format: %q", text, line)
		}
		if want := fmt.Sprintf("object=%q\n", text); !strings.HasSuffix(line, want) {
			t.Errorf("got line %q, want the end %q", line, want)
		}
	}
}

// TestWarnfInjection checks that warnf writes one line, whatever is in its arguments, and that
// joined errors are one line.
func TestWarnfInjection(t *testing.T) {
	for _, text := range hostile {
		line := logged(t, func() { warnf("%s: %v", text, fmt.Errorf("notify %s: %w", text, errors.New(text))) })
		checkLine(t, line, "WARNING")
	}
	line := logged(t, func() {
		warnf("notify: %v", errors.Join(errors.New("a"), fmt.Errorf("b: %w", errors.Join(errors.New("c"), errors.New("d")))))
	})
	checkLine(t, line, "WARNING")
	if want := "notify: a; b: c; d\n"; !strings.HasSuffix(line, want) {
		t.Errorf("got line %q, want the end %q", line, want)
	}
	line = logged(t, func() { sourceLogger("").Error(errors.Join(errors.New("a"), errors.New("b")), "read") })
	if want := "read: a; b\n"; !strings.HasSuffix(line, want) {
		t.Errorf("got line %q, want the end %q", line, want)
	}
}

// TestManifestInjection checks that the errors of an object are one line each, wherever in the
// object a hostile text is.
func TestManifestInjection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	for _, object := range []string{
		`{apiVersion: v1, kind: Service, metadata: {name: %q}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: a, namespace: %q}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: a, labels: {a: %q}, annotations: {a: %[1]q}}, spec: {ports: [{name: %[1]q}]}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: a, labels: {%q: a}, annotations: {%[1]q: a}}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: a}, %q: a, %[1]q: b}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {hostname: %q}}`,
		`{apiVersion: v1, kind: %q, metadata: {name: a}}`,
		`{apiVersion: %q, kind: Pod, metadata: {name: a}}`,
		`%s`,
	} {
		for _, text := range hostile {
			if err := os.WriteFile(path, fmt.Appendf(nil, object, text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil { // a start reads a recent file twice
				t.Fatal(err)
			}
			s, err := parse(caddy.NewTestController("dns", "headless cluster.local {\nmanifests "+path+"\n}"))
			if err != nil {
				t.Fatal(err)
			}
			lines := logged(t, func() {
				h, err := newHeadless(s, new(lifetime))
				if err != nil { // log it as the informer does for a file that was good before
					sourceLogger("").Error(err, "manifest can't be read; its last good state is served")
					return
				}
				h.source.start()
				<-h.source.informer.Synced()
				h.stop()
			})
			// One line may have the unknown fields, and another what is served.
			for line := range strings.Lines(lines) {
				level := "INFO"
				for _, other := range []string{"WARNING", "ERROR"} {
					if strings.Contains(line, " ["+other+"] ") {
						level = other
					}
				}
				checkLine(t, line, level)
			}
			if n := strings.Count(lines, "\n"); n < 1 || n > 2 {
				t.Errorf("%q in %s: got %d lines of log, want 1 or 2: %q", text, object, n, lines)
			}
		}
	}
}

// TestStartLog checks that a start logs one line about each source, and that a reload which keeps
// the source logs none.
func TestStartLog(t *testing.T) {
	r := newRig(t)
	r.put()
	line := regexp.MustCompile(`\[INFO\] plugin/headless: serving (\d+ services with \d+ ready endpoints) from (.*), after [0-9.]+m?s; ` + regexp.QuoteMeta(built.String()) + "\n")
	text := logged(t, func() {
		r.start(t, "")
		r.reload(t, r.corefile("ttl 7"), "")
	})
	if lines := line.FindAllStringSubmatch(text, -1); len(lines) != 1 || lines[0][1] != "1 services with 1 ready endpoints" || lines[0][2] != "the API server "+r.api.URL {
		t.Errorf("got log %q, want one line about 1 service", text)
	}
	if strings.Contains(text, "source=") {
		t.Errorf("got log %q, which names the only source", text)
	}
	text = logged(t, func() {
		r.reload(t, r.corefiles("ttl 7", "namespaces default"), "")
		r.api.Close()
		await(t, func() float64 { return testutil.ToFloat64(failingWatches.WithLabelValues("pods")) }, 2)
	})
	for _, want := range []string{
		"can't watch ", ": connection refused (serving what was known at ",
		`source="the API server ` + r.api.URL + `"`, `source="the API server ` + r.api.URL + `, namespaces default"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got log %q, want %q in it", text, want)
		}
	}
}
