package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	relists = 10
	// memoryRoom is the limit of a server's memory as a multiple of its settled memory.
	memoryRoom = 1.5
	// longestPause is generous, as this program and the stand-in share the processors.
	longestPause = time.Second
	refusedTime  = 2 * time.Second
)

// BenchmarkRelist makes a server relist 100,000 pods several times, under queries and
// with little memory. A server that held all objects twice during a relist would be
// killed, and all servers of a cluster relist at once.
func BenchmarkRelist(b *testing.B) {
	needPrograms(b)
	c := startCluster(b, Services{Sizes: slices.Repeat([]int{scalePods}, scaleServices)})
	var names []string
	for i := 0; i < len(c.services); i += 10 {
		names = append(names, queries[0].names(&c.services[i])...)
	}
	last := c.services[scaleServices-1]
	var settled float64
	b.Run("start", func(b *testing.B) {
		withoutTime(b)
		s := startServer(b, "headless", c.url, last.podFQDN(last.size-1))
		settled = s.settle(b)
		endProcess(b, s.Cmd)
	})
	if settled == 0 {
		return // -bench excludes the start
	}
	room := settled * memoryRoom
	s := startServer(b, "headless", c.url, last.podFQDN(last.size-1), fmt.Sprintf("GOMEMLIMIT=%dKiB", int(room*1024)))
	s.quiet(b, 0, func() bool { return true }, time.Now())
	b.Run("watches-end", func(b *testing.B) {
		s.relists(b, c, names, room, relists, func() { call(b, c, "Relist", struct{}{}, &struct{}{}) })
	})
	b.Run("restart", func(b *testing.B) {
		s.relists(b, c, names, room, 1, func() {
			call(b, c, "Stop", struct{}{}, &struct{}{})
			refused := time.NewTimer(refusedTime)
			defer refused.Stop()
			<-refused.C
			call(b, c, "Start", struct{}{}, &struct{}{})
		})
	})
}

// relists makes the server relist n times under queries, each time after the previous
// relist is over.
func (s *server) relists(b *testing.B, c *cluster, names []string, room float64, n int, relist func()) {
	b.Helper()
	withoutTime(b)
	light := &load{rate: 1000, names: names, qtype: "A", edns: 4096}
	end := light.start(b, s, time.Duration(n)*patience)
	p := startProbe(b, s, names)
	idle := s.usage(b, quietTime)
	s.resetPeak(b)
	var longest time.Duration
	for range n {
		lists, began := c.listed(b, "pods"), time.Now()
		relist()
		took, _ := s.quiet(b, idle, func() bool { return c.listed(b, "pods") > lists }, began)
		longest = max(longest, took)
	}
	timing := p.end()
	if o := end(true); o.Sent == 0 || o.NoError != o.Sent {
		b.Errorf("of %d queries, %d were answered", o.Sent, o.NoError)
	}
	timing.report(b)
	timing.check(b)
	_, peak := memory(b, s.Cmd)
	b.ReportMetric(longest.Seconds(), "relist-s")
	b.ReportMetric(peak, "peak-MB")
	b.ReportMetric(room, "room-MB")
	if peak > room {
		b.Errorf("peak memory: %.1f MB, want at most %.1f", peak, room)
	}
}

// usage returns the share of a processor that the server uses over a time.
func (s *server) usage(b *testing.B, d time.Duration) float64 {
	b.Helper()
	before := s.cpu(b)
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
	return float64(s.cpu(b)-before) / float64(d)
}
