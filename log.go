package headless

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/go-logr/logr"
)

var log = clog.NewWithPlugin(pluginName)

// sourceLogger returns a logger for the informer of a source. It writes to CoreDNS's log, and names
// the source if there are several.
func sourceLogger(source string) logr.Logger { return logr.New(logSink{source: source}) }

// logSink implements logr.LogSink.
type logSink struct {
	source string
	values []any
}

func (logSink) Init(logr.RuntimeInfo) {}

// Enabled drops the debug messages of client-go.
func (logSink) Enabled(level int) bool { return level == 0 }

func (s logSink) Info(_ int, msg string, values ...any) { log.Info(s.line(msg, values)) }

// Error logs an error, or a warning if err is nil.
func (s logSink) Error(err error, msg string, values ...any) {
	if err == nil {
		log.Warning(s.line(msg, values))
		return
	}
	log.Error(s.line(msg+": "+oneLine(err), values))
}

func (s logSink) WithValues(values ...any) logr.LogSink {
	return logSink{s.source, slices.Concat(s.values, values)}
}

func (s logSink) WithName(string) logr.LogSink { return s }

// line returns the message followed by its pairs of keys and values. It quotes the values, as
// some come from objects that anyone may create.
func (s logSink) line(msg string, values []any) string {
	var b strings.Builder
	b.WriteString(msg)
	for pair := range slices.Chunk(slices.Concat(s.values, values), 2) {
		if len(pair) == 2 {
			fmt.Fprintf(&b, " %v=%q", pair[0], fmt.Sprint(pair[1]))
		}
	}
	if s.source != "" && sources.several.Load() {
		fmt.Fprintf(&b, " source=%q", s.source)
	}
	return printable(b.String())
}

// warnf logs a warning as one line, whatever the arguments contain. It formats errors with
// oneLine.
func warnf(format string, args ...any) {
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			args[i] = oneLine(err)
		}
	}
	log.Warning(printable(fmt.Sprintf(format, args...)))
}

// oneLine returns the text of an error as one line. Semicolons replace the line breaks
// between joined errors.
func oneLine(err error) string {
	return printable(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// printable returns s with its unprintable characters escaped. The text of an error is not
// quoted: it may contain line breaks and control sequences of a terminal.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}
