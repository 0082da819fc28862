package records

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/miekg/dns"
)

// TestLookupBudget holds the allocations of a lookup: none to find or not find
// a name, and for an answer the records and what they point to, however many
// they are.
func TestLookupBudget(t *testing.T) {
	for _, n := range []int{3, 10_000} {
		trie := serve(n)
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
				t.Errorf("%s %s of %d pods: %v allocations, at most %v", test.name, dns.TypeToString[test.rrtype], n, got, test.want)
			}
		}
	}
}

// TestUpdateBudget holds what one pod's change copies: a path of each structure
// that it is in, whatever the size of the service.
func TestUpdateBudget(t *testing.T) {
	small, _ := updateCost(100)
	large, allocs := updateCost(10_000)
	t.Logf("one pod of 100 changes with %d bytes, of 10,000 with %d and %d allocations", small, large, allocs)
	if large > 7<<10 || large > 3*small || allocs > 40 {
		t.Errorf("one pod of 10,000 changes with %d bytes and %d allocations, of 100 with %d bytes", large, allocs, small)
	}
}

// updateCost is what it costs, on average, that a pod of n loses or regains its
// readiness: bytes and allocations.
func updateCost(n int) (bytes, allocs uint64) {
	trie := serveFamilies(n, addr4th)
	key := ServiceKey{"default", "nginx"}
	const changes = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range changes {
		pod := Endpoint{Host: fmt.Sprint("web-", i/2*7%n), Hostname: true, Addr: addr4th(i / 2 * 7 % n), Ports: universePorts[1]}
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
