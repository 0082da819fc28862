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
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/coredns/caddy"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/internal/apiserver"
)

// TestSourceIsShared checks which stanzas share a source.
func TestSourceIsShared(t *testing.T) {
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	writeKubeconfig := func(url string) {
		content := fmt.Sprintf("{clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}", url)
		if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeKubeconfig("http://127.0.0.1:1")
	stanza := func(zone, directives string) string {
		return fmt.Sprintf("headless %s {\nkubeconfig %s\n%s\n}", zone, kubeconfig, directives)
	}
	first := newTestHeadless(t, stanza("cluster.local", "namespaces default"))
	for _, same := range []string{"", "ttl 30", "fallthrough", "startup_timeout 1s"} {
		if h := newTestHeadless(t, stanza("cluster.example", "namespaces default\n"+same)); h.trie != first.trie {
			t.Errorf("%q: got another source, want the same", same)
		}
	}
	for _, other := range []string{
		"", "namespaces default kube-system", "namespaces default\nlabels app", "namespaces default\nauthoritative",
		"namespaces default\nendpoints slices", "namespaces default\nendpoint_pod_names", "namespaces default\nzonal",
		"namespaces default\nsnapshot " + filepath.Join(dir, "snapshot"),
	} {
		if h := newTestHeadless(t, stanza("cluster.local", other)); h.trie == first.trie {
			t.Errorf("%q: got the same source, want another", other)
		}
	}

	// Client-go reads the file of a CA again.
	ca := filepath.Join(dir, "ca")
	writeCA := func(name string) {
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
	writeCA("first")
	before := newTestHeadless(t, byCA)
	writeCA("second")
	if h := newTestHeadless(t, byCA); h.trie != before.trie {
		t.Error("another CA: got another source, want the same")
	}

	writeKubeconfig("http://127.0.0.1:2")
	if h := newTestHeadless(t, stanza("cluster.local", "namespaces default")); h.trie == first.trie {
		t.Error("another server in the kubeconfig: got the same source, want another")
	}
}

// pipe is a named pipe for the CA of a stanza. Opening the source reads the pipe, and so
// waits until the test writes it.
type pipe struct{ path string }

func newPipe(t *testing.T) pipe {
	t.Helper()
	p := pipe{filepath.Join(t.TempDir(), "ca")}
	if err := syscall.Mkfifo(p.path, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// awaitReader waits until the pipe has a reader. It returns a function that writes the pipe.
func (p pipe) awaitReader(t *testing.T) (write func(string)) {
	t.Helper()
	f, err := os.OpenFile(p.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) {
		t.Helper()
		if _, err := f.WriteString(text); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// acquired holds the results of acquire.
type acquired struct {
	source  *source
	release func()
	err     error
}

// startAcquire calls acquire in a goroutine, for a stanza of a new instance.
func startAcquire(t *testing.T, directives string) chan acquired {
	t.Helper()
	s, err := parse(caddy.NewTestController("dns", "headless cluster.local {\n"+directives+"\n}"))
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan acquired, 1)
	go func() {
		var a acquired
		a.source, a.release, a.err = acquire(s, new(lifetime))
		out <- a
	}()
	return out
}

// receiveAcquired waits until acquire returns.
func receiveAcquired(t *testing.T, from chan acquired) acquired {
	t.Helper()
	select {
	case a := <-from:
		return a
	case <-time.After(30 * time.Second):
		t.Fatal("acquire waits for another source")
		return acquired{}
	}
}

// newTLSServer starts an API server with TLS. It returns the URL and the CA.
func newTLSServer(t *testing.T) (url, ca string) {
	t.Helper()
	api, err := apiserver.New()
	if err != nil {
		t.Fatal(err)
	}
	api.Put(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx", Labels: map[string]string{"app": "nginx"}},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}})
	s := httptest.NewTLSServer(api)
	t.Cleanup(func() {
		api.Close()
		s.Close()
	})
	return s.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func checkNoSources(t *testing.T) {
	t.Helper()
	sources.mu.Lock()
	defer sources.mu.Unlock()
	if n := len(sources.list); n != 0 {
		t.Errorf("got %d sources left, want 0", n)
	}
}

// TestSlowOpen checks that a slow open of one source does not delay other sources, and that
// stanzas with the same settings wait for one open.
func TestSlowOpen(t *testing.T) {
	url, ca := newTLSServer(t)
	for _, bad := range []bool{false, true} {
		file := newPipe(t)
		slow := "endpoint " + url + "\ntls \"\" \"\" " + file.path
		first := startAcquire(t, slow)
		write := file.awaitReader(t)
		other := receiveAcquired(t, startAcquire(t, "endpoint http://127.0.0.1:1"))
		if other.err != nil {
			t.Fatal(other.err)
		}
		other.release()
		second := startAcquire(t, slow)
		await(t, func() int {
			sources.mu.Lock()
			defer sources.mu.Unlock()
			return sources.list[0].users
		}, 2)
		if bad {
			write("no certificate")
		} else {
			write(ca)
		}
		a, b := receiveAcquired(t, first), receiveAcquired(t, second)
		if bad {
			if a.err == nil || b.err == nil {
				t.Errorf("bad CA: got errors %v and %v, want two", a.err, b.err)
			}
		} else {
			if a.err != nil || b.err != nil || a.source != b.source {
				t.Fatalf("got source %p with error %v, and %p with %v, want one source", a.source, a.err, b.source, b.err)
			}
			a.source.start()
			await(t, a.source.synced, true)
			a.release()
			if b.source.stopped.Load() {
				t.Error("the source stopped before its last user released it")
			}
			b.release()
		}
		checkNoSources(t)
	}
}

// TestSnapshotWriterDuringOpen checks that a snapshot file has one writer while one of two
// sources with the file opens and the other stops or fails.
func TestSnapshotWriterDuringOpen(t *testing.T) {
	url, ca := newTLSServer(t)
	folder := t.TempDir()
	checkWrites := func(a acquired, file string) {
		t.Helper()
		if a.err != nil {
			t.Fatal(a.err)
		}
		a.source.start()
		await(t, func() bool { _, err := os.Stat(file); return err == nil }, true)
		a.release()
	}
	certificate := filepath.Join(folder, "ca")
	if err := os.WriteFile(certificate, []byte(ca), 0o600); err != nil {
		t.Fatal(err)
	}
	stanza := func(ca, snapshot, more string) string {
		return "endpoint " + url + "\ntls \"\" \"\" " + ca + "\nsnapshot " + snapshot + "\n" + more
	}

	// The writer stops.
	file, snapshot := newPipe(t), filepath.Join(folder, "ends")
	writer := receiveAcquired(t, startAcquire(t, stanza(certificate, snapshot, "labels app")))
	next := startAcquire(t, stanza(file.path, snapshot, ""))
	write := file.awaitReader(t)
	writer.release()
	write(ca)
	checkWrites(receiveAcquired(t, next), snapshot)

	// The open of the writer fails.
	file, snapshot = newPipe(t), filepath.Join(folder, "fails")
	failing := startAcquire(t, stanza(file.path, snapshot, ""))
	write = file.awaitReader(t)
	ready := receiveAcquired(t, startAcquire(t, stanza(certificate, snapshot, "labels app")))
	ready.source.start()
	<-ready.source.informer.Synced()
	if _, err := os.Stat(snapshot); err == nil {
		t.Error("two sources write the snapshot file")
	}
	write("no certificate")
	if a := receiveAcquired(t, failing); a.err == nil {
		t.Error("bad CA: got no error")
	}
	checkWrites(ready, snapshot)
	checkNoSources(t)
}
