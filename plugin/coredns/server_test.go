//go:build cluster

package main_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headless-dns/headless/internal/cluster"
)

// server is a running CoreDNS.
type server struct {
	name    string
	port    string
	ready   string // the URL of the ready plugin
	metrics string // the URL of the prometheus plugin
}

// stanzas are what a plugin has in the Corefile, by the account that it uses.
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

// newServer starts a CoreDNS with the stanzas of the accounts and waits until it
// answers.
func newServer(name, program string, accounts ...string) (*server, error) {
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
		metrics: "http://127.0.0.1:" + ports[2] + "/metrics",
	}

	corefile := fmt.Sprintf(".:%s {\n    bind 127.0.0.1\n    errors\n    ready 127.0.0.1:%s\n    prometheus 127.0.0.1:%s\n", ports[0], ports[1], ports[2])
	for _, account := range accounts {
		kubeconfig, err := kubeconfigOf(account)
		if err != nil {
			return nil, err
		}
		corefile += fmt.Sprintf(stanzas[account], kubeconfig)
	}
	path := filepath.Join(dir, name+".Corefile")
	if err := os.WriteFile(path, []byte(corefile+"}\n"), 0o600); err != nil {
		return nil, err
	}

	log, err := os.Create(filepath.Join(dir, "log", name))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, "-conf", path)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "pids", name), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	// The ready plugin may say OK before the socket is bound: so ask by DNS, too.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		_, err := fetch(s.ready)
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

// kubeconfigOf writes a kubeconfig of the ServiceAccount and returns its path.
func kubeconfigOf(account string) (string, error) {
	config, err := command(scripts+"/kubeconfig.sh", account)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, account+".kubeconfig")
	return path, os.WriteFile(path, []byte(config), 0o600)
}

// log is the end of what the server logged.
func (s *server) log(n int) string {
	log, err := os.ReadFile(filepath.Join(dir, "log", s.name))
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-n):])
}

func fetch(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("get %s: %s: %s", url, resp.Status, body))
	}
	return string(body), err
}

func TestReady(t *testing.T) {
	if _, err := fetch(srv.ready); err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	body, err := fetch(srv.metrics)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "coredns_headless_") {
			return
		}
	}
	t.Errorf("no metric of headless in:\n%s", body)
}
