package headless

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/records"
)

// externalStanza is not authoritative for its other zones.
const externalStanza = `headless cluster.local in-addr.arpa ip6.arpa {
	manifests testdata/external.yaml
	external example.org in.cluster.local
}`

const soaExternal = "example.org. 5 IN SOA ns.dns.example.org. hostmaster.example.org. 1 7200 1800 86400 5"

func startExternal(t testing.TB, stanza string) *Headless {
	t.Helper()
	h := startTestHeadless(t, stanza)
	h.serverAddrs = []netip.Addr{netip.MustParseAddr("10.96.0.53"), netip.MustParseAddr("fd00:96::53")}
	return h
}

var externalCases = []test.Case{
	// Services, hosts and ports.
	{Qname: "nginx.prod.example.org.", Qtype: dns.TypeA, Answer: []dns.RR{test.A("nginx.prod.example.org. 5 IN A 10.0.0.1")}},
	{Qname: "NGINX.prod.Example.org.", Qtype: dns.TypeAAAA, Answer: []dns.RR{test.AAAA("NGINX.prod.Example.org. 5 IN AAAA fd00::1")}},
	{Qname: "web-0.nginx.prod.example.org.", Qtype: dns.TypeA, Answer: []dns.RR{test.A("web-0.nginx.prod.example.org. 5 IN A 10.0.0.1")}},
	{Qname: "_web._tcp.nginx.prod.example.org.", Qtype: dns.TypeSRV,
		Answer: []dns.RR{test.SRV("_web._tcp.nginx.prod.example.org. 5 IN SRV 0 50 8080 web-0.nginx.prod.example.org.")},
		Extra: []dns.RR{
			test.A("web-0.nginx.prod.example.org. 5 IN A 10.0.0.1"),
			test.AAAA("web-0.nginx.prod.example.org. 5 IN AAAA fd00::1"),
		}},
	{Qname: "nginx.prod.example.org.", Qtype: dns.TypePTR, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "_tcp.nginx.prod.example.org.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaExternal)}},

	// Pods that are not ready, by each service's annotation.
	{Qname: "web-1.nginx.prod.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "10-0-0-2.peers.prod.example.org.", Qtype: dns.TypeA, Answer: []dns.RR{test.A("10-0-0-2.peers.prod.example.org. 5 IN A 10.0.0.2")}},

	// The apex and the name server. There is no version.
	{Qname: "example.org.", Qtype: dns.TypeSOA, Answer: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "example.org.", Qtype: dns.TypeNS, Answer: []dns.RR{test.NS("example.org. 5 IN NS ns.dns.example.org.")},
		Extra: []dns.RR{
			test.A("ns.dns.example.org. 5 IN A 10.96.0.53"),
			test.AAAA("ns.dns.example.org. 5 IN AAAA fd00:96::53"),
		}},
	{Qname: "ns.dns.example.org.", Qtype: dns.TypeA, Answer: []dns.RR{test.A("ns.dns.example.org. 5 IN A 10.96.0.53")}},
	{Qname: "db-0.ns.dns.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "dns.example.org.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "dns-version.example.org.", Qtype: dns.TypeTXT, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},

	// Namespaces.
	{Qname: "prod.example.org.", Qtype: dns.TypeA, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "hidden.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "idle.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "waiting.idle.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "none.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},

	// Services without external names, and the label of the cluster's zones.
	{Qname: "inner.prod.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "nearly.prod.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "vip.prod.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "svc.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},
	{Qname: "nginx.prod.svc.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []dns.RR{test.SOA(soaExternal)}},

	// An external zone within another zone, and names of the other zones.
	{Qname: "nginx.prod.in.cluster.local.", Qtype: dns.TypeA, Answer: []dns.RR{test.A("nginx.prod.in.cluster.local. 5 IN A 10.0.0.1")}},
	{Qname: "inner.prod.svc.cluster.local.", Qtype: dns.TypeA, Answer: []dns.RR{test.A("inner.prod.svc.cluster.local. 5 IN A 10.0.0.1")}},
	{Qname: "1.0.0.10.in-addr.arpa.", Qtype: dns.TypePTR, Answer: []dns.RR{test.PTR("1.0.0.10.in-addr.arpa. 5 IN PTR web-0.nginx.prod.svc.cluster.local.")}},
	{Qname: "cluster.local.", Qtype: dns.TypeSOA, Rcode: rcodeNext},
	{Qname: "nginx.prod.cluster.local.", Qtype: dns.TypeA, Rcode: rcodeNext},

	// Other messages.
	{Qname: "example.org.", Qtype: dns.TypeAXFR, Rcode: dns.RcodeRefused},
	{Qname: "nginx.prod.example.org.", Qtype: dns.TypeAXFR, Rcode: dns.RcodeRefused},
	{Qname: "cluster.local.", Qtype: dns.TypeAXFR, Rcode: rcodeNext},
}

// TestExternal asks for names of external zones, in a stanza without and with authoritative.
func TestExternal(t *testing.T) {
	for _, stanza := range []string{externalStanza, strings.Replace(externalStanza, "{", "{\nauthoritative", 1)} {
		h := startExternal(t, stanza)
		cases := externalCases
		if h.authoritative { // also for the zone of the cluster
			cases = slices.DeleteFunc(slices.Clone(cases), func(tc test.Case) bool { return tc.Rcode == rcodeNext })
		}
		checkCases(t, h, cases)
	}
}

// TestExternalLeaks asks an external zone for every name of every service, and for every reverse
// name. Only the annotated services may show, and each with all that it has in the cluster's zone.
func TestExternalLeaks(t *testing.T) {
	for _, zone := range []string{"example.org.", "in.cluster.local.", "."} {
		h := startExternal(t, "headless cluster.local in-addr.arpa {\nmanifests testdata/external.yaml\nexternal "+zone+"\n}")
		h.whyLimiter.SetLimit(rate.Inf)
		image := h.trie.Image()
		types := append(slices.Clone(records.Types), dns.TypeTXT, dns.TypeANY, dns.TypeMX, dns.TypeNS, dns.TypeSOA)
		var want []string
		for name := range image.Names(&h.zones[slices.IndexFunc(h.zones, func(z records.Zone) bool { return z.Name == "cluster.local." })]) {
			external := strings.TrimSuffix(strings.Replace(name, ".svc.cluster.local.", "."+zone, 1), ".") + "."
			external = strings.Replace(external, "..", ".", 1)
			annotated := strings.HasSuffix(name, "nginx.prod.svc.cluster.local.") || strings.HasSuffix(name, "peers.prod.svc.cluster.local.")
			for _, qtype := range types {
				r := new(dns.Msg).SetQuestion(external, qtype)
				r.SetEdns0(1232, false)
				_, m := ask(t, h, r, &test.ResponseWriter{TCP: true})
				if m == nil {
					t.Fatalf("%s %s: got no reply", external, dns.TypeToString[qtype])
				}
				if text := explanations(m); !annotated && text != "" && !strings.Contains(text, "no headless service") && !strings.HasSuffix(name, "ns.dns.svc.cluster.local.") {
					t.Errorf("%s: the extended error is %q", external, text)
				}
				own := external == "ns.dns."+zone || external == "ns.dns."
				if !annotated && len(m.Answer) > 0 && !own {
					t.Errorf("got %v of a service without the annotation", m.Answer)
				}
				_, inside := ask(t, h, new(dns.Msg).SetQuestion(name, qtype), &test.ResponseWriter{TCP: true})
				if annotated && len(m.Answer) != len(inside.Answer) {
					t.Errorf("%s %s: got %v, want as many as in %v", external, dns.TypeToString[qtype], m.Answer, inside.Answer)
				}
				if annotated && slices.Contains(records.Types, qtype) {
					for _, rr := range m.Answer {
						want = append(want, rr.String())
						if srv, ok := rr.(*dns.SRV); ok && (!dns.IsSubDomain(zone, srv.Target) || strings.Contains(srv.Target, ".svc.")) {
							t.Errorf("the target of %v is outside of the zone", rr)
						}
					}
				}
			}
			if !annotated && !strings.HasSuffix(name, "ns.dns.svc.cluster.local.") && !strings.HasPrefix(name, "_") {
				labels := strings.Split(name, ".")
				labels = labels[len(labels)-6:]
				reason := fmt.Sprintf("NOERROR\n%s/%s: no headless service with annotation headless-dns.github.io/external: \"true\" that this server watches", labels[1], labels[0])
				if got := askWhy(t, h, "_why."+external+" TXT"); got != reason {
					t.Errorf("%s: the explanation is %q, want %q", external, got, reason)
				}
			}
		}
		var got []string
		for _, rr := range receive(t, h, zone, 0) {
			switch header := rr.Header(); {
			case header.Rrtype == dns.TypeSOA || header.Name == zone || strings.HasPrefix(header.Name, "ns.dns.") || header.Rrtype == dns.TypeNS:
			default:
				got = append(got, rr.String())
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || len(got) == 0 {
			t.Errorf("%s: the transfer has\n%s\nqueries get\n%s", zone, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for addr := range image.Addrs() {
			reverse, _ := dns.ReverseAddr(addr.String())
			for _, name := range []string{reverse, reverse + zone} {
				if z := h.zones.Match(name); z == nil || !z.External {
					continue
				}
				_, m := ask(t, h, new(dns.Msg).SetQuestion(name, dns.TypePTR), &test.ResponseWriter{})
				if m == nil || m.Rcode != dns.RcodeNameError {
					t.Errorf("%s PTR: got %v, want NXDOMAIN", name, m)
				}
			}
		}
	}
}

func TestExternalTransfer(t *testing.T) {
	h := startExternal(t, externalStanza)
	checkTransfer(t, h, map[string]int{"example.org.": 15, "in.cluster.local.": 15})
	if _, err := h.Transfer("cluster.local.", 0); err == nil {
		t.Error("a zone is transferred that the plugin is not authoritative for")
	}
	h = startExternal(t, strings.Replace(externalStanza, "{", "{\nauthoritative", 1))
	checkTransfer(t, h, map[string]int{"example.org.": 15, "in.cluster.local.": 15, "cluster.local.": 20})
}

// TestExternalWhy explains external names.
func TestExternalWhy(t *testing.T) {
	h := startExternal(t, "headless cluster.local {\nzonal\nmanifests testdata/external.yaml\nexternal example.org\n}")
	h.whyLimiter.SetLimit(rate.Inf)
	const form = "NOERROR\nnot a name of a headless service: such names are SERVICE.NAMESPACE.ZONE, as this zone is external, and HOST and _PORT._PROTOCOL below it"
	const probe = ": not ready; it gets the name when its readiness probe succeeds, or at once with annotation headless-dns.github.io/hosts: addressed"
	for question, want := range map[string]string{
		"_why.web-1.nginx.prod.example.org. TXT":                "NOERROR\npod web-1" + probe,
		"_why.web-0.nginx.prod.example.org. A":                  "NOERROR",
		"_why.nothing.prod.example.org. TXT":                    "NOERROR\nprod/nothing: no headless service with annotation headless-dns.github.io/external: \"true\" that this server watches",
		"_why.vip.prod.example.org. TXT":                        "NOERROR\nprod/vip: no headless service with annotation headless-dns.github.io/external: \"true\" that this server watches",
		"_why._tcp.nginx.prod.example.org. TXT":                 "NOERROR\nservice nginx: only names of ports, such as _web._tcp, are below _tcp",
		"_why.prod.example.org. TXT":                            form,
		"_why.ns.dns.example.org. TXT":                          form,
		"_why.example.org. TXT":                                 form,
		"_why.a.b.nginx.prod.example.org. TXT":                  "NXDOMAIN",
		"_why.web-0.nginx.prod.default.svc.cluster.local. TXT":  "NXDOMAIN",
		"_why.1.0.0.10.in-addr.arpa.example.org. TXT":           "NXDOMAIN",
		"_why.inner.prod.svc.cluster.local. A":                  "NOERROR",
		"_why._none._tcp.b.pin._zone.nginx.prod.example.org. A": "NOERROR",
	} {
		if got := askWhy(t, h, question); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", question, got, want)
		}
	}
	root := startExternal(t, "headless cluster.local {\nmanifests testdata/external.yaml\nexternal .\n}")
	root.metadata = true
	if got := askWhy(t, root, "_why.1.0.0.10.in-addr.arpa. TXT"); got != "NXDOMAIN" {
		t.Errorf("the reverse name in an external zone is explained: %q", got)
	}
	if before, _ := metadataOf(t, root, "1.0.0.10.in-addr.arpa.", dns.TypePTR); before[metaKind] != "" {
		t.Errorf("a reverse name in an external zone is of kind %q", before[metaKind])
	}
	h.metadata = true
	for qname, want := range map[string]string{
		"web-1.nginx.prod.example.org.":               "endpoint prod/nginx web-1 nxdomain: pod web-1: not ready",
		"_x._tcp.nginx.prod.example.org.":             "port prod/nginx  nxdomain: service nginx: no tcp port named x",
		"b.pin._zone.nginx.prod.example.org.":         "service prod/nginx  nodata: service nginx in zone b: no ready endpoint",
		"eu-1a.pin._zone.nginx.prod.example.org.":     "service prod/nginx  answer: ",
		"eu-1a.pin._zone.inner.prod.example.org.":     "service prod/inner  nxdomain: no headless service inner in namespace prod",
		"prod.example.org.":                           " /  nodata: ",
		"ns.dns.example.org.":                         " /  answer: ",
		"ns.dns.svc.cluster.local.":                   "service dns/ns  answer: ",
		"a.b.nginx.prod.example.org.":                 " /  nxdomain: neither a pod nor a port has such a name",
		"1.0.0.10.in-addr.arpa.example.org.":          " /  nxdomain: no headless service in-addr in namespace arpa",
		"web-1.nginx.prod.svc.cluster.local.":         "endpoint prod/nginx web-1 nxdomain: pod web-1: not ready",
		"web-1.nginx.prod.svc.cluster.local.example.": " /  : ",
	} {
		_, m := metadataOf(t, h, qname, dns.TypeA)
		if got := fmt.Sprintf("%s %s/%s %s %s: %s", m[metaKind], m[metaNamespace], m[metaService], m[metaEndpoint], m[metaOutcome], m[metaReason]); got != want {
			t.Errorf("%s: got %q, want %q", qname, got, want)
		}
	}
}

// TestExternalFallthrough checks that missing names fall through as they do in other zones.
func TestExternalFallthrough(t *testing.T) {
	h := startExternal(t, "headless cluster.local {\nmanifests testdata/external.yaml\nexternal example.org example.net\nfallthrough example.org\n}")
	for qname, want := range map[string]int{
		"inner.prod.example.org.": rcodeNext, "web-1.nginx.prod.example.org.": rcodeNext, "x.example.org.": rcodeNext, "prod.example.org.": dns.RcodeSuccess,
		"inner.prod.example.net.": dns.RcodeNameError, "web-1.nginx.prod.example.net.": dns.RcodeNameError,
	} {
		if got, _ := ask(t, h, new(dns.Msg).SetQuestion(qname, dns.TypeA), &test.ResponseWriter{}); got != want {
			t.Errorf("%s: got rcode %d, want %d", qname, got, want)
		}
	}
}

// TestExternalAnnotated annotates a service of an API server, and takes the annotation away. The
// names come and go, and each time the serial moves and secondaries are notified: of the external
// zone alone.
func TestExternalAnnotated(t *testing.T) {
	r := newRig(t)
	_, address := r.put()
	h := newTestHeadless(t, "headless cluster.local {\nendpoint "+r.api.URL+"\nexternal example.org\n}")
	c := caddy.NewTestController("dns", "")
	config := dnsserver.GetConfig(c)
	config.ListenHosts = []string{"127.0.0.1"}
	if err := h.startAuthority(config, h.ownedZones()); err != nil || len(h.serverAddrs) != 1 {
		t.Fatalf("got error %v and the addresses %v", err, h.serverAddrs)
	}
	notified := make(chan string, 100)
	h.notifier = startNotifier(func(zone string) error {
		notified <- fmt.Sprint(zone, h.trie.Serial())
		return nil
	}, h.ownedZones(), h.trieOf)
	h.source.addNotifier(h.notifier)
	h.source.start()
	<-h.source.informer.Synced()
	answer := func() string {
		_, m := ask(t, h, new(dns.Msg).SetQuestion("nginx.default.example.org.", dns.TypeA), &test.ResponseWriter{})
		if len(m.Answer) == 0 {
			return dns.RcodeToString[m.Rcode]
		}
		return m.Answer[0].(*dns.A).A.String()
	}
	last := ""
	for _, step := range []struct{ value, want string }{{"", "NXDOMAIN"}, {"true", address}, {"yes", "NXDOMAIN"}, {"true", address}} {
		app := map[string]string{"app": "nginx"}
		r.api.Put(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx", Labels: app,
				Annotations: map[string]string{"headless-dns.github.io/external": step.value}},
			Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: app, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}},
		})
		await(t, answer, step.want)
		next := <-notified
		if next == last || !strings.HasPrefix(next, "example.org.") {
			t.Errorf("annotation %q: got NOTIFY %s after %s, want another serial of example.org.", step.value, next, last)
		}
		last = next
	}
}
