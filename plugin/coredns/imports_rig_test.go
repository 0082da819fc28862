//go:build cluster

package main_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/mcs-api/config/crd"
)

const importDefinition = "serviceimports.multicluster.x-k8s.io"

// importManifest is a ServiceImport of a version and a type. Only another type than Headless has an
// address.
const importManifest = `
---
apiVersion: multicluster.x-k8s.io/%s
kind: ServiceImport
metadata: {name: %s}
spec: {type: %s, ports: [{name: sql, port: 5432}]}
`

// importedSlice is an EndpointSlice of a ServiceImport and a cluster.
const importedSlice = `
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: %s
  labels: {multicluster.kubernetes.io/service-name: %s, multicluster.kubernetes.io/source-cluster: %s}
addressType: %s
ports: [{name: sql, port: 5432, protocol: TCP}]
endpoints: [%s]
`

// ownKubeconfig writes a kubeconfig of an account to the file of the stanzas that share a snapshot,
// with changes. A snapshot is for one file.
func ownKubeconfig(t *testing.T, account string, oldnew ...string) {
	t.Helper()
	path, err := kube.Kubeconfig(account)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content := strings.NewReplacer(oldnew...).Replace(string(text))
	if err := os.WriteFile(kube.Dir+"/own.kubeconfig", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startFor starts a server until the test ends.
func startFor(t *testing.T, stanza string) *server {
	t.Helper()
	s, err := launch(strings.ReplaceAll(stanza, " ", "-"), stanza)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(t, s.name) })
	return s
}

// startReady starts a server until the test ends, and waits until it is ready. The start writes the
// token of its account anew, so another server of that account must not read it meanwhile.
func startReady(t *testing.T, stanza string) *server {
	t.Helper()
	s := startFor(t, stanza)
	if err := s.await(); err != nil {
		t.Fatal(err)
	}
	return s
}

// defineImports installs the CustomResourceDefinition, and waits until the API server has it.
func defineImports(t *testing.T) {
	t.Helper()
	apply(t, "default", string(crd.ServiceImportCRD))
	kubectl(t, "wait", "--for=condition=Established", "crd/"+importDefinition, "--timeout=60s")
	eventually(t, func() error {
		_, err := command(bin+"/kubectl", "--kubeconfig", kube.Dir+"/admin.kubeconfig", "get", "serviceimports", "-A")
		return err
	})
}

// importFQDN returns the absolute name of the labels, which end with the namespace.
func importFQDN(labels ...string) string {
	return strings.Join(labels, ".") + ".svc.clusterset.local."
}

// wantImport waits until the name of an import has exactly the hosts in glue, with their addresses.
func (s *server) wantImport(t *testing.T, name string, glue map[string][]string) {
	t.Helper()
	var v4, v6 []string
	for host, addrs := range glue {
		v4, v6 = append(v4, addrs[0]), append(v6, addrs[1])
		eventually(t, func() error { return s.answers(addrs[:1], "A", host) })
		eventually(t, func() error { return s.answers(addrs[1:], "AAAA", host) })
		eventually(t, func() error { return s.answersSRV(5432, map[string][]string{host: addrs}, host) })
	}
	eventually(t, func() error { return s.answers(v4, "A", name) })
	eventually(t, func() error { return s.answers(v6, "AAAA", name) })
	eventually(t, func() error { return s.answersSRV(5432, glue, name) })
	eventually(t, func() error { return s.answersSRV(5432, glue, "_sql._tcp."+name) })
}

// wantExisting checks names without records.
func (s *server) wantExisting(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		for _, qtype := range []string{"A", "AAAA", "SRV", "TXT"} {
			if err := s.denies("NOERROR", qtype, name); err != nil {
				t.Error(err)
			}
		}
	}
}

// wantDenied checks names that do not exist.
func (s *server) wantDenied(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		for _, qtype := range []string{"A", "SRV"} {
			if err := s.denies("NXDOMAIN", qtype, name); err != nil {
				t.Error(err)
			}
		}
	}
}

// unserved returns an error unless the plugin leaves the question to the next one, which refuses it.
func (s *server) unserved(question ...string) error {
	r, err := s.dig(question...)
	if err == nil && r.status != "REFUSED" {
		err = fmt.Errorf("want REFUSED: %s", r.text)
	}
	return err
}

// wantUnserved checks that the plugin leaves names to the next one.
func (s *server) wantUnserved(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := s.unserved("A", name); err != nil {
			t.Error(err)
		}
	}
}

// explainsNone returns an error unless the explanation of a name is that there are no ServiceImports.
func (s *server) explainsNone(name string) error {
	r, err := s.dig("TXT", "_why."+name)
	if err == nil && !strings.Contains(r.text, "install their CustomResourceDefinition") {
		err = fmt.Errorf("want that there are no ServiceImports: %s", r.text)
	}
	return err
}

// loggedNone returns an error unless the log says so many times that there are no ServiceImports.
func (s *server) loggedNone(want int) error {
	if n := strings.Count(s.log(1<<20), "API server has no ServiceImports"); n != want {
		return fmt.Errorf("%s: the log says %d times, want %d, that there are no ServiceImports:\n%s", s.name, n, want, s.log(4096))
	}
	return nil
}
