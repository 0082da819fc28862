//go:build cluster

package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/headless-dns/headless/internal/cluster"
)

// writeFile writes a file that is removed when the test ends, and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// corefileServer starts a server with a Corefile in which PORT stands for a port of its own, and
// returns the port.
func corefileServer(t *testing.T, name, corefile string) string {
	t.Helper()
	port := cluster.MustFreePort(t)
	kube.MustLaunch(t, name+"-"+port, exec.Command(program, "-conf", writeFile(t, "Corefile", strings.ReplaceAll(corefile, "PORT", port))))
	return port
}

// nodeLocal starts a cache as NodeLocal DNSCache configures it, but for its lines on denials, and
// returns its port.
func nodeLocal(t *testing.T, upstream string, denial ...string) string {
	t.Helper()
	return corefileServer(t, "nodelocal", fmt.Sprintf("cluster.local:PORT {\nbind 127.0.0.1\ncache {\nsuccess 9984 30\n%s\n}\nforward . 127.0.0.1:%s {\nforce_tcp\n}\n}",
		strings.Join(denial, "\n"), upstream))
}

// resolver returns the command of a resolver that make unpacks, as its package would start a
// daemon.
func resolver(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "headless-daemons", "resolvers")
	libraries, err := filepath.Glob(root + "/usr/lib/*-linux-gnu")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(root, "usr", "sbin", program), args...)
	cmd.Env = append(slices.Clone(kube.Env), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	return cmd
}

// unbound starts an unbound that forwards everything to a port, and returns its port. The settings
// belong to the server or, if they begin with "forward-", to the forwarded zone.
func unbound(t *testing.T, upstream string, settings ...string) string {
	t.Helper()
	var server, zone string
	for _, setting := range settings {
		if strings.HasPrefix(setting, "forward-") {
			zone += "  " + setting + "\n"
		} else {
			server += "  " + setting + "\n"
		}
	}
	port := cluster.MustFreePort(t)
	kube.MustLaunch(t, "unbound-"+port, resolver(t, "unbound", "-d", "-c", writeFile(t, "unbound.conf", fmt.Sprintf(`
server:
  interface: 127.0.0.1@%s
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "%s"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  module-config: "iterator"
  local-zone: "10.in-addr.arpa." nodefault
  ede: yes
%sforward-zone:
  name: "."
  forward-addr: 127.0.0.1@%s
%sremote-control:
  control-enable: no
`, port, t.TempDir(), server, upstream, zone))))
	return port
}

// recursor starts a pdns-recursor that forwards everything to a port, and returns its port.
func recursor(t *testing.T, upstream string, settings ...string) string {
	t.Helper()
	port, folder := cluster.MustFreePort(t), t.TempDir()
	args := []string{"--config-dir=" + folder, "--socket-dir=" + folder, "--daemon=no", "--threads=1", "--security-poll-suffix=", "--dnssec=off",
		"--local-address=127.0.0.1", "--local-port=" + port, "--forward-zones-recurse=.=127.0.0.1:" + upstream}
	for _, setting := range settings {
		args = append(args, "--"+setting)
	}
	kube.MustLaunch(t, "recursor-"+port, resolver(t, "pdns_recursor", args...))
	return port
}

// dnsmasq starts a dnsmasq that forwards everything to a port, and returns its port.
func dnsmasq(t *testing.T, upstream string, settings ...string) string {
	t.Helper()
	port := cluster.MustFreePort(t)
	args := []string{"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--port=" + port,
		"--listen-address=127.0.0.1", "--bind-interfaces", "--server=127.0.0.1#" + upstream, "--user=root", "--pid-file="}
	for _, setting := range settings {
		args = append(args, "--"+setting)
	}
	kube.MustLaunch(t, "dnsmasq-"+port, exec.Command("dnsmasq", args...))
	return port
}
