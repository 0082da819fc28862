package headless

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// nestedStanza has zones within zones, with names of services and addresses on both sides of
// each zone cut. Below b.cluster.local there is a zone cut and nothing else.
const nestedStanza = `headless . cluster.local dual.default.svc.cluster.local a.b.cluster.local in-addr.arpa 244.10.in-addr.arpa {
	manifests testdata/handler.yaml
	authoritative
}`

// FuzzServeDNS serves any message that a server would pass on. The reply must fit, be for the
// question, and have the records that a transfer has at the name.
func FuzzServeDNS(f *testing.F) {
	handlers := []*Headless{
		startTestHeadless(f, overlayStanza),
		startTestHeadless(f, "headless cluster.local in-addr.arpa ip6.arpa {\nmanifests testdata/handler.yaml\nauthoritative\n}"),
		startTestHeadless(f, manyPods(f, 150)),
		startTestHeadless(f, "headless . {\nmanifests testdata/handler.yaml\n}"),
		startTestHeadless(f, nestedStanza),
		startTestHeadless(f, "headless . {\nmanifests testdata/handler.yaml\nauthoritative\n}"),
		startTestHeadless(f, externalStanza),
		startTestHeadless(f, "headless cluster.local {\nmanifests testdata/external.yaml\nexternal . prod.svc.cluster.local\nauthoritative\n}"),
		startTestHeadless(f, clustersetStanza),
		startTestHeadless(f, "headless cluster.local {\nmanifests testdata/clusterset.yaml\nmulticluster . prod.svc.cluster.local\nauthoritative\n}"),
	}
	for _, h := range handlers {
		h.serverAddrs = []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}
		<-time.After(h.trie.SerialDelay()) // the serials are constant from then on
		if h.imports != nil {
			<-time.After(h.imports.SerialDelay())
		}
	}
	contents := make([]zoneContents, len(handlers))
	for i, h := range handlers {
		contents[i] = contentsOf(h)
	}
	seed := func(name string, qtype uint16, change ...func(*dns.Msg)) {
		m := new(dns.Msg).SetQuestion(name, qtype)
		for _, c := range change {
			c(m)
		}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		for i := range handlers {
			f.Add(wire, uint8(i), i == 0)
		}
	}
	edns := func(m *dns.Msg) { m.SetEdns0(1232, true) }
	padded := func(m *dns.Msg) {
		m.SetEdns0(65535, true)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, 430)}}
	}
	for _, name := range []string{"web-0.nginx.default.svc.cluster.local.", "nginx.default.svc.cluster.local.", "_web._tcp.nginx.default.svc.cluster.local.",
		"5.1.244.10.in-addr.arpa.", "cluster.local.", "ns.dns.cluster.local.", "big.default.svc.cluster.local.", "_web._tcp.big.default.svc.cluster.local.",
		`\000\..nginx.default.svc.cluster.local.`, ".", "web-0.nginx.default.svc.in-addr.arpa.", "web-0.nginx.default.svc.", "arpa.", "10.in-addr.arpa.",
		"dual.default.svc.cluster.local.", "b.cluster.local.", "nginx.default.svc.a.b.cluster.local.", "dns-version.in-addr.arpa.",
		"nginx.prod.example.org.", "web-0.nginx.prod.example.org.", "_web._tcp.nginx.prod.example.org.", "prod.example.org.", "ns.dns.example.org.", "example.org.",
		"inner.prod.example.org.", "nginx.prod.in.cluster.local.", "nginx.prod.", "prod.", "ns.dns.", "nginx.prod.prod.svc.cluster.local."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypePTR, dns.TypeANY, dns.TypeAXFR, dns.TypeNS, 65535} {
			seed(name, qtype)
		}
		seed(name, dns.TypeSRV, edns)
		seed(name, dns.TypeANY, padded)
		seed(name, dns.TypeA, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })
		seed(name, dns.TypeSOA, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify })
		seed(name, dns.TypeA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })
	}
	f.Fuzz(func(t *testing.T, wire []byte, handler uint8, tcp bool) {
		r := new(dns.Msg)
		if r.Unpack(wire) != nil {
			return // CoreDNS drops it
		}
		i := int(handler) % len(handlers)
		rec := dnstest.NewRecorder(&test.ResponseWriter{TCP: tcp})
		rcode, err := handlers[i].ServeDNS(context.Background(), request.NewScrubWriter(r, rec), r)
		if err != nil {
			t.Fatalf("%v: %v", r, err)
		}
		if len(r.Question) != 1 {
			if rcode != dns.RcodeFormatError || rec.Msg != nil {
				t.Fatalf("%d questions: got rcode %d and reply %v, want %d and none", len(r.Question), rcode, rec.Msg, dns.RcodeFormatError)
			}
			return
		}
		if rec.Msg == nil {
			if rcode != rcodeNext && rcode != dns.RcodeRefused {
				t.Fatalf("got no reply and rcode %d to %v", rcode, r)
			}
			if isLookup(r, &r.Question[0]) && contents[i].exists[strings.ToLower(r.Question[0].Name)] {
				t.Fatalf("got no reply to %v", r)
			}
			return
		}
		reply, err := rec.Msg.Pack()
		if err != nil {
			t.Fatalf("pack the reply %v to %v: %v", rec.Msg, r, err)
		}
		size := dns.MaxMsgSize
		if state := (request.Request{Req: r, W: rec}); !tcp {
			size = min(state.Size(), maxUDP)
		}
		if len(reply) > size {
			t.Fatalf("got %d bytes, want at most %d: reply %v to %v", len(reply), size, rec.Msg, r)
		}
		if rec.Msg.Id != r.Id || !rec.Msg.Response || len(rec.Msg.Question) != 1 || rec.Msg.Question[0] != r.Question[0] {
			t.Fatalf("the header or question of the reply %v is not for %v", rec.Msg, r)
		}
		if err := new(dns.Msg).Unpack(reply); err != nil {
			t.Fatalf("unpack the reply %v to %v: %v", rec.Msg, r, err)
		}
		contents[i].check(t, r, rec.Msg)
	})
}

// zoneContents is what the zones of a handler have by a transfer, all in lower case.
type zoneContents struct {
	data   map[dns.Question][]string // of each record set, sorted
	exists map[string]bool           // owned names with records, and those above them
}

func contentsOf(h *Headless) zoneContents {
	c := zoneContents{make(map[dns.Question][]string), make(map[string]bool)}
	for i := range h.zones {
		zone := &h.zones[i]
		image := h.trieOf(zone).Image()
		add := func(rrs []dns.RR) bool {
			for _, rr := range rrs {
				q := question(rr)
				c.data[q] = append(c.data[q], data(rr))
				c.addName(q.Name, h.minLabels(zone, q))
			}
			return true
		}
		if h.owns(zone) {
			soa := h.soa(zone.Name, image.Serial)
			add([]dns.RR{&soa})
			h.contents(image, zone)(add)
			continue
		}
		h.serviceRecords(image, zone, add)
	}
	for q, set := range c.data {
		slices.Sort(set)
		c.data[q] = slices.Compact(set) // a delegation is in two zones
	}
	return c
}

// minLabels returns the number of labels of the shortest owned name that a record is at or
// below.
func (h *Headless) minLabels(zone *records.Zone, q dns.Question) int {
	switch {
	case h.owns(zone):
		return zone.Labels()
	case q.Qtype == dns.TypePTR:
		return dns.CountLabel(q.Name)
	}
	return zone.Labels() + 3 // a service
}

// addName records that a name exists, and the names above it that have minLabels labels or more.
func (c *zoneContents) addName(name string, minLabels int) {
	for n := dns.CountLabel(name); n >= minLabels; n-- {
		c.exists[name] = true
		off, _ := dns.NextLabel(name, 0)
		name = name[off:]
	}
}

// check compares a reply with the contents.
func (c *zoneContents) check(t *testing.T, r, reply *dns.Msg) {
	t.Helper()
	q := r.Question[0]
	name := strings.ToLower(q.Name)
	if !isLookup(r, &q) || !reply.Authoritative || reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		t.Fatalf("got reply %v to %v, want no reply, or an authoritative one with NOERROR or NXDOMAIN", reply, r)
	}
	if exists := reply.Rcode == dns.RcodeSuccess; exists != c.exists[name] {
		t.Fatalf("%q exists: %v, but got the reply %v", name, c.exists[name], reply)
	}
	var got []string
	qtype := q.Qtype
	for _, rr := range reply.Answer {
		if h := rr.Header(); h.Name != q.Name || h.Class != dns.ClassINET || h.Rrtype != qtype && q.Qtype != dns.TypeANY {
			t.Fatalf("got answer %v to %v", rr, r)
		}
		qtype = rr.Header().Rrtype // ANY is answered with one record set
		got = append(got, data(rr))
	}
	slices.Sort(got)
	want := c.data[dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}]
	if reply.Truncated {
		want = slices.DeleteFunc(slices.Clone(want), func(data string) bool { _, ok := slices.BinarySearch(got, data); return !ok })
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q: got %q, want %q", name, got, want)
	}
	for _, rr := range reply.Extra {
		if rr.Header().Rrtype != dns.TypeOPT && !slices.Contains(c.data[question(rr)], data(rr)) {
			t.Fatalf("got the additional record %v to %v, which no transfer has", rr, r)
		}
	}
	negative := len(reply.Ns) == 1 && reply.Ns[0].Header().Rrtype == dns.TypeSOA && dns.IsSubDomain(reply.Ns[0].Header().Name, q.Name)
	if len(reply.Answer) == 0 && !reply.Truncated && !negative || len(reply.Answer) > 0 && len(reply.Ns) > 0 {
		t.Fatalf("got the authority section %v to %v", reply.Ns, r)
	}
}

// question returns the question that a record answers, in lower case.
func question(rr dns.RR) dns.Question {
	h := rr.Header()
	return dns.Question{Name: strings.ToLower(h.Name), Qtype: h.Rrtype, Qclass: h.Class}
}

// data returns a record without its header, in lower case.
func data(rr dns.RR) string {
	return strings.ToLower(strings.TrimPrefix(rr.String(), rr.Header().String()))
}
