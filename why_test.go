package headless

import (
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"golang.org/x/time/rate"
)

// askWhy returns the reasons that a name gets, each on a line, with the rcode.
func askWhy(t *testing.T, h *Headless, question string) string {
	t.Helper()
	name, qtype, _ := strings.Cut(question, " ")
	_, m := ask(t, h, new(dns.Msg).SetQuestion(name, dns.StringToType[qtype]), &test.ResponseWriter{TCP: true})
	if m == nil {
		return "passed on"
	}
	out := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		txt := rr.(*dns.TXT)
		if txt.Hdr.Name != name || txt.Hdr.Ttl != 0 || len(txt.Txt) != 1 || !m.Authoritative {
			t.Errorf("%s: got %v", question, rr)
		}
		out = append(out, txt.Txt...)
	}
	if len(m.Answer) == 0 && len(m.Ns) != 1 {
		t.Errorf("%s: got %v, want an SOA record", question, m)
	}
	return strings.Join(out, "\n")
}

func TestWhy(t *testing.T) {
	stanza := "headless cluster.local in-addr.arpa {\nmanifests " + explainManifests(t)
	h := startTestHeadless(t, stanza+"\n}")
	h.whyLimiter.SetLimit(rate.Inf)
	const form = "NOERROR\nnot a name of a headless service: such names are SERVICE.NAMESPACE.svc.ZONE, HOST and _PORT._PROTOCOL below it, and reverse names of addresses"
	const probe = ": not ready; it gets the name when its readiness probe succeeds, or at once with annotation headless-dns.github.io/hosts: addressed"
	for question, want := range map[string]string{
		"_why.web-1.nginx.default.svc.cluster.local. TXT": "NOERROR\npod web-1: not ready; it gets the name when its readiness probe succeeds, or at once with annotation headless-dns.github.io/hosts: addressed",
		"_WHY.Web-2.nginx.default.svc.cluster.local. ANY": "NOERROR\npod web-2: no address yet; it gets the name when it is scheduled, started and ready",
		"_why.web-0.nginx.default.svc.cluster.local. TXT": "NOERROR\npod web-0: web-0.nginx has 10.0.0.1, ready, from pods of manifests",
		"_why.web-0.nginx.default.svc.cluster.local. A":   "NOERROR",
		"_why.nothing.default.svc.cluster.local. SRV":     "NOERROR",
		"_why.starting.default.svc.cluster.local. TXT": "NOERROR\nservice starting: 0 of 3 endpoints ready, from pods of manifests" +
			"\npod start-0" + probe + "\npod start-1" + probe + "\npod start-2" + probe,
		"_why._http._tcp.starting.default.svc.cluster.local. TXT": "NOERROR\nservice starting: no tcp port named http; it has web (80/tcp)",
		"_why._tcp.starting.default.svc.cluster.local. TXT":       "NOERROR\nservice starting: only names of ports, such as _web._tcp, are below _tcp",
		`_why.w\000\"\\.other.default.svc.cluster.local. TXT`:     "NOERROR\ndefault/other: no headless service that this server watches; create it with clusterIP: None, or correct the name",
		"_why.6.0.0.10.in-addr.arpa. TXT":                         "NOERROR\npod web-5: 10-0-0-6.nginx has 10.0.0.6, ready, from pods of manifests",
		"_why.9.9.0.10.in-addr.arpa. TXT":                         "NOERROR\n10.0.9.9: no pod that this server watches has this address",
		"_why.0.10.in-addr.arpa. TXT":                             form,
		"_why.cluster.local. TXT":                                 form,
		"_why.default.svc.cluster.local. TXT":                     form,
		"_why.10-0-0-1.default.pod.cluster.local. TXT":            form,
		"_why.a.web-0.nginx.default.svc.cluster.local. TXT":       "NXDOMAIN",
		"_why.web.tcp.nginx.default.svc.cluster.local. TXT":       "NXDOMAIN",
		"_why._web.tcp.nginx.default.svc.cluster.local. TXT":      "NXDOMAIN",
		"_why.web-0.nginx.prod.default.svc.cluster.local. A":      "NXDOMAIN", // from a search list
		"_why.example.org. TXT":                                   "passed on",
		"why.cluster.local. TXT":                                  "passed on",
	} {
		if got := askWhy(t, h, question); got != want {
			t.Errorf("%s: got %q, want %q", question, got, want)
		}
	}
	zonal := startTestHeadless(t, stanza+"\nzonal\n}")
	for question, want := range map[string]string{
		"_why.US-a.pin._zone.nginx.default.svc.cluster.local. TXT":           "zone us-a: it has 1 of the 3 ready endpoints of service nginx",
		"_why.us-b.pin._zone.nginx.default.svc.cluster.local. TXT":           "zone us-b: no ready endpoint of service nginx; the others are: 2 in no zone, 1 in us-a",
		"_why.b.c.prefer._zone.nginx.default.svc.cluster.local. TXT":         "zone b.c: no ready endpoint of service nginx, so all 3 count: 2 in no zone, 1 in us-a",
		"_why._web._tcp.us-a.pin._zone.nginx.default.svc.cluster.local. TXT": "zone us-a: it has 1 of the 3 ready endpoints of service nginx",
		"_why.us-a.pin._zone.starting.default.svc.cluster.local. TXT":        "zone us-a: service starting has no ready endpoint in any zone",
	} {
		if got := askWhy(t, zonal, question); !strings.HasPrefix(got, "NOERROR\nservice ") || !strings.HasSuffix(got, "\n"+want) {
			t.Errorf("%s: got %q, want it to end with %q", question, got, want)
		}
	}
	for question, want := range map[string]string{
		"_why.pin._zone.nginx.default.svc.cluster.local. TXT":        form,
		"_why.us-a.x._zone.nginx.default.svc.cluster.local. TXT":     "NXDOMAIN",
		"_why.us-a.pin._zone.missing.default.svc.cluster.local. TXT": "NOERROR\ndefault/missing: no headless service that this server watches; create it with clusterIP: None, or correct the name",
	} {
		if got := askWhy(t, zonal, question); got != want {
			t.Errorf("%s: got %q, want %q", question, got, want)
		}
	}
	if got, want := askWhy(t, h, "_why.us-a.pin._zone.nginx.default.svc.cluster.local. TXT"), "NXDOMAIN"; got != want {
		t.Errorf("a zonal name without the option: got %q, want %q", got, want)
	}
	apex := startTestHeadless(t, "headless _why.example {\nmanifests "+explainManifests(t)+"\n}")
	if got := askWhy(t, apex, "_why.example. TXT"); got != "passed on" {
		t.Errorf("a zone that is called so: got %q", got)
	}
	r := new(dns.Msg).SetQuestion("_why.web-0.nginx.default.svc.cluster.local.", dns.TypeA)
	r.SetEdns0(1232, false)
	if _, m := ask(t, h, r, &test.ResponseWriter{}); m.Rcode != dns.RcodeSuccess || len(m.Ns) != 1 || explanations(m) != "" {
		t.Errorf("another type: got %v", m)
	}
	r.SetQuestion("_why.a.web-0.nginx.default.svc.cluster.local.", dns.TypeTXT)
	if _, m := ask(t, h, r, &test.ResponseWriter{}); explanations(m) != "0: neither a pod nor a port has such a name" {
		t.Errorf("too many labels: got %v", m)
	}
	off := startTestHeadless(t, stanza+"\nexplain off\n}")
	if got := askWhy(t, off, "_why.web-1.nginx.default.svc.cluster.local. TXT"); got != "NXDOMAIN" {
		t.Errorf("with explain off: got %q", got)
	}
	if got := askWhy(t, off, "_why.web-1.other.default.svc.cluster.local. TXT"); got != "passed on" {
		t.Errorf("with explain off: got %q", got)
	}
}

// TestWhyEarly checks that a server explains that it is not ready, even if the kubernetes plugin
// answers other queries.
func TestWhyEarly(t *testing.T) {
	for _, delegate := range []bool{false, true} {
		h := newTestHeadless(t, overlayStanza)
		h.delegate = delegate
		want := "NOERROR\nthe server is not ready: it has not listed every kind of object yet; its log says why"
		if got := askWhy(t, h, "_why.nginx.default.svc.cluster.local. TXT"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestWhyLimit checks that a flood gets a cheap answer.
func TestWhyLimit(t *testing.T) {
	h := startTestHeadless(t, overlayStanza)
	h.whyLimiter.SetLimit(0) // no time passes
	const question = "_why.nginx.default.svc.cluster.local. TXT"
	for i := range whyBurst + 5 {
		const limited = "NOERROR\nthe server explains only a few names a second; ask again in a second"
		if got := askWhy(t, h, question); (got == limited) != (i >= whyBurst) {
			t.Errorf("query %d: got %q", i, got)
		}
	}
}

// TestWhyTruncated checks that a long explanation over UDP has TC set, and is whole over TCP.
func TestWhyTruncated(t *testing.T) {
	h := startTestHeadless(t, "headless cluster.local {\nmanifests "+explainManifests(t)+"\n}")
	r := new(dns.Msg).SetQuestion("_why.web-99.nginx.default.svc.cluster.local.", dns.TypeTXT)
	_, udp := ask(t, h, r, &test.ResponseWriter{})
	_, tcp := ask(t, h, r, &test.ResponseWriter{TCP: true})
	if !udp.Truncated || tcp.Truncated || len(tcp.Answer) < 5 || len(tcp.Answer) <= len(udp.Answer) {
		t.Errorf("got %d of %d reasons, truncated: %v over UDP and %v over TCP", len(udp.Answer), len(tcp.Answer), udp.Truncated, tcp.Truncated)
	}
	if b, err := udp.Pack(); err != nil || len(b) > 512 {
		t.Errorf("over UDP: %d bytes, %v", len(b), err)
	}
}
