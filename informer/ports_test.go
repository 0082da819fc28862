package informer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"unique"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/records"
)

// TestNamedPorts compares the named ports of a pod with what its containers have: the
// first of a name and protocol counts, those of containers before those of sidecars.
func TestNamedPorts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		want := map[targetPort]uint16{}
		draw := func(most int) (ports []corev1.ContainerPort) {
			for range rng.IntN(most) {
				p := corev1.ContainerPort{
					Name:          []string{"", "a", "a-b", "ab", "b", "a/b", "a\nb"}[rng.IntN(7)] + []string{"", "", "1", "2"}[rng.IntN(4)],
					Protocol:      []corev1.Protocol{"", "TCP", "UDP", "SCTP", "x/y"}[rng.IntN(5)],
					ContainerPort: []int32{-1, 0, 1, 80, 65535, 65536}[rng.IntN(6)],
				}
				ports = append(ports, p)
				to := targetPort{p.Name, protocol(string(p.Protocol))}
				if _, ok := want[to]; ok || p.Name == "" || strings.ContainsAny(to.name+to.protocol, "/\n") {
					continue
				}
				if want[to] = uint16(p.ContainerPort); p.ContainerPort < 0 || p.ContainerPort > 65535 {
					want[to] = 0
				}
			}
			return ports
		}
		p := newPod(newWeb(0, func(p *corev1.Pod) {
			p.Spec.Containers = []corev1.Container{{Ports: draw(5)}, {Ports: draw(20)}}
			p.Spec.InitContainers = []corev1.Container{{RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), Ports: draw(9)}}
		}))
		template := p.template.Value()
		got := map[targetPort]uint16{}
		for line := range strings.Lines(template.named().lines) {
			to, number := parsePort(line)
			got[to] = portNumber(number)
		}
		if !maps.Equal(got, want) {
			t.Fatalf("the ports are %v, want %v", got, want)
		}
		for to, number := range want {
			if found, _ := template.named().find(to); found != number {
				t.Fatalf("%v is %d, want %d, in %q", to, found, number, template.named().lines)
			}
			for _, other := range []targetPort{{to.name + "0", to.protocol}, {to.name, to.protocol + "0"}, {"", ""}, {"z", "z"}} {
				if found, _ := template.named().find(other); found != 0 {
					t.Fatalf("%v is %d, and is not there", other, found)
				}
			}
		}
		if named := template.ports != (unique.Handle[namedPorts]{}); named != (len(want) > 0) {
			t.Fatalf("with %d ports, ports are held: %v", len(want), named)
		}
	}
}

// manyPorts gives the pod n named ports, p00000 and so on, from a number on.
func manyPorts(n int, first int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = nil
		for i := range int32(n) {
			p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{Name: fmt.Sprintf("p%05d", i), ContainerPort: first + i})
		}
	}
}

// targeting gives the service n ports whose targets are ports of manyPorts, up to a last.
func targeting(n, last int) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Spec.Ports = nil
		for i := range n {
			name := fmt.Sprintf("p%05d", last-i)
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: name, TargetPort: intstr.FromString(name)})
		}
	}
}

// TestNamedPortsBudget holds what the named ports of a pod cost a service that selects it:
// as many reads as it has ports, and a few for each, and no more memory than those of a
// pod with few.
func TestNamedPortsBudget(t *testing.T) {
	const many = 16_000
	for _, test := range []struct {
		what      string
		ports     int // of the service
		named     int // of the pods
		mostReads int // for each pod
	}{
		{"one port of many", 1, many, 15},
		{"16 ports of many", 16, many, 16 * 15},
		{"a long list with few named ports", many, comparedPorts, comparedPorts},
		{"a long list with many named ports", many, comparedPorts + 1, 0},
		{"a long list with as many named ports", many, many, 0},
	} {
		s := newMember(newService(newNginx(targeting(test.ports, many-1))))
		var pods []*pod
		for i := range 20 {
			pods = append(pods, newPod(newWeb(i, manyPorts(test.named, int32(1+i)))))
		}
		few := newPod(newWeb(0, manyPorts(1, 1)))
		resolve := func(p *pod) float64 {
			template := p.template.Value()
			return testing.AllocsPerRun(1, func() {
				clear(s.resolved)
				s.portsOf(&template)
			})
		}
		fewAllocs := resolve(few)
		s.read = 0
		for _, p := range pods {
			podEndpoints(s, p, new(naming), func(records.Endpoint) {})
			podEndpoints(s, p, new(naming), func(records.Endpoint) {}) // again, but resolved
		}
		if most := test.mostReads * len(pods); s.read > most {
			t.Errorf("%s: %d lines are read, at most %d", test.what, s.read, most)
		}
		// Each port that is compared is written with its number.
		if allocs, most := resolve(pods[0]), fewAllocs+4*comparedPorts; allocs > most {
			t.Errorf("%s: %v allocations, at most %v", test.what, allocs, most)
		}
		list := s.portsOf(ptr.To(pods[1].template.Value())).Ports()
		if want := min(test.ports, test.named); len(list) != want {
			t.Errorf("%s: there are %d ports, want %d", test.what, len(list), want)
		}
		for _, p := range list {
			if want := fmt.Sprintf("p%05d", p.Number-2); p.Name != want {
				t.Fatalf("%s: port %d is %s, want %s", test.what, p.Number, p.Name, want)
			}
		}
	}
}

// TestLongListsOfNamedPorts checks which pods have the same long list.
func TestLongListsOfNamedPorts(t *testing.T) {
	s := newMember(newService(newNginx(targeting(17, 16))))
	list := func(n int, first int32, change ...func(*corev1.Pod)) *records.PortList {
		template := newPod(newWeb(0, append([]func(*corev1.Pod){manyPorts(n, first)}, change...)...)).template.Value()
		return s.portsOf(&template)
	}
	other := func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{Name: "other", ContainerPort: 9})
	}
	for _, test := range []struct {
		what string
		a, b *records.PortList
		want bool
	}{
		{"the same ports", list(20, 1), list(20, 1), true},
		{"other numbers", list(20, 1), list(20, 2), false},
		{"another port that the service does not look for", list(20, 1), list(20, 1, other), true},
		{"one port less that it looks for", list(17, 1), list(16, 1), false},
		{"many ports", list(comparedPorts+1, 1), list(comparedPorts+1, 1), true},
		{"many ports with other numbers", list(comparedPorts+1, 1), list(comparedPorts+1, 2), false},
		{"few ports and many", list(comparedPorts, 1), list(comparedPorts+1, 1), false},
	} {
		if got := test.a.Equal(test.b); got != test.want {
			t.Errorf("%s: the lists are equal: %v, want %v", test.what, got, test.want)
		}
	}
}
