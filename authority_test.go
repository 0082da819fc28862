package headless

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

const authoritativeStanza = `headless cluster.local 244.10.in-addr.arpa ip6.arpa {
	manifests testdata/handler.yaml
	authoritative
}`

const soa244 = "244.10.in-addr.arpa. 5 IN SOA ns.dns.244.10.in-addr.arpa. hostmaster.244.10.in-addr.arpa. 1 7200 1800 86400 5"

// startAuthoritative returns a synced plugin that is authoritative for its zones. Its server has
// two addresses.
func startAuthoritative(t *testing.T) *Headless {
	t.Helper()
	h := startTestHeadless(t, authoritativeStanza)
	h.serverAddrs = []netip.Addr{netip.MustParseAddr("10.96.0.53"), netip.MustParseAddr("fd00:96::53")}
	return h
}

var authoritativeCases = []test.Case{
	// The apex.
	{Qname: "cluster.local.", Qtype: dns.TypeSOA, Answer: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "cluster.local.", Qtype: dns.TypeANY, Answer: []dns.RR{test.SOA(soaLocal)}}, // RFC 8482
	{Qname: "cluster.local.", Qtype: dns.TypeNS,
		Answer: []dns.RR{test.NS("cluster.local. 5 IN NS ns.dns.cluster.local.")},
		Extra: []dns.RR{
			test.A("ns.dns.cluster.local. 5 IN A 10.96.0.53"),
			test.AAAA("ns.dns.cluster.local. 5 IN AAAA fd00:96::53"),
		}},
	{Qname: "cluster.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaLocal)}},
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
	{Qname: "ns.dns.cluster.local.", Qtype: dns.TypeTXT, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "x.ns.dns.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "apex.dns.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "dns-version.cluster.local.", Qtype: dns.TypeTXT, Answer: []dns.RR{test.TXT(`dns-version.cluster.local. 28800 IN TXT "1.1.0"`)}},
	{Qname: "dns-version.cluster.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "x.dns-version.cluster.local.", Qtype: dns.TypeTXT, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},

	// Empty non-terminals (RFC 4592, section 2.2.2), and missing names.
	{Qname: "dns.cluster.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "svc.cluster.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "default.svc.cluster.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "none.svc.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "foo.cluster.local.", Qtype: dns.TypeNS, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "vip.default.svc.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "nginx.default.bogus.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},

	// The option does not change the records of headless services.
	{Qname: "web-0.nginx.default.svc.cluster.local.", Qtype: dns.TypeA,
		Answer: []dns.RR{test.A("web-0.nginx.default.svc.cluster.local. 5 IN A 10.244.1.5")}},

	// Reverse zones.
	{Qname: "244.10.in-addr.arpa.", Qtype: dns.TypeSOA, Answer: []dns.RR{test.SOA(soa244)}},
	{Qname: "244.10.in-addr.arpa.", Qtype: dns.TypeNS,
		Answer: []dns.RR{test.NS("244.10.in-addr.arpa. 5 IN NS ns.dns.244.10.in-addr.arpa.")},
		Extra: []dns.RR{
			test.A("ns.dns.244.10.in-addr.arpa. 5 IN A 10.96.0.53"),
			test.AAAA("ns.dns.244.10.in-addr.arpa. 5 IN AAAA fd00:96::53"),
		}},
	{Qname: "1.244.10.in-addr.arpa.", Qtype: dns.TypePTR, Ns: []dns.RR{test.SOA(soa244)}},
	{Qname: "3.244.10.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa244)}},
	{Qname: "7.1.244.10.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa244)}}, // not ready
	{Qname: "dns-version.244.10.in-addr.arpa.", Qtype: dns.TypeTXT, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa244)}},
	{Qname: "0.0.1.0.0.0.0.d.f.ip6.arpa.", Qtype: dns.TypePTR,
		Ns: []dns.RR{test.SOA("ip6.arpa. 5 IN SOA ns.dns.ip6.arpa. hostmaster.ip6.arpa. 1 7200 1800 86400 5")}},
	{Qname: "1.0.1.0.0.0.0.d.f.ip6.arpa.", Qtype: dns.TypePTR, Rcode: dns.RcodeNameError,
		Ns: []dns.RR{test.SOA("ip6.arpa. 5 IN SOA ns.dns.ip6.arpa. hostmaster.ip6.arpa. 1 7200 1800 86400 5")}},

	// Headless services have no names in reverse zones.
	{Qname: "web-0.nginx.default.svc.244.10.in-addr.arpa.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa244)}},
	{Qname: "nginx.default.svc.244.10.in-addr.arpa.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa244)}},
	{Qname: "default.svc.244.10.in-addr.arpa.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soa244)}},
	{Qname: "_web._tcp.nginx.default.svc.ip6.arpa.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError,
		Ns: []dns.RR{test.SOA("ip6.arpa. 5 IN SOA ns.dns.ip6.arpa. hostmaster.ip6.arpa. 1 7200 1800 86400 5")}},

	// Names of other zones; transfers without a transfer plugin, of a zone and of another name.
	{Qname: "example.org.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "9.2.0.192.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: rcodeNext},
	{Qname: "cluster.local.", Qtype: dns.TypeAXFR, Rcode: dns.RcodeRefused},
	{Qname: "default.svc.cluster.local.", Qtype: dns.TypeAXFR, Rcode: dns.RcodeRefused},
}

func TestAuthority(t *testing.T) { checkCases(t, startAuthoritative(t), authoritativeCases) }

// checkCases asks each question. An answer that the plugin gives is authoritative. The rcode rcodeNext
// means that the query goes to the next plugin.
func checkCases(t *testing.T, h *Headless, cases []test.Case) {
	t.Helper()
	for _, tc := range cases {
		rcode, m := ask(t, h, tc.Msg(), &test.ResponseWriter{})
		if tc.Rcode == rcodeNext || tc.Rcode == dns.RcodeRefused { // the plugin writes no reply
			if rcode != tc.Rcode || m != nil {
				t.Errorf("%s %s: got rcode %d and reply %v, want %d and none", tc.Qname, dns.TypeToString[tc.Qtype], rcode, m, tc.Rcode)
			}
			continue
		}
		if m == nil || !m.Authoritative {
			t.Errorf("%s %s: got reply %v, want an authoritative one", tc.Qname, dns.TypeToString[tc.Qtype], m)
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

func TestAuthorityFallthrough(t *testing.T) {
	h := startAuthoritative(t)
	h.Fall.SetZonesFromArgs(nil)
	for name, want := range map[string]int{
		"foo.cluster.local.": rcodeNext, "web-9.nginx.default.svc.cluster.local.": rcodeNext,
		"svc.cluster.local.": dns.RcodeSuccess, "cluster.local.": dns.RcodeSuccess,
	} {
		if rcode, _ := ask(t, h, new(dns.Msg).SetQuestion(name, dns.TypeA), &test.ResponseWriter{}); rcode != want {
			t.Errorf("%s: got rcode %d, want %d", name, rcode, want)
		}
	}
}

// TestEmptyNonTerminals checks that svc and the name of a namespace exist only while a service
// below has a ready endpoint (RFC 8020): a transfer has no names below them otherwise.
func TestEmptyNonTerminals(t *testing.T) {
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
				t.Errorf("%s: got rcode %d, want %d", label, rcode, want)
			}
		}
	}
}

// TestNestedZones checks the answers at and above the apexes of zones within other zones.
func TestNestedZones(t *testing.T) {
	h := startTestHeadless(t, nestedStanza)
	h.serverAddrs = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
	for _, tc := range []struct {
		name  string
		zone  string // of the answer
		rcode int
		n     int // answer records
	}{
		// Above the apexes of other zones, and above reverse names.
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
		// A name belongs to the nearest zone above it only.
		{"web-0.nginx.default.svc.", ".", dns.RcodeSuccess, 1},
		{"web-0.nginx.default.svc.cluster.local.", "cluster.local.", dns.RcodeSuccess, 1},
		{"web-0.nginx.default.svc.a.b.cluster.local.", "a.b.cluster.local.", dns.RcodeSuccess, 1},
		{"dual-0.dual.default.svc.cluster.local.", "dual.default.svc.cluster.local.", dns.RcodeNameError, 0},
	} {
		rcode, m := ask(t, h, new(dns.Msg).SetQuestion(tc.name, dns.TypeA), &test.ResponseWriter{})
		if rcode != tc.rcode || len(m.Answer) != tc.n {
			t.Errorf("%s: got rcode %d and answer %v, want %d and %d records", tc.name, rcode, m.Answer, tc.rcode, tc.n)
		}
		if tc.n == 0 && !strings.EqualFold(m.Ns[0].Header().Name, tc.zone) {
			t.Errorf("%s: got the SOA of %s, want that of %s", tc.name, m.Ns[0].Header().Name, tc.zone)
		}
	}
}
