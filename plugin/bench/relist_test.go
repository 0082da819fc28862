package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	relists = 10
	// memoryRoom is how much more a server may have than it settles at: a limit of
	// the container would be there.
	memoryRoom = 1.5
	// longestPause is generous: this program and the stand-in have the processors,
	// too.
	longestPause = time.Second
	refusedTime  = 2 * time.Second
)

// BenchmarkRelist makes a server in a cluster of 100,000 pods list everything anew
// again and again, under queries, with little room for memory. A server that holds
// all objects twice meanwhile is killed then, and they all are at once.
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
		return // not asked for
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

// relists makes the server list anew n times under queries, each time when it has
// done with the one before.
func (s *server) relists(b *testing.B, c *cluster, names []string, room float64, n int, relist func()) {
	b.Helper()
	withoutTime(b)
	light := &load{rate: 1000, names: names, qtype: "A"}
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
	if o := end(true); o.sent == 0 || o.noError != o.sent {
		b.Errorf("of %d queries, %d had an answer", o.sent, o.noError)
	}
	timing.report(b)
	timing.check(b)
	_, peak := memory(b, s.Cmd)
	b.ReportMetric(longest.Seconds(), "relist-s")
	b.ReportMetric(peak, "peak-MB")
	b.ReportMetric(room, "room-MB")
	if peak > room {
		b.Errorf("the server had %.1f MB, which is more than %.1f", peak, room)
	}
}

// usage is how much of a processor a server uses, for so long.
func (s *server) usage(b *testing.B, d time.Duration) float64 {
	b.Helper()
	before := s.cpu(b)
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
	return float64(s.cpu(b)-before) / float64(d)
}
