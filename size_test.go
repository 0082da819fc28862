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

// registered is the code of an option that the server sends back, as one that the
// rewrite plugin sets.
const registered = dns.EDNS0LOCALSTART + 1

// options are those that a query may have.
var options = map[string][]dns.EDNS0{
	"no option":  nil,
	"cookie":     {&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}},
	"padding":    {&dns.EDNS0_PADDING{Padding: make([]byte, 430)}},
	"registered": {&dns.EDNS0_LOCAL{Code: registered, Data: make([]byte, 100)}, &dns.EDNS0_PADDING{Padding: make([]byte, 60)}},
}

// sent passes a query through the handler and a server, and returns the message
// that the client gets with its size. Where the server had to cut what the handler
// made, the test fails.
func sent(t *testing.T, h *Headless, r *dns.Msg, w dns.ResponseWriter) (*dns.Msg, int) {
	t.Helper()
	made := dnstest.NewRecorder(&test.ResponseWriter{})
	if _, err := h.ServeDNS(context.Background(), &recorded{w, made}, r); err != nil {
		t.Fatal(err)
	}
	m := made.Msg
	before := fmt.Sprint(len(m.Answer), len(m.Ns), len(m.Extra), m.Truncated)
	if err := request.NewScrubWriter(r, &recorded{w, made}).WriteMsg(m); err != nil {
		t.Fatal(err)
	}
	records := len(m.Extra)
	if m.IsEdns0() != nil {
		records--
	}
	if after := fmt.Sprint(len(m.Answer), len(m.Ns), records, m.Truncated); after != before {
		t.Errorf("%v: the handler made records and TC %s, the server sends %s", r.Question[0], before, after)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return m, len(wire)
}

// recorded is a writer with the addresses of one and the memory of another.
type recorded struct {
	dns.ResponseWriter
	to dns.ResponseWriter
}

func (w *recorded) WriteMsg(m *dns.Msg) error { return w.to.WriteMsg(m) }

// TestTruncation checks that a reply over UDP is as large as fits into what the
// client offers, but for sizes that we never send, and complete over TCP. The
// server adds an OPT record with those options that are registered.
func TestTruncation(t *testing.T) {
	const n = 500
	edns.SetSupportedOption(registered)
	h := startTestHeadless(t, manyPods(t, n))
	for _, tc := range []struct {
		qname string
		qtype uint16
		free  int // bytes that may be left: less than another record needs
	}{
		{"big.default.svc.cluster.local.", dns.TypeA, 16},
		{"big.default.svc.cluster.local.", dns.TypeANY, 16},
		{"big.default.svc.cluster.local.", dns.TypeSRV, 100},
		{"_web._tcp.big.default.svc.cluster.local.", dns.TypeSRV, 100},
	} {
		what := tc.qname + " " + dns.TypeToString[tc.qtype]
		for name, option := range options {
			for _, size := range []uint16{0, 512, 1232, 4095, 4096, 4097, 65507, 65535} {
				r := new(dns.Msg).SetQuestion(tc.qname, tc.qtype)
				if size > 0 {
					r.SetEdns0(size, false)
					r.IsEdns0().Option = option
				} else if option != nil {
					continue
				}
				m, got := sent(t, h, r, &test.ResponseWriter{})
				limit := min(max(512, int(size)), 4096)
				if got > limit || got <= limit-tc.free || !m.Truncated || len(m.Answer) >= n || len(m.Answer) == 0 {
					t.Errorf("%s in %d, with %s: %d records in %d bytes, TC %v", what, size, name, len(m.Answer), got, m.Truncated)
				}
			}
		}
		r := new(dns.Msg).SetQuestion(tc.qname, tc.qtype)
		m, _ := sent(t, h, r, &test.ResponseWriter{TCP: true})
		if len(m.Answer) != n || m.Truncated || tc.qtype == dns.TypeSRV && len(m.Extra) != n {
			t.Errorf("%s over TCP: %d records, %d in addition, TC %v", what, len(m.Answer), len(m.Extra), m.Truncated)
		}
	}
}

// TestNotTruncated checks that options which the server does not send back take no
// room: what fits without them fits with them.
func TestNotTruncated(t *testing.T) {
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
		r.IsEdns0().Option = options["padding"]
		if m, _ := sent(t, h, r, &test.ResponseWriter{}); m.Truncated || len(m.Answer) != 1 {
			t.Errorf("%s %s: %v", tc.qname, dns.TypeToString[tc.qtype], m)
		}
	}
}

// TestNothingFits checks that a set of which no record fits is not denied.
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
		if m, _ := sent(t, h, r, &test.ResponseWriter{}); !m.Truncated || len(m.Answer)+len(m.Ns) != 0 {
			t.Errorf("%s over UDP: %v", dns.TypeToString[qtype], m)
		}
		if n := testutil.ToFloat64(outcomes.truncated) - truncated; n != 1 {
			t.Errorf("%v replies are counted as truncated, want 1", n)
		}
		if m, _ := sent(t, h, r, &test.ResponseWriter{TCP: true}); m.Truncated || len(m.Answer) != 1 {
			t.Errorf("%s over TCP: %v", dns.TypeToString[qtype], m)
		}
	}
}

// TestAuthorityFits checks the size of what the owner of a zone answers: a server may
// have any number of addresses.
func TestAuthorityFits(t *testing.T) {
	h := startAuthoritative(t)
	h.locals = nil
	for i := range 600 {
		h.locals = append(h.locals, netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}))
	}
	for _, size := range []uint16{0, 1232, 4096, 65535} {
		r := new(dns.Msg).SetQuestion("ns.dns.cluster.local.", dns.TypeA)
		if size > 0 {
			r.SetEdns0(size, false)
		}
		truncated := testutil.ToFloat64(outcomes.truncated)
		limit := min(max(512, int(size)), 4096)
		if m, got := sent(t, h, r, &test.ResponseWriter{}); got > limit || got < limit-32 || !m.Truncated {
			t.Errorf("in %d: %d records in %d bytes, TC %v", size, len(m.Answer), got, m.Truncated)
		}
		if n := testutil.ToFloat64(outcomes.truncated) - truncated; n != 1 {
			t.Errorf("%v replies are counted as truncated, want 1", n)
		}
	}
}

// TestGlueAlone checks that a reply that lacks only addresses of targets is
// truncated where TCP can give them, and not where nothing can (RFC 2181,
// section 9).
func TestGlueAlone(t *testing.T) {
	h := startTestHeadless(t, manyPods(t, 900))
	// 900 SRV records fill 58 KiB, their addresses would take 14 KiB more.
	r := new(dns.Msg).SetQuestion("big.default.svc.cluster.local.", dns.TypeSRV)
	if m, _ := sent(t, h, r, &test.ResponseWriter{TCP: true}); m.Truncated || len(m.Answer) != 900 || len(m.Extra) >= 900 {
		t.Errorf("over TCP: %d records, %d in addition, TC %v", len(m.Answer), len(m.Extra), m.Truncated)
	}
	h = startTestHeadless(t, manyPods(t, 7))
	if m, _ := sent(t, h, r, &test.ResponseWriter{}); !m.Truncated || len(m.Answer) != 7 || len(m.Extra) >= 7 {
		t.Errorf("over UDP: %d records, %d in addition, TC %v", len(m.Answer), len(m.Extra), m.Truncated)
	}
}

// TestStart checks that a set that does not fit is not always cut out of the same
// place: every record is in some of the replies.
func TestStart(t *testing.T) {
	const n = 40
	h := startTestHeadless(t, manyPods(t, n))
	seen := map[string]bool{}
	first := map[string]bool{}
	for range 200 { // a record is in half of them: all are seen but for one time in 2^190
		r := new(dns.Msg).SetQuestion("big.default.svc.cluster.local.", dns.TypeA)
		_, m := ask(t, h, r, &test.ResponseWriter{})
		first[m.Answer[0].String()] = true
		for _, rr := range m.Answer {
			seen[rr.String()] = true
		}
	}
	if len(seen) != n || len(first) < n/2 {
		t.Errorf("of %d records, %d are in the replies and %d were first", n, len(seen), len(first))
	}
}
