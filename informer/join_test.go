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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// find looks up a name of the zone cluster.local, or a reverse name.
func find(trie *records.Trie, name string) (records.Node, records.Result) {
	var n records.Name
	n.Fold(name)
	if addr, ok := n.Reverse(); ok {
		return trie.FindAddr(addr)
	}
	return trie.Find(&n, 2)
}

// answer returns the records of a name and type, without TTL and sorted, or how
// the name stands to the trie.
func answer(trie *records.Trie, name string, rrtype uint16) string {
	node, result := find(trie, name)
	switch result {
	case records.Outside:
		return "outside"
	case records.Missing:
		return "missing"
	case records.Found:
	}
	a := node.Answer(&records.Query{Name: name, Type: rrtype, Zone: "cluster.local.", Size: dns.MaxMsgSize})
	var data []string
	for _, rr := range a.Records {
		data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(data)
	return strings.Join(data, ", ")
}

// eventOf is the event of an object that comes or changes.
func eventOf(o object.Object) event {
	e := event{object: o}
	switch o.(type) {
	case *object.Service:
		e.Kind = object.Services
	case *object.Pod:
		e.Kind = object.Pods
	case *object.EndpointSlice:
		e.Kind = object.EndpointSlices
	case *object.Namespace:
		e.Kind = object.Namespaces
	}
	return e
}

// quietHooks are hooks of nobody.
func quietHooks() Hooks {
	return Hooks{
		Received:  func(object.Kind, string) {},
		Published: func(int, records.Stats, []time.Duration) {},
		Rejected:  func(error) {},

		BadManifests: func(int) {},

		Restored: func(bool) {},
		Failing:  func(object.Kind, bool) {},
		Broken:   func(object.Kind, int) {},
		Wrote:    func(int64, error) {},
		Due:      func(time.Time) {},
	}
}

// world is a set of objects, by kind and key.
type world map[object.Kind]map[object.Key]object.Object

func (w world) set(k object.Kind, o object.Object) {
	if w[k] == nil {
		w[k] = map[object.Key]object.Object{}
	}
	w[k][o.ID()] = o
}

// draw makes a random object; few names and addresses, so that they meet.
func draw(rng *rand.Rand) (object.Kind, object.Object) {
	ns := []string{"default", "prod"}[rng.IntN(2)]
	apps := []string{"nginx", "db", "web"}
	app := func() string { return apps[rng.IntN(len(apps))] }
	switch rng.IntN(6) {
	case 0, 1:
		return object.Services, object.NewService(fixture.Nginx(func(s *corev1.Service) {
			s.Namespace, s.Name = ns, app()
			s.Spec.Selector = map[string]string{"app": app()}
			switch rng.IntN(8) {
			case 0:
				s.Spec.Selector = nil
			case 1:
				s.Spec.Selector["tier"] = "front"
			case 2:
				s.Spec.ClusterIP = "10.96.0.1"
			case 3:
				s.Spec.PublishNotReadyAddresses = true
			case 4:
				s.Spec.Ports[0].TargetPort = intstr.FromString("http")
			case 5:
				s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol}
			}
		}))
	case 2:
		return object.EndpointSlices, object.NewEndpointSlice(&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprint("slice-", rng.IntN(3)),
				Labels: map[string]string{discoveryv1.LabelServiceName: app()}},
			Endpoints: drawEndpoints(rng),
			Ports:     []discoveryv1.EndpointPort{{Name: ptr.To("web"), Port: ptr.To(80 + rng.Int32N(2))}},
		})
	default:
		return object.Pods, object.NewPod(fixture.Web(rng.IntN(4), func(p *corev1.Pod) {
			p.Namespace = ns
			p.Labels = map[string]string{"app": app(), "tier": []string{"front", "back"}[rng.IntN(2)]}
			p.Spec.Subdomain = app()
			p.Status.PodIPs = fixture.Web(rng.IntN(6)).Status.PodIPs
			switch rng.IntN(8) {
			case 0:
				fixture.NotReady(p)
			case 1:
				fixture.Terminating(p)
			case 2:
				fixture.NoAddress(p)
			case 3:
				p.Status.Phase = corev1.PodSucceeded
			}
		}))
	}
}

// drawEndpoints makes up to three endpoints, two of which may be the same.
func drawEndpoints(rng *rand.Rand) []discoveryv1.Endpoint {
	var out []discoveryv1.Endpoint
	for range rng.IntN(4) {
		out = append(out, discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprint("10.244.0.", 1+rng.IntN(3))},
			Hostname:   ptr.To(fmt.Sprint("web-", rng.IntN(2))),
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(rng.IntN(3) > 0)},
		})
	}
	return out
}

// answers asks for every name that draw can make.
func answers(trie *records.Trie) map[string]string {
	out := map[string]string{}
	ask := func(name string, types ...uint16) {
		for _, t := range types {
			out[name+" "+dns.TypeToString[t]] = answer(trie, name, t)
		}
	}
	for _, ns := range []string{"default", "prod"} {
		for _, app := range []string{"nginx", "db", "web"} {
			base := app + "." + ns + ".svc.cluster.local."
			ask(base, dns.TypeA, dns.TypeAAAA, dns.TypeSRV)
			ask("_web._tcp."+base, dns.TypeSRV)
			for i := range 7 {
				ask(fmt.Sprintf("web-%d.%s", i, base), dns.TypeA, dns.TypeAAAA, dns.TypeSRV)
				ask(fmt.Sprintf("10-244-0-%d.%s", i, base), dns.TypeA)
			}
		}
	}
	for i := range 7 {
		ask(fmt.Sprintf("%d.0.244.10.in-addr.arpa.", i), dns.TypePTR)
	}
	return out
}

// joined is what a join makes of a world that it sees at once: no order of events
// and nothing to take away.
func (w world) joined(allowed map[string]bool) (map[string]string, records.Stats) {
	trie := records.New()
	j := newJoin(trie, false, allowed != nil)
	u := trie.Update()
	for _, objects := range w {
		for _, o := range objects {
			j.set(u, o)
		}
	}
	for ns, ok := range allowed {
		if ok {
			j.set(u, &object.Namespace{Key: object.Key{Name: ns}})
		}
	}
	u.Commit()
	j.start()
	return answers(trie), trie.Stats()
}

// TestJoinOrder feeds random events to a join, in batches of random size, and
// compares it after each with a join that sees the same objects for the first
// time.
func TestJoinOrder(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		trie := records.New()
		i := &Informer{join: newJoin(trie, false, seed%2 == 0), hooks: quietHooks(), synced: make(chan struct{}), missing: map[object.Origin]bool{}}
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

// drawEvent changes the world and returns the event that tells of it: an object
// that comes or changes, one that goes, a namespace that is served or is not any
// more, or a list after events were missed.
func drawEvent(rng *rand.Rand, w world, allowed map[string]bool) event {
	switch n := rng.IntN(10); {
	case n == 0:
		kind := object.Kind(rng.IntN(3))
		list := world{}
		for range rng.IntN(12) {
			if k, o := draw(rng); k == kind {
				list.set(k, o)
			}
		}
		w[kind] = list[kind]
		return event{Origin: object.Origin{Kind: kind}, list: true, objects: slices.Collect(maps.Values(list[kind]))}
	case n == 1 && allowed != nil:
		ns := []string{"default", "prod"}[rng.IntN(2)]
		if allowed[ns] = !allowed[ns]; allowed[ns] {
			return event{Origin: object.Origin{Kind: object.Namespaces}, object: &object.Namespace{Key: object.Key{Name: ns}}}
		}
		return event{Origin: object.Origin{Kind: object.Namespaces}, key: object.Key{Name: ns}}
	case n < 4:
		kind := object.Kind(rng.IntN(3))
		for k := range w[kind] {
			delete(w[kind], k)
			return event{Origin: object.Origin{Kind: kind}, key: k}
		}
		return event{Origin: object.Origin{Kind: kind}, key: object.Key{Namespace: "default", Name: "never-seen"}}
	}
	kind, o := draw(rng)
	w.set(kind, o)
	return event{Origin: object.Origin{Kind: kind}, object: o}
}

// TestJoinHostnameLabel has a Service that selects the hostname of a pod, which
// then gets another: its labels are then others, though its template is not.
func TestJoinHostnameLabel(t *testing.T) {
	i := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
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
		if got := answer(i.join.trie, nginxName, dns.TypeA); got != step.want {
			t.Errorf("with hostname %q the service has %q, want %q", step.hostname, got, step.want)
		}
	}
}

// TestJoinTargets has pods whose containers give one name to different ports. What a
// batch remembers of these is forgotten after it, at the start and later.
func TestJoinTargets(t *testing.T) {
	i := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	batch := []event{eventOf(object.NewService(fixture.Nginx(func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("http") })))}
	var want []string
	for n := range 20 {
		batch = append(batch, eventOf(object.NewPod(fixture.Web(n, func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = int32(8000 + n) }))))
		want = append(want, fmt.Sprintf("0 5 %d web-%d.%s", 8000+n, n, nginxName))
	}
	i.apply(batch)
	if got := answer(i.join.trie, "_web._tcp."+nginxName, dns.TypeSRV); got != strings.Join(want, ", ") {
		t.Errorf("the port is %q, want %q", got, want)
	}
	for _, again := range [][]event{nil, batch[:1], batch[1:], {eventOf(object.NewPod(fixture.Web(7)))}} {
		i.apply(again)
		if s := i.join.namespaces["default"].services["nginx"]; s.resolved != nil || len(i.join.resolved) > 0 {
			t.Errorf("after %d events, the ports of %d templates are remembered", len(again), len(s.resolved))
		}
	}
}

// TestJoinManyPorts has a service of many ports, whose pods give other numbers to
// one of them. More such pods than a service has lists of ports keep their addresses,
// and the order in which they come does not matter.
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
	i := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	i.apply([]event{eventOf(service), eventOf(pod(0)), eventOf(pod(1))})
	if got, want := answer(i.join.trie, "_web._tcp."+nginxName, dns.TypeSRV), "0 50 8000 web-0."+nginxName+", 0 50 8001 web-1."+nginxName; got != want {
		t.Errorf("the port is %q, want %q", got, want)
	}
	if got, want := answer(i.join.trie, "_p7._udp."+nginxName, dns.TypeSRV), "0 50 1007 web-0."+nginxName+", 0 50 1007 web-1."+nginxName; got != want {
		t.Errorf("the other port is %q, want %q", got, want)
	}
	if got := answer(i.join.trie, "_none._tcp."+nginxName, dns.TypeSRV); got != "missing" {
		t.Errorf("a port that no container has is %q", got)
	}

	var all, back []event
	for n := range pods {
		all, back = append(all, eventOf(pod(n))), append([]event{eventOf(pod(n))}, back...)
	}
	i.apply(all)
	other := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	for _, e := range append(back, eventOf(service)) {
		other.apply([]event{e})
	}
	for _, name := range []string{nginxName, "_web._tcp." + nginxName, "_p7._udp." + nginxName} {
		if got := strings.Count(answer(i.join.trie, name, dns.TypeA), "10.244.0."); name == nginxName && got != pods {
			t.Errorf("the service has %d addresses, want %d", got, pods)
		}
		got, want := answer(other.join.trie, name, dns.TypeSRV), answer(i.join.trie, name, dns.TypeSRV)
		if got != want || !strings.Contains(got, "web-") {
			t.Errorf("%s is %q or %q, by the order of the pods", name, got, want)
		}
	}
}

// TestJoinSlice changes a slice in one endpoint, its ports and its service.
func TestJoinSlice(t *testing.T) {
	i := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
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
		if got := answer(i.join.trie, nginxName, dns.TypeA); got != step.want {
			t.Errorf("the service has %q, want %q", got, step.want)
		}
		if got := answer(i.join.trie, "_web._tcp."+nginxName, dns.TypeSRV); !strings.HasPrefix(got, step.srv) {
			t.Errorf("the port is %q, want %q first", got, step.srv)
		}
	}
}

// TestQueue checks that a queue goes on with the memory of events drained before,
// and holds on to none of them.
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
				t.Errorf("drain %d holds on to %v", n, e.object.ID())
			}
		}
	}
	if many := q.drain(make([]event, 5000)); len(many) > 0 || cap(q.events) > 0 {
		t.Errorf("an empty queue gives %d events and keeps room for %d", len(many), cap(q.events))
	}
}

// TestStartPortions starts with more pods than are put into the trie at a time.
func TestStartPortions(t *testing.T) {
	i := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
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
	if got := i.join.trie.Stats(); got != want || published != 4 {
		t.Errorf("%d services are published, and the trie counts %+v, want 4 and %+v", published, got, want)
	}
}

// A join that lost every object holds nothing.
func TestJoinForgets(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	trie := records.New()
	i := &Informer{join: newJoin(trie, false, false), hooks: quietHooks(), synced: make(chan struct{}), missing: map[object.Origin]bool{}}
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
	if len(i.join.namespaces) != 0 {
		t.Errorf("the join still holds %v", i.join.namespaces)
	}
	if got := trie.Stats(); got != (records.Stats{}) {
		t.Errorf("the trie still holds %+v", got)
	}
}

// TestJoinIsReadBesideWriter looks up objects, as decoders and the snapshot do, while the
// last service of a namespace comes and goes.
func TestJoinIsReadBesideWriter(t *testing.T) {
	i, _ := newWorld(1)
	service := object.NewService(fixture.Nginx(func(s *corev1.Service) { s.Namespace = "tenant" }))
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				i.join.known(service)
				i.join.objects()
				i.join.handmadeIn("")
			}
		})
	}
	for range 2000 {
		i.apply([]event{eventOf(service)})
		i.apply([]event{{Origin: object.Origin{Kind: object.Services}, key: service.Key}})
	}
	stop.Store(true)
	readers.Wait()
	if m := i.join.namespaces["tenant"]; m != nil {
		t.Error("an empty namespace is kept")
	}
}

// TestRestoreByOrigin restores a snapshot when some lists are there. The slices that the
// controller leaves are listed apart from those of others.
func TestRestoreByOrigin(t *testing.T) {
	left := object.NewEndpointSlice(fixture.Slice("left", discoveryv1.Endpoint{Addresses: []string{"10.244.0.7"}}))
	left.Controlled = true
	other := object.NewEndpointSlice(fixture.Slice("other", discoveryv1.Endpoint{Addresses: []string{"10.244.0.8"}}))
	var objects [object.Kinds][]object.Object
	objects[object.EndpointSlices] = []object.Object{left, other}
	for missing, want := range map[object.Kind][]string{object.LeftoverSlices: {"left"}, object.EndpointSlices: {"other"}} {
		i := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), missing: map[object.Origin]bool{{Kind: missing}: true}}
		i.restore(i.join.trie.Update(), &objects)
		var got []string
		for _, o := range i.join.objects() {
			got = append(got, o.ID().Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("without the list of %v %d, the snapshot gives %q, want %q", missing, missing, got, want)
		}
	}
}

// TestBrokenAfterSound has a Service that can't be decoded any more behind the same one
// in one batch: it is broken then, not before.
func TestBrokenAfterSound(t *testing.T) {
	i, _ := newWorld(1)
	i.damage.hook = func(object.Kind, int) {}
	service := object.NewService(fixture.Nginx())
	i.apply([]event{
		{Origin: object.Origin{Kind: object.Services}, object: service},
		{Origin: object.Origin{Kind: object.Services}, object: &object.Broken{Key: service.Key, Err: errors.New("cut short")}},
	})
	if !i.damage.any(object.Services) {
		t.Error("the Service counts as sound")
	}
}
