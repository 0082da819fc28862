package records

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

const clusterBase = "nginx.default.svc.clusterset.local."

// TestManyClusters gives a service more clusters than topology zones are told apart. Each has its
// names, and loses them with its last endpoint.
func TestManyClusters(t *testing.T) {
	const n = 3 * maxZones
	trie, key := NewClusterset(), ServiceKey{"default", "nginx"}
	id := func(i int) string { return fmt.Sprintf("c%d.r%d", i, i%5) }
	pod := func(i int) Endpoint {
		return Endpoint{Host: "web-0", Hostname: true, Addr: ipv4(i), Ports: universePorts[1], Zone: id(i)}
	}
	check := func(there func(int) bool) {
		t.Helper()
		regions := map[int]bool{}
		for i := range n {
			want, records := Missing, 0
			if there(i) {
				want, records, regions[i%5] = Found, 1, true
			}
			for name, records := range map[string]int{id(i) + ".": 0, "web-0." + id(i) + ".": records} {
				if got, data, _ := lookup(trie, name+clusterBase, dns.TypeA); got != want || len(data) != records {
					t.Fatalf("%s is %v with %q, want %v with %d records", name, got, data, want, records)
				}
			}
		}
		for r := range 6 {
			want := map[bool]Result{false: Missing, true: Found}[regions[r]]
			if got, _, _ := lookup(trie, fmt.Sprintf("r%d.%s", r, clusterBase), dns.TypeA); got != want {
				t.Errorf("r%d is %v, want %v", r, got, want)
			}
		}
		for _, name := range []string{"c0.", "web-0.", "web-0.r0.", "c0.r1.", "0.r0.", "x.c0.r0."} {
			if got, _, _ := lookup(trie, name+clusterBase, dns.TypeA); got != Missing {
				t.Errorf("%s is %v", name, got)
			}
		}
	}
	change := func(in func(int) bool, do func(*Update, Endpoint)) {
		u := trie.Update()
		u.Create(key)
		for i := range n {
			if in(i) {
				do(u, pod(i))
			}
		}
		u.Commit()
	}
	all := func(int) bool { return true }
	odd := func(i int) bool { return i%2 == 1 && i%5 > 0 }
	change(all, func(u *Update, e Endpoint) { u.Add(key, e) })
	check(all)
	change(func(i int) bool { return !odd(i) }, func(u *Update, e Endpoint) { u.Remove(key, e) })
	check(odd)
	change(odd, func(u *Update, e Endpoint) { u.Remove(key, e) })
	check(func(int) bool { return false })
}

// TestClusterAt compares clusterAt with a search through all clusters.
func TestClusterAt(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 8))
	name := func() string {
		labels := make([]string, 1+rng.IntN(3))
		for i := range labels {
			labels[i] = []string{"a", "b", "aa", "ab", "ba", "a-a", "-a", "b-a"}[rng.IntN(8)]
		}
		return strings.Join(labels, ".")
	}
	for range 300 {
		var ids []string
		var deltas []delta[cluster]
		for range rng.IntN(100) {
			ids = append(ids, name())
			deltas = append(deltas, delta[cluster]{cluster(ids[len(ids)-1]), 1})
		}
		clusters := set[cluster]{}.merge(sum(deltas))
		clusters.check(t)
		s := &snapshot{clusters: &clusters}
		for range 60 {
			asked := name()
			got := string(s.clusterAt([]byte(asked)))
			below := slices.ContainsFunc(ids, func(id string) bool { return strings.HasSuffix(id, "."+asked) })
			if is := slices.Contains(ids, asked); is != (got == asked) || (is || below) != (got != "") || got != asked && !strings.HasSuffix(got, "."+asked) && got != "" {
				t.Fatalf("the cluster at %s is %q; it is one: %v; one is below: %v; all are %q", asked, got, is, below, ids)
			}
		}
	}
}

// TestClusterIDs checks which ids clusters may have, and that endpoints with others are ignored.
func TestClusterIDs(t *testing.T) {
	key, long := ServiceKey{"default", "nginx"}, strings.Repeat("a", 63)
	for id, want := range map[string]bool{
		"c1": true, "eu.c1": true, "0": true, "a-b.c--d.1": true, long + "." + long + "." + long + "." + long[:61]: true,
		"": false, "C1": false, "c1.": false, ".c1": false, "a..b": false, "-a": false, "a-": false, "a.-b": false, "a-.b": false, "a_b": false, "_tcp": false,
		"a/b": false, "a:b": false, "a`b": false, "a{b": false, "a b": false, "é": false, `a\.b`: false, long + "a": false, "a." + long + "a": false,
		long + "." + long + "." + long + "." + long[:62]: false,
	} {
		if got := IsClusterID(id); got != want {
			t.Errorf("IsClusterID(%q) is %v, want %v", id, got, want)
		}
		trie := NewClusterset()
		u := trie.Update()
		u.Create(key)
		before := u.Size()
		e := Endpoint{Host: "web-0", Addr: ipv4(1), Ports: universePorts[1], Zone: id}
		u.Add(key, e)
		withheld := Endpoint{Withheld: NoAddress, Zone: id}
		u.Add(key, withheld)
		u.Add(key, withheld)
		if got := u.Size() - before; (got > 0) != want {
			t.Errorf("cluster %q: an update counts %d endpoints", id, got)
		}
		u.Commit()
		counts := Counts{}
		if want {
			counts = Counts{Ready: 1, NoAddress: 2}
		}
		if got := trie.Stats().Endpoints; got != counts {
			t.Errorf("cluster %q: the endpoints are %v, want %v", id, got, counts)
		}
		u = trie.Update()
		u.Remove(key, e)
		u.Remove(key, withheld)
		u.Remove(key, withheld)
		u.Commit()
		if got := trie.Stats(); got != (Stats{Services: 1}) {
			t.Errorf("cluster %q: the statistics are %+v after the removal", id, got)
		}
	}
}

// TestClusterDenial checks denials that no random history has, and the end of each cause.
func TestClusterDenial(t *testing.T) {
	trie, key := NewClusterset(), ServiceKey{"default", "nginx"}
	u := trie.Update()
	u.Create(key)
	u.Create(ServiceKey{"default", "empty"})
	u.Add(key, Endpoint{Host: "web-0", Addr: ipv4(1), Ports: universePorts[1], Zone: "eu.c1"})
	u.Add(key, Endpoint{Host: "web-1", Withheld: WrongFamily, Zone: "eu.c1"})
	u.Add(key, Endpoint{Host: "web-2", Withheld: NotReady, Zone: "c2"})
	u.Add(key, Endpoint{Withheld: NoAddress, Zone: "c2"})
	u.AddStray(key, Stray{"web-9.c2", "other"})
	u.Commit()
	for _, test := range []struct {
		name    string
		rrtype  uint16
		want    Denial
		passing bool
	}{
		{"nginx", dns.TypeAAAA, Denial{Cause: NoIPv6}, false},
		{"empty", dns.TypeA, Denial{Cause: NoEndpoint}, true},
		{"web-0.empty", dns.TypeA, Denial{Cause: NoCluster, Cluster: []byte("web-0")}, true},
		{"WEB-0.EU.c1.nginx", dns.TypeAAAA, Denial{Cause: NoIPv6, Host: []byte("web-0"), Cluster: []byte("eu.c1")}, false},
		{"web-1.eu.c1.nginx", dns.TypeA, Denial{Cause: HostWithheld, Reason: WrongFamily, Host: []byte("web-1"), Cluster: []byte("eu.c1")}, false},
		{"web-2.c2.nginx", dns.TypeA, Denial{Cause: HostWithheld, Reason: NotReady, Host: []byte("web-2"), Cluster: []byte("c2")}, true},
		{"web-2.c3.nginx", dns.TypeA, Denial{Cause: NoCluster, Host: []byte("web-2"), Cluster: []byte("c3")}, true},
		{"web-3.c2.nginx", dns.TypeA, Denial{Cause: NoCluster, Host: []byte("web-3"), Cluster: []byte("c2")}, true},
		{"web-3.eu.c1.nginx", dns.TypeA, Denial{Cause: NoHost, Host: []byte("web-3"), Cluster: []byte("eu.c1")}, true},
		{"web-3.c1.nginx", dns.TypeA, Denial{Cause: NoCluster, Host: []byte("web-3"), Cluster: []byte("c1")}, true},
		{"web-9.c2.nginx", dns.TypeA, Denial{Cause: HostElsewhere, Subdomain: "other", Host: []byte("web-9"), Cluster: []byte("c2")}, false},
		{"web-0.nginx", dns.TypeA, Denial{Cause: NoCluster, Cluster: []byte("web-0")}, true},
		{"c2.nginx", dns.TypeA, Denial{Cause: NoCluster, Cluster: []byte("c2")}, true},
		{"c1.nginx", dns.TypeA, Denial{Cause: OnlyClusters, Cluster: []byte("c1")}, false},
		{"eu.c1.nginx", dns.TypeSRV, Denial{Cause: OnlyClusters, Cluster: []byte("eu.c1")}, false},
		{"_tcp.nginx", dns.TypeA, Denial{Cause: OnlyPorts, Protocol: []byte("tcp")}, false},
		{"_web._tcp.nginx", dns.TypeA, Denial{Cause: OnlySRV, Protocol: []byte("tcp"), Port: []byte("web")}, false},
		{"_x._tcp.nginx", dns.TypeSRV, Denial{Cause: NoPort, Protocol: []byte("tcp"), Port: []byte("x")}, false},
		{"_udp.nginx", dns.TypeA, Denial{Cause: NoPort, Protocol: []byte("udp")}, false},
		{"_x._tcp.empty", dns.TypeSRV, Denial{Cause: NoEndpoint, Protocol: []byte("tcp"), Port: []byte("x")}, true},
		{strings.Repeat(`\000`, 63) + ".c2.nginx", dns.TypeA, Denial{Cause: NoCluster, Cluster: []byte("c2")}, true}, // cut
		{"_x.c1.nginx", dns.TypeA, Denial{Cause: NoSuchName}, false},
		{"x._tcp.nginx", dns.TypeA, Denial{Cause: NoSuchName}, false},
		{"_x._y._tcp.nginx", dns.TypeA, Denial{Cause: NoSuchName}, false},
		{"_web._tcp.eu.c1.nginx", dns.TypeSRV, Denial{Cause: NoSuchName}, false},
	} {
		_, got := denial(trie, test.name+".default.svc.clusterset.local.", test.rrtype)
		test.want.Service, test.want.Counts = got.Service, got.Counts
		if a, b := describeDenial(got), describeDenial(test.want); a != b || string(got.Cluster) != string(test.want.Cluster) || got.Passing() != test.passing {
			t.Errorf("%s %s: %s in cluster %q, passing: %v, want %s in %q", test.name, dns.TypeToString[test.rrtype], a, got.Cluster, got.Passing(), b, test.want.Cluster)
		}
	}
}

// TestClusterOddNames looks up names that look like those of hosts. None exists.
func TestClusterOddNames(t *testing.T) {
	trie := clusterTrie(3, 1)
	trie.EnableZones()
	for _, prefix := range []string{
		`web-0\.c0`, `\web-0.c0`, `web\0450.c0`, ".c0", "*.c0", `\000.c0`, "web-0.c0.c0", "web-0..c0", "pin._zone", "_zone", "x.pin._zone",
		strings.Repeat("a.", 110) + "c0", strings.Repeat(`\000.`, 60) + "web-0.c0", "web-0.c0." + strings.Repeat("a.", 110) + "c0",
	} {
		if result, data, _ := lookup(trie, prefix+"."+clusterBase, dns.TypeA); result != Missing {
			t.Errorf("the lookup of %s is %v with records %q, want Missing", prefix, result, data)
		}
		denial(trie, prefix+"."+clusterBase, dns.TypeA)
	}
	if _, result := trie.FindAddr(ipv4(0)); result != Outside {
		t.Errorf("the lookup of an address is %v", result)
	}
	if trie.Covers(netip.PrefixFrom(ipv4(0), 8)) {
		t.Error("the trie covers a prefix")
	}
	var n Name
	n.Fold("nginx.default.example.org.")
	if _, result := trie.Find(&n, exampleOrg); result != Outside {
		t.Errorf("the lookup of an external name is %v", result)
	}
}

// TestClusterReaders looks up names while the writer commits random updates, one service in each
// portion. The race detector checks that nothing a reader got is written.
func TestClusterReaders(t *testing.T) {
	setPortionSize(t, 1)
	u := universe{Rand: rand.New(rand.NewPCG(1, 3)), long: true, clusterset: true}
	trie, o, names := u.trie(), oracle{}, u.names()
	var done atomic.Bool
	var readers, busy sync.WaitGroup
	for r := range 3 {
		busy.Add(1)
		readers.Go(func() {
			u := universe{Rand: rand.New(rand.NewPCG(2, uint64(r))), clusterset: true}
			for round := 0; !done.Load(); round++ {
				var n Name
				name, rrtype := pick(u, names...), pick(u, allTypes...)
				n.Fold(name)
				node, result := trie.Find(&n, clustersetLocal)
				if result == Found {
					node.Answer(&Query{Name: name, Type: rrtype, Size: 1 << 16})
				}
				d := node.Denial(&n, clustersetLocal, rrtype)
				if d.Cause == OnlyClusters && result != Found || d.Cause == NoCluster && result != Missing {
					t.Errorf("%s %s is %v with cause %d", name, dns.TypeToString[rrtype], result, d.Cause)
				}
				for range trie.Image().Names(clustersetLocal) {
					break
				}
				if round == 200 {
					busy.Done()
				}
			}
		})
	}
	var enough atomic.Bool
	readers.Go(func() { busy.Wait(); enough.Store(true) })
	for round := 0; round < 200 || !enough.Load(); round++ {
		randomUpdate(u, trie, o)
	}
	done.Store(true)
	readers.Wait()
	compare(t, trie, o, names)
}
