//go:build !race

package records

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/miekg/dns"
)

// TestAllBudget bounds the memory that All takes for an SRV record of each port of each
// host: that of a batch, whatever their number. It also checks that each comes once.
func TestAllBudget(t *testing.T) {
	const hosts, ports, budget = 500, 400, 1 << 20
	trie := portTrie(hosts, manyPorts(ports))
	const base = "nginx.default.svc.cluster.local."
	var name Name
	name.Fold(base)
	node, _ := trie.Find(&name, clusterLocal)
	seen := make([]bool, hosts*ports)
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	n, most := 0, uint64(0)
	for rrs := range node.All(&Query{Name: base, Type: dns.TypeSRV, TTL: 5}) {
		if n%(16*maxBatch) == 0 {
			most = max(most, live())
		}
		for _, rr := range rrs {
			srv := rr.(*dns.SRV)
			var host int
			if _, err := fmt.Sscanf(srv.Target, "web-%d.", &host); err != nil || seen[host*ports+int(srv.Port)-1] {
				t.Fatalf("%v comes twice, or is no record of the service: %v", srv, err)
			}
			seen[host*ports+int(srv.Port)-1] = true
		}
		n += len(rrs)
	}
	if n != hosts*ports {
		t.Errorf("there are %d records, want %d", n, hosts*ports)
	}
	if most > before+budget {
		t.Errorf("%d records take %d bytes, want at most %d", n, most-before, budget)
	}
	runtime.KeepAlive(trie)
}
