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

// serveLists returns a trie with a service of n hosts: some have one of two long
// lists, which differ in part, some have both, some a short list beside.
func longListTrie(n int) *Trie {
	key := ServiceKey{"default", "nginx"}
	lists := [2][]Port{{{"web", "tcp", 80}}, {{"web", "tcp", 8080}, {"web", "tcp", 80}}}
	for k := range lists {
		for i := range maxShortPorts {
			lists[k] = append(lists[k], Port{fmt.Sprint("p", i), "udp", uint16(1000 + i*(1+k))})
		}
	}
	trie := New()
	update := trie.Update()
	update.Create(key)
	for i := range n {
		e := Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i)}
		for k, ports := range []*PortList{NewPortList(lists[0]), NewPortList(lists[1]), universePorts[1]} {
			if i%(k+2) == 0 || k == 1 && i%2 == 1 {
				e.Ports = ports
				update.Add(key, e)
			}
		}
	}
	update.Commit()
	return trie
}

// TestListsAtRandom checks that windows of long lists start anywhere, hold nothing
// twice, and that every record gets its turn.
func TestListsAtRandom(t *testing.T) {
	trie := longListTrie(40)
	for _, name := range []string{"nginx.default.svc.cluster.local.", "_web._tcp.nginx.default.svc.cluster.local.", "web-12.nginx.default.svc.cluster.local."} {
		complete, _ := message(t, trie, name, dns.TypeSRV, 1<<30, 0)
		want := map[string]bool{}
		for _, rr := range complete.Answer {
			want[rr.String()] = true
		}
		if len(want) != len(complete.Answer) {
			t.Errorf("%s has %d records, %d different", name, len(complete.Answer), len(want))
		}
		first := map[string]int{}
		starts := 2 * len(want) // some targets are in several lists
		for start := range uint64(starts) {
			m, a := message(t, trie, name, dns.TypeSRV, 512, start)
			if !a.Truncated || len(m.Answer) == 0 {
				t.Fatalf("%s is not capped, with %d records", name, len(m.Answer))
			}
			here := map[string]bool{}
			for _, rr := range m.Answer {
				if here[rr.String()] || !want[rr.String()] {
					t.Fatalf("%s has %s twice, or wrongly", name, rr)
				}
				here[rr.String()] = true
			}
			glue := map[string]bool{}
			for _, rr := range m.Extra {
				if glue[rr.String()] {
					t.Fatalf("%s has the address %s twice", name, rr)
				}
				glue[rr.String()] = true
			}
			first[m.Answer[0].String()]++
		}
		for rr := range want {
			if n := first[rr]; n == 0 || n > 6 {
				t.Errorf("%s comes first in %d of %d replies", rr, n, starts)
			}
		}
	}
}

// TestServedLists adds and removes endpoints with more long lists than have SRV
// records. What is served depends on the endpoints alone, and not on their history.
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
	var order []int // of the lists
	for i := range lists {
		order = append(order, i)
	}
	slices.SortFunc(order, func(i, j int) int { return strings.Compare(endpoint(i).Ports.digest, endpoint(j).Ports.digest) })

	rng := rand.New(rand.NewPCG(1, 1))
	for range 30 {
		trie := New()
		held := map[int]bool{}
		clear(resolved)
		update := trie.Update()
		update.Create(key)
		update.Commit()
		for range 60 {
			update := trie.Update()
			for range 1 + rng.IntN(3) {
				if i := rng.IntN(lists); held[i] {
					update.Remove(key, endpoint(i))
					delete(held, i)
				} else {
					update.Add(key, endpoint(i))
					held[i] = true
				}
			}
			update.Commit()
			served := slices.DeleteFunc(slices.Clone(order), func(i int) bool { return !held[i] })
			served = served[:min(len(served), maxServedLists)]
			if got, want := trie.Stats().Ports, len(served)*(maxShortPorts+1); got != want {
				t.Fatalf("with lists %v there are %d ports, want %d", held, got, want)
			}
			for i := range lists {
				host := fmt.Sprintf("web-%d.%s", i, name)
				_, addrs, _ := lookup(trie, host, dns.TypeA)
				_, records, _ := lookup(trie, host, dns.TypeSRV)
				want := 0
				if slices.Contains(served, i) {
					want = maxShortPorts + 1
				}
				if (len(addrs) == 1) != held[i] || len(records) != want {
					t.Fatalf("with lists %v host %d has %v and %d SRV records, want %d", held, i, addrs, len(records), want)
				}
			}
		}
		update = trie.Update()
		for i := range held {
			update.Remove(key, endpoint(i))
		}
		update.Commit()
		if s := trie.service(key).snapshot.Load(); s.long != nil || s.ports.len() > 0 || s.namedPorts != 0 || trie.Stats().Ports != 0 {
			t.Fatalf("%d ports are left", s.ports.len())
		}
	}

	// A list that is not served takes no memory for its ports.
	clear(resolved)
	trie := New()
	for i := range lists {
		update := trie.Update()
		update.Create(key)
		update.Add(key, endpoint(order[i]))
		update.Commit()
	}
	for i, list := range order {
		want := 0
		if i < maxServedLists {
			want = 1
		}
		if resolved[list] != want {
			t.Errorf("the ports of list %d are made %d times, want %d", i, resolved[list], want)
		}
	}
}

// TestPortListEqual compares lists by their content.
func TestPortListEqual(t *testing.T) {
	reversed := slices.Clone(manyPorts(100).ports)
	slices.Reverse(reversed)
	other := slices.Clone(reversed)
	other[50].Number++
	renamed := slices.Clone(reversed)
	renamed[50].Name, renamed[50].Protocol = "t", "cpp50"
	lazy := func(id string) *PortList { return NewLazyPortList([]byte(id), nil) }
	for _, test := range []struct {
		what string
		a, b *PortList
		want bool
	}{
		{"none", nil, NewPortList(nil), true},
		{"none and one", nil, universePorts[1], false},
		{"one and none", universePorts[1], nil, false},
		{"short", universePorts[1], NewPortList([]Port{{"web", "tcp", 80}}), true},
		{"another number", universePorts[1], universePorts[2], false},
		{"long, in another order", manyPorts(100), NewPortList(reversed), true},
		{"long, another number", manyPorts(100), NewPortList(other), false},
		{"long, another name", manyPorts(100), NewPortList(renamed), false},
		{"long, one more", manyPorts(100), manyPorts(101), false},
		{"lazy", lazy("a"), lazy("a"), true},
		{"lazy, another id", lazy("a"), lazy("b"), false},
		{"short and long", manyPorts(maxShortPorts), manyPorts(maxShortPorts + 1), false},
	} {
		if got := test.a.Equal(test.b); got != test.want {
			t.Errorf("%s: equal is %v, want %v", test.what, got, test.want)
		}
	}
}

// TestLongHost checks that a host's SRV records are read without a look at all of
// its targets, which many endpoints with one label may be.
func TestLongHost(t *testing.T) {
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
			t.Fatal("the host is not capped")
		}
		for _, rr := range m.Answer {
			srv := rr.(*dns.SRV)
			if srv.Target != name || srv.Weight != 1 {
				t.Fatalf("the host has %v", rr)
			}
			seen[srv.Port] = true
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d records were in a reply", len(seen), n)
	}
}

// A host that changes its ports keeps those it had while the service exchanges
// addresses with another, if one of the lists is long.
func TestPlanKeepsLists(t *testing.T) {
	nginx, mariadb := ServiceKey{"default", "nginx"}, ServiceKey{"default", "mariadb"}
	long, longer := manyPorts(17), manyPorts(18)
	for _, test := range []struct {
		what          string
		before, after *PortList
		want          int // SRV records of web-0
	}{
		{"the same list", long, long, 17},
		{"another list", long, longer, 17},
		{"from short to long", universePorts[4], long, 2},
		{"from long to short", long, universePorts[4], 17},
		{"from long to none", long, nil, 0},
		{"from none to long", nil, long, 0},
	} {
		trie := New()
		update := trie.Update()
		update.Create(nginx)
		update.Create(mariadb)
		update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: test.before})
		update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(1), Ports: long})
		update.Add(mariadb, Endpoint{Host: "db-0", Addr: ipv4(2)})
		update.Commit()

		update = trie.Update()
		update.Remove(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: test.before})
		update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: test.after})
		update.Remove(nginx, Endpoint{Host: "web-1", Addr: ipv4(1), Ports: long})
		update.Add(nginx, Endpoint{Host: "web-2", Addr: ipv4(2), Ports: longer})
		update.Remove(mariadb, Endpoint{Host: "db-0", Addr: ipv4(2)})
		update.Add(mariadb, Endpoint{Host: "db-1", Addr: ipv4(1)})
		steps := planFor(update)
		if len(steps) != 3 || steps[0].service.name != "nginx" {
			t.Fatalf("%s: the plan is %v", test.what, steps)
		}
		steps[0].service.snapshot.Store(steps[0].build())
		for host, want := range map[string]int{"web-0": test.want, "web-1": 0, "web-2": 0} {
			if _, records, _ := lookup(trie, host+".nginx.default.svc.cluster.local.", dns.TypeSRV); len(records) != want {
				t.Errorf("%s: between, %s has %q, want %d records", test.what, host, records, want)
			}
		}
	}
}

// A service that is made anew keeps the long lists that it has before and after.
func TestPlanKeepsRecreatedLists(t *testing.T) {
	nginx, mariadb := ServiceKey{"default", "nginx"}, ServiceKey{"default", "mariadb"}
	long, longer := manyPorts(17), manyPorts(18)
	trie := New()
	update := trie.Update()
	update.Create(nginx)
	update.Create(mariadb)
	for i := range 3 {
		update.Add(nginx, Endpoint{Host: fmt.Sprint("web-", i), Addr: ipv4(i), Ports: long})
	}
	update.Add(mariadb, Endpoint{Host: "db-0", Addr: ipv4(3)})
	update.Commit()

	update = trie.Update()
	update.Delete(nginx)
	update.Create(nginx)
	update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: manyPorts(17)})
	update.Add(nginx, Endpoint{Host: "web-0", Addr: ipv4(0), Ports: manyPorts(17)})
	update.Add(nginx, Endpoint{Host: "web-1", Addr: ipv4(1), Ports: longer})
	update.Add(nginx, Endpoint{Host: "web-3", Addr: ipv4(3), Ports: long})
	update.Remove(mariadb, Endpoint{Host: "db-0", Addr: ipv4(3)})
	update.Add(mariadb, Endpoint{Host: "db-1", Addr: ipv4(2)})
	steps := planFor(update)
	if len(steps) != 3 || steps[0].service.name != "nginx" {
		t.Fatalf("the plan is %v", steps)
	}
	steps[0].service.snapshot.Store(steps[0].build())
	for host, want := range map[string]int{"web-0": 17, "web-1": 0, "web-2": 0, "web-3": 0} {
		_, records, _ := lookup(trie, host+".nginx.default.svc.cluster.local.", dns.TypeSRV)
		if len(records) != want || want > 0 && records[0] != "0 5 1 web-0.nginx.default.svc.cluster.local." {
			t.Errorf("between, %s has %q, want %d records", host, records, want)
		}
	}
}
