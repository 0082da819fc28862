package headless

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
)

// TestSourceIsShared checks which stanzas share what is watched.
func TestSourceIsShared(t *testing.T) {
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	server := func(url string) {
		content := fmt.Sprintf("{clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}", url)
		if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server("http://127.0.0.1:1")
	stanza := func(zone, directives string) string {
		return fmt.Sprintf("headless %s {\nkubeconfig %s\n%s\n}", zone, kubeconfig, directives)
	}
	first := newTestHeadless(t, stanza("cluster.local", "namespaces default"))
	for _, same := range []string{"", "ttl 30", "fallthrough", "startup_timeout 1s"} {
		if h := newTestHeadless(t, stanza("cluster.example", "namespaces default\n"+same)); h.trie != first.trie {
			t.Errorf("%q is no reason for another source", same)
		}
	}
	for _, other := range []string{
		"", "namespaces default kube-system", "namespaces default\nlabels app", "namespaces default\nauthoritative",
		"namespaces default\nendpoints slices", "namespaces default\nendpoint_pod_names",
		"namespaces default\nsnapshot " + filepath.Join(dir, "snapshot"),
	} {
		if h := newTestHeadless(t, stanza("cluster.local", other)); h.trie == first.trie {
			t.Errorf("%q shares a source", other)
		}
	}

	// Client-go reads a CA again.
	ca := filepath.Join(dir, "ca")
	authority := func(name string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	byCA := "headless cluster.local {\nendpoint https://127.0.0.1:1\ntls \"\" \"\" " + ca + "\n}"
	authority("first")
	before := newTestHeadless(t, byCA)
	authority("second")
	if h := newTestHeadless(t, byCA); h.trie != before.trie {
		t.Error("with another CA, the source is another one")
	}

	server("http://127.0.0.1:2")
	if h := newTestHeadless(t, stanza("cluster.local", "namespaces default")); h.trie == first.trie {
		t.Error("with another server in the kubeconfig, the source is the same")
	}
}
