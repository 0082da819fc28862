package informer

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// newWorld returns an informer with services of StatefulSets, which have the given numbers
// of pods, and a function that makes the i-th pod of a service.
func newWorld(sizes ...int) (*Informer, func(service, i int, change ...func(*corev1.Pod)) *object.Pod) {
	first, all := make([]int, len(sizes)), 0 // among all pods
	for s, size := range sizes {
		first[s], all = all, all+size
	}
	newPodOf := func(s, i int, change ...func(*corev1.Pod)) *object.Pod {
		return object.NewPod(fixture.Web(0, append(change, func(p *corev1.Pod) { fixture.NameWeb(p, s, i, first[s]+i) })...))
	}
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	var batch []event
	for s, size := range sizes {
		batch = append(batch, eventOf(object.NewService(fixture.Nginx(func(o *corev1.Service) {
			o.Name = fmt.Sprint("nginx-", s)
			o.Spec.Selector = map[string]string{"app": o.Name}
		}))))
		for k := range size {
			batch = append(batch, eventOf(newPodOf(s, k)))
		}
	}
	i.apply(batch)
	return i, newPodOf
}

// BenchmarkEvent measures one pod of a service of n that loses and regains its readiness:
// from the slim object to the publication. All services are in one cluster, so that the
// garbage collector has the same work in each run.
func BenchmarkEvent(b *testing.B) {
	sizes := append([]int{1, 100, 10_000}, slices.Repeat([]int{100}, 900)...)
	i, newPodOf := newWorld(sizes...)
	for s, n := range sizes[:3] {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			states := [2]*object.Pod{newPodOf(s, n/2, fixture.NotReady), newPodOf(s, n/2)}
			b.ReportAllocs()
			for k := 0; b.Loop(); k++ {
				i.apply([]event{eventOf(states[k%2])})
			}
		})
	}
}

// BenchmarkReplicas measures a job of 8,000 replicas with a service for each: the start, a
// change of one pod or service, and changes of all.
func BenchmarkReplicas(b *testing.B) {
	const n = 8000
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			newReplicas(n)
		}
	})
	i, serviceOf, podOf := newReplicas(n)
	var pods, services [2][]event
	for replica := range n {
		services[0] = append(services[0], eventOf(serviceOf(replica, publish)))
		services[1] = append(services[1], eventOf(serviceOf(replica)))
		pods[0] = append(pods[0], eventOf(podOf(replica, fixture.NotReady)))
		pods[1] = append(pods[1], eventOf(podOf(replica)))
	}
	for _, run := range []struct {
		name    string
		batches [2][]event
		size    int
	}{
		{"pod", pods, 1}, {"service", services, 1}, {"pods", pods, n}, {"services", services, n},
	} {
		b.Run(run.name, func(b *testing.B) {
			for k := 0; b.Loop(); k++ {
				i.apply(run.batches[k%2][:run.size])
			}
		})
	}
}

// BenchmarkHeap measures the heap of a pod: its slim object and its share of the join, the
// trie and the reverse index.
func BenchmarkHeap(b *testing.B) {
	const services, pods = 1000, 100
	for b.Loop() {
		before := heap()
		i, _ := newWorld(slices.Repeat([]int{pods}, services)...)
		b.ReportMetric(float64(heap()-before)/(services*pods), "B/pod")
		if got := i.joiner.trie.Stats().Endpoints[records.Ready]; got != services*pods {
			b.Fatalf("%d endpoints", got)
		}
	}
}

// BenchmarkObjects measures the heap of a pod in the informer alone: the slim object,
// decoded as an API server sends it, and its entry in the joiner.
func BenchmarkObjects(b *testing.B) {
	const services, pods = 1000, 100
	for b.Loop() {
		before := heap()
		i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), missing: map[object.Origin]bool{{}: true}}
		for s := range services {
			var of []kruntime.Object
			for k := range pods {
				p := fixture.TypicalPod(k)
				fixture.NameWeb(p, s, k, s*pods+k)
				of = append(of, p)
			}
			var batch []event
			for _, o := range decodedAll(b, of...) {
				batch = append(batch, eventOf(o.(*object.Decoded).Object))
			}
			i.apply(batch)
		}
		b.ReportMetric(float64(heap()-before)/(services*pods), "B/pod")
		runtime.KeepAlive(i)
	}
}

// BenchmarkRelist measures a relist of 100,000 unchanged pods.
func BenchmarkRelist(b *testing.B) {
	i, _ := newWorld(slices.Repeat([]int{100}, 1000)...)
	list := event{Origin: object.Origin{Kind: object.Pods}, list: true}
	for _, p := range i.joiner.namespaces["default"].pods {
		list.objects = append(list.objects, p)
	}
	b.ReportAllocs()
	for b.Loop() {
		i.apply([]event{list})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
