package informer

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// TestJoinOrder applies random events in batches of random size. After each it compares the
// trie with one that is joined from the same objects at once.
func TestJoinOrder(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		trie := records.New()
		i := &Informer{joiner: newJoiner(trie, false, seed%2 == 0), hooks: quietHooks(), synced: make(chan struct{}), missing: map[object.Origin]bool{}}
		w := world{}
		var allowed map[string]bool
		if seed%2 == 0 {
			allowed = map[string]bool{}
		}
		for range 60 {
			var batch []event
			for range rng.IntN(6) {
				batch = append(batch, drawEvent(rng, w, allowed))
			}
			i.apply(batch)
			want, stats := w.joined(allowed)
			if got := answers(trie); !maps.Equal(got, want) {
				for name := range want {
					if got[name] != want[name] {
						t.Errorf("seed %d: %s is %q, want %q", seed, name, got[name], want[name])
					}
				}
				return
			}
			if got := trie.Stats(); got != stats {
				t.Fatalf("seed %d: the trie counts %+v, want %+v", seed, got, stats)
			}
		}
	}
}

// TestJoinHostnameLabel changes the hostname of a pod, by which a Service selects. The
// label changes with it, though the template does not.
func TestJoinHostnameLabel(t *testing.T) {
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	pod := func(hostname string) *object.Pod {
		return object.NewPod(fixture.Web(0, func(p *corev1.Pod) {
			p.Spec.Hostname, p.Labels = hostname, map[string]string{"host": hostname}
		}))
	}
	i.apply([]event{eventOf(pod("a")), eventOf(object.NewService(fixture.Nginx(func(s *corev1.Service) {
		s.Spec.Selector = map[string]string{"host": "a"}
	})))})
	for _, step := range []struct{ hostname, want string }{{"b", "missing"}, {"a", "10.244.0.1"}, {"b", "missing"}} {
		i.apply([]event{eventOf(pod(step.hostname))})
		if got := answer(i.joiner.trie, nginxName, dns.TypeA); got != step.want {
			t.Errorf("with hostname %q the service has %q, want %q", step.hostname, got, step.want)
		}
	}
}

// TestJoinTargets joins pods whose containers give one name to different ports. The cache
// is empty after each batch, at the start and later.
func TestJoinTargets(t *testing.T) {
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	batch := []event{eventOf(object.NewService(fixture.Nginx(func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("http") })))}
	var want []string
	for n := range 20 {
		batch = append(batch, eventOf(object.NewPod(fixture.Web(n, func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = int32(8000 + n) }))))
		want = append(want, fmt.Sprintf("0 5 %d web-%d.%s", 8000+n, n, nginxName))
	}
	i.apply(batch)
	if got := answer(i.joiner.trie, "_web._tcp."+nginxName, dns.TypeSRV); got != strings.Join(want, ", ") {
		t.Errorf("the port is %q, want %q", got, want)
	}
	for _, again := range [][]event{nil, batch[:1], batch[1:], {eventOf(object.NewPod(fixture.Web(7)))}} {
		i.apply(again)
		if s := i.joiner.namespaces["default"].services["nginx"]; s.resolved != nil || len(i.joiner.portCaches) > 0 {
			t.Errorf("after %d events, the ports of %d templates are cached", len(again), len(s.resolved))
		}
	}
}

// TestJoinManyPorts joins a service with a long port list, one of whose ports has another
// number on each pod. There are more such pods than a service may have lists. All keep
// their addresses, whatever their order.
func TestJoinManyPorts(t *testing.T) {
	const ports, pods = 20, 12
	service := object.NewService(fixture.Nginx(func(s *corev1.Service) {
		for n := range int32(ports - 2) {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint("p", n), Port: 1000 + n, Protocol: corev1.ProtocolUDP})
		}
		s.Spec.Ports[0].TargetPort = intstr.FromString("http")
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "none", TargetPort: intstr.FromString("none"), Protocol: corev1.ProtocolTCP})
	}))
	pod := func(n int) *object.Pod {
		return object.NewPod(fixture.Web(n, func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = int32(8000 + n) }))
	}
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	i.apply([]event{eventOf(service), eventOf(pod(0)), eventOf(pod(1))})
	if got, want := answer(i.joiner.trie, "_web._tcp."+nginxName, dns.TypeSRV), "0 50 8000 web-0."+nginxName+", 0 50 8001 web-1."+nginxName; got != want {
		t.Errorf("the port is %q, want %q", got, want)
	}
	if got, want := answer(i.joiner.trie, "_p7._udp."+nginxName, dns.TypeSRV), "0 50 1007 web-0."+nginxName+", 0 50 1007 web-1."+nginxName; got != want {
		t.Errorf("the other port is %q, want %q", got, want)
	}
	if got := answer(i.joiner.trie, "_none._tcp."+nginxName, dns.TypeSRV); got != "missing" {
		t.Errorf("a port that no container has is %q", got)
	}

	var all, back []event
	for n := range pods {
		all, back = append(all, eventOf(pod(n))), append([]event{eventOf(pod(n))}, back...)
	}
	i.apply(all)
	other := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	for _, e := range append(back, eventOf(service)) {
		other.apply([]event{e})
	}
	for _, name := range []string{nginxName, "_web._tcp." + nginxName, "_p7._udp." + nginxName} {
		if got := strings.Count(answer(i.joiner.trie, name, dns.TypeA), "10.244.0."); name == nginxName && got != pods {
			t.Errorf("the service has %d addresses, want %d", got, pods)
		}
		got, want := answer(other.joiner.trie, name, dns.TypeSRV), answer(i.joiner.trie, name, dns.TypeSRV)
		if got != want || !strings.Contains(got, "web-") {
			t.Errorf("%s is %q or %q, by the order of the pods", name, got, want)
		}
	}
}

// TestJoinSlice changes one endpoint of a slice, its ports and its service.
func TestJoinSlice(t *testing.T) {
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	slice := func(change func(*discoveryv1.EndpointSlice), last ...string) *object.EndpointSlice {
		s := fixture.Slice("by-hand")
		for _, n := range last {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.0.0." + n}})
		}
		if change != nil {
			change(s)
		}
		return object.NewEndpointSlice(s)
	}
	i.apply([]event{eventOf(object.NewService(fixture.Nginx()))})
	for _, step := range []struct {
		slice     *object.EndpointSlice
		want, srv string
	}{
		{slice(nil, "1", "2", "3"), "10.0.0.1, 10.0.0.2, 10.0.0.3", "0 33 8080"},
		{slice(nil, "1", "4", "3"), "10.0.0.1, 10.0.0.3, 10.0.0.4", "0 33 8080"},
		{slice(nil, "1", "3"), "10.0.0.1, 10.0.0.3", "0 50 8080"},
		{slice(func(s *discoveryv1.EndpointSlice) { s.Ports[0].Port = ptr.To[int32](81) }, "1", "3"), "10.0.0.1, 10.0.0.3", "0 50 81"},
		{slice(nil, "1", "1"), "10.0.0.1", "0 50 8080"},
		{slice(nil, "1"), "10.0.0.1", "0 100 8080"},
		{slice(func(s *discoveryv1.EndpointSlice) { s.Labels = nil }, "1"), "missing", "missing"},
		{slice(nil, "1", "2"), "10.0.0.1, 10.0.0.2", "0 50 8080"},
	} {
		i.apply([]event{eventOf(step.slice)})
		if got := answer(i.joiner.trie, nginxName, dns.TypeA); got != step.want {
			t.Errorf("the service has %q, want %q", got, step.want)
		}
		if got := answer(i.joiner.trie, "_web._tcp."+nginxName, dns.TypeSRV); !strings.HasPrefix(got, step.srv) {
			t.Errorf("the port is %q, want %q first", got, step.srv)
		}
	}
}

// TestQueue checks that a queue reuses the memory of a drained batch and keeps none of its
// events.
func TestQueue(t *testing.T) {
	q := newQueue(func(object.Kind, string) {})
	var batch []event
	for n := range 3 {
		q.push(eventOf(object.NewPod(fixture.Web(n))))
		used := batch
		batch = q.drain(batch)
		if len(batch) != 1 || batch[0].object.ID().Name != fmt.Sprint("web-", n) || batch[0].received.IsZero() {
			t.Fatalf("drain %d gives %+v", n, batch)
		}
		for _, e := range used {
			if e.object != nil {
				t.Errorf("drain %d keeps %v", n, e.object.ID())
			}
		}
	}
	if many := q.drain(make([]event, 5000)); len(many) > 0 || cap(q.events) > 0 {
		t.Errorf("an empty queue gives %d events and keeps room for %d", len(many), cap(q.events))
	}
}

// TestStartPortions starts with more pods than one portion has.
func TestStartPortions(t *testing.T) {
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	published := 0
	i.hooks.Published = func(n int, _ records.Stats, _ []time.Duration) { published += n }
	var batch []event
	for s := range 4 {
		batch = append(batch, eventOf(object.NewService(fixture.Nginx(func(o *corev1.Service) {
			o.Name, o.Spec.Selector = fmt.Sprint("nginx-", s), map[string]string{"app": fmt.Sprint("nginx-", s)}
		}))))
		for n := range portion / 2 {
			batch = append(batch, eventOf(object.NewPod(fixture.Web(0, func(p *corev1.Pod) { fixture.NameWeb(p, s, n, s*portion+n) }))))
		}
	}
	i.apply(batch)
	want := records.Stats{Services: 4, Hosts: 2 * portion, Ports: 4, Addresses: 2 * portion}
	want.Endpoints[records.Ready] = 2 * portion
	if got := i.joiner.trie.Stats(); got != want || published != 4 {
		t.Errorf("%d services are published, and the trie counts %+v, want 4 and %+v", published, got, want)
	}
}

// TestJoinForgets checks that a joiner without objects holds nothing.
func TestJoinForgets(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	trie := records.New()
	i := &Informer{joiner: newJoiner(trie, false, false), hooks: quietHooks(), synced: make(chan struct{}), missing: map[object.Origin]bool{}}
	w := world{}
	for range 200 {
		i.apply([]event{drawEvent(rng, w, nil)})
	}
	i.apply([]event{
		{Origin: object.Origin{Kind: object.Services}, list: true},
		{Origin: object.Origin{Kind: object.Pods}, list: true},
		{Origin: object.Origin{Kind: object.EndpointSlices}, list: true},
		{Origin: object.Origin{Kind: object.Pods}, key: object.Key{Namespace: "never", Name: "seen"}},
	})
	if len(i.joiner.namespaces) != 0 {
		t.Errorf("the joiner still has %v", i.joiner.namespaces)
	}
	if got := trie.Stats(); got != (records.Stats{}) {
		t.Errorf("the trie still has %+v", got)
	}
}

// TestJoinIsReadBesideWriter reads objects, as decoders and the keeper do, while the last
// service of a namespace comes and goes.
func TestJoinIsReadBesideWriter(t *testing.T) {
	i, _ := newWorld(1)
	service := object.NewService(fixture.Nginx(func(s *corev1.Service) { s.Namespace = "tenant" }))
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				i.joiner.reuse(service)
				i.joiner.objects()
				i.joiner.selectorlessIn("")
			}
		})
	}
	for range 2000 {
		i.apply([]event{eventOf(service)})
		i.apply([]event{{Origin: object.Origin{Kind: object.Services}, key: service.Key}})
	}
	stop.Store(true)
	readers.Wait()
	if m := i.joiner.namespaces["tenant"]; m != nil {
		t.Error("an empty namespace is kept")
	}
}

// TestRestoreByOrigin restores a snapshot after some lists have arrived. Leftover slices
// have their own list.
func TestRestoreByOrigin(t *testing.T) {
	left := object.NewEndpointSlice(fixture.Slice("left", discoveryv1.Endpoint{Addresses: []string{"10.244.0.7"}}))
	left.Controlled = true
	other := object.NewEndpointSlice(fixture.Slice("other", discoveryv1.Endpoint{Addresses: []string{"10.244.0.8"}}))
	var objects [object.Kinds][]object.Object
	objects[object.EndpointSlices] = []object.Object{left, other}
	for missing, want := range map[object.Kind][]string{object.LeftoverSlices: {"left"}, object.EndpointSlices: {"other"}} {
		i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), missing: map[object.Origin]bool{{Kind: missing}: true}}
		i.restore(i.joiner.trie.Update(), &objects)
		var got []string
		for _, o := range i.joiner.objects() {
			got = append(got, o.ID().Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("without the list of %v %d, the snapshot restores %q, want %q", missing, missing, got, want)
		}
	}
}

// TestBrokenAfterSound applies a batch with a Service twice: first intact, then broken. The
// last event counts.
func TestBrokenAfterSound(t *testing.T) {
	i, _ := newWorld(1)
	i.broken.hook = func(object.Kind, int) {}
	service := object.NewService(fixture.Nginx())
	i.apply([]event{
		{Origin: object.Origin{Kind: object.Services}, object: service},
		{Origin: object.Origin{Kind: object.Services}, object: &object.Broken{Key: service.Key, Err: errors.New("cut short")}},
	})
	if !i.broken.has(object.Services) {
		t.Error("the Service does not count as broken")
	}
}
