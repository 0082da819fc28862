package informer

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// clientAt describes the client that has an address, or returns "".
func (i *Informer) clientAt(addr string) string {
	c, ok := i.Client(netip.MustParseAddr(addr))
	if !ok {
		return ""
	}
	out := c.Namespace() + "/" + c.Pod()
	if c.Pod() == "" {
		out = "node"
	}
	if node, zone := c.Node(), c.Zone(); node+zone != "" {
		out += " on " + node + " in " + zone
	}
	for key, value := range c.Labels {
		out += " " + key + "=" + value
	}
	return out
}

// clientAt describes the client that has an address by the rules.
func (m *model) clientAt(addr string) string {
	for _, k := range m.watched() {
		if !m.listed[k] {
			return ""
		}
	}
	var pods, hosts []*corev1.Pod
	for _, o := range m.objects[object.Pods] {
		pod := o.(*corev1.Pod)
		switch {
		case pod.Status.Phase == corev1.PodSucceeded || !slices.Contains(pod.Status.PodIPs, corev1.PodIP{IP: addr}):
		case pod.Spec.HostNetwork:
			hosts = append(hosts, pod)
		default:
			pods = append(pods, pod)
		}
	}
	where := func(pod *corev1.Pod, labels map[string]string) string {
		node, zone := pod.Spec.NodeName, m.zoneOf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod.Spec})
		if !m.zonal { // the label alone says where the pod is
			node, zone = "", (&model{zonal: true}).zone(labels["topology.kubernetes.io/zone"])
		}
		if node+zone == "" {
			return ""
		}
		return " on " + node + " in " + zone
	}
	switch {
	case len(pods) == 1 && len(hosts) == 0:
		pod := pods[0]
		out := pod.Namespace + "/" + pod.Name + where(pod, pod.Labels)
		for _, key := range slices.Sorted(maps.Keys(pod.Labels)) {
			out += " " + key + "=" + pod.Labels[key]
		}
		return out
	case len(pods) == 0 && len(hosts) > 0 && m.zonal && hosts[0].Spec.NodeName != "":
		for _, pod := range hosts {
			if pod.Spec.NodeName != hosts[0].Spec.NodeName {
				return ""
			}
		}
		return "node" + where(hosts[0], nil)
	}
	return ""
}

// checkClients compares the client of each address with the model.
func (p *pipeline) checkClients() error {
	var addrs []string
	for i := range addresses4 {
		addrs = append(addrs, address4(i))
	}
	for i := range addresses6 {
		addrs = append(addrs, address6(i))
	}
	for _, addr := range addrs {
		if got, want := p.clientAt(addr), p.expected.clientAt(addr); got != want {
			return fmt.Errorf("the client %s is %q, want %q", addr, got, want)
		}
	}
	return nil
}

// TestClients follows an address through the pods that have it.
func TestClients(t *testing.T) {
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
	named := func(name string, change ...func(*corev1.Pod)) event {
		return eventOf(object.NewPod(fixture.Web(0, append(change, func(p *corev1.Pod) { p.Name = name })...)))
	}
	gone := func(name string) event {
		return event{Origin: object.Origin{Kind: object.Pods}, key: object.Key{Namespace: "default", Name: name}}
	}
	moved := func(p *corev1.Pod) { p.Status.PodIPs = fixture.Web(8).Status.PodIPs }
	finished := func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }
	relabelled := func(p *corev1.Pod) { p.Labels["app"] = "db" }
	onHost := func(p *corev1.Pod) { p.Spec.HostNetwork, p.Spec.NodeName = true, "node-0" }
	onOther := func(p *corev1.Pod) { p.Spec.HostNetwork, p.Spec.NodeName = true, "node-1" }
	node := func(zone string) event {
		o := object.NewNode(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "node-0", Labels: map[string]string{corev1.LabelTopologyZone: zone}}})
		return event{Origin: object.Origin{Kind: object.Nodes}, object: o}
	}
	check := func(when, first, second string) {
		t.Helper()
		for addr, want := range map[string]string{"10.244.0.1": first, "fd00::1": first, "10.244.0.9": second, "fd00::9": second} {
			if got := i.clientAt(addr); got != want {
				t.Errorf("%s: the client %s is %q, want %q", when, addr, got, want)
			}
		}
	}
	check("without an index", "", "")
	release := i.IndexClients()
	check("before the first sync", "", "")
	i.apply([]event{named("a")})
	check("one pod", "default/a app=nginx", "")
	index := i.joiner.clients.Load()
	other := i.IndexClients()
	if i.joiner.clients.Load() != index {
		t.Error("a second user has another index")
	}
	for _, step := range []struct {
		when          string
		event         event
		first, second string
	}{
		{"another label", named("a", relabelled), "default/a app=db", ""},
		{"a second pod", named("b"), "", ""},
		{"the first is on the host network", named("a", onHost), "", ""},
		{"the second is, too", named("b", onHost), "node on node-0 in ", ""},
		{"their node has a zone", node("eu-1a"), "node on node-0 in eu-1a", ""},
		{"and another zone", node("eu-1b"), "node on node-0 in eu-1b", ""},
		{"the second is on another host", named("b", onOther), "", ""},
		{"the second is on no host", named("b", func(p *corev1.Pod) { p.Spec.HostNetwork = true }), "", ""},
		{"the second is back", named("b", onHost), "node on node-0 in eu-1b", ""},
		{"the node is gone", event{Origin: object.Origin{Kind: object.Nodes}, key: object.Key{Name: "node-0"}}, "node on node-0 in ", ""},
		{"the second is not any more", named("b"), "", ""},
		{"the first is not any more", named("a"), "", ""},
		{"a third pod", named("c"), "", ""},
		{"the first is deleted", gone("a"), "", ""},
		{"the second has finished", named("b", finished), "default/c app=nginx", ""},
		{"the second is deleted", gone("b"), "default/c app=nginx", ""},
		{"the third terminates", named("c", fixture.Terminating), "default/c app=nginx", ""},
		{"the third moves", named("c", moved), "", "default/c app=nginx"},
		{"the third has no address", named("c", fixture.NoAddress), "", ""},
		{"the third is back", named("c"), "default/c app=nginx", ""},
	} {
		i.apply([]event{step.event})
		check(step.when, step.first, step.second)
	}
	release()
	release()
	check("one user less", "default/c app=nginx", "")
	other()
	check("no user", "", "")
	if i.joiner.clients.Load() != nil {
		t.Error("the index still exists without a user")
	}
	i.IndexClients()
	check("a user again", "default/c app=nginx", "")
	if got := i.clientAt("::ffff:10.244.0.1"); got != "default/c app=nginx" {
		t.Errorf("the client of an IPv4 address in IPv6 is %q", got)
	}
}

// TestClientsRestored starts from a snapshot, whose pods count.
func TestClientsRestored(t *testing.T) {
	c := writeSnapshot(t)
	api := newServer(t, server{})
	g := newGate(t, api)
	g.set(refuses)
	c.Cluster.Endpoint = g.URL
	rewriteSettings(t, c)
	p, err := newProbe(c)
	if err != nil {
		t.Fatal(err)
	}
	p.IndexClients()
	p.start(t)
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2, 10.244.0.3")
	if got := p.clientAt("10.244.0.2"); !strings.HasPrefix(got, "default/web-1 ") {
		t.Errorf("the client is %q", got)
	}
	g.set(nil)
	g.CloseClientConnections()
	<-p.complete
	if got := p.clientAt("10.244.0.2"); got != "" {
		t.Errorf("after a list without pods the client is %q", got)
	}
}

// TestClientsWithSlices checks that there are no clients if no pods are watched.
func TestClientsWithSlices(t *testing.T) {
	p := watchServer(t, Config{Slices: true}, server{}, fixture.Nginx(), fixture.Web(0))
	p.IndexClients()
	if got := p.clientAt("10.244.0.1"); got != "" {
		t.Errorf("the client is %q", got)
	}
}

// TestClientsReaders looks up a client while its pod changes and users of the index come and go.
func TestClientsReaders(t *testing.T) {
	i, newPodOf := newWorld(1)
	defer i.IndexClients()()
	done := make(chan struct{})
	var wait sync.WaitGroup
	addr := netip.MustParseAddr("10.0.0.0")
	forever := func(f func()) {
		wait.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					f()
				}
			}
		})
	}
	forever(func() {
		if _, ok := i.Client(addr); !ok {
			t.Error("the pod is not found")
		}
	})
	for range 5000 {
		i.IndexClients()()
		i.apply([]event{eventOf(newPodOf(0, 0, fixture.NotReady))})
		i.apply([]event{eventOf(newPodOf(0, 0))})
	}
	close(done)
	wait.Wait()
}

// BenchmarkClients measures the index at 100,000 pods of 1,000 services: the memory for each pod,
// a lookup, and a change of one pod with and without the index.
func BenchmarkClients(b *testing.B) {
	i, newPodOf := newWorld(slices.Repeat([]int{100}, 1000)...)
	states := [2]*object.Pod{newPodOf(500, 50, fixture.NotReady), newPodOf(500, 50)}
	change := func(b *testing.B) {
		b.ReportAllocs()
		for k := 0; b.Loop(); k++ {
			i.apply([]event{eventOf(states[k%2])})
		}
	}
	b.Run("change/without", change)
	before := heap()
	i.IndexClients()
	bytes := float64(heap()-before) / 100_000
	b.Run("change/with", change)
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		addr := netip.MustParseAddr("10.0.195.80")
		for b.Loop() {
			if _, ok := i.Client(addr); !ok {
				b.Fatal("no client")
			}
		}
		b.ReportMetric(bytes, "B/pod")
	})
}
