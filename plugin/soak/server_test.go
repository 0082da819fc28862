//go:build soak

package soak_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// server is a CoreDNS process.
type server struct {
	*exec.Cmd
	addr     string
	profiles string // the address of the pprof plugin
	corefile string // the path
	text     string // the Corefile, with a verb for the TTL
	ttl      uint32
}

func startServer(t *testing.T, k *kubernetes) *server {
	t.Helper()
	program := os.Getenv("HEADLESS_COREDNS")
	if program == "" {
		t.Fatal("HEADLESS_COREDNS is not set: it names the server, and make soak sets it")
	}
	kubeconfig, err := k.Kubeconfig("headless")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: freeAddr(t), profiles: freeAddr(t), corefile: filepath.Join(k.Dir, "Corefile"), ttl: 5}
	_, port, _ := net.SplitHostPort(s.addr)
	s.text = fmt.Sprintf(`.:%s {
    bind 127.0.0.1
    bufsize 1232
    errors
    ready %s
    prometheus %s
    pprof %s
    reload 2s 1s
    headless cluster.local in-addr.arpa ip6.arpa {
        kubeconfig %s
        ttl %%d
        snapshot %s 1s
    }
    cache 30
    loadbalance
    template ANY ANY {
        rcode NXDOMAIN
        authority ". 60 IN SOA ns. hostmaster. 1 60 60 60 60"
    }
}
`, port, freeAddr(t), freeAddr(t), s.profiles, kubeconfig, filepath.Join(k.Dir, "snapshot"))
	if err := s.configure(); err != nil {
		t.Fatal(err)
	}
	s.Cmd = exec.Command(program, "-conf", s.corefile)
	k.start(t, "coredns", s.Cmd)
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		// The lines of reloads would bury the failure itself.
		text := reloadLines.ReplaceAllString(k.Log("coredns"), "")
		begin := max(0, len(text)-2048)
		if at := crashLine.FindStringIndex(text); at != nil {
			begin = at[0]
		}
		t.Logf("end of the server's log:\n%s", text[begin:])
	})
	return s
}

var (
	reloadLines = regexp.MustCompile(`(?m)^\[INFO\] (Reloading|plugin/reload: ).*\n`)
	crashLine   = regexp.MustCompile(`(?m)^(panic|fatal error): `)
)

func (s *server) configure() error {
	next := s.corefile + ".new"
	if err := os.WriteFile(next, fmt.Appendf(nil, s.text, s.ttl), 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.corefile)
}

// reload changes the TTL in the Corefile, and waits until answers have it.
func (s *server) reload(t *testing.T) {
	t.Helper()
	s.ttl = 5 + (s.ttl+1)%50
	if err := s.configure(); err != nil {
		t.Fatal(err)
	}
	cluster.Eventually(t, time.Minute, func() error {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion(steady.name(), dns.TypeA), s.addr)
		if err != nil {
			return fmt.Errorf("after a reload: %w", err)
		}
		if len(m.Answer) == 0 || m.Answer[0].Header().Ttl != s.ttl {
			return fmt.Errorf("after a reload the TTL is not %d:\n%v", s.ttl, m)
		}
		return nil
	})
}

// serves returns an error unless each of the names has an address.
func (s *server) serves(names []string) error {
	conn, err := dns.Dial("udp", s.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := dns.Client{Timeout: time.Second}
	for _, name := range names {
		m, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), conn)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(m.Answer) == 0 {
			return fmt.Errorf("%s has no address:\n%v", name, m)
		}
	}
	return nil
}
