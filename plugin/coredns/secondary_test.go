package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// exchange sends a query over TCP.
func exchange(address, name string, qtype uint16) (*dns.Msg, error) {
	c := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, qtype), address)
	return m, err
}

// replaceFile gives a file other content, at once.
func replaceFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// awaitReply waits until one server after the other replies as wanted.
func awaitReply(t *testing.T, servers []string, name string, qtype uint16, want string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(30 * time.Second)
	for _, server := range servers {
		for {
			m, err := exchange(server, name, qtype)
			got := fmt.Sprint(err)
			if err == nil {
				got = describe(m)
			}
			if got == want {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s at %s: got %q, want %q", name, server, got, want)
			}
			<-tick.C
		}
	}
}

// TestSecondary lets CoreDNS's secondary plugin transfer the zones of a server, and
// follow its changes by NOTIFY.
func TestSecondary(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nginx.yaml")
	write := func(content string) { replaceFile(t, file, content) }
	write(manifest + podManifest("web-0", "10.244.0.1"))
	const host = "127.0.0.1"
	primary, secondary := cluster.MustFreePort(t), cluster.MustFreePort(t)
	serve(t, fmt.Sprintf(`cluster.local:%s 10.in-addr.arpa:%s example.org:%[1]s {
		bind %[3]s
		headless cluster.local 10.in-addr.arpa {
			manifests %[4]s
			authoritative
			external example.org
		}
		transfer {
			to * %[5]s:%[6]s
		}
	}`, primary, primary, host, file, host, secondary))
	serve(t, fmt.Sprintf(`cluster.local:%s 10.in-addr.arpa:%s example.org:%[1]s {
		bind %[3]s
		secondary {
			transfer from %[4]s:%[5]s
		}
	}`, secondary, secondary, host, host, primary))

	follow := func(name string, qtype uint16, want string) {
		t.Helper()
		awaitReply(t, []string{net.JoinHostPort(host, primary), net.JoinHostPort(host, secondary)}, name, qtype, want)
	}
	follow("web-0.nginx.default.svc.cluster.local.", dns.TypeA, "NOERROR 10.244.0.1")
	follow("_web._tcp.nginx.default.svc.cluster.local.", dns.TypeSRV, "NOERROR 0 100 80 web-0.nginx.default.svc.cluster.local.")
	follow("1.0.244.10.in-addr.arpa.", dns.TypePTR, "NOERROR web-0.nginx.default.svc.cluster.local.")
	follow("dns-version.cluster.local.", dns.TypeTXT, `NOERROR "1.1.0"`)
	follow("cluster.local.", dns.TypeNS, "NOERROR ns.dns.cluster.local.")
	follow("default.svc.cluster.local.", dns.TypeA, "NOERROR")
	follow("web-1.nginx.default.svc.cluster.local.", dns.TypeA, "NXDOMAIN")

	// Without a NOTIFY the secondary would refresh after two hours.
	write(manifest + podManifest("web-0", "10.244.0.7") + podManifest("web-1", "10.244.0.2"))
	follow("web-1.nginx.default.svc.cluster.local.", dns.TypeA, "NOERROR 10.244.0.2")
	follow("web-0.nginx.default.svc.cluster.local.", dns.TypeA, "NOERROR 10.244.0.7")
	follow("1.0.244.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN")
	follow("2.0.244.10.in-addr.arpa.", dns.TypePTR, "NOERROR web-1.nginx.default.svc.cluster.local.")

	// Two changes in quick succession both arrive.
	write(manifest + podManifest("web-2", "10.244.0.3"))
	follow("web-2.nginx.default.svc.cluster.local.", dns.TypeA, "NOERROR 10.244.0.3")
	write(manifest + podManifest("web-2", "10.244.0.44"))
	follow("web-2.nginx.default.svc.cluster.local.", dns.TypeA, "NOERROR 10.244.0.44")
	follow("web-0.nginx.default.svc.cluster.local.", dns.TypeA, "NXDOMAIN")

	// The service gets names in the external zone, and loses them.
	annotated := strings.Replace(manifest, "name: nginx", "annotations: {headless-dns.github.io/external: \"true\"}, name: nginx", 1)
	follow("nginx.default.example.org.", dns.TypeA, "NXDOMAIN")
	write(annotated + podManifest("web-2", "10.244.0.44"))
	follow("web-2.nginx.default.example.org.", dns.TypeA, "NOERROR 10.244.0.44")
	follow("_web._tcp.nginx.default.example.org.", dns.TypeSRV, "NOERROR 0 100 80 web-2.nginx.default.example.org.")
	follow("default.example.org.", dns.TypeA, "NOERROR")
	write(manifest + podManifest("web-2", "10.244.0.44"))
	follow("web-2.nginx.default.example.org.", dns.TypeA, "NXDOMAIN")
	follow("default.example.org.", dns.TypeA, "NXDOMAIN")

	// Only a zone can be transferred.
	for _, name := range []string{"default.svc.cluster.local.", "nginx.default.svc.cluster.local."} {
		m, err := exchange(net.JoinHostPort(host, primary), name, dns.TypeAXFR)
		if err != nil || m.Rcode != dns.RcodeRefused {
			t.Errorf("transfer of %s: got %v, %v, want REFUSED", name, m, err)
		}
	}
}

// TestSecondaryExternal lets a secondary follow an external zone, whose server block has no other
// zone of the plugin.
func TestSecondaryExternal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nginx.yaml")
	annotated := strings.Replace(manifest, "name: nginx", "annotations: {headless-dns.github.io/external: \"true\"}, name: nginx", 1)
	write := func(content string) { replaceFile(t, file, content) }
	write(manifest + podManifest("web-0", "10.244.0.1"))
	const host = "127.0.0.1"
	primary, secondary := cluster.MustFreePort(t), cluster.MustFreePort(t)
	serve(t, fmt.Sprintf(`example.org:%s {
		bind %s
		headless cluster.local {
			manifests %s
			external example.org
		}
		transfer {
			to * %[2]s:%[4]s
		}
	}`, primary, host, file, secondary))
	serve(t, fmt.Sprintf(`example.org:%s {
		bind %s
		secondary {
			transfer from %[2]s:%[3]s
		}
	}`, secondary, host, primary))
	follow := func(name string, qtype uint16, want string) {
		t.Helper()
		awaitReply(t, []string{net.JoinHostPort(host, secondary)}, name, qtype, want)
	}
	follow("example.org.", dns.TypeNS, "NOERROR ns.dns.example.org.")
	follow("default.example.org.", dns.TypeA, "NXDOMAIN")
	// Without a NOTIFY the secondary would refresh after two hours.
	write(annotated + podManifest("web-0", "10.244.0.1"))
	follow("web-0.nginx.default.example.org.", dns.TypeA, "NOERROR 10.244.0.1")
	write(annotated + podManifest("web-0", "10.244.0.2"))
	follow("web-0.nginx.default.example.org.", dns.TypeA, "NOERROR 10.244.0.2")
	write(manifest + podManifest("web-0", "10.244.0.2"))
	follow("default.example.org.", dns.TypeA, "NXDOMAIN")
}
