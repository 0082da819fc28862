package main

import (
	"bytes"
	"crypto/ecdsa"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// nginxFolder returns a folder with manifests of a service nginx with two pods.
func nginxFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	content := manifest + podManifest("web-0", "10.244.0.1") + podManifest("web-1", "10.244.0.2")
	if err := os.WriteFile(filepath.Join(dir, "nginx.yaml"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// block returns a Corefile with headless among other plugins. The template plugin at its
// end replies NXDOMAIN to names that headless does not own.
func block(dir string, plugins ...string) string {
	return fmt.Sprintf(".:0 {\nbind 127.0.0.1\nheadless cluster.local in-addr.arpa {\nmanifests %s\n}\n%s\ntemplate ANY ANY {\nrcode NXDOMAIN\n}\n}",
		dir, strings.Join(plugins, "\n"))
}

// placeBefore moves headless to another place in the chain, as another plugin.cfg would.
func placeBefore(t *testing.T, directive string) {
	t.Helper()
	old := slices.Clone(dnsserver.Directives)
	t.Cleanup(func() { dnsserver.Directives = old })
	directives := slices.DeleteFunc(slices.Clone(old), func(d string) bool { return d == "headless" })
	dnsserver.Directives = slices.Insert(directives, slices.Index(directives, directive), "headless")
}

// want sends a query over UDP and compares the rcode and the sorted data of the answers.
func (s *served) want(t *testing.T, question, want string) *dns.Msg {
	t.Helper()
	m, err := s.ask(question, "udp", 4096)
	if err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	slices.SortFunc(m.Answer, func(a, b dns.RR) int { return strings.Compare(a.String(), b.String()) })
	if got := describe(m); got != want {
		t.Errorf("%s: got %q, want %q", question, got, want)
	}
	return m
}

const (
	nginx = "nginx.default.svc.cluster.local."
	both  = "NOERROR 10.244.0.1 10.244.0.2"
)

// TestWithPlugins combines headless with other plugins of CoreDNS.
func TestWithPlugins(t *testing.T) {
	dir := nginxFolder(t)

	t.Run("cache", func(t *testing.T) {
		for _, next := range []string{"cache", "template"} {
			placeBefore(t, next)
			s := serve(t, block(dir, "cache 30"))
			for range 3 { // the first cases also from the cache
				s.want(t, nginx+" A", both)
				s.want(t, "Nginx.default.svc.CLUSTER.local. A", both)
				s.want(t, "web-9."+nginx+" A", "NXDOMAIN")
				s.want(t, nginx+" AAAA", "NOERROR")
				if m := s.want(t, nginx+" SRV", "NOERROR 0 50 80 web-0."+nginx+" 0 50 80 web-1."+nginx); len(m.Extra) != 3 {
					t.Errorf("additional section: got %v", m.Extra)
				}
			}
		}
	})

	t.Run("loadbalance", func(t *testing.T) {
		s := serve(t, block(dir, "loadbalance round_robin"))
		first := map[string]bool{}
		for range 100 {
			m, err := s.ask(nginx+" A", "udp", 4096)
			if err != nil || len(m.Answer) != 2 {
				t.Fatalf("%v, %v", m, err)
			}
			first[m.Answer[0].String()] = true
		}
		if len(first) != 2 {
			t.Errorf("%d different addresses came first, want 2", len(first))
		}
		s.want(t, nginx+" A", both)
	})

	t.Run("rewrite", func(t *testing.T) {
		s := serve(t, block(dir, "rewrite stop {\nname suffix .example.org. .default.svc.cluster.local. answer auto\n}"))
		m := s.want(t, "web-0.nginx.example.org. A", "NOERROR 10.244.0.1")
		if got := m.Answer[0].Header().Name; got != "web-0.nginx.example.org." {
			t.Errorf("owner: got %s", got)
		}
		s.want(t, "web-0."+nginx+" A", "NOERROR 10.244.0.1")
	})

	t.Run("autopath", func(t *testing.T) {
		resolv := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(resolv, []byte("search prod.svc.cluster.local svc.cluster.local cluster.local\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := serve(t, block(dir, "autopath "+resolv))
		// The first query of a client in namespace prod for nginx.default.
		s.want(t, "nginx.default.prod.svc.cluster.local. A", "NOERROR "+nginx+" 10.244.0.1 10.244.0.2")
	})

	t.Run("dns64", func(t *testing.T) {
		s := serve(t, block(dir, "dns64 {\nallow_ipv4\n}"))
		s.want(t, "web-0."+nginx+" AAAA", "NOERROR 64:ff9b::af4:1")
		s.want(t, "web-9."+nginx+" AAAA", "NXDOMAIN")
	})

	t.Run("acl", func(t *testing.T) {
		s := serve(t, block(dir, "acl cluster.local {\nblock type SRV net 127.0.0.0/8\n}"))
		s.want(t, nginx+" A", both)
		s.want(t, nginx+" SRV", "REFUSED")
	})

	t.Run("log and dnstap", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "tap")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		connected := make(chan struct{})
		go func() {
			if c, err := l.Accept(); err == nil {
				close(connected)
				_ = c.Close()
			}
		}()
		s := serve(t, block(dir, "log", "dnstap "+socket+" full"))
		s.want(t, nginx+" A", both)
		select {
		case <-connected:
		case <-time.After(10 * time.Second):
			t.Error("dnstap did not connect")
		}
	})

	t.Run("minimal", func(t *testing.T) {
		placeBefore(t, "template")
		s := serve(t, block(dir, "minimal"))
		m := s.want(t, nginx+" SRV", "NOERROR 0 50 80 web-0."+nginx+" 0 50 80 web-1."+nginx)
		if len(m.Extra) != 1 { // OPT
			t.Errorf("additional section: got %v", m.Extra)
		}
	})

	t.Run("rewrite and acl override", func(t *testing.T) {
		s := serve(t, block(dir, "rewrite stop {\nname exact web-1."+nginx+" web-0."+nginx+" answer auto\n}",
			"acl cluster.local {\nblock net 10.0.0.0/8\nallow net 127.0.0.0/8\n}"))
		if m := s.want(t, "web-1."+nginx+" A", "NOERROR 10.244.0.1"); m.Answer[0].Header().Name != "web-1."+nginx {
			t.Errorf("owner: got %s", m.Answer[0].Header().Name)
		}
	})

	t.Run("hosts and template do not override", func(t *testing.T) {
		corefile := fmt.Sprintf(".:0 {\nbind 127.0.0.1\nheadless cluster.local {\nmanifests %s\n}\n", dir)
		for _, behind := range []string{
			"hosts {\n192.0.2.1 web-0." + nginx + " web-9." + nginx + " other.example.\n}\n",
			"template IN A {\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\n}\n",
		} {
			s := serve(t, corefile+behind+"}")
			s.want(t, "web-0."+nginx+" A", "NOERROR 10.244.0.1")
			s.want(t, "web-9."+nginx+" A", "NXDOMAIN")
			s.want(t, "other.example. A", "NOERROR 192.0.2.1")
		}
	})

	t.Run("view", func(t *testing.T) {
		empty := t.TempDir()
		port := cluster.MustFreePort(t)
		view := func(dir, expression string) string {
			return fmt.Sprintf("cluster.local:%s {\nbind 127.0.0.1\nview v {\nexpr %s\n}\nheadless {\nmanifests %s\n}\n}\n", port, expression, dir)
		}
		s := serve(t, view(empty, "incidr(client_ip(), '10.0.0.0/8')")+view(dir, "incidr(client_ip(), '127.0.0.0/8')"))
		s.want(t, nginx+" A", both)
	})

	t.Run("two server blocks and two zones", func(t *testing.T) {
		port := cluster.MustFreePort(t)
		other := t.TempDir()
		if err := os.WriteFile(filepath.Join(other, "a.yaml"), []byte(manifest+podManifest("web-0", "10.9.9.9")), 0o600); err != nil {
			t.Fatal(err)
		}
		s := serve(t, fmt.Sprintf("cluster.local:%s example.org:%s {\nbind 127.0.0.1\nheadless {\nmanifests %s\n}\n}\nexample.net:%s {\nbind 127.0.0.1\nheadless {\nmanifests %s\n}\n}",
			port, port, dir, port, other))
		s.want(t, nginx+" A", both)
		s.want(t, "nginx.default.svc.example.org. A", both)
		s.want(t, "_web._tcp.nginx.default.svc.example.org. SRV",
			"NOERROR 0 50 80 web-0.nginx.default.svc.example.org. 0 50 80 web-1.nginx.default.svc.example.org.")
		s.want(t, "nginx.default.svc.example.net. A", "NOERROR 10.9.9.9")
	})
}

// TestChainWarnings requires a warning at the start if a plugin before headless hides its
// names, and no other warning.
func TestChainWarnings(t *testing.T) {
	dir := nginxFolder(t)
	const forward = "forward . 127.0.0.1:1"
	for _, test := range []struct {
		next   string // the directive after headless
		others []string
		want   []string
	}{
		{"cache", []string{"cache", forward}, nil},
		{"template", []string{"cache", forward}, []string{`"cache" comes before it in this build`}},
		{"template", []string{forward}, nil},
		{"forward", []string{"cache", forward}, []string{`"cache" comes before it in this build`}},
	} {
		t.Run(test.next, func(t *testing.T) {
			placeBefore(t, test.next)
			var b bytes.Buffer
			log.SetOutput(&b)
			corefile := block(dir, test.others...)
			if test.next == "forward" { // the template would be before headless
				corefile = strings.Replace(corefile, "template ANY ANY {\nrcode NXDOMAIN\n}\n", "", 1)
			}
			serve(t, corefile)
			log.SetOutput(os.Stderr) // so that nothing writes to b below
			var got []string
			for line := range strings.Lines(b.String()) {
				if strings.Contains(line, "[WARNING] plugin/headless: ") {
					got = append(got, line)
				}
			}
			if len(got) != len(test.want) {
				t.Fatalf("warnings: got %q, want %q", got, test.want)
			}
			for i, line := range got {
				if !strings.Contains(line, "Corefile:3: headless: "+test.want[i]) {
					t.Errorf("warning %d: got %q, want %q", i, line, test.want[i])
				}
			}
		})
	}
}

// TestSigned verifies the signatures of the dnssec plugin, which must be before headless.
func TestSigned(t *testing.T) {
	placeBefore(t, "template")
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: "cluster.local.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(t.TempDir(), fmt.Sprintf("Kcluster.local.+013+%05d", key.KeyTag()))
	for suffix, content := range map[string]string{".key": key.String(), ".private": key.PrivateKeyString(private.(*ecdsa.PrivateKey))} {
		if err := os.WriteFile(base+suffix, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, block(nginxFolder(t), "dnssec cluster.local {\nkey file "+base+"\n}"))
	for _, question := range []string{nginx + " A", nginx + " SRV", "web-0." + nginx + " A"} {
		name, qtype, _ := strings.Cut(question, " ")
		m := new(dns.Msg).SetQuestion(name, dns.StringToType[qtype])
		m.SetEdns0(4096, true)
		r, err := dns.Exchange(m, s.udp)
		if err != nil {
			t.Fatal(err)
		}
		var set []dns.RR
		var signature *dns.RRSIG
		for _, rr := range r.Answer {
			if sig, ok := rr.(*dns.RRSIG); ok {
				signature = sig
			} else {
				set = append(set, rr)
			}
		}
		if signature == nil {
			t.Errorf("%s: no signature in %v", question, r)
			continue
		}
		if err := signature.Verify(key, set); err != nil {
			t.Errorf("%s: %v", question, err)
		}
	}
	// The dnssec plugin also signs denials.
	m := new(dns.Msg).SetQuestion("web-9."+nginx, dns.TypeA)
	m.SetEdns0(4096, true)
	r, err := dns.Exchange(m, s.udp)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNSEC }) {
		t.Errorf("no NSEC in the denial %v", r)
	}
}
