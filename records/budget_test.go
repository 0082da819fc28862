package records

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/miekg/dns"
)

// TestLookupBudget bounds the allocations of a lookup. A lookup itself needs none. An
// answer needs one for the records and one for what they point to, however many there
// are.
func TestLookupBudget(t *testing.T) {
	for _, n := range []int{3, 10_000} {
		trie := podTrie(n)
		for _, test := range []struct {
			name   string
			rrtype uint16
			want   float64
		}{
			{"example.org.", dns.TypeA, 0},
			{"kubernetes.default.svc.cluster.local.", dns.TypeA, 0},
			{"web-x.nginx.default.svc.cluster.local.", dns.TypeA, 0},
			{"web-1.nginx.default.svc.cluster.local.", dns.TypeMX, 0},
			{"web-1.nginx.default.svc.cluster.local.", dns.TypeA, 2},
			{"WEB-1.nginx.default.svc.CLUSTER.local.", dns.TypeA, 2},
			{"web-1.nginx.default.svc.cluster.local.", dns.TypeAAAA, 2},
			{"nginx.default.svc.cluster.local.", dns.TypeA, 2},
			{"_web._tcp.nginx.default.svc.cluster.local.", dns.TypeSRV, 7},
		} {
			if got := lookupAllocs(trie, test.name, test.rrtype); got > test.want {
				t.Errorf("%s %s of %d pods makes %v allocations, want at most %v", test.name, dns.TypeToString[test.rrtype], n, got, test.want)
			}
		}
	}
}

// lookupAllocs returns the allocations of a lookup and its answer.
func lookupAllocs(trie *Trie, name string, rrtype uint16) float64 {
	zone := zoneOf(trie)
	return testing.AllocsPerRun(200, func() {
		var folded Name
		folded.Fold(name)
		if node, result := trie.Find(&folded, zone); result == Found {
			node.Answer(&Query{Name: name, Type: rrtype, TTL: 5, Size: 1232})
		}
	})
}

// TestZonalBudget bounds the allocations of a lookup where endpoints are in topology zones. They are
// those of a service without zones, at every size of the service and of the zone.
func TestZonalBudget(t *testing.T) {
	for _, n := range []int{6, 10_000} {
		for _, zones := range []int{3, maxZones} {
			trie := zonedTrie(n, zones)
			for _, test := range []struct {
				name   string
				rrtype uint16
				want   float64
			}{
				{"", dns.TypeA, 2},
				{"web-1.", dns.TypeSRV, 7},
				{"", dns.TypeSRV, 7},
				{"zone-1.pin._zone.", dns.TypeA, 2},
				{"zone-1.pin._zone.", dns.TypeAAAA, 0},
				{"zone-1.prefer._zone.", dns.TypeSRV, 7},
				{"none.pin._zone.", dns.TypeA, 0},
				{"none.prefer._zone.", dns.TypeA, 2},
				{"_web._tcp.zone-1.pin._zone.", dns.TypeSRV, 7},
			} {
				name := test.name + "nginx.default.svc.cluster.local."
				if got := lookupAllocs(trie, name, test.rrtype); got > test.want {
					t.Errorf("%s %s of %d pods in %d zones makes %v allocations, want at most %v", name, dns.TypeToString[test.rrtype], n, zones, got, test.want)
				}
			}
		}
	}
}

// TestClustersetBudget bounds the allocations of lookups in a clusterset. They are those of an
// ordinary trie, at every number of clusters, and the fast path needs none.
func TestClustersetBudget(t *testing.T) {
	for _, n := range []int{6, 10_000} {
		for _, clusters := range []int{1, 3, n} {
			trie := clusterTrie(n, clusters)
			p := NewPacker()
			buffer := make([]byte, 0, 4096)
			for _, test := range []struct {
				name   string
				rrtype uint16
				want   float64
			}{
				{"", dns.TypeA, 2},
				{"web-0.c0.", dns.TypeA, 2},
				{"Web-0.C0.", dns.TypeAAAA, 2},
				{"web-0.c0.", dns.TypeSRV, 7},
				{"", dns.TypeSRV, 7},
				{"_web._tcp.", dns.TypeSRV, 7},
				{"c0.", dns.TypeA, 0},
				{"web-0.", dns.TypeA, 0},
				{"web-x.c0.", dns.TypeA, 0},
			} {
				name := test.name + "nginx.default.svc.clusterset.local."
				if got := lookupAllocs(trie, name, test.rrtype); got > test.want {
					t.Errorf("%s %s of %d pods in %d clusters makes %v allocations, want at most %v", name, dns.TypeToString[test.rrtype], n, clusters, got, test.want)
				}
				begin, nameSize := question(t, name, test.rrtype)
				if got := testing.AllocsPerRun(100, func() {
					var folded Name
					folded.FoldWire(begin[headerSize:])
					node, result := trie.Find(&folded, clustersetLocal)
					if result != Found {
						node.Denial(&folded, clustersetLocal, test.rrtype)
					} else if _, ok := p.Append(append(buffer, begin...), nameSize, &node, &PackerQuery{Type: test.rrtype, Size: 1232}); !ok {
						t.Fatalf("%s is not packed", name)
					}
				}); got > 0 {
					t.Errorf("%s %s of %d pods in %d clusters makes %v allocations on the fast path", name, dns.TypeToString[test.rrtype], n, clusters, got)
				}
			}
		}
	}
}

// TestClustersetUpdateBudget bounds what the change of one pod allocates in a clusterset, and what
// a pod takes: no more than in an ordinary trie, which has a reverse index. Where each pod has a
// cluster of its own, the set of clusters changes, too.
func TestClustersetUpdateBudget(t *testing.T) {
	const n = 10_000
	plain, plainAllocs := updateCost(n)
	for _, clusters := range []int{1, 3, n} {
		trie := NewClusterset()
		u := trie.Update()
		u.Create(ServiceKey{"default", "nginx"})
		for i := range n {
			u.Add(ServiceKey{"default", "nginx"}, clusterPod(i, clusters))
		}
		u.Commit()
		bytes, allocs := updateCostOf(trie, n, func(i int) Endpoint { return clusterPod(i, clusters) })
		t.Logf("a change of one pod of %d in %d clusters allocates %d bytes in %d allocations, in none %d in %d", n, clusters, bytes, allocs, plain, plainAllocs)
		most, mostAllocs := plain, plainAllocs
		if clusters == n {
			most, mostAllocs = plain+plain/2, plainAllocs+6
		}
		if bytes > most || allocs > mostAllocs {
			t.Errorf("a change of one pod of %d in %d clusters allocates %d bytes in %d allocations, in none %d in %d", n, clusters, bytes, allocs, plain, plainAllocs)
		}
	}
	ordinary, clusterset := heapOf(func() *Trie { return podTrie(30_000) }), heapOf(func() *Trie { return clusterTrie(30_000, 3) })
	t.Logf("30,000 pods take %d bytes in a clusterset, else %d", clusterset, ordinary)
	if clusterset > ordinary {
		t.Errorf("30,000 pods take %d bytes in a clusterset, else %d", clusterset, ordinary)
	}
}

// TestUpdateBudget bounds what the change of one pod copies: a path in each structure
// that has the pod, whatever the size of the service.
func TestUpdateBudget(t *testing.T) {
	small, _ := updateCost(100)
	large, allocs := updateCost(10_000)
	t.Logf("a change of one pod of 100 allocates %d bytes, of 10,000 %d bytes in %d allocations", small, large, allocs)
	if large > 7<<10 || large > 3*small || allocs > 40 {
		t.Errorf("a change of one pod of 10,000 allocates %d bytes in %d allocations, of 100 %d bytes", large, allocs, small)
	}
}

// updateCost returns the average allocations when one of n pods becomes unready or
// ready again.
func updateCost(n int) (bytes, allocs uint64) { return updateCostWith(n, universePorts[1]) }

// updateCostWith is updateCost for pods with the ports.
func updateCostWith(n int, ports *PortList) (bytes, allocs uint64) {
	return updateCostOf(portTrie(n, ports), n, func(i int) Endpoint {
		return Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i), Ports: ports}
	})
}

// updateCostOf is updateCost for a service of n given pods.
func updateCostOf(trie *Trie, n int, of func(int) Endpoint) (bytes, allocs uint64) {
	key := ServiceKey{"default", "nginx"}
	const changes = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range changes {
		pod := of(i / 2 * 7 % n)
		unready := pod
		unready.Withheld = NotReady
		if i%2 == 1 {
			pod, unready = unready, pod
		}
		update := trie.Update()
		update.Remove(key, pod)
		update.Add(key, unready)
		update.Commit()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / changes, (after.Mallocs - before.Mallocs) / changes
}

// TestZonedUpdateBudget bounds what the change of one pod allocates where pods are in topology zones,
// and what a pod takes: as much as without.
func TestZonedUpdateBudget(t *testing.T) {
	zones := func(n int) func(int) Endpoint { return func(i int) Endpoint { return zonedPod(i, n) } }
	none, _ := updateCostOf(portTrie(10_000, universePorts[1]), 10_000, func(i int) Endpoint {
		e := zonedPod(i, 1)
		e.Zone = ""
		return e
	})
	for _, n := range []int{3, maxZones} {
		bytes, allocs := updateCostOf(zonedTrie(10_000, n), 10_000, zones(n))
		t.Logf("a change of one pod of 10,000 in %d zones allocates %d bytes in %d allocations, in none %d bytes", n, bytes, allocs, none)
		if bytes > none+none/2 || allocs > 60 {
			t.Errorf("a change of one pod of 10,000 in %d zones allocates %d bytes in %d allocations, in none %d bytes", n, bytes, allocs, none)
		}
	}
	plain, zoned := heapOf(func() *Trie { return portTrie(30_000, universePorts[1]) }), heapOf(func() *Trie { return zonedTrie(30_000, 3) })
	if zoned > plain+30_000/2 {
		t.Errorf("30,000 pods in 3 zones take %d bytes, in none %d", zoned, plain)
	}
}

// TestPortBudget bounds what the change of one pod allocates and what a pod takes,
// whatever the number of its ports.
func TestPortBudget(t *testing.T) {
	few, many := manyPorts(maxShortPorts+1), manyPorts(10_000)
	fewBytes, fewAllocs := updateCostWith(500, few)
	manyBytes, manyAllocs := updateCostWith(500, many)
	oneBytes, oneAllocs := updateCostWith(500, universePorts[1])
	t.Logf("a change of a pod with 1, %d and 10,000 ports allocates %d, %d and %d bytes in %d, %d and %d allocations",
		maxShortPorts+1, oneBytes, fewBytes, manyBytes, oneAllocs, fewAllocs, manyAllocs)
	if manyAllocs > fewAllocs+1 || manyAllocs > oneAllocs+10 || manyBytes > fewBytes+fewBytes/10 {
		t.Errorf("a change makes %d allocations with 1 port, %d with %d and %d with 10,000", oneAllocs, fewAllocs, maxShortPorts+1, manyAllocs)
	}
	for _, ports := range []*PortList{few, many} {
		small, large := heapOf(func() *Trie { return portTrie(1000, ports) }), heapOf(func() *Trie { return portTrie(3000, ports) })
		if perHost := (large - small) / 2000; perHost > 300 {
			t.Errorf("a pod with %d ports takes %d bytes", len(ports.ports), perHost)
		}
	}
}

// heapOf returns the heap that a trie takes.
func heapOf(build func() *Trie) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	trie := build()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(trie)
	return after.HeapAlloc - before.HeapAlloc
}
