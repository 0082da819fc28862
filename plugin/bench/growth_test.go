package main

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/headless-dns/headless/internal/apiserver"
)

// watchers are the compared servers, and the resource that each watches.
var watchers = []struct{ plugin, resource string }{
	{"headless", "pods"}, {"slices", "endpointslices"}, {"kubernetes", "endpointslices"},
}

const (
	growthPods = 100  // pods of each service
	churnOf    = 1000 // one in so many pods changes a second
	churnTime  = 4 * time.Second
	burstPods  = 10_000 // pods that change at once
)

// BenchmarkGrowth measures the costs of a server by the number of pods in the cluster.
// All are of headless services. In one more cluster only a tenth are, and no service
// selects the others.
func BenchmarkGrowth(b *testing.B) {
	needProgram(b)
	for _, n := range clusterSizes {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			grow(b, Services{Sizes: slices.Repeat([]int{growthPods}, n/growthPods)}, true)
		})
	}
	b.Run("few", func(b *testing.B) {
		services := fewOf / growthPods
		grow(b, Services{slices.Repeat([]int{growthPods}, services), services - services/10}, false)
	})
}

// grow measures one server after the other in a cluster.
func grow(b *testing.B, services Services, load bool) {
	c := startCluster(b, services)
	defer endProcess(b, c.Cmd)
	for _, w := range watchers {
		var s *server
		b.Run("start/plugin="+w.plugin, func(b *testing.B) {
			withoutTime(b)
			last := c.services[len(c.services)-1]
			before, began := c.sent(b), time.Now()
			s = startServer(b, w.plugin, c.url, last.podFQDN(last.size-1))
			b.ReportMetric(time.Since(began).Seconds(), "ready-s")
			b.ReportMetric(s.cpu(b).Seconds(), "cpu-s")
			s.settle(b)
			b.ReportMetric(float64(c.sent(b)-before)/1e6, "sent-MB")
			standIn, _ := memory(b, c.Cmd)
			b.ReportMetric(standIn, "stand-in-MB")
		})
		if s == nil {
			continue // -bench excludes the benchmarks of this server
		}
		b.Run("churn/plugin="+w.plugin, func(b *testing.B) {
			withoutTime(b)
			s.churn(b, c, w.resource)
		})
		if load {
			b.Run("load/plugin="+w.plugin, func(b *testing.B) {
				withoutTime(b)
				s.load(b, c, w.resource)
			})
		}
		endProcess(b, s.Cmd)
		call(b, c, "Relist", struct{}{}, &struct{}{}) // frees the history
	}
}

// churn measures what single changes at the usual rate cost the server and the API
// server.
func (s *server) churn(b *testing.B, c *cluster, resource string) {
	pods := 0
	for _, service := range c.services {
		if resource == "pods" || !service.bare {
			pods += service.size
		}
	}
	rate := pods / churnOf
	flow := Flow{resource, rate, rate * int(churnTime/time.Second)}
	mark := newMarker(b, s, c)
	sent, cpu := c.sent(b), s.cpu(b)
	var took time.Duration
	call(b, c, "Churn", flow, &took)
	mark.next(b)
	mark.next(b)
	each := float64(c.sent(b)-sent) / float64(flow.Changes+mark.changes)
	b.ReportMetric(each, "B/change")
	b.ReportMetric(each*float64(rate), "B/s")
	b.ReportMetric(100*(s.cpu(b)-cpu).Seconds()/took.Seconds(), "cpu-%")
}

// marker is a pod of the last service, which has no other changes. When the server has
// published a change of this pod, it has published every earlier one as well.
type marker struct {
	*server
	*cluster
	pod     Pods
	name    string
	changes int
}

func newMarker(b *testing.B, s *server, c *cluster) *marker {
	b.Helper()
	last := len(c.services) - 1
	return &marker{s, c, Pods{Service: last, End: 1, Ready: true}, c.services[last].podFQDN(0), 0}
}

// next changes the pod and returns the time until the answer shows it. Its queries are
// so rare that they cost almost nothing beside the changes.
func (m *marker) next(b *testing.B) time.Duration {
	b.Helper()
	m.changes++
	m.pod.Ready = !m.pod.Ready
	wanted := denied
	if m.pod.Ready {
		wanted = answered
	}
	at := m.setReady(b, m.pod)
	return m.awaitEvery(b, 5*time.Millisecond, m.name, wanted).Sub(at)
}

const (
	// A server keeps up with a rate if nine of ten markers are no later than this. A rate
	// three percent too high makes the last markers of four seconds later than that.
	lateness = 100 * time.Millisecond
	loadTime = 4 * time.Second
	loadStep = 1.15
)

// attempt is the result of changes at a rate.
type attempt struct {
	rate float64 // the actual rate
	cpu  float64 // seconds a change
	late time.Duration
	lost bool // the server was so late that it had to relist
}

// load finds the highest rate of changes with which a server keeps up on one processor.
// The API server runs on the others.
func (s *server) load(b *testing.B, c *cluster, resource string) {
	defer s.alone(b, c)()

	// A burst shows the limits of both servers. A steady rate reaches neither.
	changes := map[string]int{"pods": burstPods, "endpointslices": burstPods / 4}[resource]
	burst := s.attempt(b, c, Flow{resource, math.MaxInt32, changes})
	if burst.lost {
		b.Fatalf("%s relisted after %d changes at once", s.plugin, changes)
	}
	rate := 0.95 * min(1/burst.cpu, burst.rate)

	var best attempt
	limited := 0. // 1 if the API server is the limit
	for failed := false; rate >= 1 && (best.rate == 0 || !failed); {
		rate = rounded(rate)
		a := s.attempt(b, c, Flow{resource, int(rate), int(rate * loadTime.Seconds())})
		b.Logf("%.0f changes a second: %.0f were sent, %v late, CPU of a change %.1f µs", rate, a.rate, a.late, a.cpu*1e6)
		switch kept := a.rate > rate*0.97; {
		case a.lost || a.late > lateness:
			failed, limited = true, 0
		case !kept:
			failed, limited = true, 1
		default:
			best = a
		}
		if failed {
			rate /= loadStep
		} else {
			rate *= loadStep
		}
	}
	if best.rate == 0 {
		b.Fatalf("%s keeps up with no rate", s.plugin)
	}
	b.ReportMetric(rounded(best.rate), "changes/s")
	b.ReportMetric(limited, "limited")
	b.ReportMetric(best.cpu*1e6, "cpu-µs/change")
	b.ReportMetric(float64(best.late.Microseconds())/1000, "p90-ms")
}

// rounded returns a rate with two significant digits; a third would be noise.
func rounded(rate float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(rate))-1)
	return math.Round(rate/unit) * unit
}

// alone pins the server to one processor and the API server to the others, if there are
// any. The returned function reverts that.
func (s *server) alone(b *testing.B, c *cluster) (end func()) {
	b.Helper()
	var available, first unix.CPUSet
	if err := unix.SchedGetaffinity(0, &available); err != nil {
		b.Fatalf("read processors: %v", err)
	}
	if available.Count() < 2 {
		return func() {}
	}
	lowest := 0
	for !available.IsSet(lowest) {
		lowest++
	}
	others := available
	first.Set(lowest)
	others.Clear(lowest)
	pin(b, s.Cmd, &first)
	pin(b, c.Cmd, &others)
	return func() { pin(b, s.Cmd, &available); pin(b, c.Cmd, &available) }
}

// attempt makes the changes and measures how late the server is meanwhile.
func (s *server) attempt(b *testing.B, c *cluster, f Flow) attempt {
	b.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	mark := newMarker(b, s, c)
	lists, cpu := c.listed(b, f.Resource), s.cpu(b)
	var took time.Duration
	churn := c.client.Go("Cluster.Churn", f, &took, nil)
	var delays []time.Duration
	for running := true; running; {
		select {
		case <-churn.Done:
			if churn.Error != nil {
				b.Fatalf("churn: %v", churn.Error)
			}
			running = false
		case <-tick.C:
			delays = append(delays, mark.next(b))
		}
	}
	mark.next(b) // every change is published
	if !mark.pod.Ready {
		mark.next(b)
	}
	out := attempt{
		rate: float64(f.Changes) / took.Seconds(),
		cpu:  (s.cpu(b) - cpu).Seconds() / float64(f.Changes+mark.changes),
		lost: c.listed(b, f.Resource) != lists,
	}
	if len(delays) > 0 {
		slices.Sort(delays)
		out.late = delays[len(delays)*9/10]
	}
	return out
}

// TestFlip requires the order of flips, and the slice of a flip.
func TestFlip(t *testing.T) {
	services := Services{Sizes: []int{2, 3, 3, 1}, Bare: 1}
	c := newCluster(new(apiserver.Server))
	c.services, c.bare = services.list(), services.Bare
	for resource, want := range map[string][]string{
		"pods":           {"web-2-0", "web-3-0", "web-3-2-0", "web-2-0", "web-3-0", "web-3-2-0", "web-2-1", "web-3-1"},
		"endpointslices": {"web-3-00000", "web-3-2-00000", "web-3-00000", "web-3-2-00000", "web-3-00000"},
	} {
		var got []string
		for range want {
			got = append(got, c.flip(resource).GetName())
		}
		if !slices.Equal(got, want) {
			t.Errorf("flips of %s: got %q, want %q", resource, got, want)
		}
	}
	s := &c.services[2]
	for _, ready := range []bool{false, true} {
		want := s.slice(0, func(i int) bool { return ready || i != 1 })
		if got := c.withReadiness(s, 1, ready); !reflect.DeepEqual(got, apiserver.Object(want)) {
			t.Errorf("got slice %v, want %v", got, want)
		}
	}
}
