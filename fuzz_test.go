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

// nested has zones in one another, with names of services and addresses on both
// sides of each cut, and nothing but a cut below b.cluster.local.
const nested = `headless . cluster.local dual.default.svc.cluster.local a.b.cluster.local in-addr.arpa 244.10.in-addr.arpa {
	manifests testdata/handler.yaml
	authoritative
}`

// FuzzServeDNS passes any message that a server would: what it is answered must
// be a message of the size that it may have, to that question, with the records
// that a transfer has at that name.
func FuzzServeDNS(f *testing.F) {
	handlers := []*Headless{
		startTestHeadless(f, overlayStanza),
		startTestHeadless(f, "headless cluster.local in-addr.arpa ip6.arpa {\nmanifests testdata/handler.yaml\nauthoritative\n}"),
		startTestHeadless(f, manyPods(f, 150)),
		startTestHeadless(f, "headless . {\nmanifests testdata/handler.yaml\n}"),
		startTestHeadless(f, nested),
		startTestHeadless(f, "headless . {\nmanifests testdata/handler.yaml\nauthoritative\n}"),
	}
	for _, h := range handlers {
		h.locals = []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}
		<-time.After(h.trie.SerialDelay()) // the serial stays from then on
	}
	held := make([]holding, len(handlers))
	for i, h := range handlers {
		held[i] = holdingOf(h)
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
		"dual.default.svc.cluster.local.", "b.cluster.local.", "nginx.default.svc.a.b.cluster.local.", "dns-version.in-addr.arpa."} {
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
			return // CoreDNS refuses it
		}
		i := int(handler) % len(handlers)
		rec := dnstest.NewRecorder(&test.ResponseWriter{TCP: tcp})
		rcode, err := handlers[i].ServeDNS(context.Background(), request.NewScrubWriter(r, rec), r)
		if err != nil {
			t.Fatalf("%v: %v", r, err)
		}
		if len(r.Question) != 1 {
			if rcode != dns.RcodeFormatError || rec.Msg != nil {
				t.Fatalf("the code is %d for %d questions, and the reply %v", rcode, len(r.Question), rec.Msg)
			}
			return
		}
		if rec.Msg == nil {
			if rcode != passed && rcode != dns.RcodeRefused {
				t.Fatalf("no reply, and the code %d, to %v", rcode, r)
			}
			if serves(r, &r.Question[0]) && held[i].exists[strings.ToLower(r.Question[0].Name)] {
				t.Fatalf("%v is not answered", r)
			}
			return
		}
		reply, err := rec.Msg.Pack()
		if err != nil {
			t.Fatalf("%v to %v: %v", rec.Msg, r, err)
		}
		size := dns.MaxMsgSize
		if state := (request.Request{Req: r, W: rec}); !tcp {
			size = min(state.Size(), maxUDP)
		}
		if len(reply) > size {
			t.Fatalf("%d bytes where %d are allowed: %v to %v", len(reply), size, rec.Msg, r)
		}
		if rec.Msg.Id != r.Id || !rec.Msg.Response || len(rec.Msg.Question) != 1 || rec.Msg.Question[0] != r.Question[0] {
			t.Fatalf("%v is no reply to %v", rec.Msg, r)
		}
		if err := new(dns.Msg).Unpack(reply); err != nil {
			t.Fatalf("%v to %v: %v", rec.Msg, r, err)
		}
		held[i].check(t, r, rec.Msg)
	})
}

// holding is what a handler has, by other means than queries.
type holding struct {
	data   map[dns.Question][]string // of each set of records, sorted; all in lower case
	exists map[string]bool           // names of ours with records, or above those
}

func holdingOf(h *Headless) holding {
	held := holding{make(map[dns.Question][]string), make(map[string]bool)}
	image := h.trie.Image()
	for i := range h.zones {
		zone := &h.zones[i]
		add := func(rrs []dns.RR) bool {
			for _, rr := range rrs {
				q := question(rr)
				held.data[q] = append(held.data[q], data(rr))
				held.add(q.Name, h.shortest(zone, q))
			}
			return true
		}
		if h.authoritative {
			soa := h.soa(zone.Name, image.Serial)
			add([]dns.RR{&soa})
			h.contents(image, zone)(add)
			continue
		}
		h.services(image, zone, add)
	}
	for q, set := range held.data {
		slices.Sort(set)
		held.data[q] = slices.Compact(set) // a delegation is in two zones
	}
	return held
}

// shortest is the number of labels of the shortest name of ours that a record of
// a zone is at or below.
func (h *Headless) shortest(zone *records.Zone, q dns.Question) int {
	switch {
	case h.authoritative:
		return zone.Labels()
	case q.Qtype == dns.TypePTR:
		return dns.CountLabel(q.Name)
	}
	return zone.Labels() + 3 // a service
}

// add notes that a name exists, and those above it with as many labels at least.
func (held *holding) add(name string, shortest int) {
	for n := dns.CountLabel(name); n >= shortest; n-- {
		held.exists[name] = true
		off, _ := dns.NextLabel(name, 0)
		name = name[off:]
	}
}

// check checks what a reply says.
func (held *holding) check(t *testing.T, r, reply *dns.Msg) {
	t.Helper()
	asked := r.Question[0]
	name := strings.ToLower(asked.Name)
	if !serves(r, &asked) || !reply.Authoritative || reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		t.Fatalf("%v is the reply to %v", reply, r)
	}
	if exists := reply.Rcode == dns.RcodeSuccess; exists != held.exists[name] {
		t.Fatalf("%q exists: %v, by the reply %v", name, held.exists[name], reply)
	}
	var got []string
	qtype := asked.Qtype
	for _, rr := range reply.Answer {
		if h := rr.Header(); h.Name != asked.Name || h.Class != dns.ClassINET || h.Rrtype != qtype && asked.Qtype != dns.TypeANY {
			t.Fatalf("%v is no answer to %v", rr, r)
		}
		qtype = rr.Header().Rrtype // of one set, whichever it is
		got = append(got, data(rr))
	}
	slices.Sort(got)
	want := held.data[dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}]
	if reply.Truncated {
		want = slices.DeleteFunc(slices.Clone(want), func(data string) bool { _, ok := slices.BinarySearch(got, data); return !ok })
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q has %q, want %q", name, got, want)
	}
	for _, rr := range reply.Extra {
		if rr.Header().Rrtype != dns.TypeOPT && !slices.Contains(held.data[question(rr)], data(rr)) {
			t.Fatalf("%v is not there, but in the reply to %v", rr, r)
		}
	}
	negative := len(reply.Ns) == 1 && reply.Ns[0].Header().Rrtype == dns.TypeSOA && dns.IsSubDomain(reply.Ns[0].Header().Name, asked.Name)
	if len(reply.Answer) == 0 && !reply.Truncated && !negative || len(reply.Answer) > 0 && len(reply.Ns) > 0 {
		t.Fatalf("the authority section of the reply to %v is %v", r, reply.Ns)
	}
}

// question is what a record answers, in lower case.
func question(rr dns.RR) dns.Question {
	h := rr.Header()
	return dns.Question{Name: strings.ToLower(h.Name), Qtype: h.Rrtype, Qclass: h.Class}
}

func data(rr dns.RR) string {
	return strings.ToLower(strings.TrimPrefix(rr.String(), rr.Header().String()))
}
