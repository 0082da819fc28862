package main

import (
	"slices"
	"testing"
	"time"
)

// The cluster of the benchmarks at scale.
const (
	scaleServices = 1000
	scalePods     = 100 // pods of each service
)

// podKinds are the compared servers. Both watch all pods.
var podKinds = []string{"headless", "verified"}

// BenchmarkScale starts a server in a cluster of 100,000 pods, and makes it relist while
// it serves.
func BenchmarkScale(b *testing.B) {
	needPrograms(b)
	c := startCluster(b, Services{Sizes: slices.Repeat([]int{scalePods}, scaleServices)})
	names := queries[0].names(&c.services[0])
	for i := 1; i < len(c.services); i += 10 {
		names = append(names, queries[0].names(&c.services[i])...)
	}
	for _, name := range podKinds {
		var s *server
		b.Run("start/plugin="+name, func(b *testing.B) {
			withoutTime(b)
			last := c.services[scaleServices-1]
			began := time.Now()
			s = startServer(b, name, c.url, last.podFQDN(last.size-1))
			b.ReportMetric(time.Since(began).Seconds(), "ready-s")
			b.ReportMetric(s.cpu(b).Seconds(), "cpu-s")
			s.settle(b)
		})
		b.Run("relist/plugin="+name, func(b *testing.B) {
			if s == nil {
				b.Skip("the server was not started")
			}
			withoutTime(b)
			s.relist(b, c, names)
		})
		if s != nil {
			endProcess(b, s.Cmd)
		}
	}
}

const (
	settleTime = 10 * time.Second
	sampleTime = 100 * time.Millisecond
	quietTime  = 2 * time.Second // before a relist
	patience   = 2 * time.Minute // for a relist
)

// settle reports the peak of memory and the settled memory, which it returns. An idle
// server may keep garbage for minutes, so settle collects it, twice: the second
// collection frees what the first removed from pools. After that the runtime returns
// memory bit by bit. Settled is the median of the last quarter of ten seconds.
func (s *server) settle(b *testing.B) (settled float64) {
	b.Helper()
	s.quiet(b, 0, func() bool { return true }, time.Now())
	_, peak := memory(b, s.Cmd)
	s.collect(b)
	s.collect(b)
	tick := time.NewTicker(sampleTime)
	defer tick.Stop()
	var samples []float64
	for range settleTime / sampleTime {
		<-tick.C
		now, _ := memory(b, s.Cmd)
		samples = append(samples, now)
	}
	samples = samples[len(samples)*3/4:]
	slices.Sort(samples)
	settled = samples[len(samples)/2]
	peak = max(peak, settled) // a small server may grow
	b.ReportMetric(peak, "peak-MB")
	b.ReportMetric(settled, "settled-MB")
	b.ReportMetric(peak/settled, "peak/settled")
	return settled
}

// relist measures a relist under queries. The relist is over when every list was sent and
// the server is as idle as before.
func (s *server) relist(b *testing.B, c *cluster, names []string) {
	b.Helper()
	light := &load{rate: 1000, names: names, qtype: "A", edns: 4096}
	before := s.cpu(b)
	if o := light.run(b, s, quietTime); o.NoError != o.Sent {
		b.Errorf("%s: of %d queries, %d were answered", s.plugin, o.Sent, o.NoError)
	}
	idle := float64(s.cpu(b)-before) / float64(quietTime) // of a processor

	s.resetPeak(b)
	lists := c.listed(b, "pods")
	end := light.start(b, s, patience)
	began, before := time.Now(), s.cpu(b)
	call(b, c, "Relist", struct{}{}, &struct{}{})
	took, used := s.quiet(b, idle, func() bool { return c.listed(b, "pods") > lists }, began)
	o := end(true)
	b.ReportMetric(took.Seconds(), "relist-s")
	b.ReportMetric(used.Seconds()-before.Seconds()-idle*took.Seconds(), "cpu-s")
	b.ReportMetric(float64(o.Sent-o.NoError), "failed")
	s.settle(b)
}

// quiet waits until done returns true and the process uses little more CPU than idle for
// half a second. It returns the time since began, and the CPU time at the end.
func (s *server) quiet(b *testing.B, idle float64, done func() bool, began time.Time) (took, cpu time.Duration) {
	b.Helper()
	const window = 100 * time.Millisecond
	tick := time.NewTicker(window)
	defer tick.Stop()
	deadline := time.After(patience)
	cpu = s.cpu(b)
	for calm, isDone := 0, false; calm < 5; {
		select {
		case <-tick.C:
		case <-deadline:
			b.Fatalf("%s: not idle after %v", s.plugin, patience)
		}
		now := s.cpu(b)
		busy := float64(now-cpu)/float64(window) - idle
		if isDone = isDone || done(); !isDone || busy > 0.2 {
			calm, took = 0, time.Since(began)
		} else {
			calm++
		}
		cpu = now
	}
	return took, cpu
}
