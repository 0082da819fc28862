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
	"time"

	"github.com/headless-dns/headless/internal/cluster"
)

// start runs a program until the test ends, or with the cluster at the latest.
func start(t *testing.T, name string, cmd *exec.Cmd) {
	t.Helper()
	if err := kube.Launch(name, cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kube.Kill(name); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); t.Failed() {
			t.Logf("%s: %v, log:\n%s", name, err, kube.Log(name))
		}
	})
}

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
	start(t, name, exec.Command(program, "-conf", writeFile(t, "Corefile", strings.ReplaceAll(corefile, "PORT", port))))
	return port
}

// unbound starts an unbound that forwards everything to a port, and returns its port. Make
// unpacks it, as the package would start a daemon.
func unbound(t *testing.T, upstream string) string {
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
	port := cluster.MustFreePort(t)
	cmd := exec.Command(root+"/usr/sbin/unbound", "-d", "-c", writeFile(t, "unbound.conf", fmt.Sprintf(`
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
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@%s
remote-control:
  control-enable: no
`, port, t.TempDir(), upstream)))
	cmd.Env = append(slices.Clone(kube.Env), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	start(t, "unbound", cmd)
	return port
}

func dnsmasq(t *testing.T, upstream string) string {
	t.Helper()
	port := cluster.MustFreePort(t)
	start(t, "dnsmasq", exec.Command("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--port="+port,
		"--listen-address=127.0.0.1", "--bind-interfaces", "--server=127.0.0.1#"+upstream, "--user=root", "--pid-file="))
	return port
}

// TestWhyThroughForwarders asks through what stands between clients and servers, and with several
// clients. The explanation passes everything; an extended DNS error does not.
func TestWhyThroughForwarders(t *testing.T) {
	manifests, err := filepath.Abs("../../testdata/run")
	if err != nil {
		t.Fatal(err)
	}
	direct := corefileServer(t, "direct", fmt.Sprintf(".:PORT {\nbind 127.0.0.1\nheadless cluster.local in-addr.arpa {\nmanifests %s\nauthoritative\n}\n}", manifests))
	const (
		missing = "web-9.nginx.default.svc.cluster.local."
		ede     = "no pod with hostname web-9"
	)
	reasons := []string{
		"no pod with hostname web-9 in namespace default",
		"service nginx: 3 of 3 endpoints ready, from pods of manifests",
		"service nginx: it selects 3 pods; the name of pod web-0 is web-0.nginx",
	}
	for _, tc := range []struct {
		name string
		port string
		ede  bool
	}{
		{"directly", direct, true},
		{"dnsmasq", dnsmasq(t, direct), true},
		{"unbound", unbound(t, direct), false},
		{"cache", corefileServer(t, "cache", fmt.Sprintf(".:PORT {\nbind 127.0.0.1\ncache 30\nforward . 127.0.0.1:%s\n}", direct)), false},
		// As NodeLocal DNSCache is configured by default.
		{"NodeLocal", corefileServer(t, "nodelocal", fmt.Sprintf("cluster.local:PORT {\nbind 127.0.0.1\ncache {\nsuccess 9984 30\ndenial 9984 5\n}\nforward . 127.0.0.1:%s {\nforce_tcp\n}\n}", direct)), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dig := func(args ...string) (string, error) {
				return command("dig", append([]string{"@127.0.0.1", "-p", tc.port, "+tries=1", "+time=2"}, args...)...)
			}
			cluster.Eventually(t, 10*time.Second, func() error {
				_, err := dig("web-0.nginx.default.svc.cluster.local.")
				return err
			})
			for i := range 2 { // the second answer may come from a cache
				got := whyOf(t, tc.port, missing)
				if slices.Sort(got); !slices.Equal(got, reasons) { // unbound rotates the records
					t.Errorf("the reasons are %q, want %q", got, reasons)
				}
				out, err := dig(missing)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(out, "status: NXDOMAIN") || strings.Contains(out, "EDE") && !tc.ede {
					t.Errorf("dig prints %s, want NXDOMAIN, and no extended error", out)
				}
				if tc.ede && (i == 0 || tc.port == direct) && !strings.Contains(out, "; EDE: 0 (Other): ("+ede+")") {
					t.Errorf("dig prints %s, want %q", out, ede)
				}
			}
		})
	}

	for _, tc := range []struct {
		client string
		want   []string
	}{
		{"kdig @127.0.0.1 -p PORT +edns " + missing, []string{"EDE: 0 (Other): '" + ede + "'"}},
		{"kdig @127.0.0.1 -p PORT +short TXT _why." + missing, reasons},
		{"drill -p PORT TXT _why." + missing + " @127.0.0.1", reasons},
		{"delv -i @127.0.0.1 -p PORT TXT _why." + missing, reasons},
		{"busybox nslookup -type=txt _why." + missing + " 127.0.0.1:PORT", reasons},
	} {
		args := strings.Fields(strings.ReplaceAll(tc.client, "PORT", direct))
		cluster.Eventually(t, 10*time.Second, func() error {
			out, err := command(args[0], args[1:]...)
			if err != nil {
				return err
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					return fmt.Errorf("%s prints %s, want %q", tc.client, out, want)
				}
			}
			return nil
		})
	}
}
