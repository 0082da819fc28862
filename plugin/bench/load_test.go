package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// load is a run of dnsperf.
type load struct {
	rate    int // queries a second; zero is as many as possible with 20 in flight
	names   []string
	qtype   string
	clients int // each has a socket, and 20 queries in flight; zero is one
}

// outcome counts the queries of a load.
type outcome struct {
	sent, lost, noError int
}

// run runs dnsperf against a server for the given time.
func (l *load) run(b *testing.B, s *server, d time.Duration) outcome {
	b.Helper()
	return l.start(b, s, d)(false)
}

// start starts dnsperf for the given time. The returned function waits for its end, or
// ends it now.
func (l *load) start(b *testing.B, s *server, d time.Duration) (end func(now bool) outcome) {
	b.Helper()
	questions := filepath.Join(b.TempDir(), "questions")
	text := strings.Join(l.names, " "+l.qtype+"\n") + " " + l.qtype + "\n"
	if err := os.WriteFile(questions, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(s.addr)
	cmd := exec.Command("dnsperf", "-s", host, "-p", port, "-d", questions, "-e", "-W", "-O", "suppress=timeout",
		"-c", strconv.Itoa(max(1, l.clients)), "-q", strconv.Itoa(20*max(1, l.clients)), "-t", "5", "-l", strconv.Itoa(int(d.Seconds())))
	if l.rate > 0 {
		cmd.Args = append(cmd.Args, "-Q", strconv.Itoa(l.rate))
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	startProcess(b, cmd)
	return func(now bool) outcome {
		if now {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				b.Fatal(err)
			}
		}
		if err := cmd.Wait(); err != nil {
			b.Fatalf("dnsperf: %v\n%s", err, &out)
		}
		o, err := parseOutcome(out.String())
		if err != nil {
			b.Fatalf("dnsperf: %v\n%s", err, &out)
		}
		return o
	}
}

var (
	sentLine = regexp.MustCompile(`Queries sent:\s+(\d+)`)
	// Queries in flight when dnsperf is interrupted. Without any, the line is missing.
	openLine = regexp.MustCompile(`Queries interrupted:\s+(\d+)`)
	lostLine = regexp.MustCompile(`Queries lost:\s+(\d+)`)
	codeLine = regexp.MustCompile(`Response codes:.*NOERROR (\d+)`)
)

// parseOutcome parses the output of dnsperf.
func parseOutcome(text string) (o outcome, err error) {
	var open int
	for line, to := range map[*regexp.Regexp]*int{sentLine: &o.sent, lostLine: &o.lost, openLine: &open, codeLine: &o.noError} {
		m := line.FindStringSubmatch(text)
		if m == nil && line != codeLine && line != openLine {
			return o, fmt.Errorf("no line matches %s", line)
		}
		if m != nil {
			*to, _ = strconv.Atoi(m[1])
		}
	}
	o.sent -= open
	return o, nil
}

func TestOutcome(t *testing.T) {
	text := "Statistics:\n\n  Queries sent:         7500\n  Queries completed:    7499 (99.99%)\n  Queries lost:         1 (0.01%)\n\n" +
		"  Response codes:       NOERROR 7490 (99.87%), NXDOMAIN 9 (0.12%)\n"
	if o, err := parseOutcome(text); err != nil || o != (outcome{7500, 1, 7490}) {
		t.Errorf("parseOutcome: %+v, %v", o, err)
	}
	text = strings.Replace(text, "  Queries lost:", "  Queries interrupted:  3 (0.04%)\n  Queries lost:", 1)
	if o, err := parseOutcome(text); err != nil || o != (outcome{7497, 1, 7490}) {
		t.Errorf("parseOutcome with queries in flight: %+v, %v", o, err)
	}
	if o, err := parseOutcome("Error"); err == nil {
		t.Errorf("parseOutcome without statistics: got %+v, want an error", o)
	}
}

// BenchmarkProcess measures the CPU time a query in a saturated server with 20 queries in
// flight, including the kernel's time for it. Each run measures all servers in turn, and
// the floor with each kind of query. So a machine that gets slower does so for all of
// them.
func BenchmarkProcess(b *testing.B) {
	w := startWorld(b)
	for _, q := range queries[:3] {
		b.Run("query="+q.name+"/plugin=floor", func(b *testing.B) {
			(&load{names: []string{floorName}, qtype: "A"}).measure(b, w.servers["floor"])
		})
		for i := range w.services {
			s := &w.services[i]
			if !slices.Contains(fewSizes, s.size) {
				continue
			}
			for _, name := range onEndpoints {
				b.Run(fmt.Sprintf("query=%s/n=%d/plugin=%s", q.name, s.size, name), func(b *testing.B) {
					(&load{names: q.names(s), qtype: dns.TypeToString[q.qtype]}).measure(b, w.servers[name])
				})
			}
		}
	}
}

func (l *load) measure(b *testing.B, s *server) {
	withoutTime(b)
	before := s.cpu(b)
	o := l.run(b, s, time.Second)
	used := s.cpu(b) - before
	if o.sent == 0 || o.noError < o.sent*99/100 {
		b.Fatalf("%s: of %d queries, %d were lost and %d were answered", s.plugin, o.sent, o.lost, o.noError)
	}
	b.ReportMetric(float64(used.Nanoseconds())/1000/float64(o.sent), "cpu-µs/query")
}
