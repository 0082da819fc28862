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
			got := testing.AllocsPerRun(200, func() {
				var name Name
				name.Fold(test.name)
				if node, result := trie.Find(&name, 2); result == Found {
					node.Answer(&Query{Name: test.name, Type: test.rrtype, TTL: 5, Size: 1232})
				}
			})
			if got > test.want {
				t.Errorf("%s %s of %d pods makes %v allocations, want at most %v", test.name, dns.TypeToString[test.rrtype], n, got, test.want)
			}
		}
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
	trie := portTrie(n, ports)
	key := ServiceKey{"default", "nginx"}
	const changes = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range changes {
		pod := Endpoint{Host: fmt.Sprint("web-", i/2*7%n), Hostname: true, Addr: ipv4(i / 2 * 7 % n), Ports: ports}
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
		small, large := heapOf(1000, ports), heapOf(3000, ports)
		if perHost := (large - small) / 2000; perHost > 300 {
			t.Errorf("a pod with %d ports takes %d bytes", len(ports.ports), perHost)
		}
	}
}

// heapOf returns the heap that a service of n pods takes.
func heapOf(n int, ports *PortList) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	trie := portTrie(n, ports)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(trie)
	return after.HeapAlloc - before.HeapAlloc
}
