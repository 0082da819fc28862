package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/headless-dns/headless/internal/apiserver"
)

// diffCluster is a random cluster: a namespace with a few services, pods and
// EndpointSlices. The seed alone determines it and its changes.
type diffCluster struct {
	seed      uint64
	rand      *rand.Rand
	namespace string
	// subnet is two octets of the addresses, which differ from those of every other
	// cluster in the same API server.
	subnet   [2]byte
	starting bool // few pods are ready, and many have the same hostname
	services []*corev1.Service
	pods     []*corev1.Pod
	nodes    []*corev1.Node // only with the option "zonal"
	// manual are the slices without a controller, controlled those of the EndpointSlice
	// controller.
	manual, controlled []*discoveryv1.EndpointSlice
}

// diffLong is a label of 63 characters, the maximum.
var diffLong = strings.Repeat("long-label-", 5) + "longlong"

// The names are few, so that they collide: services that are the subdomain of pods,
// hostnames that several pods share or that look like an address, and labels with a
// meaning elsewhere in the zone.
var (
	diffServiceNames = []string{"db", "web", "0a", "a-b-c", "tcp", "svc", "any", "pod", "peer", diffLong}
	diffPodNames     = []string{"db-0", "db-1", "db-2", "web-0", "web-1", "0", "peer", "x-7d4b9c", "job", "node-a", "a"}
	diffPortNames    = []string{"web", "http", "db", "p1", "dns-tcp", "tcp"}
	// diffWideNames are the port names of services with many ports. Headless stores the
	// ports of an endpoint differently if there are more than 16.
	diffWideNames = diffNumbered("w", 40)
	diffTargets   = []string{"http", "metrics", "dns"}
	diffProtocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
)

func diffNumbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(prefix, i)
	}
	return out
}

func diffNewCluster(seed uint64) *diffCluster {
	c := &diffCluster{
		seed:      seed,
		rand:      rand.New(rand.NewPCG(seed, 0)),
		namespace: fmt.Sprint("ns-", seed),
		subnet:    [2]byte{byte(seed >> 8), byte(seed)},
	}
	if c.chance(10) { // starts with a digit and has the maximum length
		c.namespace = fmt.Sprintf("%d-%s", seed, diffLong)[:63]
	}
	c.starting = c.chance(30)
	c.addNodes()
	for i, n := 0, 1+c.rand.IntN(4); i < n; i++ {
		c.addService()
	}
	for i, n := 0, c.rand.IntN(9); i < n; i++ {
		c.addPod()
	}
	for i, n := 0, c.rand.IntN(4); i < n || i < 4 && c.options().zonal; i++ {
		c.addSlice(fmt.Sprint("manual-", i))
	}
	c.control()
	return c
}

func (c *diffCluster) chance(percent int) bool { return c.rand.IntN(100) < percent }

func diffPick[T any](c *diffCluster, from ...T) T { return from[c.rand.IntN(len(from))] }

func (c *diffCluster) addService() {
	name := diffPick(c, diffServiceNames...)
	if slices.ContainsFunc(c.services, func(s *corev1.Service) bool { return s.Name == name }) {
		return
	}
	c.services = append(c.services, c.newService(name))
}

func (c *diffCluster) addPod() {
	name := diffPick(c, diffPodNames...)
	if slices.ContainsFunc(c.pods, func(p *corev1.Pod) bool { return p.Name == name }) {
		return
	}
	c.pods = append(c.pods, c.newPod(name))
}

func (c *diffCluster) addSlice(name string) {
	if slices.ContainsFunc(c.manual, func(s *discoveryv1.EndpointSlice) bool { return s.Name == name }) {
		return
	}
	c.manual = append(c.manual, c.newSlice(name))
}

// diffOptions are the options of headless that clusters differ in.
type diffOptions struct {
	slices    bool // endpoints slices
	addressed bool // hosts addressed
	bare      bool // denial with bare
	zonal     bool // of both plugins
}

// options returns the options of the server for the cluster. One cluster in four has each of
// them, independently of the others.
func (c *diffCluster) options() diffOptions {
	return diffOptions{slices: c.seed%4 == 1, addressed: c.seed/4%4 == 1, bare: c.seed/16%4 == 1, zonal: c.seed/64%4 == 1}
}

// diffAllOptions returns each combination of options.
func diffAllOptions() []diffOptions {
	var out []diffOptions
	for _, slices := range []bool{false, true} {
		for _, addressed := range []bool{false, true} {
			for _, bare := range []bool{false, true} {
				for _, zonal := range []bool{false, true} {
					out = append(out, diffOptions{slices, addressed, bare, zonal})
				}
			}
		}
	}
	return out
}

// control simulates the EndpointSlice controller. It keeps the slices of a service that
// has lost its selector.
func (c *diffCluster) control() {
	before := c.controlled
	c.controlled = nil
	for _, svc := range c.services {
		if len(svc.Spec.Selector) == 0 {
			for _, s := range before {
				if s.Labels[discoveryv1.LabelServiceName] == svc.Name {
					c.controlled = append(c.controlled, s)
				}
			}
		}
		c.controlled = append(c.controlled, diffControlled(c.rand, svc, c.pods, c.nodes)...)
	}
}

func (c *diffCluster) objects() []apiserver.Object {
	out := []apiserver.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}}
	for _, o := range c.nodes {
		out = append(out, o)
	}
	for _, o := range c.services {
		out = append(out, o)
	}
	for _, o := range c.pods {
		out = append(out, o)
	}
	for _, o := range c.slices() {
		out = append(out, o)
	}
	return out
}

// slices returns all slices. Endpoints of a service with publishNotReadyAddresses are
// ready in manual slices, too. If they were not, headless would serve them and kubernetes
// would not; the corpus has that case.
func (c *diffCluster) slices() []*discoveryv1.EndpointSlice {
	out := append(slices.Clone(c.manual), c.controlled...)
	for i, s := range out {
		if slices.ContainsFunc(c.services, func(svc *corev1.Service) bool {
			return svc.Spec.PublishNotReadyAddresses && svc.Name == s.Labels[discoveryv1.LabelServiceName]
		}) {
			out[i] = s.DeepCopy()
			for k := range out[i].Endpoints {
				out[i].Endpoints[k].Conditions.Ready = nil
			}
		}
	}
	return out
}

// change changes c and returns the events of the change in random order. A service may
// come after its pods, a slice before its service, and a new pod may get an address
// before the old pod is gone.
func (c *diffCluster) change() []apiserver.Change {
	before := c.objects()
	c.services = diffChangeEach(c, c.services, c.changedService)
	if c.chance(30) || len(c.services) == 0 {
		c.addService()
	}
	c.pods = diffChangeEach(c, c.pods, c.changedPod)
	c.changeNodes()
	c.manual = diffChangeEach(c, c.manual, func(old *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice { return c.newSlice(old.Name) })
	for range c.rand.IntN(3) {
		c.addPod()
	}
	if c.chance(30) {
		c.addSlice(fmt.Sprint("manual-", c.rand.IntN(4)))
	}
	c.control()
	return c.events(before, c.objects())
}

// events returns the events that lead from some objects to others, in random order.
func (c *diffCluster) events(before, after []apiserver.Object) []apiserver.Change {
	key := func(o apiserver.Object) string { return fmt.Sprintf("%T/%s", o, o.GetName()) }
	old := make(map[string]apiserver.Object)
	for _, o := range before {
		old[key(o)] = o
	}
	// The events of one object keep their order; those of different objects are shuffled.
	var events [][]apiserver.Change
	for _, o := range after {
		was := old[key(o)]
		delete(old, key(o))
		switch {
		case was == o:
		case was != nil && c.chance(20): // a watch sees the deletion
			events = append(events, []apiserver.Change{{Object: was, Gone: true}, {Object: o}})
		default:
			events = append(events, []apiserver.Change{{Object: o}})
		}
	}
	for _, o := range before { // not in the map's order, so that a seed is reproducible
		if old[key(o)] != nil {
			events = append(events, []apiserver.Change{{Object: o, Gone: true}})
		}
	}
	var out []apiserver.Change
	for len(events) > 0 {
		i := c.rand.IntN(len(events))
		out = append(out, events[i][0])
		if events[i] = events[i][1:]; len(events[i]) == 0 {
			events = slices.Delete(events, i, i+1)
		}
	}
	return out
}

// diffChangeEach keeps half of the objects, changes or recreates some, and deletes the rest.
func diffChangeEach[T metav1.Object](c *diffCluster, objects []T, change func(old T) T) []T {
	var out []T
	for _, o := range objects {
		switch dice := c.rand.IntN(100); {
		case dice < 50:
			out = append(out, o)
		case dice < 85:
			out = append(out, change(o))
		}
	}
	return out
}

// String returns the options and the manifests of the cluster.
func (c *diffCluster) String() string {
	return fmt.Sprintf("# %+v\n", c.options()) + diffManifests(c.objects()[1:])
}

func diffManifests(objects []apiserver.Object) string {
	var b strings.Builder
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			return err.Error()
		}
		fmt.Fprintf(&b, "--- # %T\n%s", o, text)
	}
	return b.String()
}
