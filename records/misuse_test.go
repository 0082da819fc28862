package records

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestMisuse commits updates that do not fit the trie, which has the service nginx with
// the host web-0, an address and a port.
func TestMisuse(t *testing.T) {
	const base = "nginx.default.svc.cluster.local."
	nginx := ServiceKey{"default", "nginx"}
	web, other := universePorts[1], universePorts[2]
	web0 := Endpoint{Host: "web-0", Hostname: true, Addr: ipv4(1), Ports: web}
	web9 := Endpoint{Host: "web-9", Hostname: true, Addr: ipv4(9), Ports: web}
	with := func(e Endpoint, change func(*Endpoint)) Endpoint {
		change(&e)
		return e
	}
	type want struct {
		addrs, targets []string // of nginx
		names          []string // of both addresses
		stats          Stats
	}
	unchanged := want{[]string{"10.0.0.1"}, []string{"80 web-0"}, []string{"web-0"},
		Stats{Services: 1, Hosts: 1, Ports: 1, Addresses: 1, Endpoints: Counts{Ready: 1}}}
	empty := want{stats: Stats{Services: 1}}
	none := want{}
	both := want{[]string{"10.0.0.1", "10.0.0.9"}, []string{"80 web-0", "80 web-9"}, []string{"web-0", "web-9"},
		Stats{Services: 1, Hosts: 2, Ports: 1, Addresses: 2, Endpoints: Counts{Ready: 2}}}
	for _, test := range []struct {
		what   string
		update func(*Update)
		want   want
	}{
		{"a host is removed that was never added", func(u *Update) { u.Remove(nginx, web9) }, unchanged},
		{"an address is removed that was never added", func(u *Update) {
			u.Remove(nginx, with(web0, func(e *Endpoint) { e.Addr, e.Ports = ipv4(9), nil }))
		}, unchanged},
		{"an endpoint is removed twice", func(u *Update) { u.Remove(nginx, web0); u.Remove(nginx, web0) }, empty},
		{"an endpoint is removed with another hostname", func(u *Update) {
			u.Remove(nginx, with(web0, func(e *Endpoint) { e.Hostname = false }))
		}, empty},
		{"an endpoint is removed with both hostnames", func(u *Update) {
			u.Remove(nginx, web0)
			u.Remove(nginx, with(web0, func(e *Endpoint) { e.Hostname = false }))
		}, empty},
		{"an endpoint is removed that was added with another port", func(u *Update) {
			u.Add(nginx, with(web9, func(e *Endpoint) { e.Ports = other }))
			u.Remove(nginx, web9)
		}, unchanged},
		{"an endpoint is removed before it is added", func(u *Update) { u.Remove(nginx, web9); u.Add(nginx, web9); u.Add(nginx, web9) }, both},
		{"a withheld endpoint is removed that was never added", func(u *Update) {
			u.Remove(nginx, with(web0, func(e *Endpoint) { e.Withheld = NotReady }))
		}, unchanged},
		{"a withheld endpoint is added and removed twice", func(u *Update) {
			e := with(web9, func(e *Endpoint) { e.Withheld = NotReady })
			u.Add(nginx, e)
			u.Commit()
			u = u.trie.Update()
			u.Remove(nginx, e)
			u.Remove(nginx, e)
			u.Commit()
		}, unchanged},
		{"an endpoint is removed, and an address that its host never had", func(u *Update) {
			u.Remove(nginx, web0)
			u.Remove(nginx, with(web0, func(e *Endpoint) { e.Addr = ipv4(0) }))
		}, empty},
		{"an endpoint is removed, and its address from a host that never had it", func(u *Update) {
			u.Remove(nginx, web0)
			u.Remove(nginx, with(web0, func(e *Endpoint) { e.Host = "a" }))
		}, empty},
		{"an endpoint is removed after its service", func(u *Update) { u.Delete(nginx); u.Remove(nginx, web0) }, none},
		{"an endpoint is added after its service was deleted", func(u *Update) { u.Delete(nginx); u.Add(nginx, web9) }, none},
		{"an endpoint is removed from a service that is created again", func(u *Update) {
			u.Delete(nginx)
			u.Create(nginx)
			u.Remove(nginx, web0)
		}, empty},
		{"an endpoint is added before its service is created again", func(u *Update) {
			u.Delete(nginx)
			u.Add(nginx, web0)
			u.Create(nginx)
		}, unchanged},
		{"an endpoint is added to a service that is never created", func(u *Update) {
			u.Add(ServiceKey{"none", "none"}, web9)
			u.Delete(ServiceKey{"none", "none"})
			u.Add(ServiceKey{"none", "none"}, web9)
		}, unchanged},
		{"an endpoint without an address is added", func(u *Update) { u.Add(nginx, with(web9, func(e *Endpoint) { e.Addr = netip.Addr{} })) }, unchanged},
		{"an endpoint with an unknown reason is added", func(u *Update) { u.Add(nginx, with(web9, func(e *Endpoint) { e.Withheld = reasons })) }, unchanged},
		{"a mapped address is added", func(u *Update) {
			u.Add(nginx, with(web9, func(e *Endpoint) { e.Addr = netip.MustParseAddr("::ffff:10.0.0.9") }))
		}, both},
		{"a mapped address is removed", func(u *Update) {
			u.Remove(nginx, with(web0, func(e *Endpoint) { e.Addr = netip.MustParseAddr("::ffff:10.0.0.1") }))
		}, empty},
		{"an address with a zone is added and removed without it", func(u *Update) {
			u.Add(nginx, with(web9, func(e *Endpoint) { e.Addr = netip.MustParseAddr("fe80::1%eth0") }))
			u.Remove(nginx, with(web9, func(e *Endpoint) { e.Addr = netip.MustParseAddr("fe80::1") }))
		}, unchanged},
	} {
		t.Run(test.what, func(t *testing.T) {
			trie := New()
			update := trie.Update()
			update.Create(nginx)
			update.Add(nginx, web0)
			update.Commit()
			update = trie.Update()
			test.update(update)
			update.Commit()

			_, addrs, _ := lookup(trie, base, dns.TypeA)
			if !slices.Equal(addrs, test.want.addrs) {
				t.Errorf("the addresses of the service are %q, want %q", addrs, test.want.addrs)
			}
			_, _, answer := lookup(trie, "_web._tcp."+base, dns.TypeSRV)
			var targets []string
			for _, rr := range answer.Records {
				srv := rr.(*dns.SRV)
				targets = append(targets, fmt.Sprint(srv.Port, " ", strings.TrimSuffix(srv.Target, "."+base)))
				if want := uint16(100 / len(test.want.targets)); srv.Weight != want {
					t.Errorf("the weight of a target is %d, want %d", srv.Weight, want)
				}
			}
			slices.Sort(targets)
			if !slices.Equal(targets, test.want.targets) {
				t.Errorf("the targets of the port are %q, want %q", targets, test.want.targets)
			}
			var names []string
			for _, a := range []int{1, 9} {
				reverse, _ := dns.ReverseAddr(ipv4(a).String())
				_, data, _ := lookup(trie, reverse, dns.TypePTR)
				for _, name := range data {
					names = append(names, strings.TrimSuffix(name, "."+base))
				}
			}
			if !slices.Equal(names, test.want.names) {
				t.Errorf("the names of the addresses are %q, want %q", names, test.want.names)
			}
			if got := trie.Stats(); got != test.want.stats {
				t.Errorf("the statistics are %+v, want %+v", got, test.want.stats)
			}
		})
	}
}

// TestMisuseAtRandom adds and removes random endpoints, whether they exist or not. All
// names must stay consistent.
func TestMisuseAtRandom(t *testing.T) {
	for seed := range uint64(30) {
		u := universe{Rand: rand.New(rand.NewPCG(seed, 5)), long: seed%2 == 1, zonal: seed%4 > 1, clusterset: seed >= 20}
		trie := u.trie()
		trie.EnableCovers()
		for range 40 {
			update := trie.Update()
			for range 1 + u.IntN(30) {
				key, e := u.key(), u.endpoint()
				switch u.IntN(12) {
				case 0:
					update.Delete(key)
				case 1:
					update.Create(key)
				case 2, 3, 4, 5:
					update.Add(key, e)
				default:
					update.Remove(key, e)
				}
			}
			update.Commit()
			checkConsistent(t, trie, u.names())
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		update := trie.Update()
		for _, ns := range []string{"default", "prod"} {
			for _, name := range []string{"nginx", "mariadb", "dns"} {
				update.Delete(ServiceKey{ns, name})
			}
		}
		update.Commit()
		if got := trie.Stats(); got != (Stats{}) {
			t.Errorf("seed %d: the statistics of an empty trie are %+v", seed, got)
		}
		for a := range trie.Image().Addrs() {
			t.Errorf("seed %d: an empty trie has the address %v", seed, a)
		}
	}
}

// checkConsistent looks up every name. A name that a record points to must exist, and
// must have the address whose PTR record points to it.
func checkConsistent(t *testing.T, trie *Trie, names []string) {
	t.Helper()
	for _, name := range names {
		for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			lookup(trie, name, rrtype)
		}
		_, _, answer := lookup(trie, name, dns.TypeSRV)
		for _, rr := range answer.Records {
			if result, _, _ := lookup(trie, rr.(*dns.SRV).Target, dns.TypeA); result != Found {
				t.Errorf("%s points to %s, which does not exist", name, rr.(*dns.SRV).Target)
			}
		}
		var n Name
		n.Fold(name)
		addr, ok := n.Reverse()
		if !ok {
			continue
		}
		_, names, _ := lookup(trie, name, dns.TypePTR)
		rrtype := dns.TypeAAAA
		if addr.Is4() {
			rrtype = dns.TypeA
		}
		for _, target := range names {
			if _, addrs, _ := lookup(trie, target, rrtype); !slices.Contains(addrs, addr.String()) {
				t.Errorf("%s points to %s, which has the addresses %q", name, target, addrs)
			}
		}
		if got, want := trie.Covers(netip.PrefixFrom(addr, addr.BitLen())), len(names) > 0; got != want {
			t.Errorf("Covers is %v for %v, want %v", got, addr, want)
		}
	}
	image := trie.Image()
	var want Stats
	for _, node := range image.Names(clusterLocal) {
		if node.host != nil {
			want.Hosts++
		}
		if node.port != nil {
			want.Ports++
		}
	}
	for range image.Addrs() {
		want.Addresses++
	}
	for ns := range trie.all.namespaces.Load().all {
		for s := range ns.services.Load().all {
			want.Services++
			snapshot := s.snapshot.Load()
			checkClusters(t, snapshot)
			for h := range snapshot.hosts.all {
				addrs := h.addrs()
				want.Shared += int(addrs.sharedHosts())
				for a := range addrs.all {
					want.Endpoints[Ready] += int(snapshot.readyRefsOf(h.label, a))
				}
			}
			for h := range snapshot.hosts.all {
				for _, a := range snapshot.addressedAt(&h) {
					want.Endpoints[NotReady] += int(a.refs)
					if host := snapshot.readyHost(h.label); (host != nil) != a.key.hidden {
						t.Errorf("%+v, but the host is %+v", a.key, host)
					}
				}
			}
			for w := range snapshot.withheld.all {
				want.Endpoints[w.key.reason] += int(w.refs())
			}
		}
	}
	if got := trie.Stats(); got != want {
		t.Errorf("the statistics are %+v, want %+v", got, want)
	}
}
