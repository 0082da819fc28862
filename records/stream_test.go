package records

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// all returns the records of All as texts, sorted. It checks the windows.
func collectAll(t *testing.T, node Node, q *Query) []string {
	t.Helper()
	var out []string
	last := maxBatch
	for rrs := range node.All(q) {
		if len(rrs) == 0 || len(rrs) > maxBatch || last != maxBatch {
			t.Errorf("%s %s has a window of %d after one of %d", q.Name, dns.TypeToString[q.Type], len(rrs), last)
		}
		last = len(rrs)
		for _, rr := range rrs {
			out = append(out, rr.String())
		}
	}
	slices.Sort(out)
	return out
}

// TestAll compares what All yields with answers that have room for everything.
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
	mixed := manyNamesTrie(20) // of hostnames; labels that were made do not answer beside them
	update = mixed.Update()
	update.Create(ServiceKey{"default", "made"})
	update.Add(ServiceKey{"default", "made"}, Endpoint{Host: "10-0-0-1", Addr: ipv4(1)})
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
		{"as many pods as a window", podTrie(maxBatch), "cluster.local.", nginx, 4 * maxBatch},
		{"pods of several windows", podTrie(2*maxBatch + 1), "cluster.local.", nginx, 8 * maxBatch},
		{"long lists", longListTrie(300), "cluster.local.", nginx, 5000},
		{"an address of one name", podTrie(1), "cluster.local.", []string{"0.0.0.10.in-addr.arpa."}, 1},
		{"an address of many names", manyNamesTrie(2*maxBatch + 1), "cluster.local.", []string{"1.0.0.10.in-addr.arpa."}, 2*maxBatch + 1},
		{"an address with a label that was made", mixed, "cluster.local.", []string{"1.0.0.10.in-addr.arpa."}, 20},
		{"names that are too long", longNames, longZone, []string{long + "." + long + ".svc." + longZone, "1.0.0.10.in-addr.arpa.", "2.0.0.10.in-addr.arpa."}, 3 + 2 + 1},
	} {
		records := 0
		for _, name := range test.names {
			var n Name
			n.Fold(name)
			node, result := test.trie.Find(&n, 2)
			if addr, ok := n.Reverse(); ok {
				node, result = test.trie.FindAddr(addr)
			}
			if result != Found {
				t.Fatalf("%s: %s is %v", test.what, name, result)
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
					break // which must end it
				}
			}
		}
		if records < test.least {
			t.Errorf("%s: there are %d records, at least %d", test.what, records, test.least)
		}
	}
}
