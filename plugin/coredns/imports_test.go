//go:build cluster

package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/headless-dns/headless/internal/cluster"
)

// TestImports queries the names of multi-cluster services, with the CustomResourceDefinition of the
// API: it is missing at first, comes, goes and comes again.
func TestImports(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, strings.ReplaceAll(slice, "192.0.2.", "198.51.100.")) // no other test has these addresses
	own := fqdn("outside", ns)
	createAccount(t, "imports", "headless")
	createAccount(t, "imports-reference", "coredns")
	t.Cleanup(func() { kubectl(t, "delete", "crd", importDefinition, "--ignore-not-found") })

	// Without ServiceImports, nobody needs the right to them.
	ownKubeconfig(t, "imports")
	s := startReady(t, "imports")
	authority := startReady(t, "imports authoritative")
	for _, s := range []*server{s, authority} {
		eventually(t, func() error { return s.answers([]string{"198.51.100.1"}, "A", "one."+own) })
		if err := errors.Join(s.failing(0), s.loggedNone(1), s.explainsNone(importFQDN("db", ns))); err != nil {
			t.Error(err)
		}
	}
	name := func(labels ...string) string { return importFQDN(append(labels, ns)...) }
	s.wantUnserved(t, name("db"))
	authority.wantDenied(t, name("db"), name("c1.db"))

	if _, err := command(bin+"/kubectl", "--kubeconfig", kube.Dir+"/admin.kubeconfig", "create", "clusterrole", "early", "--dry-run=server", "--verb=list,watch", "--resource="+importDefinition); err == nil {
		t.Error("kubectl creates a role for ServiceImports before they are defined, unlike docs/options.md says")
	}

	defineImports(t)
	apply(t, ns, fmt.Sprintf(importManifest, "v1alpha1", "db", "Headless")+
		fmt.Sprintf(importedSlice, "db-c1", "db", "c1", "IPv4", "{addresses: [10.1.0.1], hostname: db-0}, {addresses: [10.1.0.2], hostname: db-1}")+
		fmt.Sprintf(importedSlice, "db-c1-6", "db", "c1", "IPv6", `{addresses: ["fd00:1::1"], hostname: db-0}, {addresses: ["fd00:1::2"], hostname: db-1}`)+
		fmt.Sprintf(importedSlice, "db-c2", "db", "eu.c2", "IPv4", "{addresses: [10.2.0.1], hostname: db-0}")+
		fmt.Sprintf(importedSlice, "db-c2-6", "db", "eu.c2", "IPv6", `{addresses: ["fd00:2::1"], hostname: db-0}`))
	testImportRights(t, own, []*server{s, authority})
	ref := startReady(t, "coredns multicluster")

	glue := map[string][]string{
		name("db-0.c1.db"):    {"10.1.0.1", "fd00:1::1"},
		name("db-1.c1.db"):    {"10.1.0.2", "fd00:1::2"},
		name("db-0.eu.c2.db"): {"10.2.0.1", "fd00:2::1"},
	}
	for _, s := range []*server{s, authority} {
		s.wantImport(t, name("db"), glue)
		s.wantExisting(t, name("c1.db"), name("eu.c2.db"), name("c2.db"), name("_tcp.db"))
		s.wantDenied(t, name("db-0.db"), name("db-2.c1.db"), name("db-1.eu.c2.db"), name("db-0.c2.db"), name("c3.db"), name("_web._tcp.db"))
	}
	for _, question := range [][]string{{"A", name("db")}, {"AAAA", name("db")}, {"A", name("db-0.c1.db")}} {
		var want *reply
		eventually(t, func() (err error) {
			if want, err = ref.dig(question...); err == nil && len(want.answer) == 0 {
				err = fmt.Errorf("want an answer: %s", want.text)
			}
			return err
		})
		if err := s.answers(rdatas(want.answer), question...); err != nil {
			t.Errorf("not as the kubernetes plugin: %v", err)
		}
	}
	// Reverse names are those of the cluster's own zone.
	if err := errors.Join(s.unserved("-x", "10.1.0.1"), authority.denies("NXDOMAIN", "-x", "10.1.0.1")); err != nil {
		t.Error(err)
	}
	if err := authority.answers([]string{`"1.0.0"`}, "TXT", "dns-version.clusterset.local."); err != nil {
		t.Error(err)
	}

	testImportChanges(t, ns, s, authority)

	// A definition that is deleted takes its objects with it. The slices stay.
	kubectl(t, "delete", "crd", importDefinition)
	eventually(t, func() error { return s.unserved("A", name("db")) })
	eventually(t, func() error { return authority.denies("NXDOMAIN", "A", name("db")) })
	eventually(t, func() error { return s.loggedNone(2) })
	for _, s := range []*server{s, authority} {
		eventually(t, func() error { return s.failing(0) })
		if _, err := cluster.Fetch(s.ready); err != nil {
			t.Error(err)
		}
		if err := s.answers([]string{"198.51.100.1"}, "A", "one."+own); err != nil {
			t.Error(err)
		}
	}
	defineImports(t)
	apply(t, ns, fmt.Sprintf(importManifest, "v1beta1", "db", "Headless"))
	s.wantImport(t, name("db"), glue)
	if err := s.failing(0); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(s.log(1 << 20)) {
		if strings.Contains(line, "can't watch") && !strings.Contains(line, "forbidden") {
			t.Errorf("only the missing right is a fault: %s", line)
		}
	}

	// Without an API server, another server has the imports from the snapshot of this one.
	apply(t, ns, fmt.Sprintf(importedSlice, "db-last", "db", "c5", "IPv4", "{addresses: [10.5.0.1], hostname: db-0}"))
	eventually(t, func() error {
		content, err := os.ReadFile(kube.Dir + "/imports.snapshot")
		if err == nil && !bytes.Contains(content, []byte("db-last")) {
			err = errors.New("the last slice is not in the snapshot")
		}
		return err
	})
	ownKubeconfig(t, "imports", "https://", "https://127.0.0.1:1/") // nobody listens there
	restored := startFor(t, "imports restored")
	eventually(t, func() error { return restored.answers([]string{"10.5.0.1"}, "A", name("db-0.c5.db")) })
	if err := errors.Join(
		restored.answers([]string{"fd00:2::1"}, "AAAA", name("db-0.eu.c2.db")),
		restored.answers([]string{"198.51.100.1"}, "A", "one."+own),
		restored.unserved("A", name("vip")),
	); err != nil {
		t.Error(err)
	}
}

// testImportRights checks servers that lack the right to ServiceImports once the API server has them,
// and grants it. Servers that are ready stay so. A new one is not ready.
func testImportRights(t *testing.T, own string, servers []*server) {
	late := startFor(t, "imports late")
	const refused = `User "system:serviceaccount:kube-system:imports" cannot list resource "serviceimports"`
	for _, s := range append(servers, late) {
		eventually(t, func() error {
			if !strings.Contains(s.log(1<<20), refused) {
				return fmt.Errorf("%s: %q is not in the log:\n%s", s.name, refused, s.log(4096))
			}
			return s.failing(1) // no other kind of objects
		})
	}
	for _, s := range servers {
		if _, err := cluster.Fetch(s.ready); err != nil {
			t.Error(err)
		}
		if err := s.answers([]string{"198.51.100.1"}, "A", "one."+own); err != nil {
			t.Error(err)
		}
	}
	if _, err := cluster.Fetch(late.ready); err == nil {
		t.Error("the server is ready without the right to ServiceImports")
	}
	r, err := late.dig("A", own)
	if err != nil || r.status != "SERVFAIL" {
		t.Errorf("want SERVFAIL without the right to ServiceImports: %v %v", r, err)
	}
	grant(t, "imports", "headless-imports")
	kubectl(t, "create", "clusterrolebinding", "imports-reference-imports", "--clusterrole=headless-imports", "--serviceaccount=kube-system:imports-reference")
	t.Cleanup(func() { kubectl(t, "delete", "clusterrolebinding", "imports-reference-imports") })
	if err := late.await(); err != nil {
		t.Fatal(err)
	}
	for _, s := range append(servers, late) {
		eventually(t, func() error { return s.failing(0) })
	}
}

// testImportChanges changes the import db and its slices, and brings both back.
func testImportChanges(t *testing.T, ns string, servers ...*server) {
	name := func(labels ...string) string { return importFQDN(append(labels, ns)...) }
	all := func(want func(*server)) {
		for _, s := range servers {
			want(s)
		}
	}
	before := fmt.Sprintf(importedSlice, "db-c1", "db", "c1", "IPv4", "{addresses: [10.1.0.1], hostname: db-0}, {addresses: [10.1.0.2], hostname: db-1}")
	both := []string{"10.1.0.1", "10.1.0.2", "10.2.0.1"}

	// Another type, the other version of the API, and slices before their import. Slices of one watch
	// arrive in order, so those of web are there when the change of db shows.
	apply(t, ns, fmt.Sprintf(importManifest, "v1beta1", "vip", "ClusterSetIP")+
		fmt.Sprintf(importedSlice, "vip-c1", "vip", "c1", "IPv4", "{addresses: [10.1.1.1], hostname: vip-0}")+
		fmt.Sprintf(importedSlice, "web-c1", "web", "c1", "IPv4", "{addresses: [10.1.2.1]}"))
	apply(t, ns, fmt.Sprintf(importedSlice, "db-c1", "db", "c1", "IPv4", "{addresses: [10.1.0.1], hostname: db-0, conditions: {ready: false}}, {addresses: [10.1.0.2], hostname: db-1}"))
	all(func(s *server) {
		eventually(t, func() error { return s.answers(both[1:], "A", name("db")) })
		eventually(t, func() error { return s.denies("NOERROR", "A", name("db-0.c1.db")) }) // the host has its IPv6 address
	})
	servers[0].wantUnserved(t, name("web"), name("vip"), name("vip-0.c1.vip"))
	servers[1].wantDenied(t, name("web"), name("vip"), name("vip-0.c1.vip"))
	apply(t, ns, fmt.Sprintf(importManifest, "v1beta1", "web", "Headless"))
	all(func(s *server) {
		eventually(t, func() error { return s.answers([]string{"10.1.2.1"}, "A", name("web")) })
		eventually(t, func() error { return s.answers([]string{"10.1.2.1"}, "A", name("10-1-2-1.c1.web")) })
	})
	kubectl(t, "-n", ns, "patch", "serviceimports.v1alpha1.multicluster.x-k8s.io", "vip", "--type=merge", "-p", `{"spec": {"type": "Headless"}}`)
	all(func(s *server) {
		eventually(t, func() error { return s.answers([]string{"10.1.1.1"}, "A", name("vip-0.c1.vip")) })
	})

	// The slice of a cluster becomes that of another one, and of another import.
	kubectl(t, "-n", ns, "label", "endpointslice", "db-c1", "db-c1-6", "--overwrite", "multicluster.kubernetes.io/source-cluster=C3")
	all(func(s *server) {
		eventually(t, func() error { return s.answers([]string{"10.1.0.2"}, "A", name("db-1.c3.db")) })
		eventually(t, func() error { return s.answers([]string{"fd00:1::1"}, "AAAA", name("db-0.c3.db")) })
		s.wantDenied(t, name("db-1.c1.db"), name("c1.db"))
		s.wantExisting(t, name("c3.db"))
	})
	kubectl(t, "-n", ns, "label", "endpointslice", "db-c1", "db-c1-6", "--overwrite", "multicluster.kubernetes.io/source-cluster=c1", "multicluster.kubernetes.io/service-name=web")
	all(func(s *server) {
		eventually(t, func() error { return s.answers(both[2:], "A", name("db")) })
		eventually(t, func() error { return s.answers([]string{"10.1.0.2", "10.1.2.1"}, "A", name("web")) })
	})
	apply(t, ns, before)
	kubectl(t, "-n", ns, "label", "endpointslice", "db-c1-6", "--overwrite", "multicluster.kubernetes.io/service-name=db")
	all(func(s *server) { eventually(t, func() error { return s.answers(both, "A", name("db")) }) })

	// The import goes while its slices stay, by its type and by its deletion.
	kubectl(t, "-n", ns, "patch", "serviceimport", "db", "--type=merge", "-p", `{"spec": {"type": "ClusterSetIP", "ips": ["10.96.200.1"]}}`)
	gone := func() {
		t.Helper()
		eventually(t, func() error { return servers[0].unserved("A", name("db")) })
		eventually(t, func() error { return servers[1].denies("NXDOMAIN", "A", name("db-0.c1.db")) })
	}
	gone()
	kubectl(t, "-n", ns, "patch", "serviceimport", "db", "--type=merge", "-p", `{"spec": {"type": "Headless", "ips": []}}`)
	all(func(s *server) { eventually(t, func() error { return s.answers(both, "A", name("db")) }) })
	kubectl(t, "-n", ns, "delete", "serviceimport", "db")
	gone()
	apply(t, ns, fmt.Sprintf(importManifest, "v1alpha1", "db", "Headless"))
	all(func(s *server) { eventually(t, func() error { return s.answers(both, "A", name("db")) }) })
}
