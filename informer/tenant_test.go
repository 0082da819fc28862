package informer

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// The worst that one tenant can do with objects that an API server accepts, all in one
// namespace of a cluster with others. BenchmarkTenant measures it, and SECURITY.md has the
// results. Budgets that depend on no clock are tests beside the code.

// hostile is an attack by a tenant: objects, and then changes of them, each change one
// batch of events.
type hostile struct {
	name    string
	objects func() []object.Object
	changes []func() []object.Object
	names   []string // to query, relative to the zone
	addr    string   // to query by its reverse name
}

func tenantService(name string, change ...func(*corev1.Service)) object.Object {
	return object.NewService(fixture.Nginx(append([]func(*corev1.Service){func(s *corev1.Service) {
		s.Namespace, s.Name = "tenant", name
	}}, change...)...))
}

// tenantPod returns the i-th pod, with a hostname below the service nginx.
func tenantPod(i int, change ...func(*corev1.Pod)) object.Object {
	return object.NewPod(fixture.Web(0, append([]func(*corev1.Pod){func(p *corev1.Pod) {
		p.Namespace, p.Name = "tenant", fmt.Sprint("web-", i)
		p.Spec.Hostname = p.Name
		p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.%d.%d.%d", 200+i>>16, i>>8&255, i&255)}}
	}}, change...)...))
}

// many returns n objects.
func many(n int, f func(i int) object.Object) func() []object.Object {
	return func() []object.Object {
		out := make([]object.Object, n)
		for i := range out {
			out[i] = f(i)
		}
		return out
	}
}

func both(a, b func() []object.Object) func() []object.Object {
	return func() []object.Object { return append(a(), b()...) }
}

func selectsPods(labels map[string]string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Selector = labels }
}

func labelled(labels map[string]string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = labels }
}

// hostiles are as large as the objects of a namespace may get without a quota, and within
// the API server's limits for one object.
func hostiles() []hostile {
	const services, pods = 16_000, 10_000
	x, y := map[string]string{"app": "x"}, map[string]string{"app": "y"}
	one := func(change ...func(*corev1.Pod)) func() []object.Object {
		return many(1, func(int) object.Object { return tenantPod(0, append([]func(*corev1.Pod){labelled(x)}, change...)...) })
	}
	selecting := func(n int, labels func(i int) map[string]string) func() []object.Object {
		return many(n, func(i int) object.Object { return tenantService(fmt.Sprint("s-", i), selectsPods(labels(i))) })
	}
	replica := func(i int) map[string]string { return map[string]string{"a-job": "big", "replica": fmt.Sprint(i)} }
	half := func(i int) map[string]string {
		if i < services/2 {
			return x
		}
		return y
	}
	other := func(i int) map[string]string { return half(services - 1 - i) }
	halfPods := func(n int) func() []object.Object {
		return many(n, func(i int) object.Object {
			if i < n/2 {
				return tenantPod(i, labelled(x))
			}
			return tenantPod(i, labelled(y))
		})
	}
	manyPorts := func(s *corev1.Service) {
		s.Spec.Ports = nil
		for i := range 10_000 {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint("p", i), Port: int32(1 + i), Protocol: corev1.ProtocolTCP})
		}
	}
	shared := func(change ...func(*corev1.Pod)) func() []object.Object {
		return many(pods, func(i int) object.Object {
			return tenantPod(i, append([]func(*corev1.Pod){labelled(x), func(p *corev1.Pod) { p.Spec.Hostname = "same" }}, change...)...)
		})
	}
	long := func(i int) string { return fmt.Sprintf("%063d", i) }
	longPods := func(change ...func(*corev1.Pod)) func() []object.Object {
		return many(pods, func(i int) object.Object {
			return tenantPod(i, append([]func(*corev1.Pod){labelled(x), func(p *corev1.Pod) {
				p.Name, p.Spec.Hostname, p.Spec.Subdomain = long(i), long(i), long(0)
			}}, change...)...)
		})
	}
	nginx := many(1, func(int) object.Object { return tenantService("nginx", selectsPods(x)) })
	blueGreen := func(a, b map[string]string) func() []object.Object {
		return many(2, func(i int) object.Object {
			return tenantService([]string{"blue", "green"}[i], selectsPods([]map[string]string{a, b}[i]))
		})
	}
	slice := func(ready bool) func() []object.Object {
		return many(100, func(k int) object.Object {
			s := fixture.Slice(fmt.Sprint("by-hand-", k))
			s.Namespace = "tenant"
			for i := range 100 {
				s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.200.0.0"},
					Hostname: ptr.To(fmt.Sprint("h-", k*100+i)), Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
			}
			return object.NewEndpointSlice(s)
		})
	}
	return []hostile{
		{"16000 services select one pod", both(selecting(services, func(int) map[string]string { return x }), one()),
			[]func() []object.Object{one(fixture.NotReady), one(), one(labelled(y)), one()}, []string{"s-1", "web-0.s-1"}, "10.200.0.0"},
		{"one address moves from 8000 services to 8000", both(selecting(services, half), one()),
			[]func() []object.Object{one(labelled(y)), one(labelled(x)), selecting(services, other), selecting(services, half)},
			[]string{"s-1", "s-9000"}, "10.200.0.0"},
		{"8000 services with one label in common", both(selecting(8000, replica), many(8000, func(i int) object.Object { return tenantPod(i, labelled(replica(i))) })),
			[]func() []object.Object{
				many(8000, func(i int) object.Object { return tenantPod(i, labelled(replica(i)), fixture.NotReady) }),
				many(8000, func(i int) object.Object { return tenantPod(i, labelled(replica(7999-i))) }),
			}, []string{"s-1"}, "10.200.0.1"},
		{"two services of 5000 exchange selectors", both(blueGreen(x, y), halfPods(pods)),
			[]func() []object.Object{blueGreen(y, x), blueGreen(x, y), blueGreen(x, x)}, []string{"blue", "green"}, "10.200.0.1"},
		{"10000 pods are relabelled", both(blueGreen(x, y), halfPods(pods)),
			[]func() []object.Object{many(pods, func(i int) object.Object { return tenantPod(i, labelled(y)) }), halfPods(pods)}, []string{"blue", "green"}, "10.200.0.1"},
		{"a service of 10000 ports and 500 pods", both(many(1, func(int) object.Object { return tenantService("nginx", selectsPods(x), manyPorts) }),
			many(500, func(i int) object.Object { return tenantPod(i, labelled(x)) })),
			[]func() []object.Object{one(fixture.NotReady), one(), many(500, func(i int) object.Object { return tenantPod(i, labelled(x), fixture.NotReady) })},
			[]string{"nginx", "web-1.nginx", "_p77._tcp.nginx", "_none._tcp.nginx", "_udp.nginx"}, "10.200.0.1"},
		{"10000 pods with one hostname", both(nginx, shared()),
			[]func() []object.Object{one(fixture.NotReady), one(), shared(fixture.NotReady), shared()}, []string{"nginx", "same.nginx"}, "10.200.0.1"},
		{"10000 names of 63 bytes", both(many(1, func(int) object.Object { return tenantService(long(0), selectsPods(x)) }), longPods()),
			[]func() []object.Object{longPods(fixture.NotReady), longPods()}, []string{long(0), long(1) + "." + long(0)}, "10.200.0.1"},
		{"10000 hostnames of one address", both(many(1, func(int) object.Object { return tenantService("nginx", selectsPods(nil)) }), slice(true)),
			[]func() []object.Object{slice(false), slice(true)}, []string{"nginx", "h-1.nginx"}, "10.200.0.0"},
	}
}

// newTenantWorld returns an informer of a cluster in which other tenants have 20,000 pods.
func newTenantWorld() *Informer {
	i, _ := newWorld(slices.Repeat([]int{100}, 200)...)
	return i
}

func tenantEvents(objects []object.Object) []event {
	out := make([]event, len(objects))
	for i, o := range objects {
		out[i] = eventOf(o)
	}
	return out
}

// BenchmarkTenant reports for each hostile: the longest time that the writer was busy with
// one batch; the peak of the live heap over that before or after, whichever is larger; and
// the slowest kind of query at any time, by its median.
func BenchmarkTenant(b *testing.B) {
	for _, h := range hostiles() {
		b.Run(h.name, func(b *testing.B) {
			for range b.N {
				benchmarkTenant(b, &h)
			}
		})
	}
}

func benchmarkTenant(b *testing.B, h *hostile) {
	var stall, slowest time.Duration
	var slowestQuery string
	i := newTenantWorld()
	for _, batch := range h.batches() {
		runtime.GC()
		began := time.Now()
		i.apply(batch)
		stall = max(stall, time.Since(began))
		if d, q := slowestQueryOf(i.joiner.trie, h); d > slowest {
			slowest, slowestQuery = d, q
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(stall.Seconds()*1e3, "stall-ms")
	b.ReportMetric(peakOf(h), "peak/settled")
	b.ReportMetric(float64(slowest.Nanoseconds())/1e3, "query-µs")
	b.Logf("%s: slowest query: %s", h.name, slowestQuery)
}

// peakOf returns the peak of the live heap over that before or after. It collects more
// often than a server would, which takes time, so that it sees the live heap often enough.
func peakOf(h *hostile) float64 {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	i := newTenantWorld()
	batches := h.batches()
	before := heap()
	peak := watchHeap()
	for _, batch := range batches {
		i.apply(batch)
	}
	most := peak()
	settled := max(before, heap())
	runtime.KeepAlive(i)
	runtime.KeepAlive(batches)
	return float64(most) / float64(settled)
}

// batches returns the objects as events, and then each change.
func (h *hostile) batches() [][]event {
	out := [][]event{tenantEvents(h.objects())}
	for _, change := range h.changes {
		out = append(out, tenantEvents(change()))
	}
	return out
}

// watchHeap samples the live heap. The function that it returns stops that and returns the
// largest sample, in bytes.
func watchHeap() func() uint64 {
	var stop atomic.Bool
	var most uint64
	var done sync.WaitGroup
	done.Go(func() {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for !stop.Load() {
			metrics.Read(sample)
			most = max(most, sample[0].Value.Uint64())
			<-tick.C
		}
	})
	return func() uint64 {
		stop.Store(true)
		done.Wait()
		return most
	}
}

// slowestQueryOf queries each name and type and returns the largest of the medians.
func slowestQueryOf(trie *records.Trie, h *hostile) (time.Duration, string) {
	const zone = "cluster.local."
	reverse, err := dns.ReverseAddr(h.addr)
	if err != nil {
		panic(err)
	}
	names := []string{reverse}
	for _, n := range h.names {
		names = append(names, n+".tenant.svc."+zone)
	}
	var slowest time.Duration
	var query string
	for _, name := range names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR, dns.TypeNS} {
			const rounds = 101
			times := make([]time.Duration, rounds)
			for k := range times {
				began := time.Now()
				var n records.Name
				n.Fold(name)
				var node records.Node
				var result records.Result
				if addr, ok := n.Reverse(); ok {
					node, result = trie.FindAddr(addr)
				} else {
					node, result = trie.Find(&n, testZones.Match(name))
				}
				if result == records.Found {
					node.Answer(&records.Query{Name: name, Type: qtype, Zone: zone, TTL: 5, Size: 1232, Start: uint64(k) * 7919})
				}
				times[k] = time.Since(began)
			}
			if d := median(times); d > slowest {
				slowest, query = d, fmt.Sprintf("%.40s %s", name, dns.TypeToString[qtype])
			}
		}
	}
	return slowest, query
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
