package object

import (
	"runtime"
	"strings"
	"testing"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/informer/internal/fixture"
)

// TestZone checks which zone a label or a field names: of a pod, a node and an endpoint.
func TestZone(t *testing.T) {
	long := strings.Repeat("Z", 63)
	for value, want := range map[string]string{
		"eu-1a": "eu-1a", "EU-1a": "eu-1a", "eu.1a": "eu.1a", "": "", long: strings.ToLower(long), long + "z": "",
		strings.Repeat("\u023a", 31): "",      // three bytes each in lower case
		"web-0":                      "web-0", // as the name of the pod, which a template does not keep
	} {
		labels := map[string]string{"topology.kubernetes.io/zone": value, "topology.kubernetes.io/region": "eu"}
		if got := NewPod(fixture.Web(0, func(p *corev1.Pod) { p.Labels = labels })).Zone(); got != want {
			t.Errorf("a pod labelled %q is in zone %q, want %q", value, got, want)
		}
		if got := NewNode(&metav1.ObjectMeta{Labels: labels}).Zone; got != want {
			t.Errorf("a node labelled %q is in zone %q, want %q", value, got, want)
		}
		slice := fixture.Slice("by-hand", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}, Zone: &value})
		if got := NewEndpointSlice(slice).Endpoints[0].Zone(); got != want {
			t.Errorf("an endpoint in zone %q is in %q, want %q", value, got, want)
		}
		if got := newEndpointSlice(slice, false).Endpoints[0].Zone(); got != "" {
			t.Errorf("where zones are not read, an endpoint is in %q", got)
		}
	}
	if got := NewPod(fixture.Web(0)).Zone(); got != "" {
		t.Errorf("a pod without the label is in zone %q", got)
	}
}

// TestZoneShared checks that the zones of two nodes, and the nodes of two pods, are one string.
func TestZoneShared(t *testing.T) {
	labelled := func(zone string) string {
		return NewNode(&metav1.ObjectMeta{Labels: map[string]string{corev1.LabelTopologyZone: strings.Clone(zone)}}).Zone
	}
	on := func(node string) *Pod {
		return NewPod(fixture.Web(0, func(p *corev1.Pod) { p.Spec.NodeName = strings.Clone(node) }))
	}
	a, b := labelled("eu-1a"), labelled("EU-1A")
	p, q := on("node-1"), on("node-1")
	if unsafe.StringData(a) != unsafe.StringData(b) || unsafe.StringData(p.Node()) != unsafe.StringData(q.Node()) {
		t.Error("equal strings are stored twice")
	}
	runtime.KeepAlive([]any{a, b, p, q})
}
