//go:build cluster

package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// server is a running CoreDNS.
type server struct {
	name                         string
	port, health, ready, metrics string // on 127.0.0.1
	ended                        chan error
}

// newServer returns a server with its ports. It is not started yet.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	for _, port := range []*string{&s.port, &s.health, &s.ready, &s.metrics} {
		*port = cluster.MustFreePort(t)
	}
	s.name = strings.ReplaceAll(t.Name(), "/", "-") + "-" + s.port
	return s
}

// localCorefile adapts a ConfigMap's Corefile to this machine. The server uses its ports on
// 127.0.0.1, the account of the kubeconfig, and a resolv.conf whose name server does not
// answer. The Corefile must have every plugin on which the manifests rely.
func (s *server) localCorefile(t *testing.T, text, kubeconfig string) string {
	t.Helper()
	unreachable := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(unreachable, []byte("nameserver 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch key := words[0]; {
		case strings.HasSuffix(key, ":53"):
			words[0] = "zone"
			line = strings.TrimSuffix(key, "53") + s.port + " {\nbind 127.0.0.1\n"
		case key == "health":
			line = "health 127.0.0.1:" + s.health + " {\n"
		case key == "ready":
			line = "ready 127.0.0.1:" + s.ready + "\n"
		case key == "prometheus":
			line = "prometheus 127.0.0.1:" + s.metrics + "\n"
		case key == "forward":
			line = strings.Replace(line, "/etc/resolv.conf", unreachable, 1)
		case key == "kubernetes", key == "headless" && words[len(words)-1] == "{":
			line += "kubeconfig " + kubeconfig + "\n"
		case key == "snapshot":
			line = strings.Replace(line, "/var/lib/headless", t.TempDir(), 1)
		case key == "headless":
			line = strings.TrimSpace(line) + " {\nkubeconfig " + kubeconfig + "\n}\n"
		}
		seen[words[0]] = true
		out.WriteString(line)
	}
	for _, want := range []string{"zone", "bufsize", "errors", "health", "lameduck", "ready", "headless", "snapshot", "prometheus"} {
		if !seen[want] {
			t.Fatalf("the Corefile has no %s:\n%s", want, text)
		}
	}
	return out.String()
}

// start runs a server with a ConfigMap's Corefile until the test ends, as a
// ServiceAccount of kube-system.
func start(t *testing.T, corefile, account string, env ...string) *server {
	t.Helper()
	kubeconfig, err := kube.Kubeconfig(account)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	s.run(t, s.localCorefile(t, corefile, kubeconfig), env...)
	return s
}

// run starts the server with a Corefile, unchanged.
func (s *server) run(t *testing.T, corefile string, env ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Corefile")
	if err := os.WriteFile(path, []byte(corefile), 0o600); err != nil {
		t.Fatal(err)
	}
	s.ended = process(t, s.name, env, program, "-conf", path)
}

// process runs a program until the test ends, with additions to the cluster's
// environment. The keeper of the cluster ends it even if the test is killed. Its output
// goes to the log of that name. The channel receives its exit error once.
func process(t *testing.T, name string, env []string, path string, args ...string) chan error {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = slices.Concat(kube.Env, env)
	if err := kube.Launch(name, cmd); err != nil {
		t.Fatal(err)
	}
	ended, gone := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- cmd.Wait()
		close(gone)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if it has ended
		<-gone
		_ = os.Remove(kube.PIDFile(name))
	})
	return ended
}

// await waits until the probes of the manifests would succeed, and the server answers a
// query.
func (s *server) await(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		select {
		case err := <-s.ended:
			t.Fatalf("the server ended: %v\n%s", err, kube.Log(s.name))
		default:
		}
		for _, url := range []string{s.health + "/health", s.ready + "/ready"} {
			if _, err := cluster.Fetch("http://127.0.0.1:" + url); err != nil {
				return fmt.Errorf("%w\n%s", err, kube.Log(s.name))
			}
		}
		_, err := s.ask("version.bind", dns.TypeTXT)
		return err
	})
}

// wantBufsize requires that the server caps UDP replies at 1232 bytes, which no network
// fragments, for a client that accepts 4096.
func (s *server) wantBufsize(t *testing.T, name string) {
	t.Helper()
	query := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA).SetEdns0(4096, false)
	reply, err := dns.Exchange(query, "127.0.0.1:"+s.port)
	if err != nil {
		t.Fatal(err)
	}
	if opt := reply.IsEdns0(); opt == nil || opt.UDPSize() != 1232 {
		t.Errorf("reply for %s with 4096 bytes offered: want 1232 bytes in OPT:\n%v", name, reply)
	}
}

// ask sends a query over UDP.
func (s *server) ask(name string, qtype uint16) (*dns.Msg, error) {
	client := dns.Client{Timeout: 2 * time.Second}
	r, _, err := client.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype), "127.0.0.1:"+s.port)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, dns.TypeToString[qtype], err)
	}
	return r, nil
}

// hasA returns an error unless the name has exactly this IPv4 address.
func (s *server) hasA(name, want string) error {
	r, err := s.ask(name, dns.TypeA)
	if err != nil {
		return err
	}
	if len(r.Answer) == 1 {
		if a, ok := r.Answer[0].(*dns.A); ok && a.A.String() == want {
			return nil
		}
	}
	return fmt.Errorf("want %s:\n%v\n%s", want, r, kube.Log(s.name))
}
