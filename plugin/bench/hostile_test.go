package main

import (
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	hostileSize        = 10_000 // pods of the service that the flood queries
	hostileClients     = 100
	hostileTime        = 5 * time.Second
	hostileConnections = 1000
)

// BenchmarkHostile measures a client that queries the pods of a small service, alone and
// beside hostile clients. The slowdown by a flood is only reported, as a machine with
// few processors has none to spare. Idle connections must not slow it down.
func BenchmarkHostile(b *testing.B) {
	needPrograms(b)
	c := startCluster(b, Services{Sizes: []int{hostileSize, 10}})
	large, small := &c.services[0], &c.services[1]
	names := queries[0].names(small)
	s := startServer(b, "headless", c.url, small.podFQDN(small.size-1))
	s.await(b, large.podFQDN(large.size-1), answered)

	b.Run("alone", func(b *testing.B) {
		withoutTime(b)
		p := startProbe(b, s, names)
		s.usage(b, hostileTime)
		timing := p.end()
		timing.report(b)
		timing.check(b)
	})
	for _, flood := range []*load{
		{names: []string{large.fqdn()}, qtype: "A", edns: 4096, clients: hostileClients},
		{names: []string{large.portFQDN()}, qtype: "SRV", edns: 4096, clients: hostileClients},
	} {
		b.Run("flood="+flood.qtype, func(b *testing.B) {
			withoutTime(b)
			end := flood.start(b, s, hostileTime)
			p := startProbe(b, s, names)
			o := end(false)
			timing := p.end()
			timing.report(b)
			b.ReportMetric(float64(o.Sent-o.Lost)/hostileTime.Seconds(), "flood/s")
			s.await(b, names[0], answered)
		})
	}
	b.Run("connections", func(b *testing.B) {
		withoutTime(b)
		before, _ := memory(b, s.Cmd)
		for i := range hostileConnections {
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			if i%2 == 0 { // only the first byte of a message's length
				if _, err := conn.Write([]byte{0}); err != nil {
					b.Fatal(err)
				}
			}
		}
		p := startProbe(b, s, names)
		s.usage(b, hostileTime)
		client := dns.Client{Net: "tcp", Timeout: longestPause}
		m, rtt, err := client.Exchange(new(dns.Msg).SetQuestion(names[0], dns.TypeA), s.addr)
		if err != nil || !answered(m) {
			b.Errorf("query over TCP: %v, %v", m, err)
		}
		timing := p.end()
		timing.report(b)
		timing.check(b)
		after, _ := memory(b, s.Cmd)
		b.ReportMetric(milliseconds(rtt), "tcp-ms")
		b.ReportMetric(after-before, "more-MB")
	})
}
