package records

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestLongListWindow checks that truncated replies start at any target, have no record
// twice, and together have every record.
func TestLongListWindow(t *testing.T) {
	trie := longListTrie(40)
	for _, name := range []string{"nginx.default.svc.cluster.local.", "_web._tcp.nginx.default.svc.cluster.local.", "web-12.nginx.default.svc.cluster.local."} {
		complete, _ := message(t, trie, name, dns.TypeSRV, 1<<30, 0)
		want := map[string]bool{}
		for _, rr := range complete.Answer {
			want[rr.String()] = true
		}
		if len(want) != len(complete.Answer) {
			t.Errorf("%s has %d records, %d of them different", name, len(complete.Answer), len(want))
		}
		first := map[string]int{}
		starts := 2 * len(want) // some targets are in several lists
		for start := range uint64(starts) {
			m, a := message(t, trie, name, dns.TypeSRV, 512, start)
			if !a.Truncated || len(m.Answer) == 0 {
				t.Fatalf("%s is not truncated, with %d records", name, len(m.Answer))
			}
			here := map[string]bool{}
			for _, rr := range m.Answer {
				if here[rr.String()] || !want[rr.String()] {
					t.Fatalf("%s has %s, twice or not in the complete reply", name, rr)
				}
				here[rr.String()] = true
			}
			glue := map[string]bool{}
			for _, rr := range m.Extra {
				if glue[rr.String()] {
					t.Fatalf("%s has the glue %s twice", name, rr)
				}
				glue[rr.String()] = true
			}
			first[m.Answer[0].String()]++
		}
		for rr := range want {
			if n := first[rr]; n == 0 || n > 6 {
				t.Errorf("%s is first in %d of %d replies, want 1 to 6", rr, n, starts)
			}
		}
	}
}

// TestServedLists adds and removes endpoints with more long lists than a service has SRV
// records for. Which lists are served must depend on the endpoints, not on the history.
func TestServedLists(t *testing.T) {
	const lists = maxServedLists + 3
	key := ServiceKey{"default", "nginx"}
	const name = "nginx.default.svc.cluster.local."
	resolved := map[int]int{}
	endpoint := func(i int) Endpoint {
		ports := make([]Port, maxShortPorts+1)
		for k := range ports {
			ports[k] = Port{fmt.Sprintf("p%d-%d", i, k), "tcp", uint16(100*i + k)}
		}
		return Endpoint{Host: fmt.Sprint("web-", i), Addr: ipv4(i), Ports: NewLazyPortList([]byte{byte(i)}, func() []Port {
			resolved[i]++
			return ports
		})}
	}
	var sorted []int // lists, by digest
	for i := range lists {
		sorted = append(sorted, i)
	}
	slices.SortFunc(sorted, func(i, j int) int { return strings.Compare(endpoint(i).Ports.digest, endpoint(j).Ports.digest) })

	rng := rand.New(rand.NewPCG(1, 1))
	for range 30 {
		trie := New()
		inUse := map[int]bool{}
		clear(resolved)
		update := trie.Update()
		update.Create(key)
		update.Commit()
		for range 60 {
			update := trie.Update()
			for range 1 + rng.IntN(3) {
				if i := rng.IntN(lists); inUse[i] {
					update.Remove(key, endpoint(i))
					delete(inUse, i)
				} else {
					update.Add(key, endpoint(i))
					inUse[i] = true
				}
			}
			update.Commit()
			served := slices.DeleteFunc(slices.Clone(sorted), func(i int) bool { return !inUse[i] })
			served = served[:min(len(served), maxServedLists)]
			if got, want := trie.Stats().Ports, len(served)*(maxShortPorts+1); got != want {
				t.Fatalf("with the lists %v, there are %d ports, want %d", inUse, got, want)
			}
			for i := range lists {
				host := fmt.Sprintf("web-%d.%s", i, name)
				_, addrs, _ := lookup(trie, host, dns.TypeA)
				_, records, _ := lookup(trie, host, dns.TypeSRV)
				want := 0
				if slices.Contains(served, i) {
					want = maxShortPorts + 1
				}
				if (len(addrs) == 1) != inUse[i] || len(records) != want {
					t.Fatalf("with the lists %v, host %d has %v and %d SRV records, want %d", inUse, i, addrs, len(records), want)
				}
			}
		}
		update = trie.Update()
		for i := range inUse {
			update.Remove(key, endpoint(i))
		}
		update.Commit()
		if s := trie.all.service(key).snapshot.Load(); s.long != nil || s.ports.len() > 0 || s.namedPorts != 0 || trie.Stats().Ports != 0 {
			t.Fatalf("without endpoints, there are %d ports", s.ports.len())
		}
	}

	// A list that is not served keeps no ports.
	clear(resolved)
	trie := New()
	for i := range lists {
		update := trie.Update()
		update.Create(key)
		update.Add(key, endpoint(sorted[i]))
		update.Commit()
	}
	for i, list := range sorted {
		want := 0
		if i < maxServedLists {
			want = 1
		}
		if resolved[list] != want {
			t.Errorf("list %d is resolved %d times, want %d", i, resolved[list], want)
		}
	}
}

// TestHostWithManyTargets checks the windows of a host that many endpoints with
// different ports share.
func TestHostWithManyTargets(t *testing.T) {
	const n = 3000
	key := ServiceKey{"default", "nginx"}
	trie := New()
	update := trie.Update()
	update.Create(key)
	for i := range n {
		for _, host := range []string{"a", "shared", "z"} {
			update.Add(key, Endpoint{Host: host, Hostname: true, Addr: ipv4(i), Ports: NewPortList([]Port{{"web", "tcp", uint16(math.MaxUint16 - i)}})})
		}
	}
	update.Commit()
	const name = "shared.nginx.default.svc.cluster.local."
	complete, _ := message(t, trie, name, dns.TypeSRV, 1<<30, 0)
	if len(complete.Answer) != n {
		t.Errorf("the host has %d targets, want %d", len(complete.Answer), n)
	}
	seen := map[uint16]bool{}
	for start := range uint64(n) {
		m, a := message(t, trie, name, dns.TypeSRV, 512, start)
		if !a.Truncated {
			t.Fatal("the host is not truncated")
		}
		for _, rr := range m.Answer {
			srv := rr.(*dns.SRV)
			if srv.Target != name || srv.Weight != 1 {
				t.Fatalf("the host has %v, want the target %s and the weight 1", rr, name)
			}
			seen[srv.Port] = true
		}
	}
	if len(seen) != n {
		t.Errorf("all replies together have %d of %d records", len(seen), n)
	}
}
