package headless

import (
	"context"
	"maps"
	"testing"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// metadataOf returns the metadata of a query, before and after the plugin serves it.
func metadataOf(t *testing.T, h *Headless, question string, qtype uint16) (before, after map[string]string) {
	t.Helper()
	r := new(dns.Msg).SetQuestion(question, qtype)
	w := &test.ResponseWriter{}
	ctx := h.Metadata(metadata.ContextWithMetadata(context.Background()), request.Request{W: w, Req: r})
	values := func() map[string]string {
		out := make(map[string]string)
		for label, value := range metadata.ValueFuncs(ctx) {
			if v := value(); v != "" {
				out[label] = v
			}
		}
		return out
	}
	before = values()
	if _, err := h.ServeDNS(ctx, w, r); err != nil {
		t.Fatal(err)
	}
	return before, values()
}

func TestMetadata(t *testing.T) {
	h := startTestHeadless(t, "headless Cluster.Local in-addr.arpa {\nzonal\nmanifests "+explainManifests(t)+"\n}")
	h.metadata = true
	service := map[string]string{metaZone: "cluster.local", metaNamespace: "default", metaService: "nginx"}
	for _, tc := range []struct {
		qname   string
		qtype   uint16
		want    map[string]string // besides those of service
		outcome string
		reason  string
	}{
		{"nginx.default.svc.cluster.local.", dns.TypeA, map[string]string{metaKind: "service"}, "answer", ""},
		{"Web-1.NGINX.default.svc.cluster.local.", dns.TypeA, map[string]string{metaKind: "endpoint", metaEndpoint: "web-1"}, "nxdomain", "pod web-1: not ready"},
		{"_web._tcp.nginx.default.svc.cluster.local.", dns.TypeA, map[string]string{metaKind: "port", metaPortName: "web", metaProtocol: "tcp"}, "nodata", "only SRV records here"},
		{"_udp.nginx.default.svc.cluster.local.", dns.TypeA, map[string]string{metaKind: "port", metaProtocol: "udp"}, "nxdomain", "service nginx: its udp port has no name"},
		{"_why.web-0.nginx.default.svc.cluster.local.", dns.TypeTXT, map[string]string{metaKind: "explanation", metaEndpoint: "web-0"}, "explanation", ""},
		{"US-A.pin._zone.nginx.default.svc.cluster.local.", dns.TypeA, map[string]string{metaKind: "service", metaTopologyZone: "us-a"}, "answer", ""},
		{"_web._tcp.b.c.pin._zone.nginx.default.svc.cluster.local.", dns.TypeSRV,
			map[string]string{metaKind: "port", metaTopologyZone: "b.c", metaPortName: "web", metaProtocol: "tcp"}, "nodata", "service nginx in zone b.c: no ready endpoint with port web"},
		{"pin._zone.nginx.default.svc.cluster.local.", dns.TypeA, map[string]string{metaNamespace: "", metaService: ""}, "nodata", "only names of topology zones below"},
		{"1.0.0.10.in-addr.arpa.", dns.TypePTR, map[string]string{metaZone: "in-addr.arpa", metaKind: "reverse", metaNamespace: "", metaService: ""}, "answer", ""},
		{"cluster.local.", dns.TypeNS, map[string]string{metaNamespace: "", metaService: ""}, "", ""},
		{"example.org.", dns.TypeA, map[string]string{metaZone: "", metaNamespace: "", metaService: ""}, "", ""},
	} {
		want := maps.Clone(service)
		maps.Copy(want, tc.want)
		maps.DeleteFunc(want, func(_, v string) bool { return v == "" })
		before, after := metadataOf(t, h, tc.qname, tc.qtype)
		if !maps.Equal(before, want) {
			t.Errorf("%s, before: got %q, want %q", tc.qname, before, want)
		}
		for label, v := range map[string]string{metaOutcome: tc.outcome, metaReason: tc.reason} {
			if v != "" {
				want[label] = v
			}
		}
		if !maps.Equal(after, want) {
			t.Errorf("%s, after: got %q, want %q", tc.qname, after, want)
		}
	}
	h.explain = false
	if _, after := metadataOf(t, h, "web-1.nginx.default.svc.cluster.local.", dns.TypeA); after[metaReason] != "" || after[metaOutcome] != "nxdomain" {
		t.Errorf("with explain off: got %q", after)
	}
	h.metadata = false
	if _, after := metadataOf(t, h, "web-1.nginx.default.svc.cluster.local.", dns.TypeA); after[metaOutcome] != "" {
		t.Errorf("without the plugin metadata: got %q", after)
	}
}
