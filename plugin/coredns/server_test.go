//go:build cluster

package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headless-dns/headless/internal/cluster"
)

// server is a running CoreDNS.
type server struct {
	name    string
	port    string
	ready   string // the URL of the ready plugin
	metrics string // the address of the prometheus plugin
}

// stanzas are the plugins in the Corefile, by the account that the plugin uses.
var stanzas = map[string]string{
	"headless": `
    headless cluster.local in-addr.arpa ip6.arpa {
        kubeconfig %s
        fallthrough in-addr.arpa ip6.arpa
    }
`,
	"coredns": `
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig %s
        pods verified
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }
`,
}

// newServer starts a CoreDNS with the stanzas of the accounts and waits until it answers.
func newServer(name string, accounts ...string) (*server, error) {
	var ports [3]string
	for i := range ports {
		port, err := cluster.FreePort()
		if err != nil {
			return nil, err
		}
		ports[i] = port
	}
	s := &server{
		name:    name,
		port:    ports[0],
		ready:   "http://127.0.0.1:" + ports[1] + "/ready",
		metrics: "127.0.0.1:" + ports[2],
	}

	corefile := fmt.Sprintf(".:%s {\n    bind 127.0.0.1\n    errors\n    ready 127.0.0.1:%s\n    prometheus 127.0.0.1:%s\n", ports[0], ports[1], ports[2])
	for _, account := range accounts {
		kubeconfig, err := kube.Kubeconfig(account)
		if err != nil {
			return nil, err
		}
		corefile += fmt.Sprintf(stanzas[account], kubeconfig)
	}
	path := filepath.Join(kube.Dir, name+".Corefile")
	if err := os.WriteFile(path, []byte(corefile+"}\n"), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-conf", path)
	if err := kube.Launch(name, cmd); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	// The ready plugin may report OK before the server is bound to its socket, so query it.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		_, err := cluster.Fetch(s.ready)
		if err == nil {
			_, err = s.dig("SOA", "cluster.local")
		}
		if err == nil {
			return s, nil
		}
		select {
		case <-tick.C:
		case end := <-ended:
			return nil, fmt.Errorf("%s ended: %w\n%s", name, end, s.log(4096))
		case <-deadline:
			return nil, fmt.Errorf("%s does not answer: %w\n%s", name, err, s.log(4096))
		}
	}
}

// log returns the last n bytes of the server's log.
func (s *server) log(n int) string {
	log := kube.Log(s.name)
	return log[max(0, len(log)-n):]
}

func TestReady(t *testing.T) {
	if _, err := cluster.Fetch(srv.ready); err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	all, err := cluster.Metrics(srv.metrics)
	if err != nil {
		t.Fatal(err)
	}
	for series := range all {
		if strings.HasPrefix(series, "coredns_headless_") {
			return
		}
	}
	t.Errorf("no metric of headless in %v", all)
}
