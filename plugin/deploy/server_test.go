//go:build cluster

package deploy_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
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

// newServer is a server that has yet to be started, on ports of its own.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	for _, port := range []*string{&s.port, &s.health, &s.ready, &s.metrics} {
		p, err := cluster.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		*port = p
	}
	s.name = strings.ReplaceAll(t.Name(), "/", "-") + "-" + s.port
	return s
}

// corefile is a Corefile of a ConfigMap as the server can run it here: on its
// ports of 127.0.0.1, as the account that a kubeconfig file tells, and with
// nobody to forward to. All that a pod of the manifests goes by must be there.
func (s *server) corefile(t *testing.T, text, kubeconfig string) string {
	t.Helper()
	nobody := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(nobody, []byte("nameserver 127.0.0.1\n"), 0o600); err != nil {
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
			line = strings.Replace(line, "/etc/resolv.conf", nobody, 1)
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
			t.Fatalf("no %s in the Corefile:\n%s", want, text)
		}
	}
	return out.String()
}

// start runs a server with a Corefile of a ConfigMap, as an account of
// kube-system, until the test ends.
func start(t *testing.T, corefile, account string, env ...string) *server {
	t.Helper()
	config, err := command(scripts+"/kubeconfig.sh", account)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	s.run(t, s.corefile(t, corefile, path), env...)
	return s
}

// run starts the server with a Corefile as it is.
func (s *server) run(t *testing.T, corefile string, env ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Corefile")
	if err := os.WriteFile(path, []byte(corefile), 0o600); err != nil {
		t.Fatal(err)
	}
	s.ended = process(t, s.name, env, our, "-conf", path)
}

// process runs a program until the test ends. Its number is among those of the
// cluster, so that nothing is left if the test is cut short, and what it prints
// in the log of the name. The channel tells of its end, once.
func process(t *testing.T, name string, more []string, program string, args ...string) chan error {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "log", name))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = slices.Concat(env, more), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := filepath.Join(dir, "pids", name)
	if err := os.WriteFile(pid, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	ended, gone := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- cmd.Wait()
		close(gone)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-gone
		_ = os.Remove(pid)
	})
	return ended
}

// logOf is what a process has printed.
func logOf(name string) string {
	log, err := os.ReadFile(filepath.Join(dir, "log", name))
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// await waits until the probes of the manifests would find the server ready, and
// it answers.
func (s *server) await(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		select {
		case err := <-s.ended:
			t.Fatalf("the server ended: %v\n%s", err, logOf(s.name))
		default:
		}
		for _, url := range []string{s.health + "/health", s.ready + "/ready"} {
			if _, err := fetch("http://127.0.0.1:" + url); err != nil {
				return fmt.Errorf("%w\n%s", err, logOf(s.name))
			}
		}
		_, err := s.ask("version.bind", dns.TypeTXT)
		return err
	})
}

// limits wants the server to send no more over UDP than no network fragments,
// however much the client takes.
func (s *server) limits(t *testing.T, name string) {
	t.Helper()
	query := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA).SetEdns0(4096, false)
	reply, err := dns.Exchange(query, "127.0.0.1:"+s.port)
	if err != nil {
		t.Fatal(err)
	}
	if opt := reply.IsEdns0(); opt == nil || opt.UDPSize() != 1232 {
		t.Errorf("the server takes 4,096 bytes of %s for 1,232:\n%v", name, reply)
	}
}

// ask asks over UDP.
func (s *server) ask(name string, qtype uint16) (*dns.Msg, error) {
	client := dns.Client{Timeout: 2 * time.Second}
	r, _, err := client.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype), "127.0.0.1:"+s.port)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, dns.TypeToString[qtype], err)
	}
	return r, nil
}

// hasA is nil if the name has this one IPv4 address.
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
	return fmt.Errorf("want %s:\n%v\n%s", want, r, logOf(s.name))
}

func fetch(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}
