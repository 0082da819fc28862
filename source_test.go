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

// pipe is a file for the CA of a stanza. Who makes the source reads it, and waits until it
// is written.
type pipe struct{ path string }

func newPipe(t *testing.T) pipe {
	t.Helper()
	p := pipe{filepath.Join(t.TempDir(), "ca")}
	if err := syscall.Mkfifo(p.path, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// await returns when the pipe is read, and a function that writes it.
func (p pipe) await(t *testing.T) (write func(string)) {
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

// acquired is what acquire returns.
type acquired struct {
	source  *source
	release func()
	err     error
}

// acquiring calls acquire for a stanza of an instance of its own.
func acquiring(t *testing.T, directives string) chan acquired {
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

// get waits for what was acquired.
func get(t *testing.T, from chan acquired) acquired {
	t.Helper()
	select {
	case a := <-from:
		return a
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for another source")
		return acquired{}
	}
}

// secure returns a server of the API by TLS, and its CA.
func secure(t *testing.T) (url, ca string) {
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
	if n := len(sources.all); n != 0 {
		t.Errorf("%d sources are left", n)
	}
}

// TestSourceTakesLong checks that while a source is made, others come and go, and that
// stanzas with the same settings wait for one source.
func TestSourceTakesLong(t *testing.T) {
	url, ca := secure(t)
	for _, bad := range []bool{false, true} {
		file := newPipe(t)
		slow := "endpoint " + url + "\ntls \"\" \"\" " + file.path
		first := acquiring(t, slow)
		write := file.await(t)
		other := get(t, acquiring(t, "endpoint http://127.0.0.1:1"))
		if other.err != nil {
			t.Fatal(other.err)
		}
		other.release()
		second := acquiring(t, slow)
		await(t, func() int {
			sources.mu.Lock()
			defer sources.mu.Unlock()
			return sources.all[0].users
		}, 2)
		if bad {
			write("no certificate")
		} else {
			write(ca)
		}
		a, b := get(t, first), get(t, second)
		if bad {
			if a.err == nil || b.err == nil {
				t.Errorf("with a bad CA, the errors are %v and %v", a.err, b.err)
			}
		} else {
			if a.err != nil || b.err != nil || a.source != b.source {
				t.Fatalf("the sources are %p, %v and %p, %v", a.source, a.err, b.source, b.err)
			}
			a.source.start()
			await(t, a.source.synced, true)
			a.release()
			if b.source.ended.Load() {
				t.Error("the source has ended, though it has a user")
			}
			b.release()
		}
		checkNoSources(t)
	}
}

// TestSnapshotWriterWhileMade checks that a snapshot has a writer, whatever becomes of
// another source with the file while one of them is made.
func TestSnapshotWriterWhileMade(t *testing.T) {
	url, ca := secure(t)
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

	// The writer ends.
	file, snapshot := newPipe(t), filepath.Join(folder, "ends")
	writer := get(t, acquiring(t, stanza(certificate, snapshot, "labels app")))
	next := acquiring(t, stanza(file.path, snapshot, ""))
	write := file.await(t)
	writer.release()
	write(ca)
	checkWrites(get(t, next), snapshot)

	// The writer can't be made.
	file, snapshot = newPipe(t), filepath.Join(folder, "fails")
	failing := acquiring(t, stanza(file.path, snapshot, ""))
	write = file.await(t)
	ready := get(t, acquiring(t, stanza(certificate, snapshot, "labels app")))
	ready.source.start()
	<-ready.source.informer.Synced()
	if _, err := os.Stat(snapshot); err == nil {
		t.Error("two sources may write the snapshot")
	}
	write("no certificate")
	if a := get(t, failing); a.err == nil {
		t.Error("a bad CA is no error")
	}
	checkWrites(ready, snapshot)
	checkNoSources(t)
}
