package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// onEndpoints are the servers that the benchmarks of events compare. By default
// kubernetes watches only EndpointSlices, no pods.
var onEndpoints = []string{"headless", "kubernetes"}

// once calls start the first time and returns the kept result in later runs of a
// benchmark.
func once[T any](kept *T, done *bool, start func() T) T {
	if !*done {
		*kept, *done = start(), true
	}
	return *kept
}

// world is a cluster with a service of each size, and a server of each plugin.
type world struct {
	*cluster
	servers map[string]*server
}

var (
	theWorld     world
	worldStarted bool
)

// startWorld starts the world, or returns the running one.
func startWorld(b *testing.B) world {
	b.Helper()
	needPrograms(b)
	return once(&theWorld, &worldStarted, func() world {
		w := world{startCluster(b, Services{Sizes: sizes}), make(map[string]*server)}
		w.servers["floor"] = startServer(b, "floor", "", floorName)
		for _, name := range onEndpoints {
			last := w.services[len(w.services)-1]
			w.servers[name] = startServer(b, name, w.url, last.podFQDN(last.size-1))
		}
		return w
	})
}

// withoutTime removes ns/op from the results of a benchmark.
func withoutTime(b *testing.B) { b.ReportMetric(0, "ns/op") }

// BenchmarkWatch measures one pod of a service of n pods that loses or regains its
// readiness, in whole servers that watch an API server. Changes come one at a time, too
// far apart to be batched. CPU is measured without queries, as these cost some. Latency
// is the time from sending the event to the first reply with the change, with queries
// half a millisecond apart.
func BenchmarkWatch(b *testing.B) {
	w := startWorld(b)
	for i, s := range w.services {
		if !slices.Contains(fewSizes, s.size) {
			continue
		}
		for _, name := range onEndpoints {
			b.Run(fmt.Sprintf("n=%d/plugin=%s", s.size, name), func(b *testing.B) {
				withoutTime(b)
				w.flip(b, i, w.servers[name])
			})
		}
	}
}

func (w world) flip(b *testing.B, i int, server *server) {
	const events, latencies, interval = 200, 40, 3 * time.Millisecond
	s := &w.services[i]
	pod := Pods{Service: i, First: s.size / 2, End: s.size/2 + 1}
	name := s.podFQDN(pod.First)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	before := server.cpu(b)
	for k := range events {
		<-tick.C
		pod.Ready = k%2 == 1
		w.setReady(b, pod)
	}
	server.await(b, name, answered)
	b.ReportMetric(float64((server.cpu(b)-before).Microseconds())/events, "cpu-µs/event")

	var delays []time.Duration
	for k := range latencies {
		<-tick.C
		wanted := denied
		if pod.Ready = k%2 == 1; pod.Ready {
			wanted = answered
		}
		at := w.setReady(b, pod)
		delays = append(delays, server.await(b, name, wanted).Sub(at))
	}
	slices.Sort(delays)
	b.ReportMetric(float64(delays[len(delays)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(delays[len(delays)*9/10].Microseconds()), "p90-µs")
}

// BenchmarkBurst measures 10,000 pods of one service that become ready at once: CPU, and
// the time until the last of them is served.
func BenchmarkBurst(b *testing.B) {
	w := startWorld(b)
	i := len(w.services) - 1
	s := &w.services[i]
	first, last := s.podFQDN(0), s.podFQDN(s.size-1)
	for _, name := range onEndpoints {
		server := w.servers[name]
		b.Run("plugin="+name, func(b *testing.B) {
			withoutTime(b)
			w.setReady(b, Pods{Service: i, End: s.size})
			for _, other := range onEndpoints {
				w.servers[other].await(b, last, denied)
				w.servers[other].await(b, first, denied)
			}
			before := server.cpu(b)
			at := w.setReady(b, Pods{Service: i, End: s.size, Ready: true})
			b.ReportMetric(server.await(b, last, answered).Sub(at).Seconds(), "served-s")
			b.ReportMetric((server.cpu(b) - before).Seconds(), "cpu-s")
			for _, other := range onEndpoints {
				for k := 0; k < s.size; k += 97 {
					w.servers[other].await(b, s.podFQDN(k), answered)
				}
			}
		})
	}
}
