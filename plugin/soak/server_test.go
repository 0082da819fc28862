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
	metrics  string // the address of the prometheus plugin
	corefile string // the path
	text     string // the Corefile, with verbs for the TTL and the fast path
	ttl      uint32
	fast     bool    // the Corefile has the fast path
	answers  float64 // of the fast path, after the last reload
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
	s := &server{addr: freeAddr(t), profiles: freeAddr(t), metrics: freeAddr(t), corefile: filepath.Join(k.Dir, "Corefile"), ttl: 5, fast: true}
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
        %%s
    }
    cache 30
    loadbalance
    template ANY ANY {
        rcode NXDOMAIN
        authority ". 60 IN SOA ns. hostmaster. 1 60 60 60 60"
    }
}
`, port, freeAddr(t), s.metrics, s.profiles, kubeconfig, filepath.Join(k.Dir, "snapshot"))
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
	fastPath := "# ordinary"
	if s.fast {
		fastPath = "fastpath"
	}
	next := s.corefile + ".new"
	if err := os.WriteFile(next, fmt.Appendf(nil, s.text, s.ttl, fastPath), 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.corefile)
}

// reload changes the TTL in the Corefile, with or without the fast path, and waits until answers
// have it.
func (s *server) reload(t *testing.T, fast bool) {
	t.Helper()
	s.checkFastPath(t)
	s.ttl, s.fast = 5+(s.ttl+1)%50, fast
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
		// The socket opens and closes beside the queries.
		sockets, err := cluster.Metric(s.metrics, "coredns_headless_fastpath_sockets")
		if err != nil {
			return err
		}
		if fast != (sockets == 1) {
			return fmt.Errorf("after a reload the fast path has %v sockets; in the Corefile: %t", sockets, fast)
		}
		s.answers, err = cluster.Metric(s.metrics, fastAnswers)
		return err
	})
}

// fastAnswers is the metric of the answers of the fast path.
const fastAnswers = "coredns_headless_fastpath_answers_total"

// checkFastPath fails the test unless the fast path has answered since the last reload, or has not,
// as the Corefile says.
func (s *server) checkFastPath(t *testing.T) {
	t.Helper()
	switch answers, err := cluster.Metric(s.metrics, fastAnswers); {
	case err != nil:
		t.Errorf("before a reload: %v", err)
	case s.fast != (answers > s.answers):
		t.Errorf("before a reload: fast path in the Corefile: %t, answers of it so far: %v, at the last reload: %v", s.fast, answers, s.answers)
	}
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
