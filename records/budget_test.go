package records

import (
	"fmt"
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

// TestUpdateBudget holds the bytes that one pod's change copies to what is in a
// few chunks and directories: ten times the pods may not cost four times as much.
func TestUpdateBudget(t *testing.T) {
	small, large := updateBytes(1_000), updateBytes(10_000)
	t.Logf("one pod of 1,000: %d bytes, of 10,000: %d bytes", small, large)
	if large > 64<<10 || large > 4*small {
		t.Errorf("one pod of 10,000 changes with %d bytes, of 1,000 with %d", large, small)
	}
}

func updateBytes(n int) int64 {
	trie := serve(n)
	key := ServiceKey{"default", "nginx"}
	gone := Endpoint{Host: fmt.Sprint("web-", n/2), Hostname: true, Addr: addr4th(n / 2), Ports: universePorts[1]}
	came := gone
	came.Addr = addr4th(n + 1)
	r := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			update := trie.Update()
			update.Remove(key, gone)
			update.Add(key, came)
			update.Commit()
			gone, came = came, gone
		}
	})
	return r.AllocedBytesPerOp()
}
