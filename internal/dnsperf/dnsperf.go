// Package dnsperf runs the load generator of that name, for tests and benchmarks.
package dnsperf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// Load is a load of queries over UDP.
type Load struct {
	Names    []string
	Type     string // of the queries, such as "A"
	EDNS     uint16 // the size of a reply that the queries offer; zero is no EDNS
	Rate     int    // queries a second; zero is as many as possible
	Clients  int    // each has a socket; zero is one
	InFlight int    // queries in flight, of all clients
	Time     time.Duration
	Verbose  bool // report the latency of each query
}

// Command returns a command that sends the load to a server. It writes the queries to a
// file in dir, and the output goes to out, for [Wait].
func (l *Load) Command(addr, dir string, out *bytes.Buffer) (*exec.Cmd, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	packed, err := l.queries()
	if err != nil {
		return nil, err
	}
	queries := filepath.Join(dir, "queries")
	if err := os.WriteFile(queries, packed, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("dnsperf", "-s", host, "-p", port, "-B", "-d", queries, "-W", "-O", "suppress=timeout",
		"-c", strconv.Itoa(max(1, l.Clients)), "-q", strconv.Itoa(l.InFlight), "-t", "5", "-l", fmt.Sprint(l.Time.Seconds()))
	if l.Rate > 0 {
		cmd.Args = append(cmd.Args, "-Q", strconv.Itoa(l.Rate))
	}
	if l.Verbose {
		cmd.Args = append(cmd.Args, "-v")
	}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, nil
}

// queries returns the queries as on a TCP stream. Dnsperf sets their IDs. As text they
// could offer only the size that dnsperf knows.
func (l *Load) queries() ([]byte, error) {
	qtype, ok := dns.StringToType[l.Type]
	if !ok {
		return nil, fmt.Errorf("pack queries: no type %q", l.Type)
	}
	var out []byte
	for _, name := range l.Names {
		m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
		if l.EDNS > 0 {
			m.SetEdns0(l.EDNS, false)
		}
		packed, err := m.Pack()
		if err != nil {
			return nil, fmt.Errorf("pack query for %q: %w", name, err)
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(packed))), packed...)
	}
	return out, nil
}

// Outcome counts the queries of a load.
type Outcome struct {
	Sent      int
	Lost      int             // without a reply
	NoError   int             // with the rcode NOERROR
	NXDomain  int             // with the rcode NXDOMAIN
	Failed    int             // with another rcode
	Latencies []time.Duration // of the replies to a verbose load, sorted
}

// Wait waits for the end of a command and parses its output.
func Wait(cmd *exec.Cmd, out *bytes.Buffer) (Outcome, error) {
	if err := cmd.Wait(); err != nil {
		return Outcome{}, fmt.Errorf("run dnsperf: %w\n%s", err, out)
	}
	o, err := parse(out.String())
	if err != nil {
		return Outcome{}, fmt.Errorf("%w\n%s", err, out)
	}
	return o, nil
}

var (
	// dnsperf prints the number of interrupted queries only if there are any, and the
	// rcodes only if there are replies.
	countLine = regexp.MustCompile(`Queries (sent|lost|interrupted):\s+(\d+)`)
	rcodeLine = regexp.MustCompile(`Response codes:.*`)
	rcode     = regexp.MustCompile(`(\w+) (\d+) `)
	// A verbose dnsperf prints a line for each reply: its rcode, the query, and seconds.
	replyLine = regexp.MustCompile(`(?m)^> [A-Z]\w+ .* (\d+\.\d+)$`)
)

// parse parses the output of dnsperf. Queries that an interrupt cut short are not counted.
func parse(text string) (o Outcome, err error) {
	counts := make(map[string]int)
	for _, m := range countLine.FindAllStringSubmatch(text, -1) {
		counts[m[1]], _ = strconv.Atoi(m[2])
	}
	sent, ok1 := counts["sent"]
	lost, ok2 := counts["lost"]
	if !ok1 || !ok2 {
		return o, errors.New("parse output of dnsperf: no statistics")
	}
	o.Sent, o.Lost = sent-counts["interrupted"], lost
	for _, m := range rcode.FindAllStringSubmatch(rcodeLine.FindString(text), -1) {
		n, _ := strconv.Atoi(m[2])
		switch m[1] {
		case "NOERROR":
			o.NoError = n
		case "NXDOMAIN":
			o.NXDomain = n
		default:
			o.Failed += n
		}
	}
	for _, m := range replyLine.FindAllStringSubmatch(text, -1) {
		latency, err := time.ParseDuration(m[1] + "s")
		if err != nil {
			return o, fmt.Errorf("parse output of dnsperf: latency %q: %w", m[1], err)
		}
		o.Latencies = append(o.Latencies, latency)
	}
	slices.Sort(o.Latencies)
	return o, nil
}
