package informer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
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

// testZones are the zones of the tests: of the cluster, an external one and that of a clusterset.
var testZones = records.NewZones([]string{"cluster.local."}).WithExternal("example.org.").WithClustersets("clusterset.local.")

const clustersetSuffix = ".clusterset.local."

// find looks up a name of the test zones, or a reverse name.
func find(trie *records.Trie, name string) (records.Node, records.Result) {
	var n records.Name
	n.Fold(name)
	if addr, ok := n.Reverse(); ok {
		return trie.FindAddr(addr)
	}
	return trie.Find(&n, testZones.Match(name))
}

// answer returns the records of a name and type, without TTL and sorted, or the outcome if
// there are none.
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

// eventOf returns the event of an object that is added or changed.
func eventOf(o object.Object) event {
	e := event{object: o}
	switch o.(type) {
	case *object.Service:
		e.Kind = object.Services
	case *object.Pod:
		e.Kind = object.Pods
	case *object.EndpointSlice, *object.ServiceImport:
		e.Kind = object.KindOf(o)
	case *object.Namespace:
		e.Kind = object.Namespaces
	case *object.Node:
		e.Kind = object.Nodes
	}
	return e
}

// quietHooks returns hooks that do nothing.
func quietHooks() Hooks {
	return Hooks{
		Synced:    func(records.Stats) {},
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

// draw makes a random object. It has few names and addresses, so that objects affect each
// other.
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
			case 6:
				s.Annotations = map[string]string{object.HostsAnnotation: "addressed"}
			case 7:
				s.Annotations = map[string]string{object.ExternalAnnotation: "true"}
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

// drawEndpoints makes up to three endpoints, two of which may be equal.
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

// answers queries every name that draw can make.
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
			ask(fmt.Sprintf("%s.%s.example.org.", app, ns), dns.TypeA, dns.TypeSRV)
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

// joined returns the answers and statistics of a joiner that gets all objects of a world
// at once.
func (w world) joined(allowed map[string]bool) (map[string]string, records.Stats) {
	trie := records.New()
	j := newJoiner(trie, false, allowed != nil)
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

// drawEvent changes the world and returns the event for it: an object that is added,
// changed or deleted, a namespace that is served or no longer served, or a list after
// missed events.
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
