package informer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/records"
)

func readFiles(t *testing.T, c Config) *probe {
	t.Helper()
	p, err := newProbe(c)
	if err != nil {
		t.Fatal(err)
	}
	p.source.(*manifests).Interval = time.Millisecond
	p.start(t)
	return p
}

// TestManifestsSelect checks the options that an API server applies for a cluster.
func TestManifestsSelect(t *testing.T) {
	dir := fixture.Files(t, map[string]string{"a.yaml": fixture.NginxManifest + "---" + fixture.Web0Manifest + `
---
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {dns: headless}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: by-hand, labels: {kubernetes.io/service-name: nginx}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.1]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: by-controller, labels: {kubernetes.io/service-name: nginx, endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.2]}]
`})
	for _, test := range []struct {
		what   string
		config Config
		want   string
	}{
		{"all", Config{}, "10.244.0.1, 192.0.2.1"},
		{"its namespace", Config{Namespaces: []string{"default"}}, "10.244.0.1, 192.0.2.1"},
		{"another namespace", Config{Namespaces: []string{"prod"}}, "outside"},
		{"a label of the namespace", Config{NamespaceLabels: "dns=headless"}, "10.244.0.1, 192.0.2.1"},
		{"another label of the namespace", Config{NamespaceLabels: "dns=none"}, "outside"},
		{"a label that the service lacks", Config{Labels: "app"}, "outside"},
		{"a label that both the service and the slice lack", Config{Labels: "!app"}, "10.244.0.1, 192.0.2.1"},
	} {
		test.config.Manifests = []string{dir}
		p := readFiles(t, test.config)
		if got := answer(p.trie, nginxName, dns.TypeA); got != test.want {
			t.Errorf("%s: the service has %q, want %q", test.what, got, test.want)
		}
	}
}

// TestManifestsImports serves the imports of a file with the option, and takes no imported slice for
// an ordinary one without it.
func TestManifestsImports(t *testing.T) {
	slice := func(name, cluster, addr string) string {
		return `
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ` + name + `, labels: {kubernetes.io/service-name: nginx, multicluster.kubernetes.io/service-name: nginx, multicluster.kubernetes.io/source-cluster: ` + cluster + `}}
addressType: IPv4
endpoints: [{addresses: [` + addr + `], hostname: web-0}]
`
	}
	const headless = `
---
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {name: nginx, labels: {env: prod}}
spec: {type: Headless, ports: [{port: 80}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {dns: headless}}
`
	content := fixture.NginxManifest + "---" + fixture.Web0Manifest + slice("a", "c1", "10.1.0.1") + headless + slice("b", "EU.c2", "10.2.0.1")
	dir := fixture.Files(t, map[string]string{"a.yaml": content})
	for _, test := range []struct {
		what   string
		config Config
		want   string
	}{
		{"without the option", Config{}, "outside"},
		{"with it", Config{MultiCluster: true}, "10.1.0.1, 10.2.0.1"},
		{"its namespace", Config{MultiCluster: true, Namespaces: []string{"default"}, Slices: true}, "10.1.0.1, 10.2.0.1"},
		{"another namespace", Config{MultiCluster: true, Namespaces: []string{"prod"}}, "outside"},
		{"a label of the namespace", Config{MultiCluster: true, NamespaceLabels: "dns=headless"}, "10.1.0.1, 10.2.0.1"},
		{"another label of the namespace", Config{MultiCluster: true, NamespaceLabels: "dns=none"}, "outside"},
		{"a label of the import", Config{MultiCluster: true, Labels: "env=prod"}, "10.1.0.1, 10.2.0.1"},
		{"another label of the import", Config{MultiCluster: true, Labels: "env=test"}, "outside"},
	} {
		test.config.Manifests = []string{dir}
		p := readFiles(t, test.config)
		if got := p.answer(importName, dns.TypeA); got != test.want {
			t.Errorf("%s: the import has %q, want %q", test.what, got, test.want)
		}
		if got := p.answer(nginxName, dns.TypeA); !test.config.MultiCluster && got != "10.244.0.1" {
			t.Errorf("%s: the service has %q", test.what, got)
		}
	}
	p := readFiles(t, Config{MultiCluster: true, Manifests: []string{dir}})
	fixture.WriteFile(t, filepath.Join(dir, "a.yaml"), strings.Replace(content, "10.2.0.1", "10.2.0.9", 1))
	p.await(t, "web-0.eu.c2."+importName, dns.TypeA, "10.2.0.9")
	fixture.WriteFile(t, filepath.Join(dir, "a.yaml"), strings.Replace(content, "type: Headless", "type: ClusterSetIP", 1))
	p.await(t, importName, dns.TypeA, "outside")
}

// TestManifestsSlices takes the endpoints from slices alone.
func TestManifestsSlices(t *testing.T) {
	dir := fixture.Files(t, map[string]string{"nginx.yaml": fixture.NginxManifest + "---" + fixture.Web0Manifest + "---" + `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: nginx-abc, labels: {kubernetes.io/service-name: nginx, endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}}
addressType: IPv4
endpoints:
- {addresses: [10.244.0.2], targetRef: {kind: Pod, name: web-x7k2p}}
`})
	for slices, want := range map[bool]string{false: "10.244.0.1", true: "10.244.0.2"} {
		p := readFiles(t, Config{Manifests: []string{dir}, Slices: slices, PodNames: true})
		p.await(t, nginxName, dns.TypeA, want)
		if slices {
			p.await(t, "web-x7k2p."+nginxName, dns.TypeA, want)
		}
	}
}

// TestManifestsChange changes files under a running informer.
func TestManifestsChange(t *testing.T) {
	dir := fixture.Files(t, map[string]string{"nginx.yaml": fixture.NginxManifest, "web-0.yaml": fixture.Web0Manifest})
	web0 := filepath.Join(dir, "web-0.yaml")
	p := readFiles(t, Config{Manifests: []string{dir}})
	p.await(t, nginxName, dns.TypeA, "10.244.0.1")

	moved := strings.ReplaceAll(fixture.Web0Manifest, "10.244.0.1", "10.244.0.7")
	fixture.WriteFile(t, web0, moved)
	p.await(t, nginxName, dns.TypeA, "10.244.0.7")

	// The last good state of a file that can't be read is served; others change.
	fixture.WriteFile(t, web0, moved+"bad: [\n")
	p.awaitRejected(t, 1, "is not YAML")
	fixture.WriteFile(t, filepath.Join(dir, "web-1.yaml"), strings.NewReplacer("web-0", "web-1", "10.244.0.1", "10.244.0.2").Replace(fixture.Web0Manifest))
	p.await(t, nginxName, dns.TypeA, "10.244.0.2, 10.244.0.7")

	// An object in two files: neither change is used, and the error is reported once.
	fixture.WriteFile(t, filepath.Join(dir, "copy.yaml"), fixture.NginxManifest)
	p.awaitRejected(t, 2, `services "default/nginx" is also in`)
	// The copy is removed, and changes are used again. The file that can't be read is not
	// reported again.
	if err := os.Remove(filepath.Join(dir, "copy.yaml")); err != nil {
		t.Fatal(err)
	}
	fixture.WriteFile(t, filepath.Join(dir, "web-2.yaml"), strings.NewReplacer("web-0", "web-2", "10.244.0.1", "10.244.0.3").Replace(fixture.Web0Manifest))
	p.await(t, nginxName, dns.TypeA, "10.244.0.2, 10.244.0.3, 10.244.0.7")
	if err := os.Remove(filepath.Join(dir, "web-2.yaml")); err != nil {
		t.Fatal(err)
	}

	// The file is repaired, and another is removed.
	fixture.WriteFile(t, web0, fixture.Web0Manifest)
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2")
	if err := os.Remove(web0); err != nil {
		t.Fatal(err)
	}
	p.await(t, nginxName, dns.TypeA, "10.244.0.2")

	// The folder is missing for a while, as a volume may be.
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	p.awaitRejected(t, 3, "no such file or directory")
	if got := answer(p.trie, nginxName, dns.TypeA); got != "10.244.0.2" {
		t.Errorf("without its folder, the service has %q", got)
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "nginx.yaml")); err != nil {
		t.Fatal(err)
	}
	p.await(t, nginxName, dns.TypeA, "outside")
}

// awaitRejected waits for the n-th error, which must contain a text. Each error is reported
// once, however often the files are checked.
func (p *probe) awaitRejected(t *testing.T, n int, want string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.rejected) < n {
		p.changed.Wait()
	}
	if len(p.rejected) > n {
		t.Fatalf("there are %d errors, want %d: %v", len(p.rejected), n, p.rejected)
	}
	if err := p.rejected[n-1]; !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want one with %q", err, want)
	}
}

// TestManifestEndpoints serves what the mirroring controller makes from Endpoints.
func TestManifestEndpoints(t *testing.T) {
	const mostMirrored = 1000
	const byHand = "apiVersion: v1\nkind: Service\nmetadata: {name: nginx}\nspec: {clusterIP: None}\n---\n"
	endpoints := func(metadata string) string {
		return `
apiVersion: v1
kind: Endpoints
metadata: {name: nginx` + metadata + `}
subsets:
- addresses:
  - {ip: 192.0.2.1, hostname: one}
  - {ip: 192.0.2.2, targetRef: {kind: Pod, name: two}}
  - {ip: 192.0.2.4, targetRef: {kind: Pod, name: four, uid: x}}
  - {ip: "2001:db8::1"}
  notReadyAddresses:
  - {ip: 192.0.2.3}
  - {ip: 192.0.2.4, targetRef: {kind: Pod, name: four, uid: x}}
  ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]
- addresses: [{ip: 192.0.2.5}]
  ports: [{name: https, port: 443}]
`
	}
	config := func(c Config, content string) Config {
		c.Manifests = []string{fixture.Files(t, map[string]string{"a.yaml": content})}
		return c
	}
	p := readFiles(t, config(Config{PodNames: true}, byHand+endpoints("")))
	for _, test := range []struct {
		name   string
		rrtype uint16
		want   string
	}{
		{nginxName, dns.TypeA, "192.0.2.1, 192.0.2.2, 192.0.2.5"},
		{nginxName, dns.TypeAAAA, "2001:db8::1"},
		{"one." + nginxName, dns.TypeA, "192.0.2.1"},
		{"two." + nginxName, dns.TypeA, "192.0.2.2"},
		{"_https._tcp." + nginxName, dns.TypeSRV, "0 100 443 192-0-2-5.nginx.default.svc.cluster.local."},
		{"_dns._udp.one." + nginxName, dns.TypeSRV, "missing"},
		{"1.2.0.192.in-addr.arpa.", dns.TypePTR, "one.nginx.default.svc.cluster.local."},
	} {
		if got := answer(p.trie, test.name, test.rrtype); got != test.want {
			t.Errorf("%s %s is %q, want %q", test.name, dns.TypeToString[test.rrtype], got, test.want)
		}
	}
	if got := answer(p.trie, "_dns._udp."+nginxName, dns.TypeSRV); strings.Count(got, " 53 ") != 3 {
		t.Errorf("the port dns has %q, want three endpoints", got)
	}
	if got := p.trie.Stats().Endpoints[records.NotReady]; got != 2 {
		t.Errorf("%d endpoints are not ready, want 2", got)
	}

	var many strings.Builder
	for i := range mostMirrored + 1 {
		fmt.Fprintf(&many, "{ip: 192.0.%d.%d},", i/250, i%250+1)
	}
	all := answer(p.trie, nginxName, dns.TypeA)
	for _, test := range []struct {
		what   string
		config Config
		want   string
	}{
		{"with slices", config(Config{Slices: true}, byHand+endpoints("")), all},
		{"with a selector", config(Config{}, fixture.NginxManifest+"---"+endpoints("")), "missing"},
		{"with the label", config(Config{}, byHand+endpoints(", labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}")), "missing"},
		{"with another value", config(Config{}, byHand+endpoints(", labels: {endpointslice.kubernetes.io/skip-mirror: 'false'}")), all},
		{"for an election", config(Config{}, byHand+endpoints(", annotations: {control-plane.alpha.kubernetes.io/leader: '{}'}")), "missing"},
		{"not selected", config(Config{Labels: "!a"}, byHand+endpoints(", labels: {a: b}")), "missing"},
		{"selected", config(Config{Labels: "!b"}, byHand+endpoints(", labels: {a: b}")), all},
		{"in another namespace", config(Config{}, byHand+endpoints(", namespace: prod")), "missing"},
	} {
		p := readFiles(t, test.config)
		if got := answer(p.trie, nginxName, dns.TypeA); got != test.want {
			t.Errorf("%s: the service has %q, want %q", test.what, got, test.want)
		}
	}

	limited := readFiles(t, config(Config{}, byHand+"apiVersion: v1\nkind: Endpoints\nmetadata: {name: nginx}\nsubsets: [{addresses: ["+many.String()+"]}]"))
	if got := limited.trie.Stats().Addresses; got != mostMirrored {
		t.Errorf("%d addresses are mirrored, want %d", got, mostMirrored)
	}
}
