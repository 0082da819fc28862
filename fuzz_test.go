package headless

import (
	"context"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// FuzzServeDNS passes any message that a server would: what it is answered must
// be a message of the size that it may have, to that question.
func FuzzServeDNS(f *testing.F) {
	handlers := []*Headless{
		startTestHeadless(f, example),
		startTestHeadless(f, "headless cluster.local in-addr.arpa ip6.arpa {\nmanifests testdata/handler.yaml\nauthoritative\n}"),
		startTestHeadless(f, manyPods(f, 500)),
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
	for _, name := range []string{"web-0.nginx.default.svc.cluster.local.", "nginx.default.svc.cluster.local.", "_web._tcp.nginx.default.svc.cluster.local.",
		"5.1.244.10.in-addr.arpa.", "cluster.local.", "ns.dns.cluster.local.", "big.default.svc.cluster.local.", "_web._tcp.big.default.svc.cluster.local.",
		`\000\..nginx.default.svc.cluster.local.`, "."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypePTR, dns.TypeANY, dns.TypeAXFR, dns.TypeNS, 65535} {
			seed(name, qtype)
		}
		seed(name, dns.TypeSRV, edns)
		seed(name, dns.TypeA, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })
		seed(name, dns.TypeSOA, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify })
		seed(name, dns.TypeA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })
	}
	f.Fuzz(func(t *testing.T, wire []byte, handler uint8, tcp bool) {
		r := new(dns.Msg)
		if r.Unpack(wire) != nil || len(r.Question) == 0 {
			return // CoreDNS refuses it
		}
		rec := dnstest.NewRecorder(&test.ResponseWriter{TCP: tcp})
		rcode, err := handlers[int(handler)%len(handlers)].ServeDNS(context.Background(), request.NewScrubWriter(r, rec), r)
		if err != nil {
			t.Fatalf("%v: %v", r, err)
		}
		if rec.Msg == nil {
			if rcode != passed && rcode != dns.RcodeRefused {
				t.Fatalf("no reply, and the code %d, to %v", rcode, r)
			}
			return
		}
		reply, err := rec.Msg.Pack()
		if err != nil {
			t.Fatalf("%v to %v: %v", rec.Msg, r, err)
		}
		size := dns.MaxMsgSize
		if state := (request.Request{Req: r, W: rec}); !tcp {
			size = state.Size()
		}
		if len(reply) > size {
			t.Fatalf("%d bytes where %d are allowed: %v to %v", len(reply), size, rec.Msg, r)
		}
		if rec.Msg.Id != r.Id || !rec.Msg.Response || len(rec.Msg.Question) != 1 || rec.Msg.Question[0] != r.Question[0] {
			t.Fatalf("%v is no reply to %v", rec.Msg, r)
		}
	})
}
