package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/dnsperf"
)

// load is a run of dnsperf.
type load struct {
	rate    int // queries a second; zero is as many as possible with 20 in flight
	names   []string
	qtype   string
	edns    uint16 // the size of a reply that the queries offer; zero is no EDNS
	clients int    // each has a socket, and 20 queries in flight; zero is one
	verbose bool   // the outcome has the latencies
}

// run runs dnsperf against a server for the given time.
func (l *load) run(b *testing.B, s *server, d time.Duration) dnsperf.Outcome {
	b.Helper()
	return l.start(b, s, d)(false)
}

// start starts dnsperf for the given time. The returned function waits for its end, or
// ends it now.
func (l *load) start(b *testing.B, s *server, d time.Duration) (end func(now bool) dnsperf.Outcome) {
	b.Helper()
	clients := max(1, l.clients)
	queries := dnsperf.Load{
		Names: l.names, Type: l.qtype, EDNS: l.edns, Rate: l.rate, Clients: clients, InFlight: 20 * clients, Time: d, Verbose: l.verbose,
	}
	var out bytes.Buffer
	cmd, err := queries.Command(s.addr, b.TempDir(), &out)
	if err != nil {
		b.Fatal(err)
	}
	startProcess(b, cmd)
	return func(now bool) dnsperf.Outcome {
		if now {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				b.Fatal(err)
			}
		}
		o, err := dnsperf.Wait(cmd, &out)
		if err != nil {
			b.Fatal(err)
		}
		return o
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
			(&load{names: []string{floorName}, qtype: "A", edns: 4096}).measure(b, w.servers["floor"], dns.RcodeSuccess)
		})
		for i := range w.services {
			s := &w.services[i]
			if !slices.Contains(fewSizes, s.size) {
				continue
			}
			for _, name := range onEndpoints {
				b.Run(fmt.Sprintf("query=%s/n=%d/plugin=%s", q.name, s.size, name), func(b *testing.B) {
					(&load{names: q.names(s), qtype: dns.TypeToString[q.qtype], edns: 4096}).measure(b, w.servers[name], dns.RcodeSuccess)
				})
			}
		}
	}
}

// measure reports the CPU time of a server for each query that it answers. All replies
// must have the wanted rcode, but for one in a hundred.
func (l *load) measure(b *testing.B, s *server, rcode int) {
	withoutTime(b)
	before := s.cpu(b)
	o := l.run(b, s, time.Second)
	used := s.cpu(b) - before
	right := o.NoError
	if rcode == dns.RcodeNameError {
		right = o.NXDomain
	}
	if o.Sent == 0 || right < o.Sent*99/100 {
		b.Fatalf("%s: of %d queries, %d were lost and %d had %s", s.plugin, o.Sent, o.Lost, right, dns.RcodeToString[rcode])
	}
	b.ReportMetric(float64(used.Nanoseconds())/1000/float64(o.Sent-o.Lost), "cpu-µs/query")
}
