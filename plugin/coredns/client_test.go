package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// clientFolder writes nginx and a pod, of no service, that has the address of this test's clients.
func clientFolder(t *testing.T) string {
	t.Helper()
	dir := nginxFolder(t)
	const content = `
apiVersion: v1
kind: Pod
metadata: {name: shop-7d4, namespace: default, labels: {app.kubernetes.io/name: shop, stage: blue}}
spec: {containers: [{name: shop}]}
status: {phase: Running, podIP: 127.0.0.1}
`
	if err := os.WriteFile(filepath.Join(dir, "client.yaml"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestClientMetadata uses the metadata about the client in the log, view and rewrite plugins.
func TestClientMetadata(t *testing.T) {
	dir := clientFolder(t)

	t.Run("log", func(t *testing.T) {
		text := cluster.CaptureLog(t)
		s := serve(t, block(dir, "metadata",
			`log . "meta {name}: {/headless/client-namespace}/{/headless/client-pod} {/headless/client-label/app.kubernetes.io/name} {/headless/client-label/none}."`))
		for _, name := range []string{nginx, "example.org."} {
			if _, err := s.ask(name+" A", "udp", 512); err != nil {
				t.Fatal(err)
			}
			want := "meta " + name + ": default/shop-7d4 shop -."
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
		view := func(expr, rcode string) string {
			return fmt.Sprintf(`cluster.local:%s {
				bind 127.0.0.1
				metadata
				view v {
					expr %s
				}
				headless {
					manifests %s
				}
				template ANY ANY {
					rcode %s
				}
			}
			`, port, expr, dir, rcode)
		}
		s := serve(t, view("metadata('headless/client-namespace') == 'other'", "NXDOMAIN")+
			view("metadata('headless/client-label/stage') == 'blue'", "NOTIMP"))
		s.want(t, "web-0."+nginx+" A", "NOERROR 10.244.0.1")
		s.want(t, "cluster.local. A", "NOTIMP")
	})

	t.Run("rewrite", func(t *testing.T) {
		s := serve(t, block(dir, "metadata",
			`rewrite stop name regex ^([^.]+)\.own\.cluster\.local\.$ {1}.{headless/client-namespace}.svc.cluster.local metadata answer auto`,
			`rewrite stop name regex ^(nginx\.default\.svc\.cluster\.local)\.$ {headless/client-node}.{1} metadata answer auto`))
		s.want(t, "nginx.own.cluster.local. A", both)
		s.want(t, nginx+" A", both) // no label, no rewrite
	})
}

// TestSameZone answers a client from its own topology zone: a rewrite puts the zone into the name.
func TestSameZone(t *testing.T) {
	node := func(name, zone string) string {
		return fmt.Sprintf("---\napiVersion: v1\nkind: Node\nmetadata: {name: %s, labels: {topology.kubernetes.io/zone: %s}}\n", name, zone)
	}
	pod := func(name, spec, address string) string {
		return fmt.Sprintf("---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s, labels: {app: %s}}\nspec: {%s}\nstatus: {podIP: %s, conditions: [{type: Ready, status: \"True\"}]}\n",
			name, name[:len(name)-2], spec, address)
	}
	const service = "\n---\napiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {clusterIP: None, selector: {app: db}}\n"
	content := manifest + service + node("node-1", "EU-1a") + node("node-2", "eu-1b") +
		pod("nginx-0", "nodeName: node-1", "10.244.0.1") + pod("nginx-1", "nodeName: node-2", "10.244.0.2") +
		pod("db-0", "nodeName: node-2", "10.244.0.3")
	for what, tc := range map[string]struct{ client, nginx string }{
		"a pod":          {pod("shop-0", "nodeName: node-1", "127.0.0.1"), "NOERROR 10.244.0.1"},
		"a node":         {pod("proxy-0", "hostNetwork: true, nodeName: node-2", "127.0.0.1"), "NOERROR 10.244.0.2"},
		"in no zone":     {pod("shop-0", "nodeName: node-3", "127.0.0.1"), both},
		"unknown client": {"", both},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(content+tc.client), 0o600); err != nil {
				t.Fatal(err)
			}
			s := serve(t, fmt.Sprintf(`.:0 {
				bind 127.0.0.1
				metadata
				rewrite stop name regex ^((nginx|db)\.default\.svc\.cluster\.local)\.$ {headless/client-zone}.prefer._zone.{1} metadata answer auto
				headless cluster.local {
					zonal
					manifests %s
				}
			}`, dir))
			m := s.want(t, nginx+" A", tc.nginx)
			for _, rr := range m.Answer {
				if rr.Header().Name != nginx {
					t.Errorf("got the record %v", rr)
				}
			}
			s.want(t, "db.default.svc.cluster.local. A", "NOERROR 10.244.0.3") // in eu-1b alone
		})
	}
}

// TestAutopath completes names on the server, with headless before the plugins that have the rest.
func TestAutopath(t *testing.T) {
	others := `template IN A {
		match ^(example\.org|in\.cluster\.local)\.$
		answer "{{ .Name }} 60 IN A 192.0.2.1"
		fallthrough
	}`
	s := serve(t, block(clientFolder(t), "autopath @headless", "cache", others))
	const search = ".default.svc.cluster.local."
	for _, tc := range []struct{ name, want string }{
		{"nginx" + search, both},
		{"nginx.default" + search, both + " " + nginx},
		{"NGINX.default" + search, both + " NGINX" + search},
		{"web-0.nginx.default.svc.cluster.local" + search, "NOERROR 10.244.0.1 web-0." + nginx},
		{"in" + search, "NOERROR 192.0.2.1 in.cluster.local."},
		{"example.org" + search, "NOERROR 192.0.2.1 example.org."},
		{"web-9.nginx.default" + search, "NXDOMAIN"},
		{"none" + search, "NXDOMAIN"},
		{"web-9." + nginx, "NXDOMAIN"},
		{"example.org.", "NOERROR 192.0.2.1"},
		{"nginx.default.other.svc.cluster.local.", "NXDOMAIN"}, // the search path of another namespace
	} {
		for _, network := range []string{"udp", "tcp"} {
			m, err := s.ask(tc.name+" A", network, 4096)
			if err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
			got, want := strings.Fields(describe(m)), strings.Fields(tc.want)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s over %s: got %q, want %q", tc.name, network, got, want)
			}
			if len(m.Answer) > 0 && m.Answer[0].Header().Name != tc.name {
				t.Errorf("%s over %s: the first record is %v", tc.name, network, m.Answer[0])
			}
		}
	}
	m, err := s.ask("_web._tcp.nginx.default"+search+" SRV", "udp", 4096)
	if err != nil {
		t.Fatal(err)
	}
	const port = "_web._tcp." + nginx
	if got := m.Answer[0].(*dns.CNAME).Target; got != port || len(m.Answer) != 3 || len(m.Extra) != 3 || m.Extra[0].Header().Rrtype != dns.TypeA {
		t.Errorf("got %v", m)
	}
}

// TestAutopathBehindRewrite shows that rewrite does not see the names that autopath completes.
func TestAutopathBehindRewrite(t *testing.T) {
	s := serve(t, block(clientFolder(t), "metadata", "autopath @headless",
		`rewrite stop name regex ^(nginx\.default\.svc\.cluster\.local)\.$ {headless/client-pod}.{1} metadata answer auto`))
	s.want(t, nginx+" A", "NXDOMAIN")                               // of shop-7d4.nginx
	s.want(t, nginx+"default.svc.cluster.local. A", both+" "+nginx) // a CNAME record
}
