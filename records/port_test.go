package records

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestLongPortName checks that a port whose name is too long for a label with the
// underscore is unnamed. A record at such a name could not be sent, and would break a
// transfer.
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
	for name := range trie.Image().Names(clusterLocal) {
		names = append(names, name)
	}
	const base = "nginx.default.svc.cluster.local."
	if want := []string{base, "web-0." + base, "_" + strings.Repeat("a", 62) + "._tcp." + base}; !slices.Equal(names, want) {
		t.Errorf("the names are %q, want %q", names, want)
	}
	if n := trie.Stats().Ports; n != 1 {
		t.Errorf("there are %d port names, want 1", n)
	}
	if result, _, _ := lookup(trie, "_udp."+base, dns.TypeSRV); result != Missing {
		t.Errorf("the lookup of _udp is %v, want Missing", result)
	}
	_, data, _ := lookup(trie, base, dns.TypeSRV)
	if want := []string{"0 33 80 web-0." + base, "0 33 81 web-0." + base, "0 33 82 web-0." + base}; !slices.Equal(data, want) {
		t.Errorf("the SRV records of the service are %q, want %q", data, want)
	}
}

// TestPortLookupBudget bounds the ports that a lookup compares with a name.
func TestPortLookupBudget(t *testing.T) {
	s := portTrie(1, manyPorts(10_000)).all.service(ServiceKey{"default", "nginx"}).snapshot.Load()
	if s.ports.len() != 10_000 {
		t.Fatalf("the service has %d ports, want 10,000", s.ports.len())
	}
	for _, name := range []string{"", "p", "p5000", "zz"} {
		n := 0
		s.searchPorts(func(p *port) bool {
			n++
			return p.name < name
		})
		if n > 20 {
			t.Errorf("the lookup of %q compares %d ports, want at most 20", name, n)
		}
	}
}
