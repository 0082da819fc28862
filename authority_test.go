package headless

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

const authoritative = `headless cluster.local 244.10.in-addr.arpa ip6.arpa {
	manifests testdata/handler.yaml
	authoritative
}`

const soaReverse = "244.10.in-addr.arpa. 5 IN SOA ns.dns.244.10.in-addr.arpa. hostmaster.244.10.in-addr.arpa. 1 7200 1800 86400 5"

// startAuthoritative returns a plugin that owns its zones on a server with two
// addresses.
func startAuthoritative(t *testing.T) *Headless {
	t.Helper()
	h := startTestHeadless(t, authoritative)
	h.locals = []netip.Addr{netip.MustParseAddr("10.96.0.53"), netip.MustParseAddr("fd00:96::53")}
	return h
}

var authorityCases = []test.Case{
	// The apex.
	{Qname: "cluster.local.", Qtype: dns.TypeSOA, Answer: []dns.RR{test.SOA(soa)}},
	{Qname: "cluster.local.", Qtype: dns.TypeANY, Answer: []dns.RR{test.SOA(soa)}}, // RFC 8482
	{Qname: "cluster.local.", Qtype: dns.TypeNS,
		Answer: []dns.RR{test.NS("cluster.local. 5 IN NS ns.dns.cluster.local.")},
		Extra: []dns.RR{
			test.A("ns.dns.cluster.local. 5 IN A 10.96.0.53"),
			test.AAAA("ns.dns.cluster.local. 5 IN AAAA fd00:96::53"),
		}},
	{Qname: "cluster.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soa)}},
	{Qname: "Cluster.LOCAL.", Qtype: dns.TypeNS,
		Answer: []dns.RR{test.NS("Cluster.LOCAL. 5 IN NS ns.dns.Cluster.LOCAL.")},
		Extra: []dns.RR{
			test.A("ns.dns.Cluster.LOCAL. 5 IN A 10.96.0.53"),
			test.AAAA("ns.dns.Cluster.LOCAL. 5 IN AAAA fd00:96::53"),
		}},

	// The name server and the version.
	{Qname: "ns.dns.cluster.local.", Qtype: dns.TypeA, Answer: []dns.RR{test.A("ns.dns.cluster.local. 5 IN A 10.96.0.53")}},
	{Qname: "NS.dns.Cluster.local.", Qtype: dns.TypeAAAA, Answer: []dns.RR{test.AAAA("NS.dns.Cluster.local. 5 IN AAAA fd00:96::53")}},
	{Qname: "ns.dns.cluster.local.", Qtype: dns.TypeANY, Answer: []dns.RR{test.A("ns.dns.cluster.local. 5 IN A 10.96.0.53")}},
	{Qname: "ns.dns.cluster.local.", Qtype: dns.TypeTXT, Ns: []dns.RR{test.SOA(soa)}},
	{Qname: "x.ns.dns.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa)}},
	{Qname: "apex.dns.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa)}},
	{Qname: "dns-version.cluster.local.", Qtype: dns.TypeTXT, Answer: []dns.RR{test.TXT(`dns-version.cluster.local. 28800 IN TXT "1.1.0"`)}},
	{Qname: "dns-version.cluster.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soa)}},
	{Qname: "x.dns-version.cluster.local.", Qtype: dns.TypeTXT, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa)}},

	// Empty non-terminals (RFC 4592, 2.2.2), and what is none.
	{Qname: "dns.cluster.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soa)}},
	{Qname: "svc.cluster.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soa)}},
	{Qname: "default.svc.cluster.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soa)}},
	{Qname: "none.svc.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa)}},
	{Qname: "foo.cluster.local.", Qtype: dns.TypeNS, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa)}},
	{Qname: "vip.default.svc.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa)}},
	{Qname: "nginx.default.bogus.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa)}},

	// Headless services are as they are without the option.
	{Qname: "web-0.nginx.default.svc.cluster.local.", Qtype: dns.TypeA,
		Answer: []dns.RR{test.A("web-0.nginx.default.svc.cluster.local. 5 IN A 10.244.1.5")}},

	// Reverse zones.
	{Qname: "244.10.in-addr.arpa.", Qtype: dns.TypeSOA, Answer: []dns.RR{test.SOA(soaReverse)}},
	{Qname: "244.10.in-addr.arpa.", Qtype: dns.TypeNS,
		Answer: []dns.RR{test.NS("244.10.in-addr.arpa. 5 IN NS ns.dns.244.10.in-addr.arpa.")},
		Extra: []dns.RR{
			test.A("ns.dns.244.10.in-addr.arpa. 5 IN A 10.96.0.53"),
			test.AAAA("ns.dns.244.10.in-addr.arpa. 5 IN AAAA fd00:96::53"),
		}},
	{Qname: "1.244.10.in-addr.arpa.", Qtype: dns.TypePTR, Ns: []dns.RR{test.SOA(soaReverse)}},
	{Qname: "3.244.10.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaReverse)}},
	{Qname: "7.1.244.10.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaReverse)}}, // not ready
	{Qname: "dns-version.244.10.in-addr.arpa.", Qtype: dns.TypeTXT, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaReverse)}},
	{Qname: "0.0.1.0.0.0.0.d.f.ip6.arpa.", Qtype: dns.TypePTR,
		Ns: []dns.RR{test.SOA("ip6.arpa. 5 IN SOA ns.dns.ip6.arpa. hostmaster.ip6.arpa. 1 7200 1800 86400 5")}},
	{Qname: "1.0.1.0.0.0.0.d.f.ip6.arpa.", Qtype: dns.TypePTR, Rcode: dns.RcodeNameError,
		Ns: []dns.RR{test.SOA("ip6.arpa. 5 IN SOA ns.dns.ip6.arpa. hostmaster.ip6.arpa. 1 7200 1800 86400 5")}},

	// Headless services have no names in reverse zones.
	{Qname: "web-0.nginx.default.svc.244.10.in-addr.arpa.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaReverse)}},
	{Qname: "nginx.default.svc.244.10.in-addr.arpa.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaReverse)}},
	{Qname: "default.svc.244.10.in-addr.arpa.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaReverse)}},
	{Qname: "_web._tcp.nginx.default.svc.ip6.arpa.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError,
		Ns: []dns.RR{test.SOA("ip6.arpa. 5 IN SOA ns.dns.ip6.arpa. hostmaster.ip6.arpa. 1 7200 1800 86400 5")}},

	// Outside of the zones, and transfers of what is no zone or is not transferred.
	{Qname: "example.org.", Qtype: dns.TypeA, Rcode: passed},
	{Qname: "9.2.0.192.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: passed},
	{Qname: "cluster.local.", Qtype: dns.TypeAXFR, Rcode: dns.RcodeRefused},
	{Qname: "default.svc.cluster.local.", Qtype: dns.TypeAXFR, Rcode: dns.RcodeRefused},
}

func TestAuthority(t *testing.T) {
	h := startAuthoritative(t)
	for _, tc := range authorityCases {
		rcode, m := ask(t, h, tc.Msg(), &test.ResponseWriter{})
		if tc.Rcode == passed || tc.Rcode == dns.RcodeRefused { // the server replies
			if rcode != tc.Rcode || m != nil {
				t.Errorf("%s %s: rcode %d, %v, want %d", tc.Qname, dns.TypeToString[tc.Qtype], rcode, m, tc.Rcode)
			}
			continue
		}
		if m == nil || !m.Authoritative {
			t.Errorf("%s %s: %v", tc.Qname, dns.TypeToString[tc.Qtype], m)
			continue
		}
		for _, rr := range slices.Concat(m.Answer, m.Ns) {
			if soa, ok := rr.(*dns.SOA); ok {
				soa.Serial = 1
			}
		}
		if err := test.SortAndCheck(m, tc); err != nil {
			t.Errorf("%s %s: %v\n%v", tc.Qname, dns.TypeToString[tc.Qtype], err, m)
		}
	}
}

// TestNameServer checks that ns.dns stays the name server where headless services
// have the server's address: a tenant may write one, with a port for DNS, and give
// it hosts of its own.
func TestNameServer(t *testing.T) {
	h := startTestHeadless(t, authoritative)
	h.locals = []netip.Addr{netip.MustParseAddr("10.244.2.1")} // dual-0's, which has a port dns
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
		t.Errorf("a transfer has %d name servers, want 1", ns)
	}
}

func TestAuthorityFallsThrough(t *testing.T) {
	h := startAuthoritative(t)
	h.Fall.SetZonesFromArgs(nil)
	for name, want := range map[string]int{
		"foo.cluster.local.": passed, "web-9.nginx.default.svc.cluster.local.": passed,
		"svc.cluster.local.": dns.RcodeSuccess, "cluster.local.": dns.RcodeSuccess,
	} {
		if rcode, _ := ask(t, h, new(dns.Msg).SetQuestion(name, dns.TypeA), &test.ResponseWriter{}); rcode != want {
			t.Errorf("%s has rcode %d, want %d", name, rcode, want)
		}
	}
}

func TestLocalAddresses(t *testing.T) {
	for _, test := range []struct {
		bound []string
		want  []string
	}{
		{[]string{"10.0.0.1", "fd00::1"}, []string{"10.0.0.1", "fd00::1"}},
		{[]string{"127.0.0.1", "10.0.0.1"}, []string{"10.0.0.1"}},
		{[]string{"127.0.0.1", "::1"}, []string{"127.0.0.1", "::1"}},
		{[]string{"fe80::1%eth0", "10.0.0.1"}, []string{"10.0.0.1"}},
	} {
		got, err := localAddresses(test.bound)
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, a := range got {
			text = append(text, a.String())
		}
		if !slices.Equal(text, test.want) {
			t.Errorf("bound to %v, the addresses are %v, want %v", test.bound, text, test.want)
		}
	}
	// In the mode ipvs of kube-proxy, each virtual IP is an address of the machine.
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("10.96.%d.%d", i/250, i%250))
	}
	if got, err := localAddresses(many); err != nil || len(got) != maxLocals || got[0].String() != many[0] {
		t.Errorf("bound to 1000 addresses, they are %v (%v), want the first %d", got, err, maxLocals)
	}
	if got, err := localAddresses(nil); err != nil || len(got) == 0 {
		t.Errorf("bound to nothing, the addresses are %v (%v), want those of the interfaces", got, err)
	}
}

// TestEmptyNamespace checks that names above others exist while there are others:
// what is above services without a ready endpoint does not (RFC 8020), as it is not
// in a transfer.
func TestEmptyNamespace(t *testing.T) {
	const starting = "{apiVersion: v1, kind: Service, metadata: {name: starting, namespace: quiet}, spec: {clusterIP: None, selector: {app: a}}}\n"
	const ready = `---
{apiVersion: v1, kind: Service, metadata: {name: nginx, namespace: busy}, spec: {clusterIP: None, selector: {app: nginx}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: busy, labels: {app: nginx}}, spec: {containers: []},
  status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: "True"}]}}
`
	for _, tc := range []struct {
		manifest string
		exist    map[string]bool
	}{
		{starting, map[string]bool{"svc": false, "quiet.svc": false, "starting.quiet.svc": false, "dns": true}},
		{starting + ready, map[string]bool{"svc": true, "quiet.svc": false, "starting.quiet.svc": false, "busy.svc": true, "none.svc": false}},
	} {
		path := filepath.Join(t.TempDir(), "a.yaml")
		if err := os.WriteFile(path, []byte(tc.manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		h := startTestHeadless(t, "headless cluster.local {\nmanifests "+path+"\nauthoritative\n}")
		for label, exists := range tc.exist {
			want := dns.RcodeNameError
			if exists {
				want = dns.RcodeSuccess
			}
			r := new(dns.Msg).SetQuestion(label+".cluster.local.", dns.TypeA)
			if rcode, _ := ask(t, h, r, &test.ResponseWriter{}); rcode != want {
				t.Errorf("%s has rcode %d, want %d", label, rcode, want)
			}
		}
	}
}

// TestNestedZones checks what queries say at and above the apexes of zones within
// others.
func TestNestedZones(t *testing.T) {
	h := startTestHeadless(t, nested)
	h.locals = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
	for _, tc := range []struct {
		name  string
		zone  string // that answers
		rcode int
		n     int // records
	}{
		// Above the apexes of others, and of reverse names.
		{"local.", ".", dns.RcodeSuccess, 0},
		{"arpa.", ".", dns.RcodeSuccess, 0},
		{"b.cluster.local.", "cluster.local.", dns.RcodeSuccess, 0},
		{"B.Cluster.local.", "cluster.local.", dns.RcodeSuccess, 0},
		{"xb.cluster.local.", "cluster.local.", dns.RcodeNameError, 0},
		{"c.b.cluster.local.", "cluster.local.", dns.RcodeNameError, 0},
		{"10.in-addr.arpa.", "in-addr.arpa.", dns.RcodeSuccess, 0},
		{"11.in-addr.arpa.", "in-addr.arpa.", dns.RcodeNameError, 0},
		{"ip6.arpa.", ".", dns.RcodeSuccess, 0},
		{"d.f.ip6.arpa.", ".", dns.RcodeSuccess, 0},
		{"e.f.ip6.arpa.", ".", dns.RcodeNameError, 0},
		{"uri.arpa.", ".", dns.RcodeNameError, 0},
		{"2.0.192.in-addr.arpa.", "in-addr.arpa.", dns.RcodeSuccess, 0},
		// A name is in the nearest zone above it alone.
		{"web-0.nginx.default.svc.", ".", dns.RcodeSuccess, 1},
		{"web-0.nginx.default.svc.cluster.local.", "cluster.local.", dns.RcodeSuccess, 1},
		{"web-0.nginx.default.svc.a.b.cluster.local.", "a.b.cluster.local.", dns.RcodeSuccess, 1},
		{"dual-0.dual.default.svc.cluster.local.", "dual.default.svc.cluster.local.", dns.RcodeNameError, 0},
	} {
		rcode, m := ask(t, h, new(dns.Msg).SetQuestion(tc.name, dns.TypeA), &test.ResponseWriter{})
		if rcode != tc.rcode || len(m.Answer) != tc.n {
			t.Errorf("%s has rcode %d, %v, want %d and %d records", tc.name, rcode, m.Answer, tc.rcode, tc.n)
		}
		if tc.n == 0 && !strings.EqualFold(m.Ns[0].Header().Name, tc.zone) {
			t.Errorf("%s is in the zone %s, want %s", tc.name, m.Ns[0].Header().Name, tc.zone)
		}
	}
}
