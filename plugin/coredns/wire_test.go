package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// serviceSizes are the numbers of pods around which the in-tree plugin begins to truncate
// replies, by buffer size and type.
var serviceSizes = []int{1, 6, 7, 15, 16, 28, 29, 30, 54, 55, 73, 74, 75, 252, 253, 254, 817, 818, 4092, 4093}

// startSized starts a server with a service of each size.
func startSized(t *testing.T) *served {
	t.Helper()
	var b strings.Builder
	address := 0
	for _, n := range serviceSizes {
		fmt.Fprintf(&b, "{apiVersion: v1, kind: Service, metadata: {name: of-%d}, spec: {clusterIP: None, selector: {of: \"%d\"}, ports: [{name: web, port: 80}]}}\n---\n", n, n)
		for i := range n {
			address++
			fmt.Fprintf(&b, "{apiVersion: v1, kind: Pod, metadata: {name: of-%d-%d, labels: {of: \"%d\"}}, spec: {hostname: web-%d, subdomain: of-%d, containers: []}, "+
				"status: {podIP: 10.0.%d.%d, conditions: [{type: Ready, status: \"True\"}]}}\n---\n", n, i, n, i, n, address>>8, address&255)
		}
	}
	file := filepath.Join(t.TempDir(), "sized.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return serve(t, fmt.Sprintf(".:0 {\nbind 127.0.0.1\nheadless cluster.local in-addr.arpa {\nmanifests %s\nstartup_timeout 1m\n}\n}", file))
}

// TestWireSizes queries sets of every size over UDP and TCP. A reply is truncated if and
// only if the whole set does not fit, and then has as many records as fit. The retry over
// TCP has the whole set, up to the 64 KiB of TCP.
func TestWireSizes(t *testing.T) {
	server := startSized(t)
	for _, n := range serviceSizes {
		for _, question := range []string{
			fmt.Sprintf("of-%d.default.svc.cluster.local. A", n),
			fmt.Sprintf("_web._tcp.of-%d.default.svc.cluster.local. SRV", n),
		} {
			whole, err := server.ask(question, "tcp", 0)
			if err != nil {
				t.Fatalf("%s over TCP: %v", question, err)
			}
			whole.Compress = true
			if whole.Truncated {
				// There is no room for another record.
				if free := dns.MaxMsgSize - whole.Len(); len(whole.Answer) >= n || free > 64 {
					t.Errorf("%s over TCP: %d of %d records, but %d bytes free", question, len(whole.Answer), n, free)
				}
			} else if len(whole.Answer) != n {
				t.Errorf("%s over TCP: %d records, want %d", question, len(whole.Answer), n)
			}
			for _, size := range []uint16{512, 1232, 4096} {
				m, err := server.ask(question, "udp", size)
				if err != nil {
					t.Fatalf("%s over UDP with %d bytes: %v", question, size, err)
				}
				opt := 0
				if size > 512 {
					opt = 11
				}
				if m.Compress = true; m.Len() > int(size) {
					t.Errorf("%s over UDP with %d bytes: reply of %d bytes", question, size, m.Len())
				}
				if fits := whole.Len()+opt <= int(size); m.Truncated == fits {
					t.Errorf("%s over UDP with %d bytes: TC %v, and the whole reply has %d bytes", question, size, m.Truncated, whole.Len()+opt)
				}
				if m.Truncated && int(size)-m.Len() > 96 {
					t.Errorf("%s over UDP with %d bytes: truncated with %d bytes free", question, size, int(size)-m.Len())
				}
			}
		}
	}
}

// TestWireLargest offers buffers larger than a datagram or the plugin's limit.
func TestWireLargest(t *testing.T) {
	server := startSized(t)
	for _, question := range []string{"of-4093.default.svc.cluster.local. A", "_web._tcp.of-4093.default.svc.cluster.local. SRV"} {
		for _, size := range []uint16{4097, 65507, 65508, 65535} {
			m, err := server.ask(question, "udp", size)
			if err != nil {
				t.Fatalf("%s over UDP with %d bytes: %v", question, size, err)
			}
			if m.Compress = true; m.Rcode != dns.RcodeSuccess || !m.Truncated || m.Len() > 4096 || m.Len() < 4000 {
				t.Errorf("%s over UDP with %d bytes: %s, %d records in %d bytes, TC %v", question, size, dns.RcodeToString[m.Rcode], len(m.Answer), m.Len(), m.Truncated)
			}
		}
	}
}

// TestWireNames queries names in every spelling and at the limits of length.
func TestWireNames(t *testing.T) {
	server := startSized(t)
	const base = "of-6.default.svc.cluster.local."
	long := strings.Repeat("a", 63) + "."
	for _, test := range []struct{ question, want string }{
		{"WeB-0.Of-6.DeFaUlT.sVc.ClUsTeR.LoCaL. A", "NOERROR 1"},
		{"_WEB._TCP.OF-6.DEFAULT.SVC.CLUSTER.LOCAL. SRV", "NOERROR 6"},
		{"_tCp." + base + " SRV", "NOERROR 0"},
		{"2.0.0.10.IN-addr.ARPA. PTR", "NOERROR 1"},
		{"web-0." + base + " ANY", "NOERROR 1"},
		{"web-0." + base + " MX", "NOERROR 0"},
		{"web-0." + base + " HTTPS", "NOERROR 0"},
		{"web-0." + base + " SOA", "NOERROR 0"},
		{"web-0." + base + " NS", "NOERROR 0"},
		{"web-0." + base + " DS", "NOERROR 0"},
		{"web-0." + base + " CNAME", "NOERROR 0"},
		{"web-9." + base + " SOA", "NXDOMAIN 0"},
		{"web-9." + base + " ANY", "NXDOMAIN 0"},
		{"_tcp." + base + " ANY", "NOERROR 0"},
		{long + base + " A", "NXDOMAIN 0"},
		{long + long + long[:30] + "." + base + " A", "NXDOMAIN 0"},
		{strings.Repeat("a.", 111) + base + " A", "NXDOMAIN 0"}, // 254 bytes, one below the limit
		{`\000\001\255.` + base + " A", "NXDOMAIN 0"},
		{strings.Repeat(`\255`, 63) + "." + base + " A", "NXDOMAIN 0"},
		{`web\.0.` + base + " A", "NXDOMAIN 0"},
		{`web-0\.of-6.default.svc.cluster.local. A`, "REFUSED 0"}, // no headless service, and no next plugin
		{`\195\188.` + base + " A", "NXDOMAIN 0"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m, err := server.ask(test.question, network, 1232)
			if err != nil {
				t.Errorf("%s over %s: %v", test.question, network, err)
				continue
			}
			if got := fmt.Sprintf("%s %d", dns.RcodeToString[m.Rcode], len(m.Answer)); got != test.want {
				t.Errorf("%s over %s: got %s, want %s", test.question, network, got, test.want)
			}
			if m.Rcode != dns.RcodeRefused && (!m.Authoritative || (len(m.Answer) == 0) != (len(m.Ns) == 1)) {
				t.Errorf("%s over %s: AA %v, %d authority records", test.question, network, m.Authoritative, len(m.Ns))
			}
			for _, rr := range m.Answer {
				if name, _, _ := strings.Cut(test.question, " "); rr.Header().Name != name {
					t.Errorf("%s over %s: owner %s, want %s", test.question, network, rr.Header().Name, name)
				}
			}
		}
	}
}

// TestWireTypes queries types without records at each kind of name.
func TestWireTypes(t *testing.T) {
	server := startSized(t)
	const base = "of-6.default.svc.cluster.local."
	for kind, test := range map[string]struct{ name, want string }{
		"service":            {base, "NOERROR"},
		"host":               {"web-0." + base, "NOERROR"},
		"port":               {"_web._tcp." + base, "NOERROR"},
		"empty non-terminal": {"_tcp." + base, "NOERROR"},
		"reverse name":       {"2.0.0.10.in-addr.arpa.", "NOERROR"},
		"missing host":       {"web-9." + base, "NXDOMAIN"},
		"missing port":       {"_ssh._tcp." + base, "NXDOMAIN"},
		"missing service":    {"none.default.svc.cluster.local.", "REFUSED"}, // there is no next plugin
	} {
		for _, qtype := range []uint16{
			dns.TypeMX, dns.TypeTXT, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeSOA, dns.TypeNS, dns.TypeDS, dns.TypeCNAME,
			dns.TypeNAPTR, dns.TypeCAA, dns.TypeDNSKEY, dns.TypeNSEC, dns.TypeHINFO, dns.TypeTLSA, 65280,
		} {
			m, err := dns.Exchange(new(dns.Msg).SetQuestion(test.name, qtype), server.udp)
			if err != nil {
				t.Fatalf("%s, type %d: %v", kind, qtype, err)
			}
			soa := test.want != "REFUSED"
			if got := dns.RcodeToString[m.Rcode]; got != test.want || len(m.Answer) != 0 || (len(m.Ns) == 1) != soa || m.Authoritative != soa {
				t.Errorf("%s, type %d: got %v, want %s, SOA %v", kind, qtype, m, test.want, soa)
			}
		}
	}
}

// TestWireOddMessages sends messages that no resolver sends. The server must reply to
// each.
func TestWireOddMessages(t *testing.T) {
	server := startSized(t)
	const name = "of-6.default.svc.cluster.local."
	ask := func(m *dns.Msg) *dns.Msg {
		t.Helper()
		r, err := dns.Exchange(m, server.udp)
		if err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		return r
	}
	chaos := new(dns.Msg).SetQuestion(name, dns.TypeA)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	if r := ask(chaos); r.Rcode != dns.RcodeRefused {
		t.Errorf("class CH: got %s, want REFUSED", dns.RcodeToString[r.Rcode])
	}
	two := new(dns.Msg).SetQuestion(name, dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	if r := ask(two); r.Rcode != dns.RcodeFormatError {
		t.Errorf("two questions: got %s, want FORMERR", dns.RcodeToString[r.Rcode])
	}
	for opcode, want := range map[int]int{
		dns.OpcodeNotify: dns.RcodeRefused, // there is no next plugin
		dns.OpcodeUpdate: dns.RcodeNotImplemented, dns.OpcodeStatus: dns.RcodeNotImplemented, dns.OpcodeStateful: dns.RcodeNotImplemented,
	} {
		m := new(dns.Msg).SetQuestion("cluster.local.", dns.TypeSOA)
		m.Opcode = opcode
		if r := ask(m); r.Rcode != want || r.Opcode != opcode {
			t.Errorf("%s: got %v, want %s", dns.OpcodeToString[opcode], r, dns.RcodeToString[want])
		}
	}
	version := new(dns.Msg).SetQuestion(name, dns.TypeA)
	version.SetEdns0(1232, true)
	version.IsEdns0().SetVersion(1)
	if r := ask(version); r.Rcode != dns.RcodeBadVers {
		t.Errorf("EDNS version 1: got %s, want BADVERS", dns.RcodeToString[r.Rcode])
	}
	do := new(dns.Msg).SetQuestion(name, dns.TypeA)
	do.SetEdns0(1232, true)
	do.CheckingDisabled, do.AuthenticatedData = true, true
	r := ask(do)
	if len(r.Answer) != 6 || !r.CheckingDisabled || r.AuthenticatedData || !r.RecursionDesired || r.IsEdns0() == nil || !r.IsEdns0().Do() {
		t.Errorf("query with DO, CD and AD: got %v", r)
	}
}

// TestWireGarbage sends garbage and partial messages over TCP, and disconnects.
func TestWireGarbage(t *testing.T) {
	server := startSized(t)
	for _, garbage := range []string{"", "\x00", "\xff\xffabc", "\x00\x0c" + strings.Repeat("\xff", 12), "\x00\x05hello"} {
		c, err := net.Dial("tcp", server.tcp)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	m, err := server.ask("web-5.of-6.default.svc.cluster.local. A", "tcp", 0)
	if err != nil || len(m.Answer) != 1 {
		t.Errorf("query after garbage: got %v, %v, want one answer", m, err)
	}
}
