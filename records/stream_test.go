package records

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// collectAll returns the records of All in presentation format, sorted. It checks that all
// batches but the last are full.
func collectAll(t *testing.T, node Node, q *Query) []string {
	t.Helper()
	var out []string
	last := maxBatch
	for rrs := range node.All(q) {
		if len(rrs) == 0 || len(rrs) > maxBatch || last != maxBatch {
			t.Errorf("%s %s has a batch of %d records after one of %d", q.Name, dns.TypeToString[q.Type], len(rrs), last)
		}
		last = len(rrs)
		for _, rr := range rrs {
			out = append(out, rr.String())
		}
	}
	slices.Sort(out)
	return out
}

// TestAll compares All with answers of any size.
func TestAll(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	longNames := New()
	update := longNames.Update()
	key := ServiceKey{long, long}
	update.Create(key)
	for i, host := range []string{"a", long, "b"} {
		update.Add(key, Endpoint{Host: host, Hostname: true, Addr: ipv4(i), Ports: universePorts[1]})
	}
	update.Commit()
	mixed := manyNamesTrie(20) // hostnames, beside which a generated label does not answer
	update = mixed.Update()
	update.Create(ServiceKey{"default", "generated"})
	update.Add(ServiceKey{"default", "generated"}, Endpoint{Host: "10-0-0-1", Addr: ipv4(1)})
	update.Commit()
	longZone := strings.Repeat("z", 59-len(".test.")) + ".test."

	nginx := []string{"nginx.default.svc.cluster.local.", "Web-0.NGINX.default.svc.cluster.local.", "_web._tcp.nginx.default.svc.cluster.local.", "_tcp.nginx.default.svc.cluster.local."}
	for _, test := range []struct {
		what  string
		trie  *Trie
		zone  string
		names []string
		least int // records
	}{
		{"one pod", podTrie(1), "cluster.local.", nginx, 5},
		{"as many pods as a batch", podTrie(maxBatch), "cluster.local.", nginx, 4 * maxBatch},
		{"pods of several batches", podTrie(2*maxBatch + 1), "cluster.local.", nginx, 8 * maxBatch},
		{"long lists", longListTrie(300), "cluster.local.", nginx, 5000},
		{"an address with one name", podTrie(1), "cluster.local.", []string{"0.0.0.10.in-addr.arpa."}, 1},
		{"an address with many names", manyNamesTrie(2*maxBatch + 1), "cluster.local.", []string{"1.0.0.10.in-addr.arpa."}, 2*maxBatch + 1},
		{"an address with hostnames and a generated label", mixed, "cluster.local.", []string{"1.0.0.10.in-addr.arpa."}, 20},
		{"names that are too long", longNames, longZone, []string{long + "." + long + ".svc." + longZone, "1.0.0.10.in-addr.arpa.", "2.0.0.10.in-addr.arpa."}, 3 + 2 + 1},
	} {
		records := 0
		for _, name := range test.names {
			var n Name
			n.Fold(name)
			node, result := test.trie.Find(&n, clusterLocal)
			if addr, ok := n.Reverse(); ok {
				node, result = test.trie.FindAddr(addr)
			}
			if result != Found {
				t.Fatalf("%s: the lookup of %s is %v", test.what, name, result)
			}
			for _, rrtype := range Types {
				q := &Query{Name: name, Type: rrtype, Zone: test.zone, TTL: 5, Size: 1 << 30}
				var want []string
				for _, rr := range node.Answer(q).Records {
					want = append(want, rr.String())
				}
				slices.Sort(want)
				got := collectAll(t, node, &Query{Name: name, Type: rrtype, Zone: test.zone, TTL: 5})
				if records += len(got); !slices.Equal(got, want) {
					t.Errorf("%s: %s %s has %d records, want %d", test.what, name, dns.TypeToString[rrtype], len(got), len(want))
				}
				for range node.All(q) {
					break // must end the iteration
				}
			}
		}
		if records < test.least {
			t.Errorf("%s: there are %d records, want at least %d", test.what, records, test.least)
		}
	}
}
