package headless

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// rcodeNext is the rcode of the next plugin in tests. No reply of the plugin has it.
const rcodeNext = 0x42

// newTestHeadless returns the plugin of a stanza, whose source is not started.
func newTestHeadless(t testing.TB, stanza string) *Headless {
	t.Helper()
	s, err := parse(caddy.NewTestController("dns", stanza))
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHeadless(s, new(lifetime))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.stop)
	h.Next = test.NextHandler(rcodeNext, nil)
	return h
}

// startTestHeadless returns the plugin of a stanza after its first sync.
func startTestHeadless(t testing.TB, stanza string) *Headless {
	t.Helper()
	h := newTestHeadless(t, stanza)
	h.source.start()
	<-h.source.informer.Synced()
	return h
}

// ask serves a query as a server does, through the server's writer. It returns the rcode and the
// reply, or nil if the plugin wrote none.
func ask(t *testing.T, h *Headless, r *dns.Msg, w dns.ResponseWriter) (int, *dns.Msg) {
	t.Helper()
	rec := dnstest.NewRecorder(w)
	rcode, err := h.ServeDNS(context.Background(), request.NewScrubWriter(r, rec), r)
	if err != nil {
		t.Fatalf("%v: %v", r.Question[0], err)
	}
	return rcode, rec.Msg
}

const overlayStanza = `headless cluster.local in-addr.arpa ip6.arpa {
	manifests testdata/handler.yaml
}`

const (
	soaLocal  = "cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5"
	soaInAddr = "in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1 7200 1800 86400 5"
)

var overlayCases = []test.Case{
	// Hosts.
	{Qname: "web-0.nginx.default.svc.cluster.local.", Qtype: dns.TypeA,
		Answer: []dns.RR{test.A("web-0.nginx.default.svc.cluster.local. 5 IN A 10.244.1.5")}},
	{Qname: "web-0.nginx.default.svc.cluster.local.", Qtype: dns.TypeAAAA, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "web-0.nginx.default.svc.cluster.local.", Qtype: dns.TypeMX, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "web-0.nginx.default.svc.cluster.local.", Qtype: dns.TypeHTTPS, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "web-0.nginx.default.svc.cluster.local.", Qtype: dns.TypeANY, // RFC 8482
		Answer: []dns.RR{test.A("web-0.nginx.default.svc.cluster.local. 5 IN A 10.244.1.5")}},
	{Qname: "web-0.nginx.default.svc.cluster.local.", Qtype: dns.TypeSRV,
		Answer: []dns.RR{test.SRV("web-0.nginx.default.svc.cluster.local. 5 IN SRV 0 100 8080 web-0.nginx.default.svc.cluster.local.")},
		Extra:  []dns.RR{test.A("web-0.nginx.default.svc.cluster.local. 5 IN A 10.244.1.5")}},
	{Qname: "web-2.nginx.default.svc.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}}, // not ready
	{Qname: "web-9.nginx.default.svc.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "x.web-0.nginx.default.svc.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "dual-0.dual.default.svc.cluster.local.", Qtype: dns.TypeAAAA,
		Answer: []dns.RR{test.AAAA("dual-0.dual.default.svc.cluster.local. 5 IN AAAA fd00:10:244::1")}},

	// Services.
	{Qname: "nginx.default.svc.cluster.local.", Qtype: dns.TypeA,
		Answer: []dns.RR{test.A("nginx.default.svc.cluster.local. 5 IN A 10.244.1.5"), test.A("nginx.default.svc.cluster.local. 5 IN A 10.244.1.6")}},
	{Qname: "nginx.default.svc.cluster.local.", Qtype: dns.TypeNS, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "starting.default.svc.cluster.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}}, // specification, 2.4.1
	{Qname: "by-hand.default.svc.cluster.local.", Qtype: dns.TypeA,
		Answer: []dns.RR{test.A("by-hand.default.svc.cluster.local. 5 IN A 10.244.1.5"), test.A("by-hand.default.svc.cluster.local. 5 IN A 192.0.2.9")}},
	{Qname: "by-hand.default.svc.cluster.local.", Qtype: dns.TypeSRV, Ns: []dns.RR{test.SOA(soaLocal)}}, // no ports

	// Ports.
	{Qname: "_web._tcp.nginx.default.svc.cluster.local.", Qtype: dns.TypeSRV,
		Answer: []dns.RR{
			test.SRV("_web._tcp.nginx.default.svc.cluster.local. 5 IN SRV 0 50 8080 web-0.nginx.default.svc.cluster.local."),
			test.SRV("_web._tcp.nginx.default.svc.cluster.local. 5 IN SRV 0 50 8080 web-1.nginx.default.svc.cluster.local."),
		},
		Extra: []dns.RR{
			test.A("web-0.nginx.default.svc.cluster.local. 5 IN A 10.244.1.5"),
			test.A("web-1.nginx.default.svc.cluster.local. 5 IN A 10.244.1.6"),
		}},
	{Qname: "_web._tcp.nginx.default.svc.cluster.local.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "_tcp.nginx.default.svc.cluster.local.", Qtype: dns.TypeSRV, Ns: []dns.RR{test.SOA(soaLocal)}}, // RFC 4592, 2.2.2
	{Qname: "_udp.nginx.default.svc.cluster.local.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "_web._udp.nginx.default.svc.cluster.local.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "web.tcp.nginx.default.svc.cluster.local.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaLocal)}},
	{Qname: "_dns._udp.dual.default.svc.cluster.local.", Qtype: dns.TypeSRV,
		Answer: []dns.RR{test.SRV("_dns._udp.dual.default.svc.cluster.local. 5 IN SRV 0 50 53 dual-0.dual.default.svc.cluster.local.")},
		Extra: []dns.RR{
			test.A("dual-0.dual.default.svc.cluster.local. 5 IN A 10.244.2.1"),
			test.AAAA("dual-0.dual.default.svc.cluster.local. 5 IN AAAA fd00:10:244::1"),
		}},

	// Reverse names.
	{Qname: "5.1.244.10.in-addr.arpa.", Qtype: dns.TypePTR,
		Answer: []dns.RR{test.PTR("5.1.244.10.in-addr.arpa. 5 IN PTR web-0.nginx.default.svc.cluster.local.")}},
	{Qname: "9.2.0.192.in-addr.arpa.", Qtype: dns.TypePTR,
		Answer: []dns.RR{test.PTR("9.2.0.192.in-addr.arpa. 5 IN PTR 192-0-2-9.by-hand.default.svc.cluster.local.")}},
	{Qname: "5.1.244.10.in-addr.arpa.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaInAddr)}},
	{Qname: "5.1.244.10.in-addr.arpa.", Qtype: dns.TypeANY,
		Answer: []dns.RR{test.PTR("5.1.244.10.in-addr.arpa. 5 IN PTR web-0.nginx.default.svc.cluster.local.")}},
	{Qname: "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa.", Qtype: dns.TypePTR,
		Answer: []dns.RR{test.PTR("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa. 5 IN PTR dual-0.dual.default.svc.cluster.local.")}},

	// The reply echoes the letter case of the query, also in targets and glue.
	{Qname: "Web-0.NGINX.default.svc.Cluster.Local.", Qtype: dns.TypeA,
		Answer: []dns.RR{test.A("Web-0.NGINX.default.svc.Cluster.Local. 5 IN A 10.244.1.5")}},
	{Qname: "WEB-9.nginx.default.svc.CLUSTER.local.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError,
		Ns: []dns.RR{test.SOA("CLUSTER.local. 5 IN SOA ns.dns.CLUSTER.local. hostmaster.CLUSTER.local. 1 7200 1800 86400 5")}},
	{Qname: "_DNS._udp.Dual.default.svc.cluster.LOCAL.", Qtype: dns.TypeSRV,
		Answer: []dns.RR{test.SRV("_DNS._udp.Dual.default.svc.cluster.LOCAL. 5 IN SRV 0 50 53 dual-0.Dual.default.svc.cluster.LOCAL.")},
		Extra: []dns.RR{
			test.A("dual-0.Dual.default.svc.cluster.LOCAL. 5 IN A 10.244.2.1"),
			test.AAAA("dual-0.Dual.default.svc.cluster.LOCAL. 5 IN AAAA fd00:10:244::1"),
		}},

	// Names that the plugin does not own, and messages that are no lookups.
	{Qname: "cluster.local.", Qtype: dns.TypeSOA, Rcode: rcodeNext},
	{Qname: "dns-version.cluster.local.", Qtype: dns.TypeTXT, Rcode: rcodeNext},
	{Qname: "svc.cluster.local.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "default.svc.cluster.local.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "vip.default.svc.cluster.local.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "10-244-1-5.vip.default.svc.cluster.local.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "10-244-1-5.default.pod.cluster.local.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "nginx.other.svc.cluster.local.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "nginx.default.svc.example.org.", Qtype: dns.TypeA, Rcode: rcodeNext},
	{Qname: "7.1.244.10.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: rcodeNext}, // not ready
	{Qname: "1.244.10.in-addr.arpa.", Qtype: dns.TypePTR, Rcode: rcodeNext},
	{Qname: "nginx.default.svc.cluster.local.", Qtype: dns.TypeAXFR, Rcode: rcodeNext},
	{Qname: ".", Qtype: dns.TypeNS, Rcode: rcodeNext},
	{Qname: "web-0.nginx.default.svc.in-addr.arpa.", Qtype: dns.TypeA, Rcode: rcodeNext}, // services have no names in reverse zones
	{Qname: "_web._tcp.nginx.default.svc.ip6.arpa.", Qtype: dns.TypeSRV, Rcode: rcodeNext},
}

func TestHandler(t *testing.T) {
	h := startTestHeadless(t, overlayStanza)
	for _, tc := range overlayCases {
		rcode, m := ask(t, h, tc.Msg(), &test.ResponseWriter{})
		if tc.Rcode == rcodeNext {
			if rcode != rcodeNext || m != nil {
				t.Errorf("%s %s: got reply %v, want that of the next plugin", tc.Qname, dns.TypeToString[tc.Qtype], m)
			}
			continue
		}
		if m == nil {
			t.Errorf("%s %s: got no reply", tc.Qname, dns.TypeToString[tc.Qtype])
			continue
		}
		if !m.Authoritative || m.Truncated || m.Question[0].Name != tc.Qname {
			t.Errorf("%s: got header %+v and question %v", tc.Qname, m.MsgHdr, m.Question)
		}
		for _, rr := range m.Ns {
			rr.(*dns.SOA).Serial = 1
		}
		if err := test.SortAndCheck(m, tc); err != nil {
			t.Errorf("%s %s: %v\n%v", tc.Qname, dns.TypeToString[tc.Qtype], err, m)
		}
	}
}

// TestSerial checks that a negative answer has the serial of the trie.
func TestSerial(t *testing.T) {
	h := startTestHeadless(t, overlayStanza)
	r := new(dns.Msg).SetQuestion("web-9.nginx.default.svc.cluster.local.", dns.TypeA)
	before := h.trie.Serial()
	_, m := ask(t, h, r, &test.ResponseWriter{})
	// A second may have ended between the first two reads.
	if got := m.Ns[0].(*dns.SOA).Serial; got < before || got > h.trie.Serial() {
		t.Errorf("got serial %d, want %d", got, h.trie.Serial())
	}
}

// TestNoLookups checks messages that are no lookups. An authoritative plugin refuses those for
// its zones. All others go to the next plugin.
func TestNoLookups(t *testing.T) {
	const host, apex = "web-0.nginx.default.svc.cluster.local.", "cluster.local."
	opcode := func(opcode int) func(*dns.Msg) { return func(r *dns.Msg) { r.Opcode = opcode } }
	class := func(class uint16) func(*dns.Msg) { return func(r *dns.Msg) { r.Question[0].Qclass = class } }
	overlay, authority := startTestHeadless(t, overlayStanza), startAuthoritative(t)
	authority.transfers = true // a transfer of an apex is for the transfer plugin
	fallingThrough := startTestHeadless(t, authoritativeStanza[:len(authoritativeStanza)-1]+"fallthrough sub.cluster.local\n}")
	for _, tc := range []struct {
		what, name string
		change     func(*dns.Msg)
		overlay    int // the rcode if other plugins have the zone
		authority  int // the rcode if the plugin is authoritative
	}{
		{"notification", apex, opcode(dns.OpcodeNotify), rcodeNext, dns.RcodeRefused},
		{"notification", host, opcode(dns.OpcodeNotify), rcodeNext, dns.RcodeRefused},
		{"notification", "example.org.", opcode(dns.OpcodeNotify), rcodeNext, rcodeNext},
		{"update", apex, opcode(dns.OpcodeUpdate), rcodeNext, dns.RcodeRefused},
		{"status", apex, opcode(dns.OpcodeStatus), rcodeNext, dns.RcodeRefused},
		{"class CH", host, class(dns.ClassCHAOS), rcodeNext, dns.RcodeRefused},
		{"class CH", apex, class(dns.ClassCHAOS), rcodeNext, dns.RcodeRefused},
		{"class ANY", host, class(dns.ClassANY), rcodeNext, dns.RcodeRefused},
		{"class CH", "version.bind.", class(dns.ClassCHAOS), rcodeNext, rcodeNext},
		{"no question", host, func(r *dns.Msg) { r.Question = nil }, dns.RcodeFormatError, dns.RcodeFormatError},
		{"two questions", host, func(r *dns.Msg) { r.Question = append(r.Question, r.Question[0]) }, dns.RcodeFormatError, dns.RcodeFormatError},
	} {
		for h, want := range map[*Headless]int{overlay: tc.overlay, authority: tc.authority, fallingThrough: tc.authority} {
			r := new(dns.Msg).SetQuestion(tc.name, dns.TypeSOA)
			tc.change(r)
			if rcode, m := ask(t, h, r, &test.ResponseWriter{}); rcode != want || m != nil {
				t.Errorf("%s for %s: got rcode %d and reply %v, want %d and none", tc.what, tc.name, rcode, m, want)
			}
		}
	}
	r := new(dns.Msg).SetUpdate("sub.cluster.local.")
	if rcode, _ := ask(t, fallingThrough, r, &test.ResponseWriter{}); rcode != rcodeNext {
		t.Errorf("update of a zone with fallthrough: got rcode %d, want that of the next plugin", rcode)
	}
}

// TestNoNext checks the replies if there is no next plugin.
func TestNoNext(t *testing.T) {
	for stanza, want := range map[string]map[string]int{
		overlayStanza: {
			"example.org.": dns.RcodeRefused, "cluster.local.": dns.RcodeRefused, "vip.default.svc.cluster.local.": dns.RcodeRefused,
			"web-0.nginx.default.svc.cluster.local.": dns.RcodeSuccess, "web-9.nginx.default.svc.cluster.local.": dns.RcodeNameError,
		},
		overlayStanza[:len(overlayStanza)-1] + "fallthrough\n}": {
			"vip.default.svc.cluster.local.": dns.RcodeRefused, "web-9.nginx.default.svc.cluster.local.": dns.RcodeNameError,
		},
		authoritativeStanza: {"example.org.": dns.RcodeRefused, "vip.default.svc.cluster.local.": dns.RcodeNameError},
	} {
		h := startTestHeadless(t, stanza)
		h.Next = nil
		before := testutil.ToFloat64(outcomes.fallthroughs)
		for name, want := range want {
			if rcode, _ := ask(t, h, new(dns.Msg).SetQuestion(name, dns.TypeA), &test.ResponseWriter{}); rcode != want {
				t.Errorf("%s: got rcode %d, want %d, with\n%s", name, rcode, want, stanza)
			}
		}
		if n := testutil.ToFloat64(outcomes.fallthroughs) - before; n != 0 {
			t.Errorf("got %v queries counted as fallthrough, want 0", n)
		}
	}
}

// TestFallthrough checks that only names that don't exist fall through, and only in the zones of
// the directive.
func TestFallthrough(t *testing.T) {
	const missing, exists, other = "web-9.nginx.default.svc.cluster.local.", "web-0.nginx.default.svc.cluster.local.", "web-9.nginx.default.svc.example.org."
	for _, tc := range []struct {
		line  string
		zones map[string]int
	}{
		{"", map[string]int{missing: dns.RcodeNameError, exists: 0, other: dns.RcodeNameError}},
		{"fallthrough", map[string]int{missing: rcodeNext, exists: 0, other: rcodeNext}},
		{"fallthrough example.org in-addr.arpa", map[string]int{missing: dns.RcodeNameError, exists: 0, other: rcodeNext}},
	} {
		h := startTestHeadless(t, "headless cluster.local example.org {\nmanifests testdata/handler.yaml\n"+tc.line+"\n}")
		for name, want := range tc.zones {
			r := new(dns.Msg).SetQuestion(name, dns.TypeAAAA)
			if rcode, _ := ask(t, h, r, &test.ResponseWriter{}); rcode != want {
				t.Errorf("%q: %s: got rcode %d, want %d", tc.line, name, rcode, want)
			}
		}
	}
}

// TestUnsynced checks that before the first sync the plugin denies no name: it replies
// SERVFAIL, or calls the kubernetes plugin.
func TestUnsynced(t *testing.T) {
	h := newTestHeadless(t, overlayStanza)
	owned := new(dns.Msg).SetQuestion("web-0.nginx.default.svc.cluster.local.", dns.TypeA)
	other := new(dns.Msg).SetQuestion("example.org.", dns.TypeA)
	if h.Ready() {
		t.Error("ready before the start")
	}
	if rcode, m := ask(t, h, owned, &test.ResponseWriter{}); rcode != dns.RcodeServerFailure || m != nil {
		t.Errorf("got rcode %d and reply %v, want SERVFAIL and none", rcode, m)
	}
	if rcode, _ := ask(t, h, other, &test.ResponseWriter{}); rcode != rcodeNext {
		t.Errorf("name of another zone: got rcode %d, want that of the next plugin", rcode)
	}
	h.delegate = true // as with kubernetes in the server block
	if rcode, _ := ask(t, h, owned, &test.ResponseWriter{}); rcode != rcodeNext {
		t.Errorf("with kubernetes in the server block: got rcode %d, want that of the next plugin", rcode)
	}
	h.source.start()
	<-h.source.informer.Synced()
	if rcode, m := ask(t, h, owned, &test.ResponseWriter{}); rcode != dns.RcodeSuccess || len(m.Answer) != 1 || !h.Ready() {
		t.Errorf("after the sync: got rcode %d, reply %v, ready %t", rcode, m, h.Ready())
	}
}

// manyPods returns a stanza with a manifest of n pods of the service big.
func manyPods(t testing.TB, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("{apiVersion: v1, kind: Service, metadata: {name: big}, spec: {clusterIP: None, selector: {app: big}, ports: [{name: web, port: 80}]}}\n")
	for i := range n {
		fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: Pod, metadata: {name: big-%d, labels: {app: big}}, spec: {hostname: big-%d, subdomain: big, containers: []}, "+
			"status: {podIP: 10.1.%d.%d, conditions: [{type: Ready, status: \"True\"}]}}\n", i, i, i/250, i%250)
	}
	path := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return "headless cluster.local {\nmanifests " + path + "\n}"
}

// TestLongTargets checks the reply if the only target of a record set is too long to be written:
// NODATA and not TC, as TCP would not give more.
func TestLongTargets(t *testing.T) {
	long := strings.Repeat("a", 63)
	path := filepath.Join(t.TempDir(), "long.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, `
{apiVersion: v1, kind: Service, metadata: {name: %[1]s, namespace: %[1]s}, spec: {clusterIP: None, ports: [{name: a, port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a, namespace: %[1]s, labels: {kubernetes.io/service-name: %[1]s}},
  addressType: IPv4, ports: [{name: a, port: 80}], endpoints: [{addresses: [192.0.2.1], hostname: %[1]s}]}
`, long), 0o600); err != nil {
		t.Fatal(err)
	}
	zone := strings.Repeat("b.", 30) + "cluster.local."
	h := startTestHeadless(t, "headless "+zone+" in-addr.arpa {\nmanifests "+path+"\n}")
	service := long + "." + long + ".svc." + zone
	for name, qtype := range map[string]uint16{"1.2.0.192.in-addr.arpa.": dns.TypePTR, service: dns.TypeSRV, "_a._tcp." + service: dns.TypeSRV} {
		for _, tcp := range []bool{false, true} {
			rcode, m := ask(t, h, new(dns.Msg).SetQuestion(name, qtype), &test.ResponseWriter{TCP: tcp})
			if rcode != dns.RcodeSuccess || m.Truncated || len(m.Answer)+len(m.Extra) > 0 || len(m.Ns) != 1 {
				t.Errorf("%s, over TCP %t: got rcode %d and reply %v, want NODATA", name, tcp, rcode, m)
			}
		}
	}
}

// freeNext is a next plugin that allocates nothing.
var freeNext = plugin.HandlerFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) { return 0, nil })

// freeWriter is a writer that allocates nothing.
type freeWriter struct{ test.ResponseWriter }

func (*freeWriter) WriteMsg(*dns.Msg) error { return nil }

// TestServeDNSBudget limits the allocations of ServeDNS: none for a name that the plugin does
// not own, and for an owned name as few for a large service as for a small one.
func TestServeDNSBudget(t *testing.T) {
	h := startTestHeadless(t, manyPods(t, 500))
	ctx, w := context.Background(), &freeWriter{}
	address := testing.AllocsPerRun(100, func() { w.RemoteAddr() })
	for _, tc := range []struct {
		qname string
		qtype uint16
		want  float64
	}{
		{"big-7.big.default.svc.cluster.local.", dns.TypeA, 3},
		{"BIG-7.big.default.svc.cluster.local.", dns.TypeA, 3},
		{"big.default.svc.cluster.local.", dns.TypeA, 3},
		{"big-7.big.default.svc.cluster.local.", dns.TypeAAAA, 1},
		{"big-x.big.default.svc.cluster.local.", dns.TypeA, 1},
		{"big-x.big.default.svc.Cluster.local.", dns.TypeA, 2}, // the names in the SOA record
	} {
		r := new(dns.Msg).SetQuestion(tc.qname, tc.qtype)
		got := testing.AllocsPerRun(100, func() { _, _ = h.ServeDNS(ctx, w, r) }) - address
		if got > tc.want {
			t.Errorf("%s %s: got %v allocations, want at most %v", tc.qname, dns.TypeToString[tc.qtype], got, tc.want)
		}
		r.SetEdns0(65535, true).IsEdns0().Option = ednsOptions["padding"]
		got = testing.AllocsPerRun(100, func() { _, _ = h.ServeDNS(ctx, w, r) }) - 2*address // ServeDNS asks for the transport twice
		want := tc.want
		if tc.want < 3 {
			want++ // a negative answer says why: the text
		}
		if strings.HasPrefix(tc.qname, "big-x") { // no size matters, so ServeDNS does not ask
			got += 2 * address
		}
		if got > want {
			t.Errorf("%s %s with EDNS: got %v allocations, want at most %v", tc.qname, dns.TypeToString[tc.qtype], got, want)
		}
	}

	// The call of the next plugin allocates by itself.
	h.Next = freeNext
	r := new(dns.Msg).SetQuestion("example.org.", dns.TypeA)
	next := testing.AllocsPerRun(100, func() { _, _ = plugin.NextOrFailure(pluginName, h.Next, ctx, w, r) })
	for _, qname := range []string{"example.org.", "cluster.local.", "vip.default.svc.cluster.local.", "vip.other.svc.cluster.local.", "EXAMPLE.org."} {
		r := new(dns.Msg).SetQuestion(qname, dns.TypeA)
		if got := testing.AllocsPerRun(100, func() { _, _ = h.ServeDNS(ctx, w, r) }) - next; got > 0 {
			t.Errorf("%s: got %v allocations before the next plugin, want 0", qname, got)
		}
	}
}
