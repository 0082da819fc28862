package headless

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// registeredOption is the code of an option that the server sends back, like one that the
// rewrite plugin registers.
const registeredOption = dns.EDNS0LOCALSTART + 1

// ednsOptions are the options of a query.
var ednsOptions = map[string][]dns.EDNS0{
	"no option":  nil,
	"cookie":     {&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}},
	"padding":    {&dns.EDNS0_PADDING{Padding: make([]byte, 430)}},
	"registered": {&dns.EDNS0_LOCAL{Code: registeredOption, Data: make([]byte, 100)}, &dns.EDNS0_PADDING{Padding: make([]byte, 60)}},
}

// send serves a query as a server does. It returns the message that the client gets, and its
// size in bytes. The test fails if the server must truncate the plugin's reply.
func send(t *testing.T, h *Headless, r *dns.Msg, w dns.ResponseWriter) (*dns.Msg, int) {
	t.Helper()
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	if _, err := h.ServeDNS(context.Background(), &redirectWriter{w, rec}, r); err != nil {
		t.Fatal(err)
	}
	m := rec.Msg
	before := fmt.Sprint(len(m.Answer), len(m.Ns), len(m.Extra), m.Truncated)
	if err := request.NewScrubWriter(r, &redirectWriter{w, rec}).WriteMsg(m); err != nil {
		t.Fatal(err)
	}
	extra := len(m.Extra)
	if m.IsEdns0() != nil {
		extra--
	}
	if after := fmt.Sprint(len(m.Answer), len(m.Ns), extra, m.Truncated); after != before {
		t.Errorf("%v: the plugin wrote records and TC %s, the server sends %s", r.Question[0], before, after)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return m, len(wire)
}

// redirectWriter has the addresses of one writer and writes to another.
type redirectWriter struct {
	dns.ResponseWriter
	to dns.ResponseWriter
}

func (w *redirectWriter) WriteMsg(m *dns.Msg) error { return w.to.WriteMsg(m) }

// TestTruncation checks that a reply over UDP fills the size that the client offers, up to
// maxUDP, and that a reply over TCP is complete. The server adds an OPT record with the
// registered options.
func TestTruncation(t *testing.T) {
	const n = 500
	edns.SetSupportedOption(registeredOption)
	h := startTestHeadless(t, manyPods(t, n))
	for _, tc := range []struct {
		qname string
		qtype uint16
		free  int // bytes that may be unused: fewer than another record needs
	}{
		{"big.default.svc.cluster.local.", dns.TypeA, 16},
		{"big.default.svc.cluster.local.", dns.TypeANY, 16},
		{"big.default.svc.cluster.local.", dns.TypeSRV, 100},
		{"_web._tcp.big.default.svc.cluster.local.", dns.TypeSRV, 100},
	} {
		what := tc.qname + " " + dns.TypeToString[tc.qtype]
		for name, option := range ednsOptions {
			for _, size := range []uint16{0, 512, 1232, 4095, 4096, 4097, 65507, 65535} {
				r := new(dns.Msg).SetQuestion(tc.qname, tc.qtype)
				if size > 0 {
					r.SetEdns0(size, false)
					r.IsEdns0().Option = option
				} else if option != nil {
					continue
				}
				m, got := send(t, h, r, &test.ResponseWriter{})
				limit := min(max(512, int(size)), 4096)
				if got > limit || got <= limit-tc.free || !m.Truncated || len(m.Answer) >= n || len(m.Answer) == 0 {
					t.Errorf("%s, size %d, %s: got %d records in %d bytes, TC %t", what, size, name, len(m.Answer), got, m.Truncated)
				}
			}
		}
		r := new(dns.Msg).SetQuestion(tc.qname, tc.qtype)
		m, _ := send(t, h, r, &test.ResponseWriter{TCP: true})
		if len(m.Answer) != n || m.Truncated || tc.qtype == dns.TypeSRV && len(m.Extra) != n {
			t.Errorf("%s over TCP: got %d records, %d additional, TC %t", what, len(m.Answer), len(m.Extra), m.Truncated)
		}
	}
}

// TestUnregisteredOptions checks that options which the server does not send back take no space
// in the reply.
func TestUnregisteredOptions(t *testing.T) {
	h := startTestHeadless(t, manyPods(t, 1))
	for _, tc := range []struct {
		qname string
		qtype uint16
	}{
		{"big.default.svc.cluster.local.", dns.TypeA},
		{"big.default.svc.cluster.local.", dns.TypeANY},
		{"big-0.big.default.svc.cluster.local.", dns.TypeANY},
		{"_web._tcp.big.default.svc.cluster.local.", dns.TypeSRV},
		{"_web._tcp.big.default.svc.cluster.local.", dns.TypeANY},
	} {
		r := new(dns.Msg).SetQuestion(tc.qname, tc.qtype).SetEdns0(512, false)
		r.IsEdns0().Option = ednsOptions["padding"]
		if m, _ := send(t, h, r, &test.ResponseWriter{}); m.Truncated || len(m.Answer) != 1 {
			t.Errorf("%s %s: got reply %v, want one record and no TC", tc.qname, dns.TypeToString[tc.qtype], m)
		}
	}
}

// TestNothingFits checks that a record set of which no record fits is truncated: NODATA would
// deny it.
func TestNothingFits(t *testing.T) {
	long := strings.Repeat("a", 63)
	path := filepath.Join(t.TempDir(), "long.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, `
{apiVersion: v1, kind: Service, metadata: {name: %[1]s, namespace: %[1]s}, spec: {clusterIP: None, ports: [{name: web, port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a, namespace: %[1]s, labels: {kubernetes.io/service-name: %[1]s}},
  addressType: IPv4, ports: [{name: web, port: 80}], endpoints: [{addresses: [192.0.2.1], hostname: h}]}
`, long), 0o600); err != nil {
		t.Fatal(err)
	}
	zone := strings.Repeat("b.", 44) + "cluster.local."
	h := startTestHeadless(t, "headless "+zone+" {\nmanifests "+path+"\n}")
	name := "_web._tcp." + long + "." + long + ".svc." + zone
	for _, qtype := range []uint16{dns.TypeSRV, dns.TypeANY} {
		r := new(dns.Msg).SetQuestion(name, qtype)
		truncated := testutil.ToFloat64(outcomes.truncated)
		if m, _ := send(t, h, r, &test.ResponseWriter{}); !m.Truncated || len(m.Answer)+len(m.Ns) != 0 {
			t.Errorf("%s over UDP: got reply %v, want TC and no record", dns.TypeToString[qtype], m)
		}
		if n := testutil.ToFloat64(outcomes.truncated) - truncated; n != 1 {
			t.Errorf("%v replies are counted as truncated, want 1", n)
		}
		if m, _ := send(t, h, r, &test.ResponseWriter{TCP: true}); m.Truncated || len(m.Answer) != 1 {
			t.Errorf("%s over TCP: got reply %v, want one record", dns.TypeToString[qtype], m)
		}
	}
}

// TestAddressRecordsFit checks the size of a reply with the many addresses of a server.
func TestAddressRecordsFit(t *testing.T) {
	h := startAuthoritative(t)
	h.serverAddrs = nil
	for i := range 600 {
		h.serverAddrs = append(h.serverAddrs, netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}))
	}
	for _, size := range []uint16{0, 1232, 4096, 65535} {
		r := new(dns.Msg).SetQuestion("ns.dns.cluster.local.", dns.TypeA)
		if size > 0 {
			r.SetEdns0(size, false)
		}
		truncated := testutil.ToFloat64(outcomes.truncated)
		limit := min(max(512, int(size)), 4096)
		if m, got := send(t, h, r, &test.ResponseWriter{}); got > limit || got < limit-32 || !m.Truncated {
			t.Errorf("size %d: got %d records in %d bytes, TC %t", size, len(m.Answer), got, m.Truncated)
		}
		if n := testutil.ToFloat64(outcomes.truncated) - truncated; n != 1 {
			t.Errorf("%v replies are counted as truncated, want 1", n)
		}
	}
}

// TestGlueDoesNotFit checks a reply that lacks only addresses of targets (RFC 2181, section 9).
// It is truncated over UDP, as TCP has space for them, and not over TCP.
func TestGlueDoesNotFit(t *testing.T) {
	h := startTestHeadless(t, manyPods(t, 900))
	// 900 SRV records fill 58 KiB, their addresses would take 14 KiB more.
	r := new(dns.Msg).SetQuestion("big.default.svc.cluster.local.", dns.TypeSRV)
	if m, _ := send(t, h, r, &test.ResponseWriter{TCP: true}); m.Truncated || len(m.Answer) != 900 || len(m.Extra) >= 900 {
		t.Errorf("over TCP: got %d records, %d additional, TC %t", len(m.Answer), len(m.Extra), m.Truncated)
	}
	h = startTestHeadless(t, manyPods(t, 7))
	if m, _ := send(t, h, r, &test.ResponseWriter{}); !m.Truncated || len(m.Answer) != 7 || len(m.Extra) >= 7 {
		t.Errorf("over UDP: got %d records, %d additional, TC %t", len(m.Answer), len(m.Extra), m.Truncated)
	}
}

// TestRandomStart checks that replies with a part of a record set start at a random record, so
// that every record is in some of them.
func TestRandomStart(t *testing.T) {
	const n = 40
	h := startTestHeadless(t, manyPods(t, n))
	seen := map[string]bool{}
	first := map[string]bool{}
	for range 200 { // a reply has about half of the records: one is in none with a probability below 2^-190
		r := new(dns.Msg).SetQuestion("big.default.svc.cluster.local.", dns.TypeA)
		_, m := ask(t, h, r, &test.ResponseWriter{})
		first[m.Answer[0].String()] = true
		for _, rr := range m.Answer {
			seen[rr.String()] = true
		}
	}
	if len(seen) != n || len(first) < n/2 {
		t.Errorf("of %d records: got %d in the replies and %d at their start", n, len(seen), len(first))
	}
}
