package headless

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

// TestNameServerIsNoService checks that ns.dns stays the name server if a headless service has
// the server's address. A tenant could write such a service, with a port for DNS and with hosts
// of the tenant's choice.
func TestNameServerIsNoService(t *testing.T) {
	h := startTestHeadless(t, authoritativeStanza)
	h.serverAddrs = []netip.Addr{netip.MustParseAddr("10.244.2.1")} // that of dual-0, whose service has a port dns
	tc := test.Case{
		Qname: "cluster.local.", Qtype: dns.TypeNS,
		Answer: []dns.RR{test.NS("cluster.local. 5 IN NS ns.dns.cluster.local.")},
		Extra:  []dns.RR{test.A("ns.dns.cluster.local. 5 IN A 10.244.2.1")},
	}
	_, m := ask(t, h, tc.Msg(), &test.ResponseWriter{})
	if err := test.SortAndCheck(m, tc); err != nil {
		t.Errorf("%v\n%v", err, m)
	}
	ns := 0
	for _, rr := range receive(t, h, "cluster.local.", 0) {
		if rr.Header().Rrtype == dns.TypeNS {
			ns++
		}
	}
	if ns != 1 {
		t.Errorf("the transfer has %d NS records, want 1", ns)
	}
}

func TestServerAddresses(t *testing.T) {
	for _, test := range []struct {
		bound []string
		want  []string
	}{
		{[]string{"10.0.0.1", "fd00::1"}, []string{"10.0.0.1", "fd00::1"}},
		{[]string{"127.0.0.1", "10.0.0.1"}, []string{"10.0.0.1"}},
		{[]string{"127.0.0.1", "::1"}, []string{"127.0.0.1", "::1"}},
		{[]string{"fe80::1%eth0", "10.0.0.1"}, []string{"10.0.0.1"}},
	} {
		got, err := serverAddresses(test.bound)
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, a := range got {
			text = append(text, a.String())
		}
		if !slices.Equal(text, test.want) {
			t.Errorf("bound to %v: got addresses %v, want %v", test.bound, text, test.want)
		}
	}
	// In kube-proxy's IPVS mode, each virtual IP is an address of the machine.
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("10.96.%d.%d", i/250, i%250))
	}
	if got, err := serverAddresses(many); err != nil || len(got) != maxServerAddrs || got[0].String() != many[0] {
		t.Errorf("bound to 1000 addresses: got %v and error %v, want the first %d", got, err, maxServerAddrs)
	}
	if got, err := serverAddresses(nil); err != nil || len(got) == 0 {
		t.Errorf("bound to none: got %v and error %v, want the addresses of the interfaces", got, err)
	}
}
