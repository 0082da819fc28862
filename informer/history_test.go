package informer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
)

// history is a series of steps: what happens to a cluster and to its watches. The steps are
// independent of each other, so a history without some steps is still a history. So shrink
// can remove the steps that a failure does not need.
type history struct {
	podNames, selectNamespaces, addressed, zonal bool
	steps                                        []step
}

type step struct {
	op   op
	kind object.Kind
	name int    // of the object: an index into the names
	seed uint64 // of its content
}

type op uint8

const (
	changed    op = iota // an object is added, changed, or replaced under its name
	deleted              // it is deleted
	repeated             // an event arrives a second time
	unwatched            // the watch ends; the changes that follow are missed
	relisted             // everything is listed, and watched from now on
	rolledBack           // an old state is listed: the API server was restored from a backup
	drained              // the events so far are published and compared
	ops
)

func (s step) String() string {
	name := [ops]string{"changed", "deleted", "repeated", "unwatched", "relisted", "rolledBack", "drained"}[s.op]
	kind := [object.Kinds]string{"Services", "Pods", "EndpointSlices", "Namespaces", "Nodes"}[s.kind]
	return fmt.Sprintf("{%s, %s, %d, %d}", name, kind, s.name, s.seed)
}

func (h *history) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "history{%t, %t, %t, %t, []step{\n", h.podNames, h.selectNamespaces, h.addressed, h.zonal)
	for _, s := range h.steps {
		fmt.Fprintf(&b, "\t%v,", s)
		if s.op == changed {
			fmt.Fprintf(&b, " // %s", sketch(build(s.kind, s.name, s.seed)))
		}
		b.WriteByte('\n')
	}
	b.WriteString("}}")
	return b.String()
}

// The clusters are small, so that objects affect each other.
var (
	namespacesOf = []string{"default", "prod"}
	services     = []string{"nginx", "db", "web"}
	podsOf       = []string{"web-0", "web-1", "web-2", "web-3", "web-4"}
	hostnames    = []string{"web-0", "web-1", "web-2", ""}
	addresses4   = 6
	addresses6   = 3
	nodes        = []string{"node-0", "node-1", "node-2"}
	zones        = []string{"eu-1a", "eu-1b"}
)

// objectNames is the number of names for objects of each kind.
var objectNames = [object.Kinds]int{
	object.Services:       len(namespacesOf) * len(services),
	object.Pods:           len(namespacesOf) * len(podsOf),
	object.EndpointSlices: len(namespacesOf) * 3,
	object.Namespaces:     len(namespacesOf),
	object.Nodes:          len(nodes),
}

func keyOf(kind object.Kind, name int) object.Key {
	if kind == object.Nodes {
		return object.Key{Name: nodes[name]}
	}
	ns := namespacesOf[name%len(namespacesOf)]
	n := name / len(namespacesOf)
	switch kind {
	case object.Services:
		return object.Key{Namespace: ns, Name: services[n]}
	case object.Pods:
		return object.Key{Namespace: ns, Name: podsOf[n]}
	case object.EndpointSlices:
		return object.Key{Namespace: ns, Name: fmt.Sprint("slice-", n)}
	default:
		return object.Key{Name: ns}
	}
}

// build makes an object. The same arguments make the same object.
func build(kind object.Kind, name int, seed uint64) kruntime.Object {
	rng := rand.New(rand.NewPCG(seed, uint64(kind)))
	k := keyOf(kind, name)
	meta := metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name, UID: types.UID(fmt.Sprint(seed)), ResourceVersion: "1"}
	pick := func(from []string) string { return from[rng.IntN(len(from))] }
	rarely := func() bool { return rng.IntN(8) == 0 }
	switch kind {
	case object.Services:
		s := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
			ClusterIP:  corev1.ClusterIPNone,
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Selector:   map[string]string{"app": pick(services)},
			Ports:      []corev1.ServicePort{{Name: "web", Port: 80, Protocol: corev1.ProtocolTCP}},
		}}
		switch rng.IntN(13) {
		case 0:
			s.Spec.Selector = nil
		case 9:
			s.Spec.Selector = map[string]string{"host": pick(hostnames)}
		case 1:
			s.Spec.Selector["tier"] = "front"
		case 2:
			s.Spec.ClusterIP = "10.96.0.1"
		case 3:
			s.Spec.PublishNotReadyAddresses = true
		case 4:
			s.Spec.Ports[0].TargetPort = intstr.FromString("http")
		case 5:
			s.Spec.IPFamilies[0] = corev1.IPv6Protocol
		case 6:
			s.Spec.IPFamilies = append(s.Spec.IPFamilies, corev1.IPv6Protocol)
		case 7:
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "peer", Port: 7000, Protocol: corev1.ProtocolUDP})
		case 8:
			s.Spec.Ports = nil
		case 10, 11: // as many as pods share
			for i := range int32(17) {
				s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint("p", i), Port: 7000 + i, Protocol: corev1.ProtocolTCP})
			}
			s.Spec.Ports[5].TargetPort = intstr.FromString([]string{"http", "none"}[rng.IntN(2)])
		}
		if rng.IntN(3) == 0 {
			s.Annotations = map[string]string{"headless-dns.github.io/hosts": []string{"addressed", "addressed", "ready", "Addressed"}[rng.IntN(4)]}
		}
		return s
	case object.Pods:
		p := &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{
			Hostname: pick(hostnames), Subdomain: pick(services),
			Containers: []corev1.Container{{Ports: []corev1.ContainerPort{
				{Name: "http", ContainerPort: 8080 + rng.Int32N(2), Protocol: corev1.ProtocolTCP},
			}}},
		}, Status: corev1.PodStatus{
			Phase:      corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		}}
		p.Labels = map[string]string{"app": pick(services), "tier": pick([]string{"front", "back"}), "host": p.Spec.Hostname}
		p.Spec.NodeName = pick(append(nodes, "", "node-7"))
		if rarely() {
			p.Labels[corev1.LabelTopologyZone] = pick(zoneLabels)
		}
		if !rarely() {
			p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: address4(rng.IntN(addresses4))})
			if rng.IntN(2) == 0 {
				p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: address6(rng.IntN(addresses6))})
			}
		}
		if rng.IntN(4) == 0 {
			fixture.NotReady(p)
		}
		if rarely() {
			fixture.Terminating(p)
		}
		if rarely() {
			p.Status.Phase = corev1.PodSucceeded
		}
		return p
	case object.EndpointSlices:
		s := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4}
		s.Labels = map[string]string{discoveryv1.LabelServiceName: pick(services)}
		if rng.IntN(3) == 0 {
			s.Labels[discoveryv1.LabelManagedBy] = "endpointslice-controller.k8s.io"
		}
		s.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("web"), Port: ptr.To(80 + rng.Int32N(2)), Protocol: ptr.To(corev1.ProtocolTCP)}}
		if rarely() {
			for i := range int32(17) {
				s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: ptr.To(fmt.Sprint("p", i)), Port: ptr.To(7000 + i), Protocol: ptr.To(corev1.ProtocolTCP)})
			}
		}
		for range rng.IntN(4) {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
				Addresses:  []string{address4(rng.IntN(addresses4))},
				Hostname:   ptr.To(hostnames[rng.IntN(2)]),
				Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(rng.IntN(3) > 0)},
			})
			if rng.IntN(2) == 0 {
				s.Endpoints[len(s.Endpoints)-1].Zone = ptr.To(pick(zoneLabels))
			}
		}
		return s
	case object.Nodes:
		n := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: k.Name, ResourceVersion: fmt.Sprint(1 + seed)}}
		if !rarely() {
			n.Labels = map[string]string{"other": fmt.Sprint(seed), corev1.LabelTopologyZone: pick(zoneLabels)}
		}
		return n
	default:
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: k.Name, ResourceVersion: "1"}}
	}
}

// zoneLabels are values of zone labels, some of which name no zone.
var zoneLabels = append(zones, "EU-1A", "", strings.Repeat("z", 64))

func address4(n int) string { return fmt.Sprint("10.244.0.", 1+n) }
func address6(n int) string { return fmt.Sprint("fd00::", 1+n) }

// sketch formats an object on one line.
func sketch(o kruntime.Object) string {
	switch o := o.(type) {
	case *corev1.Service:
		return fmt.Sprintf("%s/%s clusterIP %s selector %v families %v ports %d publish %t %v", o.Namespace, o.Name,
			o.Spec.ClusterIP, o.Spec.Selector, o.Spec.IPFamilies, len(o.Spec.Ports), o.Spec.PublishNotReadyAddresses, o.Annotations)
	case *corev1.Pod:
		return fmt.Sprintf("%s/%s on %s labels %v host %s.%s IPs %v ready %s terminating %t %s", o.Namespace, o.Name, o.Spec.NodeName, o.Labels, o.Spec.Hostname,
			o.Spec.Subdomain, o.Status.PodIPs, o.Status.Conditions[0].Status, o.DeletionTimestamp != nil, o.Status.Phase)
	case *discoveryv1.EndpointSlice:
		return fmt.Sprintf("%s/%s of %v with %d endpoints", o.Namespace, o.Name, o.Labels, len(o.Endpoints))
	case *corev1.Namespace:
		return o.Name
	case *metav1.PartialObjectMetadata:
		return fmt.Sprint(o.Name, o.Labels)
	}
	return ""
}

// drawHistory draws a history of n steps. It begins with a few objects and the lists of all
// kinds, in some order.
func drawHistory(rng *rand.Rand, n int) *history {
	h := &history{podNames: rng.IntN(4) == 0, selectNamespaces: rng.IntN(4) == 0, addressed: rng.IntN(4) == 0, zonal: rng.IntN(2) == 0}
	watched := newModel(h).watched()
	draw := func() step {
		s := step{op: changed, kind: watched[rng.IntN(len(watched))], seed: rng.Uint64N(1 << 32)}
		if rng.IntN(3) > 0 {
			s.kind = object.Pods // most events are of pods, as in a cluster
		}
		if rng.IntN(3) == 0 {
			s.op = deleted
		}
		s.name = rng.IntN(objectNames[s.kind])
		return s
	}
	for range rng.IntN(20) {
		h.steps = append(h.steps, draw())
	}
	for _, i := range rng.Perm(len(watched)) {
		h.steps = append(h.steps, step{op: relisted, kind: watched[i]})
		if rng.IntN(2) == 0 {
			h.steps = append(h.steps, draw(), step{op: drained})
		}
	}
	often := 2 + rng.IntN(40) // steps to a drain
	for len(h.steps) < n {
		switch s := draw(); {
		case rng.IntN(often) == 0:
			h.steps = append(h.steps, step{op: drained})
		case rng.IntN(40) == 0:
			s.op = unwatched
			h.steps = append(h.steps, s)
		case rng.IntN(30) == 0:
			s.op = relisted
			if rng.IntN(8) == 0 {
				s.op = rolledBack
			}
			h.steps = append(h.steps, s)
		case rng.IntN(10) == 0:
			s.op = repeated
			h.steps = append(h.steps, s)
		default:
			h.steps = append(h.steps, s)
		}
	}
	h.steps = append(h.steps, step{op: drained})
	return h
}

// play plays a history and calls look at each drain, which must apply the batch. It stops
// at the first error.
func (h *history) play(t testing.TB, p *pipeline, look func() error) error {
	var watching [object.Kinds]bool
	truth := newModel(h)
	old := truth.clone()
	for i, s := range h.steps {
		k := keyOf(s.kind, s.name)
		now, received := truth.objects[s.kind], p.expected.objects[s.kind]
		switch s.op {
		case changed:
			o := build(s.kind, s.name, s.seed)
			if now[k] = o; watching[s.kind] {
				received[k] = o
				p.batch = append(p.batch, event{Origin: object.Origin{Kind: s.kind}, object: p.decode(t, o)})
			}
		case deleted:
			delete(now, k)
			if watching[s.kind] {
				delete(received, k)
				p.batch = append(p.batch, event{Origin: object.Origin{Kind: s.kind}, key: k})
			}
		case repeated:
			if !watching[s.kind] {
				break
			}
			e := event{Origin: object.Origin{Kind: s.kind}, key: k}
			if o := now[k]; o != nil {
				e.object = p.decode(t, o)
			}
			p.batch = append(p.batch, e)
		case unwatched:
			if watching[s.kind] {
				watching[s.kind] = false
				old = truth.clone()
			}
		case relisted, rolledBack:
			listed := now
			if s.op == rolledBack {
				// The old state is listed, and the watch continues from there.
				listed = maps.Clone(old.objects[s.kind])
				truth.objects[s.kind] = listed
			}
			p.expected.objects[s.kind] = maps.Clone(listed)
			p.expected.listed[s.kind] = true
			watching[s.kind] = true
			e := event{Origin: object.Origin{Kind: s.kind}, list: true}
			for _, o := range listed {
				e.objects = append(e.objects, p.decode(t, o))
			}
			p.batch = append(p.batch, e)
		case drained:
			if err := look(); err != nil {
				return fmt.Errorf("step %d: %w", i, err)
			}
		}
	}
	return nil
}

// questions are all names and types that can have records.
var questions = func() []question {
	var out []question
	for _, ns := range namespacesOf {
		for _, service := range services {
			base := fmt.Sprintf("%s.%s.svc.cluster.local.", service, ns)
			hosts := slices.Concat([]string{""}, hostnames[:len(hostnames)-1], podsOf[3:])
			for i := range addresses4 {
				hosts = append(hosts, dashes.Replace(address4(i)))
			}
			for i := range addresses6 {
				hosts = append(hosts, dashes.Replace(address6(i)))
			}
			for _, host := range hosts {
				name := base
				if host != "" {
					name = host + "." + base
				}
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
					out = append(out, question{name: name, service: object.Key{Namespace: ns, Name: service}, host: host, qtype: qtype})
				}
			}
			for _, port := range []string{"web tcp", "peer udp"} {
				name, protocol, _ := strings.Cut(port, " ")
				out = append(out, question{name: fmt.Sprintf("_%s._%s.%s", name, protocol, base), service: object.Key{Namespace: ns, Name: service},
					port: name, protocol: protocol, qtype: dns.TypeSRV})
			}
			for i, zone := range zones {
				mode := []string{"pin", "prefer"}[i]
				q := question{name: fmt.Sprintf("%s.%s._zone.%s", zone, mode, base), service: object.Key{Namespace: ns, Name: service}, zone: zone, prefer: i > 0}
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
					q.qtype = qtype
					out = append(out, q)
				}
				q.name, q.protocol, q.port = "_web._tcp."+q.name, "tcp", "web"
				out = append(out, q)
			}
		}
	}
	reverse := func(address string) {
		name, err := dns.ReverseAddr(address)
		if err != nil {
			panic(err)
		}
		out = append(out, question{name: name, addr: netip.MustParseAddr(address), qtype: dns.TypePTR})
	}
	for i := range addresses4 {
		reverse(address4(i))
	}
	for i := range addresses6 {
		reverse(address6(i))
	}
	return out
}()

// check plays a history and compares every name with the model at each drain.
func (h *history) check(t testing.TB) error {
	p := newPipeline(h)
	return h.play(t, p, func() error {
		p.apply(p.batch)
		p.batch = nil
		s := p.expected.state()
		for i := range questions {
			q := &questions[i]
			if got, want := ask(p.joiner.trie, q), s.answer(q); got != want {
				return fmt.Errorf("%s %s is %q, want %q", q.name, dns.TypeToString[q.qtype], got, want)
			} else if want != "missing" || q.host == "" || q.qtype != dns.TypeA {
				continue
			}
			if got, want := denialOf(p.joiner.trie, q.name), p.expected.denial(q.service, q.host); got != want {
				return fmt.Errorf("%s is missing because of %q, want %q", q.name, got, want)
			}
		}
		return nil
	})
}

// shrink removes from a failing history the steps that it does not need to fail: large
// parts first, then single steps.
func (h *history) shrink(fails func(*history) bool) *history {
	small := *h
	for size := len(small.steps) / 2; size > 0; {
		shrunk := false
		for at := 0; at < len(small.steps); {
			less := small
			less.steps = slices.Delete(slices.Clone(small.steps), at, min(at+size, len(small.steps)))
			if fails(&less) {
				small, shrunk = less, true
			} else {
				at += size
			}
		}
		if size > 1 || !shrunk {
			size /= 2
		}
	}
	return &small
}

// Histories are drawn from a seed, which a failure prints.
const eventsVariable, seedVariable = "HISTORY_EVENTS", "HISTORY_SEED"

func numberFrom(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", variable, text)
	}
	return n
}

const (
	historyEvents = 400_000 // by default
	historySteps  = 2000    // of one history
)

// TestHistory plays random histories of a watched cluster.
func TestHistory(t *testing.T) {
	events, seed := numberFrom(t, eventsVariable, historyEvents), numberFrom(t, seedVariable, 1)
	var next, played atomic.Uint64
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for n := next.Add(1); n <= (events+historySteps-1)/historySteps && !t.Failed(); n = next.Add(1) {
				h := drawHistory(rand.New(rand.NewPCG(seed, n)), historySteps)
				if err := h.check(t); err != nil {
					small := h.shrink(func(h *history) bool { return h.check(t) != nil })
					t.Errorf("%s=%d, history %d: %v\nthe shortest history that fails: %v\n%v", seedVariable, seed, n, err, small.check(t), small)
					return
				}
				played.Add(uint64(len(h.steps)))
			}
		})
	}
	wait.Wait()
	t.Logf("%d events from seed %d", played.Load(), seed)
}

// TestShrink checks that a shrunk history has exactly the steps that it needs to fail.
func TestShrink(t *testing.T) {
	h := drawHistory(rand.New(rand.NewPCG(1, 1)), 500)
	needed := []step{h.steps[17], h.steps[230], h.steps[400]}
	small := h.shrink(func(h *history) bool {
		rest := h.steps
		for _, s := range needed {
			i := slices.Index(rest, s)
			if i < 0 {
				return false
			}
			rest = rest[i+1:]
		}
		return true
	})
	if !slices.Equal(small.steps, needed) {
		t.Errorf("the history is %v, want %v", small, needed)
	}
}
