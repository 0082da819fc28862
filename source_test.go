package headless

import (
	"fmt"
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
	server("http://127.0.0.1:2")
	if h := newTestHeadless(t, stanza("cluster.local", "namespaces default")); h.trie == first.trie {
		t.Error("with another server in the kubeconfig, the source is the same")
	}
}
