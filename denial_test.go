package headless

import (
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

// bareNames are the names of explainManifests that a pod may be about to get.
var bareNames = []string{
	"web-1.nginx", // not ready
	"web-2.nginx", // no address yet
	"web-3.nginx", // terminating
	"start-0.starting", "starting", "_web._tcp.starting", "_tcp.starting",
	"web-9.nginx", "start-9.starting", "web-0.empty", // a pod may be created
	"empty",
}

// TestDenial checks the TTL, the minimum and the absence of the SOA record in negative answers.
func TestDenial(t *testing.T) {
	stanza := "headless cluster.local in-addr.arpa {\nauthoritative\nmanifests " + explainManifests(t) + "\n"
	byDefault := startTestHeadless(t, stanza+"ttl 9\n}")
	short := startTestHeadless(t, stanza+"ttl 9\ndenial 2\n}")
	bare := startTestHeadless(t, stanza+"denial 0 bare\nttl 9\n}")
	quiet := startTestHeadless(t, stanza+"denial 0 bare\nttl 9\nexplain off\n}")
	early := startTestHeadless(t, stanza+"denial 0 bare\nhosts addressed\n}")

	isBare := make(map[string]bool)
	for _, name := range bareNames {
		isBare[name] = true
	}
	for _, name := range append([]string{
		"web-0.nginx", "web-4.nginx", "web-5.nginx", "a.web-1.nginx", "nginx", "bare-0.bare", "_http._tcp.nginx", "_tcp.nginx",
		"other", "web-0.other",
	}, bareNames...) {
		rcodes := make(map[string]int)
		for _, rrtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeHTTPS} {
			for _, edns := range []bool{false, true} {
				r := new(dns.Msg).SetQuestion(name+".default.svc.cluster.local.", rrtype)
				if edns {
					r.SetEdns0(1232, false)
				}
				for what, h := range map[string]*Headless{"default": byDefault, "denial 2": short, "bare": bare, "bare, explain off": quiet, "addressed": early} {
					_, m := ask(t, h, r, &test.ResponseWriter{})
					if rcode, ok := rcodes[what]; ok && rcode != m.Rcode {
						t.Errorf("%s, %s: the rcode is %s for one type, and %s for %s", what, name, dns.RcodeToString[rcode],
							dns.RcodeToString[m.Rcode], dns.TypeToString[rrtype])
					}
					rcodes[what] = m.Rcode
					if len(m.Answer) > 0 {
						continue
					}
					wantBare := strings.Contains(what, "bare") && isBare[name]
					if what == "addressed" {
						wantBare = isBare[name] && m.Rcode == dns.RcodeNameError
					}
					if wantBare != (len(m.Ns) == 0) || wantBare && m.Rcode != dns.RcodeNameError {
						t.Errorf("%s, %s %s: got %s with authority %v", what, name, dns.TypeToString[rrtype], dns.RcodeToString[m.Rcode], m.Ns)
					}
					if wantText := edns && !strings.Contains(what, "off"); wantText != (explanations(m) != "") {
						t.Errorf("%s, %s %s: the reason is %q", what, name, dns.TypeToString[rrtype], explanations(m))
					}
					for _, rr := range m.Ns {
						soa := rr.(*dns.SOA)
						if ttl := map[string]uint32{"default": 9, "denial 2": 2}[what]; soa.Hdr.Ttl != ttl || soa.Minttl != ttl {
							t.Errorf("%s, %s: TTL %d and minimum %d, want %d", what, name, soa.Hdr.Ttl, soa.Minttl, ttl)
						}
					}
				}
			}
		}
	}
	_, m := ask(t, short, new(dns.Msg).SetQuestion("web-0.nginx.default.svc.cluster.local.", dns.TypeA), &test.ResponseWriter{})
	if len(m.Answer) != 1 || m.Answer[0].Header().Ttl != 9 {
		t.Errorf("an answer has the records %v, want one with TTL 9", m.Answer)
	}
	_, m = ask(t, short, new(dns.Msg).SetQuestion("cluster.local.", dns.TypeSOA), &test.ResponseWriter{})
	if len(m.Answer) != 1 || m.Answer[0].(*dns.SOA).Minttl != 2 || m.Answer[0].Header().Ttl != 2 {
		t.Errorf("the SOA record is %v, want TTL and minimum 2", m.Answer)
	}
}

// TestBareSize checks that a reason never costs a bare denial more than its room.
func TestBareSize(t *testing.T) {
	h := startTestHeadless(t, "headless cluster.local {\ndenial 0 bare\nmanifests "+explainManifests(t)+"\n}")
	r := new(dns.Msg).SetQuestion("web-1.nginx.default.svc.cluster.local.", dns.TypeA)
	for _, size := range []uint16{0, 512} {
		if size > 0 {
			r.SetEdns0(size, false)
		}
		_, m := ask(t, h, r, &test.ResponseWriter{})
		checkWire(t, m, size)
		if len(m.Ns) != 0 || m.Rcode != dns.RcodeNameError || !m.Authoritative {
			t.Errorf("size %d: got %v", size, m)
		}
	}
}

// TestHostsAddressed checks the answers to a host whose pod is not ready.
func TestHostsAddressed(t *testing.T) {
	h := startTestHeadless(t, "headless cluster.local in-addr.arpa {\nhosts addressed\nmanifests "+explainManifests(t)+"\n}")
	for question, want := range map[string]string{
		"web-1.nginx.default.svc.cluster.local. A":        "NOERROR 10.0.0.2",
		"web-1.nginx.default.svc.cluster.local. AAAA":     "NOERROR 0: pod web-1: no IPv6 address",
		"web-1.nginx.default.svc.cluster.local. SRV":      "NOERROR 0: pod web-1: not ready",
		"web-2.nginx.default.svc.cluster.local. A":        "NXDOMAIN 0: pod web-2: no address yet",
		"web-3.nginx.default.svc.cluster.local. A":        "NXDOMAIN 0: pod web-3: terminating",
		"web-4.nginx.default.svc.cluster.local. A":        "NXDOMAIN 0: pod web-4: no address in a family of the service",
		"nginx.default.svc.cluster.local. A":              "NOERROR 10.0.0.1 10.0.0.6 10.0.0.7",
		"starting.default.svc.cluster.local. A":           "NOERROR 0: service starting: 0 of 3 endpoints ready",
		"starting.default.svc.cluster.local. SRV":         "NOERROR 0: service starting: 0 of 3 endpoints ready",
		"start-1.starting.default.svc.cluster.local. A":   "NOERROR 10.0.1.2",
		"_web._tcp.starting.default.svc.cluster.local. A": "NXDOMAIN 0: service starting: 0 of 3 endpoints ready",
		"2.0.0.10.in-addr.arpa. PTR":                      "NOERROR web-1.nginx.default.svc.cluster.local.",
	} {
		name, rrtype, _ := strings.Cut(question, " ")
		r := new(dns.Msg).SetQuestion(name, dns.StringToType[rrtype])
		r.SetEdns0(1232, false)
		_, m := ask(t, h, r, &test.ResponseWriter{})
		got := []string{dns.RcodeToString[m.Rcode]}
		for _, rr := range m.Answer {
			got = append(got, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		if text := explanations(m); text != "" {
			got = append(got, text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", question, got, want)
		}
	}
}
