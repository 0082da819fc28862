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

// lookup asks the trie as the handler does, for messages without a limit.
func lookup(t *Trie, name string, rrtype uint16) (Result, []string, Answer) {
	var n Name
	n.Fold(name)
	var node Node
	var result Result
	if addr, ok := n.Reverse(); ok {
		node, result = t.FindAddr(addr)
	} else if zone := NewZones([]string{"cluster.local."}).Match(name); zone != nil {
		node, result = t.Find(&n, zone.Labels())
	}
	if result != Found {
		return result, nil, Answer{}
	}
	answer := node.Answer(&Query{Name: name, Type: rrtype, Zone: "cluster.local.", TTL: 5, Size: 1 << 20})
	var data []string
	for _, rr := range answer.Records {
		// A target below the name asked is spelled as that is.
		data = append(data, strings.ToLower(strings.TrimPrefix(rr.String(), rr.Header().String())))
	}
	slices.Sort(data)
	return result, data, answer
}

// universe is what random endpoints are drawn from: small, so that hosts and
// addresses are shared, and come back.
type universe struct {
	*rand.Rand
	long bool // some endpoints have long lists of ports
}

var universePorts = []*PortList{
	nil,
	NewPortList([]Port{{"web", "tcp", 80}}),
	NewPortList([]Port{{"web", "tcp", 8080}}),
	NewPortList([]Port{{"", "tcp", 3306}}),
	NewPortList([]Port{{"dns", "udp", 53}, {"dns-tcp", "tcp", 53}, {"metrics", "tcp", 9153}}),
}

// universeLists is how many long lists there are, more than a service has records of.
const universeLongLists = maxServedLists + 4

// longList returns one of them. They have names and numbers in common, with each
// other and with short lists; equal lists are made anew, in any order.
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
	return e
}

// names are all names that the universe can make, and some that it can't.
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
	for i := range 13 {
		names = append(names, fmt.Sprintf("%d.0.244.10.in-addr.arpa.", i))
	}
	for i := range 7 {
		name, _ := dns.ReverseAddr(fmt.Sprintf("fd00::%d", i))
		names = append(names, name)
	}
	return names
}

var allTypes = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR, dns.TypeMX}

// agree compares every name and type.
func compare(t *testing.T, trie *Trie, o oracle, names []string) {
	t.Helper()
	for _, name := range names {
		for _, rrtype := range allTypes {
			compareName(t, trie, o, name, rrtype)
		}
	}
	if got, want := trie.Stats(), o.stats(); got != want {
		t.Fatalf("the trie counts %+v, want %+v", got, want)
	}
	populated := map[string]bool{}
	for key := range o {
		if len(o.ready(key)) > 0 {
			populated[key.Namespace] = true
		}
	}
	for _, namespace := range []string{"default", "prod", "none"} {
		if got := trie.HasNamespace([]byte(namespace)); got != populated[namespace] {
			t.Fatalf("the namespace %s exists: %v, want %v", namespace, got, populated[namespace])
		}
	}
	if got := trie.Empty(); got != (len(populated) == 0) {
		t.Fatalf("the trie is empty: %v, with %v", got, populated)
	}
}

// agreeOn compares one name and type.
func compareName(t *testing.T, trie *Trie, o oracle, name string, rrtype uint16) {
	t.Helper()
	result, data, answer := lookup(trie, name, rrtype)
	want, wantData := o.find(name, rrtype)
	if result != want || !slices.Equal(data, wantData) {
		t.Fatalf("%s %s is %v %q, want %v %q", name, dns.TypeToString[rrtype], result, data, want, wantData)
	}
	if rrtype == dns.TypeSRV {
		compareGlue(t, trie, name, answer)
	}
}

// agreeGlue checks that the additional section has the addresses of all targets,
// once.
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
		t.Fatalf("%s SRV has glue %q, want %q", name, got, want)
	}
}

// TestTrie applies random updates to a trie and to the oracle, also with labels that
// collide and one service in each portion.
func TestTrie(t *testing.T) {
	for _, mask := range []uint32{^uint32(0), 1} {
		t.Run(fmt.Sprintf("mask %x", mask), func(t *testing.T) {
			setHashMask(t, mask)
			if mask == 1 {
				setPortionSize(t, 1)
			}
			for seed := range uint64(8) {
				u := universe{rand.New(rand.NewPCG(seed, uint64(mask))), seed%2 == 1}
				trie, o := New(), oracle{}
				names := u.names()
				for range 40 {
					randomUpdate(u, trie, o)
					compare(t, trie, o, names)
				}
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// randomUpdate makes one random update of both.
func randomUpdate(u universe, trie *Trie, o oracle) {
	update := trie.Update()
	randomChanges(u, update, o)
	update.Commit()
}

// draw makes random changes of both.
func randomChanges(u universe, update *Update, o oracle) {
	for range 1 + u.IntN(12) {
		key := u.key()
		endpoints, exists := o[key]
		switch n := u.IntN(12); {
		case !exists:
			update.Create(key)
			o[key] = nil
		case n == 0:
			update.Delete(key)
			delete(o, key)
		case n < 5 && len(endpoints) > 0:
			e := endpoints[u.IntN(len(endpoints))]
			update.Remove(key, e)
			o.remove(key, e)
		default:
			e := u.endpoint()
			update.Add(key, e)
			o[key] = append(o[key], e)
		}
	}
}

// A trie that lost everything holds nothing.
func TestTrieEmpties(t *testing.T) {
	u := universe{rand.New(rand.NewPCG(7, 7)), true}
	trie, o := New(), oracle{}
	for range 50 {
		randomUpdate(u, trie, o)
	}
	update := trie.Update()
	for key, endpoints := range o {
		for _, e := range endpoints {
			update.Remove(key, e)
		}
		update.Delete(key)
	}
	update.Commit()
	compare(t, trie, oracle{}, u.names())
	if n := trie.namespaces.Load().n; n != 0 {
		t.Errorf("%d namespaces are left", n)
	}
	if left := len(slices.Collect(trie.v4.load().all)) + len(slices.Collect(trie.v6.load().all)); left != 0 {
		t.Errorf("%d addresses are left", left)
	}
}

func TestCommit(t *testing.T) {
	nginx, mariadb := ServiceKey{"default", "nginx"}, ServiceKey{"default", "mariadb"}
	web0 := Endpoint{Host: "web-0", Hostname: true, Addr: netip.MustParseAddr("10.244.0.1"), Ports: universePorts[1]}
	web1 := Endpoint{Host: "web-1", Hostname: true, Addr: netip.MustParseAddr("10.244.0.2"), Ports: universePorts[1]}
	trie := New()
	for _, step := range []struct {
		what   string
		update func(*Update)
		want   int // services published
	}{
		{"two services come", func(u *Update) { u.Create(nginx); u.Create(mariadb); u.Add(nginx, web0); u.Add(nginx, web1) }, 2},
		{"nothing", func(*Update) {}, 0},
		{"a service is created again", func(u *Update) { u.Create(nginx) }, 0},
		{"an endpoint leaves and comes back", func(u *Update) { u.Remove(nginx, web0); u.Add(nginx, web0) }, 0},
		{"several endpoints of one service change", func(u *Update) { u.Remove(nginx, web0); u.Remove(nginx, web1) }, 1},
		{"an endpoint is known twice", func(u *Update) { u.Add(nginx, web0); u.Add(nginx, web0) }, 1},
		{"it is known once less", func(u *Update) { u.Remove(nginx, web0) }, 1},
		{"a service that is not there leaves", func(u *Update) { u.Delete(ServiceKey{"none", "none"}) }, 0},
		{"an endpoint of a service that is not there comes", func(u *Update) { u.Add(ServiceKey{"none", "none"}, web0) }, 0},
		{"a service comes and leaves", func(u *Update) {
			key := ServiceKey{"none", "none"}
			u.Create(key)
			u.Add(key, web0)
			u.Delete(key)
		}, 0},
		{"services leave", func(u *Update) { u.Delete(nginx); u.Delete(mariadb) }, 2},
	} {
		update := trie.Update()
		step.update(update)
		if got := update.Commit(); got != step.want {
			t.Errorf("%s: %d services published, want %d", step.what, got, step.want)
		}
	}
}

// Names that can't be written in a zone file by hand, of any length, don't exist.
func TestFindOddNames(t *testing.T) {
	trie := podTrie(3)
	const base = "nginx.default.svc.cluster.local."
	for _, prefix := range []string{
		strings.Repeat(`\000`, 55), strings.Repeat(`\000`, 63), strings.Repeat(`a.`, 110) + "a", strings.Repeat(`\000.`, 60) + "a",
		strings.Repeat(`\.`, 63), `\\`, `\095tcp`, "*", "",
	} {
		name := prefix + "." + base
		if result, data, _ := lookup(trie, name, dns.TypeA); result != Missing {
			t.Errorf("%s is %v %q, want missing", name, result, data)
		}
	}
}

// Kubernetes takes a name of 63 bytes for a port; with the underscore it is no
// label. A record at it could not be sent, and a transfer would end there.
func TestLongPortName(t *testing.T) {
	key := ServiceKey{"default", "nginx"}
	addr := netip.MustParseAddr("10.0.0.1")
	trie := New()
	update := trie.Update()
	update.Create(key)
	update.Add(key, Endpoint{Host: "web-0", Addr: addr, Ports: NewPortList([]Port{
		{strings.Repeat("a", 62), "tcp", 80}, {strings.Repeat("b", 63), "udp", 81}, {strings.Repeat("c", 63), "udp", 82},
	})})
	update.Commit()
	var names []string
	for name := range trie.Image().Names("cluster.local.") {
		names = append(names, name)
	}
	const base = "nginx.default.svc.cluster.local."
	if want := []string{base, "web-0." + base, "_" + strings.Repeat("a", 62) + "._tcp." + base}; !slices.Equal(names, want) {
		t.Errorf("the names are %q, want %q", names, want)
	}
	if n := trie.Stats().Ports; n != 1 {
		t.Errorf("%d ports have names, want 1", n)
	}
	if result, _, _ := lookup(trie, "_udp."+base, dns.TypeSRV); result != Missing {
		t.Errorf("_udp is %v, want missing", result)
	}
	_, data, _ := lookup(trie, base, dns.TypeSRV)
	if want := []string{"0 33 80 web-0." + base, "0 33 81 web-0." + base, "0 33 82 web-0." + base}; !slices.Equal(data, want) {
		t.Errorf("the service has %q, want %q", data, want)
	}
}

// FuzzFind looks for names that the walk does not survive, or takes for another.
func FuzzFind(f *testing.F) {
	u := universe{rand.New(rand.NewPCG(1, 2)), true}
	trie, o := New(), oracle{}
	for range 20 {
		randomUpdate(u, trie, o)
	}
	const base = "nginx.default.svc.cluster.local."
	for i, name := range append(u.names(), ".", "Web-0.NGINX.default.SVC.cluster.local.", `\000.`+base, `x\.`+base, `x\\.`+base,
		`a\.svc.cluster.local.`, `nginx.default.svc\.cluster.local.`, "00.0.244.10.in-addr.arpa.", strings.Repeat(`\000`, 63)+"."+base) {
		f.Add(name, uint8(i))
	}
	f.Fuzz(func(t *testing.T, name string, rrtype uint8) {
		if _, ok := dns.IsDomainName(name); ok && dns.IsFqdn(name) {
			compareName(t, trie, o, name, allTypes[int(rrtype)%len(allTypes)])
		}
	})
}

// Withheld endpoints are known at their service, with the reason.
func TestWithheld(t *testing.T) {
	key := ServiceKey{"default", "nginx"}
	trie := New()
	update := trie.Update()
	update.Create(key)
	update.Add(key, Endpoint{Host: "web-0", Hostname: true, Addr: netip.MustParseAddr("10.244.0.1"), Withheld: NotReady})
	update.Add(key, Endpoint{Host: "web-1", Hostname: true, Withheld: NoAddress})
	update.Commit()
	if got, want := trie.Stats().Endpoints, (Counts{NotReady: 1, NoAddress: 1}); got != want {
		t.Errorf("endpoints are %v, want %v", got, want)
	}
	for host, want := range map[string]Reason{"web-0": NotReady, "web-1": NoAddress, "web-2": Ready} {
		if got := trie.Withheld(key, host); got != want {
			t.Errorf("%s is %v, want %v", host, got, want)
		}
	}
}
