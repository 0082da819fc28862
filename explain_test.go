package headless

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// explainManifests has a headless service nginx with pods in every state, and others that lack
// something.
func explainManifests(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	service := func(name, ports string) {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: default}\nspec: {clusterIP: None, selector: {app: %s}, ipFamilies: [IPv4], ports: [%s]}\n", name, name, ports)
	}
	pod := func(name, app, meta, spec, address, ready string) {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: default, labels: {app: %s}%s}\nspec: {%s}\nstatus: {%s conditions: [{type: Ready, status: \"%s\"}]}\n",
			name, app, meta, spec, address, ready)
	}
	ip := func(s string) string { return fmt.Sprintf("podIP: %s, podIPs: [{ip: %q}],", s, s) }
	service("nginx", "{name: web, port: 80}, {port: 81, protocol: UDP}")
	service("starting", "{name: web, port: 80}")
	service("empty", "")
	service("bare", "")
	b.WriteString("---\napiVersion: v1\nkind: Node\nmetadata: {name: node-a, labels: {topology.kubernetes.io/zone: us-a}}\n") // with "zonal"
	pod("web-0", "nginx", "", "hostname: web-0, subdomain: nginx, nodeName: node-a", ip("10.0.0.1"), "True")
	pod("web-1", "nginx", "", "hostname: web-1, subdomain: nginx", ip("10.0.0.2"), "False")
	pod("web-2", "nginx", "", "hostname: web-2, subdomain: nginx", "", "False")
	pod("web-3", "nginx", ", deletionTimestamp: \"2026-01-01T00:00:00Z\"", "hostname: web-3, subdomain: nginx", ip("10.0.0.4"), "True")
	pod("web-4", "nginx", "", "hostname: web-4, subdomain: nginx", ip("fd00::1"), "True")
	pod("web-5", "nginx", "", "hostname: web-5, subdomain: web", ip("10.0.0.6"), "True")
	pod("web-6", "nginx", "", "hostname: web-6", ip("10.0.0.7"), "True")
	for i := range 3 {
		pod(fmt.Sprint("start-", i), "starting", "", fmt.Sprintf("hostname: start-%d, subdomain: starting", i), ip(fmt.Sprint("10.0.1.", i+1)), "False")
	}
	pod("bare-0", "bare", "", "hostname: bare-0, subdomain: bare", ip("10.0.2.1"), "True")
	file := filepath.Join(t.TempDir(), "explain.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// explanations returns the extended DNS errors of a message as CODE: TEXT.
func explanations(m *dns.Msg) string {
	var out []string
	if opt := m.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if e, ok := option.(*dns.EDNS0_EDE); ok {
				out = append(out, fmt.Sprintf("%d: %s", e.InfoCode, e.ExtraText))
			}
		}
	}
	return strings.Join(out, "; ")
}

// documentedTexts returns the texts that docs/explain.md lists, with placeholders for names.
func documentedTexts(t *testing.T) map[string]bool {
	t.Helper()
	out := make(map[string]bool)
	_, table, _ := strings.Cut(readPage(t, "docs/explain.md"), "| code | text | cause |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, row := range regexp.MustCompile(`(?m)^\| [0-9, ]+ \| (.*) \| [^|]* \|$`).FindAllStringSubmatch(table, -1) {
		for _, text := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			out[placeholders(text[1])] = false
		}
	}
	if len(out) < 15 {
		t.Fatalf("docs/explain.md lists the texts %v", out)
	}
	return out
}

// placeholders replaces the names and numbers in a text.
func placeholders(text string) string {
	for pattern, placeholder := range map[string]string{
		`(pod|service|hostname|namespace|named|zone|cluster) [^: ]+`: "$1 NAME",
		`"[a-z]*"`:         `"NAME"`,
		`\b(tcp|udp|sctp)`: "PROTOCOL",
		`\d+ of \d+`:       "NUMBERS",
		`IPv[46]`:          "FAMILY",
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, placeholder)
	}
	return text
}

// TestExplain checks the text of each kind of negative answer, and that docs/explain.md lists it.
func TestExplain(t *testing.T) {
	documented := documentedTexts(t)
	documented[placeholders("from a snapshot, as no API server can be reached")] = true // by TestExplainStale
	documented[placeholders("not every kind of object has been listed yet")] = true     // by TestExplainNotSynced
	documented[placeholders("only PTR records here")] = true                            // below
	stanza := "headless cluster.local in-addr.arpa {\nmanifests " + explainManifests(t) + "\nauthoritative\nzonal\n%s}"
	h := startTestHeadless(t, fmt.Sprintf(stanza, ""))
	off := startTestHeadless(t, fmt.Sprintf(stanza, "explain off\n"))
	for question, want := range map[string]string{
		"web-1.nginx.default.svc A":                       "0: pod web-1: not ready",
		"WEB-1.Nginx.default.svc AAAA":                    "0: pod web-1: not ready",
		"web-2.nginx.default.svc A":                       "0: pod web-2: no address yet",
		"web-3.nginx.default.svc A":                       "0: pod web-3: terminating",
		"web-4.nginx.default.svc A":                       "0: pod web-4: no address in a family of the service",
		"web-5.nginx.default.svc A":                       `0: pod web-5: subdomain is "web", not "nginx"`,
		"web-6.nginx.default.svc A":                       `0: pod web-6: subdomain is "", not "nginx"`,
		"web-9.nginx.default.svc A":                       "0: no pod with hostname web-9",
		`w\000b\"\255.nginx.default.svc A`:                "0: no pod with hostname w?000b???255",
		"start-1.starting.default.svc A":                  "0: pod start-1: not ready",
		"start-9.starting.default.svc A":                  "0: no pod with hostname start-9",
		"starting.default.svc A":                          "0: service starting: 0 of 3 endpoints ready",
		"_web._tcp.starting.default.svc SRV":              "0: service starting: 0 of 3 endpoints ready",
		"empty.default.svc A":                             "0: service empty: no endpoints",
		"_http._tcp.nginx.default.svc SRV":                "0: service nginx: no tcp port named http",
		"_dns._udp.nginx.default.svc SRV":                 "0: service nginx: its udp port has no name",
		"_udp.nginx.default.svc SRV":                      "0: service nginx: its udp port has no name",
		"_sctp.nginx.default.svc SRV":                     "0: service nginx: no sctp port with a name",
		"a.web-0.nginx.default.svc A":                     "0: neither a pod nor a port has such a name",
		"web-0.nginx.default.svc AAAA":                    "0: pod web-0: no IPv6 address",
		"nginx.default.svc AAAA":                          "0: service nginx: no IPv6 address",
		"bare.default.svc SRV":                            "0: service bare: no ports",
		"bare-0.bare.default.svc SRV":                     "0: pod bare-0: no ports",
		"web-0.nginx.default.svc MX":                      "0: only A, AAAA and SRV records here",
		"_web._tcp.nginx.default.svc A":                   "0: only SRV records here",
		"_tcp.nginx.default.svc A":                        "0: only names of ports below",
		"_zone.nginx.default.svc A":                       "0: only names of topology zones below",
		"PIN._zone.nginx.default.svc SRV":                 "0: only names of topology zones below",
		"us-b.pin._zone.nginx.default.svc A":              "0: service nginx in zone us-b: no ready endpoint",
		"us-a.pin._zone.nginx.default.svc AAAA":           "0: service nginx in zone us-a: no IPv6 address",
		"_web._tcp.us-b.pin._zone.nginx.default.svc SRV":  "0: service nginx in zone us-b: no ready endpoint with port web",
		"_http._tcp.us-a.pin._zone.nginx.default.svc SRV": "0: service nginx: no tcp port named http",
		"us-a.only._zone.nginx.default.svc A":             "0: neither a pod nor a port has such a name",
		"us-a.pin._zone.starting.default.svc A":           "0: service starting: 0 of 3 endpoints ready",
		strings.Repeat("z", 63) + "." + strings.Repeat("y", 63) + ".pin._zone.nginx.default.svc A": "0: service nginx in zone " + strings.Repeat("z", 63) + ": no ready e...",
		"web-0.other.default.svc A": "0: no headless service other in namespace default",
		"default.svc A":             "",
		"pod A":                     "",
		strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + ".default.svc A": "0: no headless service " + strings.Repeat("b", 63) + " in namespace ...",
		"web-0.nginx.default.svc A": "", // it has an answer
	} {
		if text := placeholders(strings.TrimPrefix(want, "0: ")); text != "" && !strings.Contains(text, "...") {
			if _, ok := documented[text]; !ok {
				t.Errorf("docs/explain.md does not list %q", text)
			}
			documented[text] = true
		}
		name, rrtype, _ := strings.Cut(question, " ")
		for _, size := range []uint16{0, 512, 1232} {
			r := new(dns.Msg).SetQuestion(name+".cluster.local.", dns.StringToType[rrtype])
			if size > 0 {
				r.SetEdns0(size, size == 512)
			}
			before := r.String()
			_, m := ask(t, h, r, &test.ResponseWriter{})
			got := explanations(m)
			if size > 0 && got != want || size == 0 && (got != "" || m.IsEdns0() != nil) {
				t.Errorf("%s with size %d: got %q, want %q", question, size, got, want)
			}
			if opt := m.IsEdns0(); opt != nil && (opt.UDPSize() != size || opt.Do() != (size == 512) || opt.Version() != 0) {
				t.Errorf("%s: OPT record %v", question, opt)
			}
			if r.String() != before {
				t.Errorf("%s: the query became %v, want %s", question, r, before)
			}
			checkWire(t, m, size)

			_, without := ask(t, off, r, &test.ResponseWriter{})
			if got := explanations(without); got != "" {
				t.Errorf("%s with explain off: got %q", question, got)
			}
			if opt := m.IsEdns0(); opt != nil { // all else is the same
				opt.Option = nil
			}
			without.Id = m.Id
			sameSerial(m, without)
			if m.String() != without.String() {
				t.Errorf("%s: got\n%v\nwant as with explain off\n%v", question, m, without)
			}
		}
	}
	for want, d := range map[string]records.Denial{ // of clustersets
		"service nginx in cluster c1: no ready endpoint":                            {Cause: records.NoCluster, Service: []byte("nginx"), Cluster: []byte("c1")},
		"service nginx in cluster " + strings.Repeat("c", maxZone) + ": no read...": {Cause: records.NoCluster, Service: []byte("nginx"), Cluster: bytes.Repeat([]byte("c"), 200)},
		"only names of a cluster's pods below":                                      {Cause: records.OnlyClusters, Service: []byte("nginx"), Cluster: []byte("c1")},
		"no pod with hostname web-9 in cluster eu.c1":                               {Cause: records.NoHost, Service: []byte("nginx"), Host: []byte("web-9"), Cluster: []byte("eu.c1")},
	} {
		if got := string(appendReason(nil, &d)); got != want {
			t.Errorf("the text of %+v is %q, want %q", d, got, want)
		}
		if !strings.Contains(want, "...") {
			documented[placeholders(want)] = true
		}
	}
	for text, tested := range documented {
		if !tested {
			t.Errorf("no answer has the text %q of docs/explain.md", text)
		}
	}
	r := new(dns.Msg).SetQuestion("9.9.0.10.in-addr.arpa.", dns.TypePTR)
	r.SetEdns0(1232, false)
	if _, m := ask(t, h, r, &test.ResponseWriter{}); explanations(m) != "" {
		t.Errorf("a reverse name: got %q", explanations(m))
	}
	r.SetQuestion("1.0.0.10.in-addr.arpa.", dns.TypeA)
	if _, m := ask(t, h, r, &test.ResponseWriter{}); explanations(m) != "0: only PTR records here" {
		t.Errorf("a reverse name: got %q", explanations(m))
	}
}

// sameSerial gives the SOA records of two messages one serial.
func sameSerial(a, b *dns.Msg) {
	for _, m := range []*dns.Msg{a, b} {
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				soa.Serial = 1
			}
		}
	}
}

// checkWire checks that a message fits a size, and that it survives being packed.
func checkWire(t *testing.T, m *dns.Msg, size uint16) {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if limit := max(int(size), dns.MinMsgSize); len(b) > limit {
		t.Errorf("%v: %d bytes, want at most %d", m.Question, len(b), limit)
	}
	again := new(dns.Msg)
	if err := again.Unpack(b); err != nil || again.Truncated || len(again.Ns) != len(m.Ns) || explanations(again) != explanations(m) {
		t.Errorf("%v: unpacked as %v, %v", m, again, err)
	}
}

// TestExplainRoom checks that an explanation never costs a record: with the longest name and an
// option of the client's that fills the reply, it is left out.
func TestExplainRoom(t *testing.T) {
	const code = 65001
	edns.SetSupportedOption(code)
	h := startTestHeadless(t, "headless cluster.local {\nmanifests "+explainManifests(t)+"\n}")
	for _, name := range []string{"web-1", strings.Repeat(strings.Repeat("a", 62)+".", 3) + "web-1"} {
		for n := range 480 {
			r := new(dns.Msg).SetQuestion(name+".nginx.default.svc.cluster.local.", dns.TypeA)
			r.SetEdns0(512, false)
			opt := r.IsEdns0()
			opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: code, Data: make([]byte, n)}, &dns.EDNS0_LOCAL{Code: code + 1})
			_, m := ask(t, h, r, &test.ResponseWriter{})
			options := m.IsEdns0().Option
			kept := 0
			for _, o := range options {
				if o.Option() == code {
					kept++
				}
				if o.Option() == code+1 {
					t.Fatalf("the reply has an option that no plugin registered: %v", m)
				}
			}
			if kept != 1 {
				t.Fatalf("%d bytes of options: the reply has %d of them", n, kept)
			}
			m.Compress = true
			b, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			text := map[bool]string{true: "pod web-1: not ready", false: "neither a pod nor a port has such a name"}[name == "web-1"]
			explanation := 4 + 2 + len(text) // option code and length, INFO-CODE and EXTRA-TEXT (RFC 8914, section 2)
			got, unexplained := explanations(m), len(b)
			if got != "" {
				unexplained -= explanation
			}
			if len(m.Ns) == 0 { // the client's option leaves no room for the SOA record, which comes first
				unexplained += 54
			}
			want := ""
			if unexplained+explanation <= 512 {
				want = "0: " + text
			}
			if got != want || unexplained <= 512 && len(m.Ns) != 1 {
				t.Fatalf("%d bytes of options, %d of the reply: got %q, want %q; authority section %v", n, len(b), got, want, m.Ns)
			}
		}
	}
}

// TestExplainNotSynced checks the reply before the first sync.
func TestExplainNotSynced(t *testing.T) {
	h := newTestHeadless(t, overlayStanza)
	r := new(dns.Msg).SetQuestion("web-0.nginx.default.svc.cluster.local.", dns.TypeA)
	if rcode, m := ask(t, h, r, &test.ResponseWriter{}); rcode != dns.RcodeServerFailure || m != nil {
		t.Errorf("without EDNS: got rcode %d and %v", rcode, m)
	}
	r.SetEdns0(1232, true)
	r.CheckingDisabled = true
	rcode, m := ask(t, h, r, &test.ResponseWriter{})
	if rcode != dns.RcodeSuccess || m == nil {
		t.Fatalf("got rcode %d and %v, want a reply, and success so that the server writes no other", rcode, m)
	}
	const want = "14: not every kind of object has been listed yet"
	if m.Rcode != dns.RcodeServerFailure || explanations(m) != want || !m.CheckingDisabled || m.Authoritative || !m.IsEdns0().Do() {
		t.Errorf("got %v, want %q", m, want)
	}
	h.delegate = true
	if rcode, m := ask(t, h, r, &test.ResponseWriter{}); rcode != rcodeNext || m != nil {
		t.Errorf("with kubernetes: got rcode %d and %v", rcode, m)
	}
}

// TestExplainStale checks the replies while a snapshot stands in for the API server.
func TestExplainStale(t *testing.T) {
	h := startTestHeadless(t, overlayStanza)
	h.source.stale.Store(true)
	for question, want := range map[string]string{
		"web-9.nginx.default.svc A": "19: from a snapshot, as no API server can be reached; 0: no pod with hostname web-9",
		"nginx.default.svc MX":      "3: from a snapshot, as no API server can be reached; 0: only A, AAAA and SRV records here",
	} {
		name, rrtype, _ := strings.Cut(question, " ")
		r := new(dns.Msg).SetQuestion(name+".cluster.local.", dns.StringToType[rrtype])
		r.SetEdns0(1232, false)
		if _, m := ask(t, h, r, &test.ResponseWriter{}); explanations(m) != want {
			t.Errorf("%s: got %q, want %q", question, explanations(m), want)
		}
	}
}
