package object

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"unique"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
)

// TestNamedPorts compares the named ports of a pod with those of its containers: the first
// of a name and protocol counts, and containers come before sidecars.
func TestNamedPorts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		want := map[TargetPort]uint16{}
		draw := func(most int) (ports []corev1.ContainerPort) {
			for range rng.IntN(most) {
				p := corev1.ContainerPort{
					Name:          []string{"", "a", "a-b", "ab", "b", "a/b", "a\nb"}[rng.IntN(7)] + []string{"", "", "1", "2"}[rng.IntN(4)],
					Protocol:      []corev1.Protocol{"", "TCP", "UDP", "SCTP", "x/y"}[rng.IntN(5)],
					ContainerPort: []int32{-1, 0, 1, 80, 65535, 65536}[rng.IntN(6)],
				}
				ports = append(ports, p)
				to := TargetPort{p.Name, protocolName(string(p.Protocol))}
				if _, ok := want[to]; ok || p.Name == "" || strings.ContainsAny(to.Name+to.Protocol, "/\n") {
					continue
				}
				if want[to] = uint16(p.ContainerPort); p.ContainerPort < 0 || p.ContainerPort > 65535 {
					want[to] = 0
				}
			}
			return ports
		}
		p := NewPod(fixture.Web(0, func(p *corev1.Pod) {
			p.Spec.Containers = []corev1.Container{{Ports: draw(5)}, {Ports: draw(20)}}
			p.Spec.InitContainers = []corev1.Container{{RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), Ports: draw(9)}}
		}))
		template := p.Template.Value()
		got := map[TargetPort]uint16{}
		for line := range strings.Lines(template.NamedPorts().lines) {
			to, number := parsePort(line)
			got[to] = portNumber(number)
		}
		if !maps.Equal(got, want) {
			t.Fatalf("the ports are %v, want %v", got, want)
		}
		for to, number := range want {
			if found, _ := template.NamedPorts().Find(to); found != number {
				t.Fatalf("%v is %d, want %d, in %q", to, found, number, template.NamedPorts().lines)
			}
			for _, other := range []TargetPort{{to.Name + "0", to.Protocol}, {to.Name, to.Protocol + "0"}, {"", ""}, {"z", "z"}} {
				if found, _ := template.NamedPorts().Find(other); found != 0 {
					t.Fatalf("%v is %d, and is not there", other, found)
				}
			}
		}
		if named := template.Ports != (unique.Handle[NamedPorts]{}); named != (len(want) > 0) {
			t.Fatalf("with %d ports, the template has ports: %v", len(want), named)
		}
	}
}
