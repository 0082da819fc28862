package informer

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// TestPortsBudget limits the memory of a pod whose named ports no other pod has, however
// many ports the service has.
func TestPortsBudget(t *testing.T) {
	const templates, budget = 1000, 1000 // bytes
	for _, ports := range []int32{17, 10_000} {
		s := newJoinedService(object.NewService(fixture.Nginx(func(s *corev1.Service) {
			for n := range ports {
				s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint("p", n), TargetPort: intstr.FromString(fmt.Sprint("t", n))})
			}
		})))
		var lists []*records.PortList
		before := heap()
		for n := range templates {
			template := object.NewPod(fixture.Web(0, func(p *corev1.Pod) {
				p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "t1", ContainerPort: int32(1 + n)}}
			})).Template.Value()
			lists = append(lists, s.portsOf(&template))
		}
		s.resolved = nil // as after a batch
		perTemplate := (int64(heap()) - int64(before)) / templates
		if perTemplate > budget {
			t.Errorf("the ports of a template take %d bytes with %d ports, at most %d", perTemplate, ports, budget)
		}
		if got := fmt.Sprint(lists[7].Ports()); got != "[{p1 tcp 8} {web tcp 80}]" {
			t.Errorf("the ports are %s", got)
		}
		runtime.KeepAlive(s)
	}
}

// TestHeapBudget limits the heap of a pod: its slim object and its share of the join, the
// trie and the reverse index.
func TestHeapBudget(t *testing.T) {
	const services, pods, budget = 200, 100, 300 // bytes
	newWorld(1)                                  // allocates what every informer shares
	before := heap()
	i, _ := newWorld(slices.Repeat([]int{pods}, services)...)
	perPod := (int64(heap()) - int64(before)) / (services * pods)
	runtime.KeepAlive(i)
	t.Logf("a pod takes %d bytes", perPod)
	if perPod > budget {
		t.Errorf("a pod takes %d bytes, at most %d", perPod, budget)
	}
}
