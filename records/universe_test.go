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

// universe makes random endpoints out of few labels, addresses and ports, so that endpoints
// share and reuse them.
type universe struct {
	*rand.Rand
	long  bool // some endpoints have long lists of ports
	zonal bool // some endpoints are in topology zones
	// clusterset: endpoints are in clusters, and names in the zone clusterset.local.
	clusterset bool
	// external are the services with names in external zones; nil if updates choose none.
	external map[ServiceKey]bool
}

// universeZones are the topology zones of the universe.
var universeZones = []string{"a", "b", "c._d", "pin"}

// universePorts are the short lists of the universe. Other tests use them too.
var universePorts = []*PortList{
	nil,
	NewPortList([]Port{{"web", "tcp", 80}}),
	NewPortList([]Port{{"web", "tcp", 8080}}),
	NewPortList([]Port{{"", "tcp", 3306}}),
	NewPortList([]Port{{"dns", "udp", 53}, {"dns-tcp", "tcp", 53}, {"metrics", "tcp", 9153}}),
}

// universeLongLists is the number of long lists: more than a service has SRV records for.
const universeLongLists = maxServedLists + 4

// longList returns a random long list. Long lists have names and numbers in common with
// each other and with short lists. Equal lists differ in memory and in the order of ports.
func (u universe) longList() *PortList {
	k := u.IntN(universeLongLists)
	ports := []Port{{"", "tcp", uint16(3306 + k%2)}, {"", "udp", 53}, {"web", "tcp", uint16(80 + k%3)}, {fmt.Sprint("only-", k), "sctp", 80}}
	for i := range maxShortPorts {
		ports = append(ports, Port{fmt.Sprint("p", i+k/4), "udp", uint16(70 + i*(1+k%2))})
	}
	if k%3 == 0 { // a name with two numbers, and one number twice
		ports = append(ports, Port{"web", "tcp", 8080}, Port{strings.Repeat("a", 63), "udp", 9}, Port{strings.Repeat("b", 63), "udp", 9})
	}
	if k%4 == 0 {
		return NewLazyPortList([]byte{byte(k)}, func() []Port { return ports })
	}
	u.Shuffle(len(ports), func(i, j int) { ports[i], ports[j] = ports[j], ports[i] })
	return NewPortList(ports)
}

func (u universe) key() ServiceKey {
	return ServiceKey{pick(u, "default", "prod"), pick(u, "nginx", "mariadb", "dns")}
}

func pick[T any](u universe, of ...T) T { return of[u.IntN(len(of))] }

func (u universe) addr() netip.Addr {
	if u.IntN(3) == 0 {
		return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(u.IntN(6))})
	}
	return netip.AddrFrom4([4]byte{10, 244, 0, byte(u.IntN(12))})
}

func (u universe) endpoint() Endpoint {
	e := Endpoint{Host: fmt.Sprint("web-", u.IntN(8)), Hostname: u.IntN(3) > 0, Addr: u.addr(), Ports: pick(u, universePorts...)}
	if u.long && u.IntN(2) == 0 {
		e.Ports = u.longList()
	}
	if u.IntN(4) == 0 {
		e.Withheld = Reason(1 + u.IntN(int(reasons)-1))
	}
	if u.IntN(4) == 0 {
		e.Withheld = NotReady
	}
	e.Addressed = u.IntN(3) > 0
	if zones := u.zones(); zones != nil && (u.clusterset || u.IntN(6) > 0) {
		e.Zone = pick(u, zones...)
	}
	return e
}

// zones returns what an endpoint may have as its zone besides none.
func (u universe) zones() []string {
	switch {
	case u.clusterset:
		return universeClusters
	case u.zonal:
		return universeZones
	}
	return nil
}

// trie returns an empty trie for the universe.
func (u universe) trie() *Trie {
	t := New()
	if u.clusterset {
		t = NewClusterset()
	}
	if u.zonal {
		t.EnableZones()
	}
	return t
}

// names returns all names that a trie of the universe may have, and some that it can't.
func (u universe) names() []string {
	names := []string{"cluster.local.", "svc.cluster.local.", "default.svc.cluster.local.", "none.prod.svc.cluster.local.",
		"web-0.none.prod.svc.cluster.local.", "nginx.none.svc.cluster.local.", "x.10-0-0-1.default.pod.cluster.local."}
	for _, ns := range []string{"default", "prod"} {
		for _, service := range []string{"nginx", "mariadb", "dns"} {
			base := service + "." + ns + ".svc.cluster.local."
			names = append(names, base)
			for i := range 9 {
				names = append(names, fmt.Sprintf("web-%d.%s", i, base))
			}
			for _, below := range []string{
				"_tcp", "_udp", "_sctp", "_", "tcp", "_web._tcp", "_dns._udp", "_dns._tcp", "_dns-tcp._tcp", "_metrics._tcp",
				"web._tcp", "_web.tcp", "_._tcp", "_web._", "_web.web-0", "x.web-0", "x._web._tcp", `web\.0`,
				"_p0._tcp", "_p99._udp", "_zz._sctp", "_" + strings.Repeat("a", 62) + "._udp",
			} {
				names = append(names, below+"."+base)
			}
			if u.zonal {
				names = append(names, zonalNames(base)...)
			}
			if u.clusterset {
				names = append(names, clusterNames(base)...)
			}
			if !u.long {
				continue
			}
			for i := range maxShortPorts + universeLongLists/4 {
				names = append(names, fmt.Sprintf("_p%d._udp.%s", i, base))
			}
			for k := range universeLongLists {
				names = append(names, fmt.Sprintf("_only-%d._sctp.%s", k, base))
			}
		}
	}
	if u.clusterset {
		for i, name := range names {
			names[i] = strings.TrimSuffix(name, "cluster.local.") + "clusterset.local."
		}
	}
	for i := range 13 {
		names = append(names, fmt.Sprintf("%d.0.244.10.in-addr.arpa.", i))
	}
	for i := range 7 {
		name, _ := dns.ReverseAddr(fmt.Sprintf("fd00::%d", i))
		names = append(names, name)
	}
	return names
}

// zonalNames returns zonal names of a service, and some that do not exist.
func zonalNames(base string) []string {
	names := []string{"_zone." + base, "pin._zone." + base, "prefer._zone." + base, "only._zone." + base, "a.only._zone." + base,
		"_web._tcp.pin._zone." + base, "_tcp.pin._zone." + base, "_x.pin._zone." + base, "_zone.pin._zone." + base}
	for _, zone := range append(universeZones, "d", "none", "A") {
		for _, directive := range []string{"pin", "prefer"} {
			for _, port := range []string{"", "_tcp.", "_quic.", "_web._tcp.", "_dns._udp.", "_none._tcp.", "web._tcp.", "_web.x._tcp.", "_p0._udp."} {
				names = append(names, port+zone+"."+directive+"._zone."+base)
			}
		}
	}
	return names
}

// randomUpdate commits a random update to the trie and to the oracle.
func randomUpdate(u universe, trie *Trie, o oracle) {
	update := trie.Update()
	randomChanges(u, update, o)
	update.Commit()
}

// randomChanges makes random changes of the update and of the oracle.
func randomChanges(u universe, update *Update, o oracle) {
	for range 1 + u.IntN(12) {
		key := u.key()
		endpoints, exists := o[key]
		if u.external != nil && u.IntN(3) == 0 {
			external := u.IntN(3) > 0
			update.SetExternal(key, external)
			u.external[key] = external
		}
		switch n := u.IntN(12); {
		case !exists:
			update.Create(key)
			o[key] = nil
		case n == 0:
			update.Delete(key)
			delete(o, key)
			delete(u.external, key)
		case n < 5 && len(endpoints) > 0:
			e := endpoints[u.IntN(len(endpoints))]
			update.Remove(key, e)
			o.remove(key, e)
			if n == 1 { // it changes
				if zones := u.zones(); zones != nil && u.IntN(2) == 0 {
					e.Zone = pick(u, zones...)
				} else {
					e.Hostname = !e.Hostname
				}
				update.Add(key, e)
				o[key] = append(o[key], e)
			}
		default:
			e := u.endpoint()
			update.Add(key, e)
			o[key] = append(o[key], e)
		}
	}
	for key := range u.external {
		if _, exists := o[key]; !exists {
			delete(u.external, key)
		}
	}
}

var allTypes = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR, dns.TypeMX}

// compare compares a trie with the oracle: every name and type, and the statistics.
func compare(t *testing.T, trie *Trie, o oracle, names []string) {
	t.Helper()
	zone := zoneOf(trie)
	if trie.clusterset {
		o = o.ofClusterset()
	}
	for _, name := range names {
		for _, rrtype := range allTypes {
			compareName(t, trie, o, name, rrtype)
		}
	}
	want := o.stats()
	if trie.clusterset {
		want.Addresses = 0
	}
	if got := trie.Stats(); got != want {
		t.Fatalf("the statistics are %+v, want %+v", got, want)
	}
	populated := map[string]bool{}
	for key := range o {
		if len(o.named(key)) > 0 {
			populated[key.Namespace] = true
		}
	}
	for _, namespace := range []string{"default", "prod", "none"} {
		if got := trie.HasNamespace(zone, []byte(namespace)); got != populated[namespace] {
			t.Fatalf("HasNamespace(%s) is %v, want %v", namespace, got, populated[namespace])
		}
	}
	if got := trie.Empty(); got != (len(populated) == 0) {
		t.Fatalf("Empty is %v with the namespaces %v", got, populated)
	}
}

// compareName compares one name and type.
func compareName(t *testing.T, trie *Trie, o oracle, name string, rrtype uint16) {
	t.Helper()
	result, data, answer := lookup(trie, name, rrtype)
	want, wantData := o.findIn(trie, name, rrtype)
	if result != want || !slices.Equal(data, wantData) {
		t.Fatalf("the lookup of %s %s is %v with records %q, want %v with %q", name, dns.TypeToString[rrtype], result, data, want, wantData)
	}
	if rrtype == dns.TypeSRV {
		compareGlue(t, trie, name, answer)
	}
}

// compareGlue checks that the glue is the addresses of all targets, once each.
func compareGlue(t *testing.T, trie *Trie, name string, answer Answer) {
	t.Helper()
	var got, want []string
	for _, rr := range answer.Glue {
		got = append(got, rr.String())
	}
	asked := map[string]bool{}
	for _, rr := range answer.Records {
		target := rr.(*dns.SRV).Target
		if asked[target] {
			continue
		}
		asked[target] = true
		for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			_, _, a := lookup(trie, target, rrtype)
			for _, rr := range a.Records {
				want = append(want, rr.String())
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("the glue of %s SRV is %q, want %q", name, got, want)
	}
}
