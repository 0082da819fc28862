package headless

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/internal/apiserver"
)

// TestSnapshot starts a second time without the API server.
func TestSnapshot(t *testing.T) {
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
		t.Errorf("it was taken at %v", at)
	}
	h.stop()
	if n := testutil.ToFloat64(snapshotErrorsTotal) - failures; n != 0 {
		t.Errorf("%v snapshots were not written", n)
	}

	api.Close()
	h = newTestHeadless(t, stanza)
	began := time.Now()
	h.source.start()
	<-h.source.informer.Synced()
	t.Logf("ready after %v", time.Since(began))
	if !h.Ready() || testutil.ToFloat64(snapshotServing) != 1 {
		t.Fatalf("ready: %v, serving a snapshot: %v", h.Ready(), testutil.ToFloat64(snapshotServing))
	}
	_, reply := ask(t, h, new(dns.Msg).SetQuestion("web-0.nginx.default.svc.cluster.local.", dns.TypeA), &test.ResponseWriter{})
	if reply == nil || len(reply.Answer) != 1 || reply.Answer[0].(*dns.A).A.String() != "10.244.0.1" {
		t.Errorf("the answer is %v", reply)
	}
	h.stop()
	if n := testutil.ToFloat64(snapshotServing); n != 0 {
		t.Errorf("after the end, %v serve a snapshot", n)
	}
}
