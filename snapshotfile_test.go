package headless

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/internal/apiserver"
)

// TestReloadKeepsSnapshot changes settings of a source that has a snapshot file. The only
// writer is the source of the instance that serves.
func TestReloadKeepsSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	r := newRig(t)
	r.put()
	snapshot := "snapshot " + file
	r.start(t, snapshot+" 1h")
	writtenWith := func(labels string) func() bool {
		return func() bool {
			b, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(b), fmt.Sprintf("; labels %q;", labels))
		}
	}
	await(t, writtenWith(""), true)

	// A reload that fails changes neither the file nor its writer.
	r.api.Close()
	r.reload(t, r.corefile(snapshot+" 1h\nlabels app"), "reload: ")
	if !writtenWith("")() {
		t.Error("the failed reload changed the snapshot file")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*.rejected")); left != nil {
		t.Errorf("the failed reload moved the snapshot file to %s", left)
	}
	if err := r.api.Start(); err != nil {
		t.Fatal(err)
	}
	r.checkUpToDate(t) // the old source then has changes to write when it stops

	r.reload(t, r.corefile(snapshot+" 1h\nlabels app"), "")
	await(t, writtenWith("app"), true)
	name, address := r.put()
	await(t, func() string { return r.ask(name + ".nginx.default.svc.cluster.local.") }, address)
	r.api.Close()
	r.stop(t)
	if !writtenWith("app")() {
		t.Fatal("after the stop, the snapshot file has other settings")
	}
	r.start(t, snapshot+" 1h\nlabels app")
	if got := r.ask(name + ".nginx.default.svc.cluster.local."); got != address {
		t.Errorf("after a start from the snapshot: %s: got %s, want %s", name, got, address)
	}

	// Only the interval changes, while there is no API server. The new source could load the
	// snapshot, but the old one may have newer data.
	r.reload(t, r.corefile(snapshot+" 2h\nlabels app"), "reload: ")
	checkLive(t, "after the failed reload", 1, 2)
	if err := r.api.Start(); err != nil {
		t.Fatal(err)
	}
	r.checkUpToDate(t)
}

// TestReloadIgnoresSnapshot adds a snapshot file that an earlier server wrote, while there is
// no API server. The old source has newer data, so the reload fails.
func TestReloadIgnoresSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	r := newRig(t)
	r.start(t, "snapshot "+file)
	await(t, func() bool { _, err := os.Stat(file); return err == nil }, true)
	r.stop(t)
	name, address := r.put()
	r.start(t, "")
	r.api.Close()
	r.reload(t, r.corefile("snapshot "+file), "reload: ")
	if got := r.ask(name + ".nginx.default.svc.cluster.local."); got != address {
		t.Errorf("%s: got %s, want %s", name, got, address)
	}
}

// TestReloadAddsSnapshot adds a snapshot file that does not exist yet.
func TestReloadAddsSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	r := newRig(t)
	r.put()
	r.start(t, "")
	r.reload(t, r.corefile("snapshot "+file), "")
	await(t, func() bool { _, err := os.Stat(file); return err == nil }, true)
}

// TestSnapshotHasOneWriter checks that two stanzas may have the same snapshot file only if they
// share a source.
func TestSnapshotHasOneWriter(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "snapshot"), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	for _, other := range []string{
		"snapshot " + file + "\nlabels app",
		"snapshot " + file + "\nauthoritative",
		"snapshot " + file + " 2m",
		"snapshot " + filepath.Join(dir, ".", "x", "..", "snapshot") + "\nlabels app",
		"snapshot " + filepath.Join(link, "snapshot") + "\nlabels app",
	} {
		_, err := caddy.Start(r.corefiles("snapshot "+file, other))
		if err == nil || !strings.Contains(err.Error(), "snapshot: ") || !strings.Contains(err.Error(), "another stanza writes this file") {
			t.Errorf("%q: got error %v", other, err)
		}
	}
	var err error
	if r.instance, err = caddy.Start(r.corefiles("snapshot "+file, "ttl 9\nsnapshot "+file)); err != nil {
		t.Fatal(err)
	}
	r.reload(t, r.corefiles("labels app\nsnapshot "+file, "snapshot "+file), "another stanza writes this file")
	r.reload(t, r.corefiles("snapshot "+file, "labels app\nsnapshot "+file), "another stanza writes this file")
	r.reload(t, r.corefiles("labels a\nsnapshot "+file, "labels b\nsnapshot "+file), "another stanza writes this file")
	r.reload(t, r.corefiles("snapshot "+file, "labels app\nsnapshot "+file+"-2"), "")
	checkLive(t, "two snapshot files", 2, 2)
}

// TestStartFromSnapshot starts a second time without the API server.
func TestStartFromSnapshot(t *testing.T) {
	api, err := apiserver.New()
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	api.Apply([]apiserver.Change{{Object: &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx"},
		Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": "nginx"},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}},
	}}, {Object: &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-0", Labels: map[string]string{"app": "nginx"}},
		Spec:       corev1.PodSpec{Hostname: "web-0", Subdomain: "nginx"},
		Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "10.244.0.1"}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}}})
	stanza := fmt.Sprintf("headless cluster.local {\nendpoint %s\nsnapshot %s\n}", api.URL, filepath.Join(t.TempDir(), "snapshot"))

	failures := testutil.ToFloat64(snapshotErrorsTotal)
	h := newTestHeadless(t, stanza)
	h.source.start()
	<-h.source.informer.Synced()
	await(t, func() bool { return gather(t, "snapshot_size_bytes")[""] > 100 }, true)
	if at := time.Unix(int64(gather(t, "snapshot_timestamp_seconds")[""]), 0); time.Since(at) > time.Minute {
		t.Errorf("got snapshot time %v, want less than a minute ago", at)
	}
	h.stop()
	if n := testutil.ToFloat64(snapshotErrorsTotal) - failures; n != 0 {
		t.Errorf("got %v snapshot errors, want 0", n)
	}

	api.Close()
	h = newTestHeadless(t, stanza)
	h.source.start()
	<-h.source.informer.Synced()
	if !h.Ready() || testutil.ToFloat64(snapshotServing) != 1 {
		t.Fatalf("got ready %t and %v sources that serve a snapshot, want true and 1", h.Ready(), testutil.ToFloat64(snapshotServing))
	}
	_, reply := ask(t, h, new(dns.Msg).SetQuestion("web-0.nginx.default.svc.cluster.local.", dns.TypeA), &test.ResponseWriter{})
	if reply == nil || len(reply.Answer) != 1 || reply.Answer[0].(*dns.A).A.String() != "10.244.0.1" {
		t.Errorf("got reply %v, want the address 10.244.0.1", reply)
	}
	r := new(dns.Msg).SetQuestion("web-1.nginx.default.svc.cluster.local.", dns.TypeA)
	r.SetEdns0(1232, false)
	if _, reply = ask(t, h, r, &test.ResponseWriter{}); !strings.HasPrefix(explanations(reply), "19: ") {
		t.Errorf("got %q, want the error that the answer is stale", explanations(reply))
	}
	h.stop()
	if n := testutil.ToFloat64(snapshotServing); n != 0 {
		t.Errorf("after the stop: got %v sources that serve a snapshot, want 0", n)
	}
}
