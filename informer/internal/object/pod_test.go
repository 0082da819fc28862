package object

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/informer/internal/fixture"
)

// TestPodNames checks the name and hostname of a pod, however they share bytes.
func TestPodNames(t *testing.T) {
	for _, test := range []struct{ name, hostname, want string }{
		{"web-0", "web-0", "web-0"},
		{"web-0", "", ""},
		{"web-0", "other", "other"},
		{"web-0", "WEB-0", "web-0"},
		{"", "other", "other"},
		{"", "", ""},
		{"web-0", "web-0x", "web-0x"},
	} {
		p := NewPod(fixture.Web(0, func(p *corev1.Pod) { p.Name, p.Spec.Hostname, p.Spec.Subdomain = test.name, test.hostname, "Nginx" }))
		if p.Name() != test.name || p.Hostname() != test.want || p.ID() != (Key{"default", test.name}) || p.Template.Value().Subdomain != "nginx" {
			t.Errorf("%q with hostname %q is %q, %q, %v", test.name, test.hostname, p.Name(), p.Hostname(), p.ID())
		}
	}
}

// TestPodLabels checks that a pod has the labels that it was made with, also those that
// follow from its names.
func TestPodLabels(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	for range 3000 {
		name := pick("web-0", "web-17", "job-3-x7k2p", "0", "web-", "a-b", "7-007", "")
		hostname := pick(name, "job-3", "other-17", "0", "web-", "")
		labels := map[string]string{}
		for range rng.IntN(5) {
			labels[pick("app", "pod-index", "pod-name", "", "\x00", "\x01a", string(make([]byte, 200)))] =
				pick(name, hostname, ordinal(name), ordinal(hostname), "", "0", "\x00", "\x01", "\x02", "\x03", "\x04", "nginx", string(make([]byte, 300)))
		}
		p := NewPod(fixture.Web(0, func(p *corev1.Pod) { p.Name, p.Spec.Hostname, p.Labels = name, hostname, labels }))
		got, last := map[string]string{}, ""
		for l := range p.Labels {
			if l.Key < last {
				t.Fatalf("%q comes after %q", l.Key, last)
			}
			got[l.Key], last = l.Value, l.Key
		}
		if !maps.Equal(got, labels) {
			t.Fatalf("%q with hostname %q is labelled %q, want %q", name, hostname, got, labels)
		}
	}
}

// TestPodTemplate checks that the pods of a StatefulSet, and those of an indexed Job, share
// a template, and which differences make another.
func TestPodTemplate(t *testing.T) {
	set := func(i int, change ...func(*corev1.Pod)) *Pod {
		p := fixture.TypicalPod(i)
		for _, c := range change {
			c(p)
		}
		return NewPod(p)
	}
	job := func(i int) *Pod {
		return NewPod(fixture.Web(0, func(p *corev1.Pod) {
			p.Name, p.Spec.Hostname = fmt.Sprintf("job-%d-x7k%d", i, i), fmt.Sprint("job-", i)
			p.Labels = map[string]string{"job-name": "job", "batch.kubernetes.io/job-completion-index": fmt.Sprint(i)}
		}))
	}
	if set(3).Template != set(12).Template {
		t.Error("the pods of a StatefulSet have different templates")
	}
	if job(3).Template != job(12).Template {
		t.Error("the pods of a Job have different templates")
	}
	for what, change := range map[string]func(*corev1.Pod){
		"label":     func(p *corev1.Pod) { p.Labels["app"] = "other" },
		"namespace": func(p *corev1.Pod) { p.Namespace = "prod" },
		"subdomain": func(p *corev1.Pod) { p.Spec.Subdomain = "other" },
		"port":      func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort++ },
	} {
		if set(3).Template == set(3, change).Template {
			t.Errorf("another %s makes no other template", what)
		}
	}
}

// TestPodAddrs checks that a pod has the first address of each family.
func TestPodAddrs(t *testing.T) {
	for _, test := range []struct {
		ip   string
		ips  []string
		want string
	}{
		{"10.0.0.9", []string{"10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"}, "[10.0.0.1 fd00::1]"},
		{"", []string{"fd00::1", "10.0.0.1"}, "[10.0.0.1 fd00::1]"},
		{"", []string{"fe80::1%eth0"}, "[fe80::1]"},
		{"", []string{"::ffff:10.0.0.1"}, "[10.0.0.1]"},
		{"", []string{"010.244.0.08"}, "[10.244.0.8]"}, // decimal, not octal
		{"", []string{"::ffff:010.0.0.1"}, "[10.0.0.1]"},
		{"", []string{"10.0.0.0256", "10.0.0.1"}, "[10.0.0.1]"},
		{"", []string{"nonsense", "0.0.0.0"}, "[0.0.0.0]"},
		{"10.0.0.9", nil, "[10.0.0.9]"},
		{"", nil, "[]"},
	} {
		p := NewPod(fixture.Web(0, func(p *corev1.Pod) {
			p.Status.PodIP, p.Status.PodIPs = test.ip, nil
			for _, ip := range test.ips {
				p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
			}
		}))
		if got := fmt.Sprint(slices.Collect[netip.Addr](p.Addrs)); got != test.want {
			t.Errorf("%q and %q are %s, want %s", test.ip, test.ips, got, test.want)
		}
	}
}

// TestReadySince checks the times that a pod keeps.
func TestReadySince(t *testing.T) {
	for seconds, want := range map[int64]time.Time{
		1: time.Unix(1, 0), 1e9: time.Unix(1e9, 0), math.MaxUint32: time.Unix(math.MaxUint32, 0),
		0: {}, -1: {}, math.MaxUint32 + 1: {},
	} {
		pod := fixture.Web(0, func(p *corev1.Pod) { p.Status.Conditions[0].LastTransitionTime = metav1.Unix(seconds, 5) })
		if got := NewPod(pod).ReadySince(); !got.Equal(want) {
			t.Errorf("%d seconds: a pod is ready since %v, want %v", seconds, got, want)
		}
		fixture.NotReady(pod)
		if got := NewPod(pod).ReadySince(); !got.IsZero() {
			t.Errorf("%d seconds: a pod that is not ready is ready since %v", seconds, got)
		}
	}
}

// TestPodEqual checks that pods differ if DNS could see it.
func TestPodEqual(t *testing.T) {
	if !NewPod(fixture.Web(0)).Equal(NewPod(fixture.Web(0, func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }))) {
		t.Error("an annotation makes a difference")
	}
	for what, change := range map[string]func(*corev1.Pod){
		"name":        func(p *corev1.Pod) { p.Name = "web-1" },
		"hostname":    func(p *corev1.Pod) { p.Spec.Hostname = "web-1" },
		"no hostname": func(p *corev1.Pod) { p.Spec.Hostname = "" },
		"label":       func(p *corev1.Pod) { p.Labels["app"] = "db" },
		"IPv4":        func(p *corev1.Pod) { p.Status.PodIPs[0].IP = "10.0.0.9" },
		"zero IPv4":   func(p *corev1.Pod) { p.Status.PodIPs[0].IP = "0.0.0.0" },
		"no IPv4":     func(p *corev1.Pod) { p.Status.PodIPs = p.Status.PodIPs[1:] },
		"IPv6":        func(p *corev1.Pod) { p.Status.PodIPs[1].IP = "fd00::9" },
		"no IPv6":     func(p *corev1.Pod) { p.Status.PodIPs = p.Status.PodIPs[:1] },
		"ready":       fixture.NotReady,
		"since when":  func(p *corev1.Pod) { p.Status.Conditions[0].LastTransitionTime = metav1.Unix(1e9, 0) },
		"terminating": fixture.Terminating,
		"finished":    func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed },
		"network":     func(p *corev1.Pod) { p.Spec.HostNetwork = true },
	} {
		for other, b := range map[string]*Pod{"a whole one": NewPod(fixture.Web(0)), "none": NewPod(fixture.Web(0, fixture.NoAddress))} {
			if a := NewPod(fixture.Web(0, change)); a.Equal(b) || b.Equal(a) {
				t.Errorf("%s: the pod equals one with addresses: %s", what, other)
			}
		}
	}
}

// TestPodEqualNames checks that pods differ if the same bytes are divided into other names.
func TestPodEqualNames(t *testing.T) {
	named := func(name, hostname string) *Pod {
		return NewPod(fixture.Web(0, func(p *corev1.Pod) { p.Name, p.Spec.Hostname = name, hostname }))
	}
	if named("a", "bc").Equal(named("ab", "c")) || named("a", "a").Equal(named("a", "")) {
		t.Error("pods with other names are equal")
	}
}

// TestPodLongNames checks that a pod whose names no API server accepts is kept with shorter ones.
func TestPodLongNames(t *testing.T) {
	for _, n := range []int{maxName - 1, maxName, maxName + 1, 1 << 16, 1<<16 + 3, 1 << 20} {
		name, hostname := strings.Repeat("n", n), strings.Repeat("h", n)
		cut := min(n, maxName)
		for _, want := range []string{"", name, hostname} {
			p := NewPod(fixture.Web(0, func(p *corev1.Pod) {
				p.Name, p.Spec.Hostname, p.Labels = name, want, map[string]string{"name": name}
			}))
			if p.Name() != name[:cut] || p.Hostname() != want[:min(len(want), maxName)] {
				t.Errorf("%d bytes: the pod has names of %d and %d bytes", n, len(p.Name()), len(p.Hostname()))
			}
			for l := range p.Labels {
				if l.Value != name {
					t.Errorf("%d bytes: the label has %d", n, len(l.Value))
				}
			}
		}
	}
}

// TestPodNode checks that a pod has its node if nodes are read, and that it then makes a difference.
func TestPodNode(t *testing.T) {
	pod := func(node string, zonal bool) *Pod {
		return newPod(fixture.Web(0, func(p *corev1.Pod) { p.Spec.NodeName = node }), zonal)
	}
	if a, b := pod("node-1", true), pod("", true); a.Node() != "node-1" || b.Node() != "" || a.Equal(b) || b.Equal(a) || !a.SameLabels(b) {
		t.Errorf("pods on %q and %q: equal %t", a.Node(), b.Node(), a.Equal(b))
	}
	if a, b := pod("node-1", true), pod("node-2", true); a.Equal(b) || !a.Equal(pod("node-1", true)) {
		t.Error("pods on other nodes are equal, or those on one node are not")
	}
	if a, b := pod("node-1", false), pod("", false); a.Node() != "" || !a.Equal(b) {
		t.Errorf("where nodes are not read, a pod is on %q", a.Node())
	}
}

// TestPodSize checks that a pod fits a size class of the allocator.
func TestPodSize(t *testing.T) {
	if n := unsafe.Sizeof(Pod{}); n > 48 {
		t.Errorf("a pod takes %d bytes, want 48 at most", n)
	}
	if n := unsafe.Sizeof(Endpoint{}); n > 56 {
		t.Errorf("an endpoint of a slice takes %d bytes, want 56 at most", n)
	}
}
