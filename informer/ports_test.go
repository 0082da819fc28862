package informer

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// manyPorts gives the pod n named ports, p00000 and so on, numbered from first.
func manyPorts(n int, first int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = nil
		for i := range int32(n) {
			p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{Name: fmt.Sprintf("p%05d", i), ContainerPort: first + i})
		}
	}
}

// targeting gives the service n ports that refer to ports of manyPorts, from last down.
func targeting(n, last int) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Spec.Ports = nil
		for i := range n {
			name := fmt.Sprintf("p%05d", last-i)
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: name, TargetPort: intstr.FromString(name)})
		}
	}
}

// TestNamedPortsBudget limits the cost of the named ports of a pod for a service that
// selects it: a few reads for each port of the service, and no more memory than for a pod
// with few ports.
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
		{"a long list with few named ports", many, object.ComparedPorts, object.ComparedPorts},
		{"a long list with many named ports", many, object.ComparedPorts + 1, 0},
		{"a long list with as many named ports", many, many, 0},
	} {
		s := newJoinedService(object.NewService(fixture.Nginx(targeting(test.ports, many-1))))
		var pods []*object.Pod
		for i := range 20 {
			pods = append(pods, object.NewPod(fixture.Web(i, manyPorts(test.named, int32(1+i)))))
		}
		few := object.NewPod(fixture.Web(0, manyPorts(1, 1)))
		resolve := func(p *object.Pod) float64 {
			template := p.Template.Value()
			return testing.AllocsPerRun(1, func() {
				clear(s.resolved)
				s.portsOf(&template)
			})
		}
		fewAllocs := resolve(few)
		s.read = 0
		for _, p := range pods {
			podEndpoints(s, p, "", new(naming), func(records.Endpoint) {})
			podEndpoints(s, p, "", new(naming), func(records.Endpoint) {}) // again, from the cache
		}
		if most := test.mostReads * len(pods); s.read > most {
			t.Errorf("%s: %d lines are read, at most %d", test.what, s.read, most)
		}
		// The id has each port that is compared, with its number.
		if allocs, most := resolve(pods[0]), fewAllocs+4*object.ComparedPorts; allocs > most {
			t.Errorf("%s: %v allocations, at most %v", test.what, allocs, most)
		}
		list := s.portsOf(ptr.To(pods[1].Template.Value())).Ports()
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

// TestLongListsOfNamedPorts checks which pods share a long list.
func TestLongListsOfNamedPorts(t *testing.T) {
	s := newJoinedService(object.NewService(fixture.Nginx(targeting(17, 16))))
	list := func(n int, first int32, change ...func(*corev1.Pod)) *records.PortList {
		template := object.NewPod(fixture.Web(0, append([]func(*corev1.Pod){manyPorts(n, first)}, change...)...)).Template.Value()
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
		{"many ports", list(object.ComparedPorts+1, 1), list(object.ComparedPorts+1, 1), true},
		{"many ports with other numbers", list(object.ComparedPorts+1, 1), list(object.ComparedPorts+1, 2), false},
		{"few ports and many", list(object.ComparedPorts, 1), list(object.ComparedPorts+1, 1), false},
	} {
		if got := test.a.Equal(test.b); got != test.want {
			t.Errorf("%s: the lists are equal: %v, want %v", test.what, got, test.want)
		}
	}
}
