package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// TestMetadata uses the plugin's metadata in a server block each with the log, view, rewrite and
// template plugins.
func TestMetadata(t *testing.T) {
	dir := nginxFolder(t)

	t.Run("log", func(t *testing.T) {
		text := cluster.CaptureLog(t)
		s := serve(t, block(dir, "metadata", `log . "meta {name} {type}: {/headless/outcome}, {/headless/kind}, {/headless/reason}."`))
		for _, q := range []struct{ ask, want string }{
			{"web-0." + nginx + " A", "answer, endpoint, -."},
			{"web-9." + nginx + " A", "nxdomain, endpoint, no pod with hostname web-9."},
			{nginx + " AAAA", "nodata, service, service nginx: no IPv6 address."},
			{"_why." + nginx + " TXT", "explanation, explanation, -."},
			{"example.org. A", "-, -, -."},
		} {
			if _, err := s.ask(q.ask, "udp", 512); err != nil {
				t.Fatal(err)
			}
			want := "meta " + q.ask + ": " + q.want
			cluster.Eventually(t, 10*time.Second, func() error {
				if text := text(); !strings.Contains(text, want) {
					return fmt.Errorf("log: got %q, want %q in it", text, want)
				}
				return nil
			})
		}
	})

	t.Run("view", func(t *testing.T) {
		port := cluster.MustFreePort(t)
		s := serve(t, fmt.Sprintf(`cluster.local:%[1]s {
			bind 127.0.0.1
			metadata
			view nginx {
				expr metadata('headless/service') == 'nginx' && metadata('headless/namespace') == 'default'
			}
			headless {
				manifests %[2]s
			}
		}
		cluster.local:%[1]s {
			bind 127.0.0.1
			template ANY ANY {
				rcode REFUSED
			}
		}`, port, dir))
		s.want(t, "web-0."+nginx+" A", "NOERROR 10.244.0.1")
		s.want(t, "web-0.other.default.svc.cluster.local. A", "REFUSED")
	})

	t.Run("rewrite", func(t *testing.T) {
		s := serve(t, block(dir, "metadata",
			`rewrite stop name regex ^leader\..*$ web-0.{headless/service}.{headless/namespace}.svc.{headless/zone} metadata answer auto`))
		s.want(t, "leader."+nginx+" A", "NOERROR 10.244.0.1")
		s.want(t, "leader.other.default.svc.cluster.local. A", "NXDOMAIN")
	})

	t.Run("template", func(t *testing.T) {
		placeBefore(t, "forward") // the template answers first
		s := serve(t, fmt.Sprintf(`.:0 {
			bind 127.0.0.1
			metadata
			template IN TXT cluster.local {
				answer "{{ .Name }} 60 IN TXT \"{{ .Meta \"headless/port-name\" }} {{ .Meta \"headless/protocol\" }} {{ .Meta \"headless/service\" }} {{ .Meta \"headless/zone\" }}\""
			}
			headless cluster.local {
				manifests %s
			}
		}`, dir))
		m, err := s.ask("_web._tcp."+nginx+" TXT", "udp", 512)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Answer) != 1 || strings.Join(m.Answer[0].(*dns.TXT).Txt, "") != "web tcp nginx cluster.local" {
			t.Errorf("got %v", m)
		}
	})
}
