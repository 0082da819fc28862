package records

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/miekg/dns"
)

// TestMergeZoned merges random deltas into the two sets of some keys, and into a map. The first set
// has each key once, and the second set has it in its other zones.
func TestMergeZoned(t *testing.T) {
	const zones = 5
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 4))
		keys := 1 + rng.IntN(200)
		oracle := map[target]int32{} // by target and zone
		var one, more set[target]
		for range 100 {
			var deltas []delta[target]
			for range 1 + rng.IntN(40) {
				key := newTarget(zoneTag(rng.IntN(1+zones)), hostID(rng.IntN(keys)), 80)
				refs := rng.Int32N(3) - min(oracle[key], 2)
				oracle[key] += refs
				deltas = append(deltas, delta[target]{key, refs})
			}
			one, more = mergeZoned(one, more, sum(deltas), zones)
			one.check(t)
			more.check(t)
			once := map[target]bool{}
			for x := range one.all {
				if once[x.key.in(noZone)] {
					t.Fatalf("seed %d: the first set has %v twice", seed, x.key)
				}
				once[x.key.in(noZone)] = true
			}
			distinct := map[target]bool{}
			for key, refs := range oracle {
				if refs > 0 {
					distinct[key.in(noZone)] = true
				}
				if got := refsOfZoned(&one, &more, key); got != refs {
					t.Fatalf("seed %d: %v has %d refs, want %d", seed, key, got, refs)
				}
				if one.refsOf(key) > 0 && more.refsOf(key) > 0 {
					t.Fatalf("seed %d: both sets have %v", seed, key)
				}
			}
			if len(once) != len(distinct) {
				t.Fatalf("seed %d: the first set has %d keys, want %d", seed, len(once), len(distinct))
			}
		}
	}
}

// TestZonedSizes checks that the zone of a key takes no memory: the sizes are those of an address
// and of a target with a count of endpoints.
func TestZonedSizes(t *testing.T) {
	for _, test := range []struct {
		what      string
		got, want uintptr
	}{
		{"an IPv4 address", unsafe.Sizeof(item[zoned4]{}), 8},
		{"an IPv6 address", unsafe.Sizeof(item[zoned6]{}), 20},
		{"a target", unsafe.Sizeof(item[target]{}), 12},
		{"a target of a long list", unsafe.Sizeof(item[longTarget]{}), 24},
		{"a host", unsafe.Sizeof(host{}), 40},
		{"a snapshot, in a block of 352 bytes", unsafe.Sizeof(snapshot{}), 352},
	} {
		if test.got > test.want {
			t.Errorf("%s takes %d bytes, want at most %d", test.what, test.got, test.want)
		}
	}
}

// TestCount checks the range of the number of endpoints behind a key.
func TestCount(t *testing.T) {
	for _, n := range []int32{0, 1, 255, 256, 65536, maxCount} {
		if got := newCount(n).int(); got != n {
			t.Errorf("the count %d becomes %d", n, got)
		}
	}
	if got := newCount(maxCount + 1).int(); got != maxCount {
		t.Errorf("a count beyond the highest becomes %d", got)
	}
	s := set[number]{}.merge([]delta[number]{{1, maxCount}}).merge([]delta[number]{{1, 5}})
	if got := s.refsOf(1); got != maxCount {
		t.Errorf("a count that grows beyond the highest becomes %d", got)
	}
}

// TestManyZones gives a service more zones than are told apart. The further ones are in none; the
// service's own name has all endpoints. Once the service has no ready endpoint, it may have other
// zones.
func TestManyZones(t *testing.T) {
	const base = "nginx.default.svc.cluster.local."
	trie, key := New(), ServiceKey{"default", "nginx"}
	trie.EnableZones()
	endpoint := func(i int) Endpoint {
		return Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i), Ports: universePorts[1], Zone: fmt.Sprint("zone-", i)}
	}
	each := func(change func(*Update, Endpoint)) {
		for i := range maxZones + 5 {
			u := trie.Update()
			change(u, endpoint(i))
			u.Commit()
		}
	}
	want := func(name string, n int) {
		t.Helper()
		for _, rrtype := range []uint16{dns.TypeA, dns.TypeSRV} {
			if _, data, _ := lookup(trie, name+base, rrtype); len(data) != n {
				t.Errorf("%s %s has %d records, want %d", name+base, dns.TypeToString[rrtype], len(data), n)
			}
		}
	}
	u := trie.Update()
	u.Create(key)
	u.Commit()
	each(func(u *Update, e Endpoint) { u.Add(key, e) })
	want("", maxZones+5)
	want(fmt.Sprintf("zone-%d.pin._zone.", maxZones-1), 1)
	want(fmt.Sprintf("zone-%d.pin._zone.", maxZones), 0)
	want(fmt.Sprintf("zone-%d.prefer._zone.", maxZones), maxZones+5)

	// A zone without endpoints keeps its tag, so those of a further zone stay in none.
	u = trie.Update()
	u.Remove(key, endpoint(0))
	u.Add(key, endpoint(maxZones))
	u.Commit()
	want(fmt.Sprintf("zone-%d.pin._zone.", maxZones), 0)
	u = trie.Update()
	u.Remove(key, endpoint(maxZones))
	u.Add(key, endpoint(0))
	u.Commit()
	want("", maxZones+5)

	each(func(u *Update, e Endpoint) { u.Remove(key, e) })
	u = trie.Update()
	for i := maxZones; i < maxZones+5; i++ {
		u.Add(key, endpoint(i))
	}
	u.Commit()
	want("", 5)
	want(fmt.Sprintf("zone-%d.pin._zone.", maxZones), 1)
}

// TestZonedMisuse removes an endpoint from zones that do not have it. It stays.
func TestZonedMisuse(t *testing.T) {
	const base = "nginx.default.svc.cluster.local."
	trie, key := New(), ServiceKey{"default", "nginx"}
	trie.EnableZones()
	e := Endpoint{Host: "web-0", Hostname: true, Addr: ipv4(0), Ports: universePorts[1], Zone: "a"}
	u := trie.Update()
	u.Create(key)
	u.Add(key, e)
	u.Commit()
	other := e
	other.Zone = "b"
	for _, zone := range []string{"b", ""} { // none of them has the endpoint
		other.Zone = zone
		u = trie.Update()
		u.Remove(key, other)
		u.Commit()
		for _, name := range []string{base, "web-0." + base, "a.pin._zone." + base} {
			for _, rrtype := range []uint16{dns.TypeA, dns.TypeSRV} {
				if _, data, _ := lookup(trie, name, rrtype); len(data) != 1 {
					t.Errorf("%s %s has the records %q after a removal from zone %q", name, dns.TypeToString[rrtype], data, zone)
				}
			}
		}
	}
	if got, want := trie.Stats().Endpoints[Ready], 1; got != want {
		t.Errorf("there are %d endpoints, want %d", got, want)
	}
	u = trie.Update()
	u.Remove(key, e)
	u.Commit()
	if got := trie.Stats().Endpoints[Ready]; got != 0 {
		t.Errorf("there are %d endpoints after the removal", got)
	}
}

// TestZonedMisuseOfPorts removes a host without its ports, while its zone is the second one of the
// service. When the host is added in another zone, it has one target.
func TestZonedMisuseOfPorts(t *testing.T) {
	trie, key := New(), ServiceKey{"default", "nginx"}
	trie.EnableZones()
	pod := func(i int, zone string, ports *PortList) Endpoint {
		return Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i), Ports: ports, Zone: zone}
	}
	for _, change := range []func(u *Update){
		func(u *Update) {
			u.Create(key)
			u.Add(key, pod(0, "a", nil))
			u.Add(key, pod(1, "b", universePorts[1]))
		},
		func(u *Update) { u.Remove(key, pod(0, "a", nil)); u.Remove(key, pod(1, "b", nil)) },
		func(u *Update) { u.Add(key, pod(1, "c", universePorts[1])) },
	} {
		u := trie.Update()
		change(u)
		u.Commit()
	}
	for _, name := range []string{"", "web-1.", "c.pin._zone.", "_web._tcp.c.prefer._zone."} {
		if _, data, answer := lookup(trie, name+"nginx.default.svc.cluster.local.", dns.TypeSRV); len(answer.Records) != 1 {
			t.Errorf("%sSRV has the records %q, want one", name, data)
		}
	}
}

// TestZonedMisuseOfAddresses removes an address that two hosts have in two zones, as if both had it
// in one zone. It stays at one host and at the service.
func TestZonedMisuseOfAddresses(t *testing.T) {
	const base = "nginx.default.svc.cluster.local."
	trie, key := New(), ServiceKey{"default", "nginx"}
	trie.EnableZones()
	pod := func(i int, zone string) Endpoint {
		return Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(0), Zone: zone}
	}
	u := trie.Update()
	u.Create(key)
	u.Add(key, pod(0, "a"))
	u.Add(key, pod(1, "b"))
	u.Commit()
	u = trie.Update()
	u.Remove(key, pod(0, "a"))
	u.Remove(key, pod(1, "a"))
	u.Commit()
	for name, want := range map[string]int{"": 1, "web-0.": 0, "web-1.": 1, "b.pin._zone.": 1, "a.pin._zone.": 0} {
		if _, data, _ := lookup(trie, name+base, dns.TypeA); len(data) != want {
			t.Errorf("%sA has the records %q, want %d", name, data, want)
		}
	}
	u = trie.Update()
	u.Remove(key, pod(1, "b"))
	u.Commit()
	if result, data, _ := lookup(trie, base, dns.TypeA); result != Missing {
		t.Errorf("a service without endpoints is %v with the records %q", result, data)
	}
}

// TestZonedInterim deletes a service and creates it again with one of its endpoints, while it
// exchanges addresses with another service. The endpoint has its zonal names in every step.
func TestZonedInterim(t *testing.T) {
	for _, ports := range []*PortList{universePorts[1], manyPorts(maxShortPorts + 1)} {
		trie := New()
		trie.EnableZones()
		a, b := ServiceKey{"default", "a"}, ServiceKey{"default", "b"}
		pod := func(i int, zone string) Endpoint {
			return Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i), Ports: ports, Zone: zone}
		}
		u := trie.Update()
		u.Create(a)
		u.Create(b)
		u.Add(a, pod(1, "x"))
		u.Add(a, pod(2, "y"))
		u.Add(b, pod(3, "x"))
		u.Commit()
		u = trie.Update()
		for _, key := range []ServiceKey{a, b} {
			u.Delete(key)
			u.Create(key)
		}
		u.Add(a, pod(2, "y"))
		u.Add(a, pod(3, "z"))
		u.Add(b, pod(1, "x"))
		steps := planFor(u)
		interim := 0
		for _, s := range steps {
			if s.interim {
				interim++
			}
			if s.key != a {
				continue
			}
			for _, name := range []string{"web-2.a", "y.pin._zone.a"} {
				for _, rrtype := range []uint16{dns.TypeA, dns.TypeSRV} {
					name := name + ".default.svc.cluster.local."
					var folded Name
					folded.Fold(name)
					node := Node{snapshot: s.build(), suffixLen: len("a.default.svc.cluster.local.")}
					if folded.Len() == 6 {
						node.host = node.hostByLabel([]byte("web-2"))
					} else {
						node.findZonal(&folded, 2)
					}
					if answer := node.Answer(&Query{Name: name, Type: rrtype, Size: dns.MaxMsgSize}); len(answer.Records) == 0 {
						t.Errorf("%s %s has no records, in an interim: %v", name, dns.TypeToString[rrtype], s.interim)
					}
				}
			}
		}
		if interim != 1 {
			t.Errorf("there are %d interim steps, want one", interim)
		}
	}
}

// TestScatteredTargets gives hosts ports in two zones, so that the targets of a host are not
// neighbours. A reply of any size has the addresses of each host once.
func TestScatteredTargets(t *testing.T) {
	const base = "nginx.default.svc.cluster.local."
	for _, n := range []int{2, fewTargets/2 + 1, 200} {
		trie, key := New(), ServiceKey{"default", "nginx"}
		trie.EnableZones()
		u := trie.Update()
		u.Create(key)
		for i := range n {
			for zone, number := range map[string]uint16{"a": 80, "b": 81} {
				u.Add(key, Endpoint{Host: fmt.Sprint("web-", i), Hostname: true, Addr: ipv4(i), Ports: NewPortList([]Port{{"web", "tcp", number}}), Zone: zone})
			}
		}
		u.Commit()
		var name Name
		name.Fold(base)
		node, _ := trie.Find(&name, clusterLocal)
		for start := range uint64(2 * n) {
			answer := node.Answer(&Query{Name: base, Type: dns.TypeSRV, Size: dns.MaxMsgSize, Start: start})
			if len(answer.Records) != 2*n || len(answer.Glue) != n {
				t.Fatalf("%d hosts with 2 ports have %d records and %d addresses", n, len(answer.Records), len(answer.Glue))
			}
		}
	}
}
