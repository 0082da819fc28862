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
	ended   chan error
}

// stanzas are plugins in the Corefile, with the accounts that they use.
var stanzas = map[string]struct{ account, text string }{
	"headless": {"headless", `
    headless cluster.local in-addr.arpa ip6.arpa {
        kubeconfig %s
        fallthrough in-addr.arpa ip6.arpa
    }
`},
	"zonal": {"zonal", `
    headless cluster.local {
        kubeconfig %s
        zonal
        startup_timeout 100ms
    }
`},
	"zonal slices": {"headless", `
    headless cluster.local {
        kubeconfig %s
        zonal
        endpoints slices
    }
`},
	"imports": {"imports", `
    headless cluster.local in-addr.arpa {
        kubeconfig {$CLUSTER_DIR}/own.kubeconfig%.0s
        multicluster clusterset.local
        snapshot {$CLUSTER_DIR}/imports.snapshot 1s
    }
    template ANY ANY {
        rcode REFUSED
    }
`},
	"imports restored": {"imports", `
    headless cluster.local in-addr.arpa {
        kubeconfig {$CLUSTER_DIR}/own.kubeconfig%.0s
        startup_timeout 100ms
        multicluster clusterset.local
        snapshot {$CLUSTER_DIR}/imports.snapshot
    }
    template ANY ANY {
        rcode REFUSED
    }
`},
	"imports authoritative": {"imports", `
    headless cluster.local in-addr.arpa {
        kubeconfig %s
        authoritative
        multicluster clusterset.local
    }
`},
	"imports late": {"imports", `
    headless cluster.local {
        kubeconfig %s
        multicluster clusterset.local
        startup_timeout 100ms
    }
`},
	"coredns multicluster": {"imports-reference", `
    kubernetes cluster.local clusterset.local {
        kubeconfig %s
        multicluster clusterset.local
        ttl 5
    }
`},
	"coredns": {"coredns", `
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig %s
        pods verified
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }
`},
}

// newServer starts a CoreDNS with the stanzas of these names and waits until it answers.
func newServer(name string, names ...string) (*server, error) {
	s, err := launch(name, names...)
	if err != nil {
		return nil, err
	}
	return s, s.await()
}

// launch starts a CoreDNS with the stanzas of these names.
func launch(name string, names ...string) (*server, error) {
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
	for _, n := range names {
		kubeconfig, err := kube.Kubeconfig(stanzas[n].account)
		if err != nil {
			return nil, err
		}
		corefile += fmt.Sprintf(stanzas[n].text, kubeconfig)
	}
	path := filepath.Join(kube.Dir, name+".Corefile")
	if err := os.WriteFile(path, []byte(corefile+"}\n"), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-conf", path)
	if err := kube.Launch(name, cmd); err != nil {
		return nil, err
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- cmd.Wait() }()
	return s, nil
}

// await waits until the server is ready and answers: the ready plugin may report OK before the
// server is bound to its socket.
func (s *server) await() error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		_, err := cluster.Fetch(s.ready)
		if err == nil {
			_, err = s.dig("SOA", "cluster.local")
		}
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case end := <-s.ended:
			return fmt.Errorf("%s ended: %w\n%s", s.name, end, s.log(4096))
		case <-deadline:
			return fmt.Errorf("%s does not answer: %w\n%s", s.name, err, s.log(4096))
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
