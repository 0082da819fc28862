package informer

import (
	"fmt"
	"net/http"
	"path"
	"path/filepath"
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
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/snapshot"
	"github.com/headless-dns/headless/internal/apiserver"
	"github.com/headless-dns/headless/records"
)

const zoneA, zoneB = "eu-1a.pin._zone." + nginxName, "eu-1b.pin._zone." + nginxName

// newNode returns a node in a zone.
func newNode(name, zone string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone}},
		Status: corev1.NodeStatus{Images: []corev1.ContainerImage{{Names: []string{"registry.example.org/nginx:1.27"}}}}}
}

func on(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }

func inZone(zone string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels[corev1.LabelTopologyZone] = zone }
}

// TestZones follows the zones of pods: by their nodes, which come, go and move, by their labels,
// and of slices.
func TestZones(t *testing.T) {
	for name, o := range servers {
		t.Run(name, func(t *testing.T) {
			p := watchServer(t, Config{Zonal: true, Namespaces: []string{"default", "prod"}}, o, fixture.Nginx(), newNode("node-a", "EU-1a"),
				fixture.Web(0, on("node-a")), fixture.Web(1, on("node-b")), fixture.Web(2, on("node-a"), inZone("eu-1B")), fixture.Web(3))
			if got := answer(p.trie, zoneA, dns.TypeA); got != "10.244.0.1" {
				t.Errorf("when it is synced, the zone has %q", got)
			}
			p.await(t, zoneB, dns.TypeA, "10.244.0.3")
			p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2, 10.244.0.3, 10.244.0.4")
			// The node of a pod is known later than the pod, and a pod is bound later than known.
			p.api.Put(newNode("node-b", "eu-1b"), fixture.Web(3, on("node-a")))
			p.await(t, zoneA, dns.TypeA, "10.244.0.1, 10.244.0.4")
			p.await(t, zoneB, dns.TypeA, "10.244.0.2, 10.244.0.3")
			p.api.Put(newNode("node-a", "eu-1b"))
			p.await(t, zoneB, dns.TypeA, "10.244.0.1, 10.244.0.2, 10.244.0.3, 10.244.0.4")
			p.api.Apply(gone(newNode("node-a", "")))
			p.await(t, zoneB, dns.TypeA, "10.244.0.2, 10.244.0.3")
			// Meanwhile, nobody watches.
			p.api.Apply([]apiserver.Change{{Object: newNode("node-b", ""), Gone: true}, {Object: newNode("node-a", "eu-1a")}})
			p.api.SetFault(apiserver.Fault{})
			p.api.Expire()
			p.await(t, zoneA, dns.TypeA, "10.244.0.1, 10.244.0.4")
			p.await(t, zoneB, dns.TypeA, "10.244.0.3")
			p.api.Put(fixture.Web(0, on("node-a"), fixture.NotReady), fixture.Slice("by-hand",
				discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}, Zone: ptr.To("eu-1A")}, discoveryv1.Endpoint{Addresses: []string{"192.0.2.2"}}))
			p.await(t, zoneA, dns.TypeA, "10.244.0.4, 192.0.2.1")
			for _, uri := range p.api.Asked("nodes") {
				if strings.Contains(uri, "namespaces") || strings.Contains(uri, "Selector") {
					t.Errorf("a request for nodes is %s", uri)
				}
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.received[Nodes] == 0 {
				t.Error("the hook received no event of nodes")
			}
		})
	}
}

// TestZonesOfSlices takes the zones from slices, and watches no nodes.
func TestZonesOfSlices(t *testing.T) {
	slice := fixture.Slice("by-controller", discoveryv1.Endpoint{Addresses: []string{"10.244.0.1"}, Zone: ptr.To("eu-1a")},
		discoveryv1.Endpoint{Addresses: []string{"10.244.0.2"}, Zone: ptr.To("eu-1a"), Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false)}})
	slice.Labels[discoveryv1.LabelManagedBy] = object.SliceController
	p := watchServer(t, Config{Zonal: true, Slices: true}, server{}, fixture.Nginx(), slice)
	p.await(t, zoneA, dns.TypeA, "10.244.0.1")
	slice.Endpoints[0].Zone = ptr.To("eu-1b")
	p.api.Put(slice)
	p.await(t, zoneB, dns.TypeA, "10.244.0.1")
	p.await(t, zoneA, dns.TypeA, "")
	if uris := p.api.Asked("nodes"); len(uris) > 0 {
		t.Errorf("nodes are requested: %q", uris)
	}
}

// TestNoZones checks that without the option no endpoint is in a zone, nothing is asked of nodes,
// and neither a pod's node nor a slice's zone makes a difference.
func TestNoZones(t *testing.T) {
	p := watchServer(t, Config{}, server{}, fixture.Nginx(), newNode("node-a", "eu-1a"), fixture.Web(0, on("node-a")), fixture.Web(1, inZone("eu-1a")),
		fixture.Slice("by-hand", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}, Zone: ptr.To("eu-1a")}))
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2, 192.0.2.1")
	p.await(t, zoneA, dns.TypeA, "")
	if uris := p.api.Asked("nodes"); len(uris) > 0 {
		t.Errorf("nodes are requested: %q", uris)
	}
	for _, o := range p.joiner.objects() {
		switch o := o.(type) {
		case *object.Pod:
			if o.Node() != "" {
				t.Errorf("pod %s has the node %q", o.Name(), o.Node())
			}
		case *object.EndpointSlice:
			if zone := o.Endpoints[0].Zone(); zone != "" {
				t.Errorf("the slice has the zone %q", zone)
			}
		}
	}
}

// TestNodeFaults lists nodes of an API server that refuses, then has one that can't be decoded.
func TestNodeFaults(t *testing.T) {
	for name, o := range map[string]server{"protobuf": {}, "JSON": {Options: apiserver.Options{JSON: true}}} {
		t.Run(name, func(t *testing.T) {
			api := newServer(t, o, fixture.Nginx(), newNode("node-a", "eu-1a"), newNode("node-b", "eu-1a"), fixture.Web(0, on("node-a")), fixture.Web(1, on("node-b")))
			g := newGate(t, api)
			g.set(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "nodes") {
					forbids(w, r)
				} else {
					api.ServeHTTP(w, r)
				}
			})
			p, err := newProbe(Config{Zonal: true, Cluster: Cluster{Endpoint: g.URL}})
			if err != nil {
				t.Fatal(err)
			}
			source := p.source.(*cluster)
			source.clock, source.backoff.Duration = fast{times: 100, ahead: new(atomic.Int64)}, 8*time.Millisecond
			p.Start()
			t.Cleanup(p.Stop)
			p.awaitThat(t, "the watch of nodes fails", func() bool { return p.failing[Nodes] == 1 && p.received[Pods] > 0 })
			if got := answer(p.trie, nginxName, dns.TypeA); got != "outside" {
				t.Errorf("without the nodes, the service has %q", got)
			}
			g.set(nil)
			p.await(t, zoneA, dns.TypeA, twoPods)
			api.Damage(newNode("node-a", "eu-1b"), true)
			p.awaitThat(t, "the node is broken", func() bool { return p.broken[Nodes] == 1 })
			api.Apply(gone(newNode("node-b", "")))
			p.await(t, zoneA, dns.TypeA, "10.244.0.1")
			api.Put(newNode("node-a", "eu-1b"))
			p.await(t, zoneB, dns.TypeA, "10.244.0.1")
			p.awaitThat(t, "no node is broken", func() bool { return p.broken[Nodes] == 0 && p.failing[Nodes] == 0 })
		})
	}
}

// TestZonesRestored starts from a snapshot. The zones are those of its time, until the lists
// arrive.
func TestZonesRestored(t *testing.T) {
	c := Config{Zonal: true, Snapshot: filepath.Join(t.TempDir(), "snapshot"), SnapshotInterval: time.Hour}
	slice := fixture.Slice("by-hand", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}, Zone: ptr.To("eu-1a")})
	p := watchServer(t, c, server{}, fixture.Nginx(), newNode("node-a", "eu-1a"), fixture.Web(0, on("node-a")), fixture.Web(1, inZone("eu-1b")), slice)
	p.await(t, zoneA, dns.TypeA, "10.244.0.1, 192.0.2.1")
	p.Stop()

	api := newServer(t, server{}, fixture.Nginx(), newNode("node-a", "eu-1b"), fixture.Web(0, on("node-a")))
	g := newGate(t, api)
	g.set(breaks)
	c.Cluster.Endpoint = g.URL
	rewriteSettings(t, c)
	p, err := newProbe(c)
	if err != nil {
		t.Fatal(err)
	}
	p.start(t)
	for name, want := range map[string]string{zoneA: "10.244.0.1, 192.0.2.1", zoneB: "10.244.0.2"} {
		if got := answer(p.trie, name, dns.TypeA); got != want {
			t.Errorf("from the snapshot %s is %q, want %q", name, got, want)
		}
	}
	g.set(nil)
	p.await(t, zoneB, dns.TypeA, "10.244.0.1")
	p.await(t, zoneA, dns.TypeA, "")
	<-p.complete
	p.Stop()
	s, err := snapshot.Read(c.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if objects, err := s.Objects(); err != nil || len(objects[Nodes]) != 1 {
		t.Errorf("the snapshot now has %v, %v", objects, err)
	}
}

// TestSettingsStay checks that a snapshot of an earlier version is still used: its settings have
// nothing of zones.
func TestSettingsStay(t *testing.T) {
	c := Config{Namespaces: []string{"default"}}
	const want = `API server "", context ""; namespaces ["default"], of labels ""; labels ""; slices false`
	if got := newKeeper(&c).settings; got != want {
		t.Errorf("the settings are %s, want %s", got, want)
	}
	c.Zonal = true // without it, a snapshot lacks nodes
	if got := newKeeper(&c).settings; got != want+"; zonal" {
		t.Errorf("with zones, the settings are %s", got)
	}
}

// TestZonesOfManifests reads nodes from files.
func TestZonesOfManifests(t *testing.T) {
	node := func(zone string) string {
		return fmt.Sprintf("---\napiVersion: v1\nkind: Node\nmetadata: {name: node-a, namespace: ignored, labels: {topology.kubernetes.io/zone: %s}}\nspec: {podCIDR: 10.244.0.0/24}\n", zone)
	}
	pod := strings.Replace(fixture.Web0Manifest, "hostname: web-0", "hostname: web-0, nodeName: node-a", 1)
	slice := `
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: by-hand, labels: {kubernetes.io/service-name: nginx}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.1], zone: eu-1b}]
`
	dir := fixture.Files(t, map[string]string{"a.yaml": fixture.NginxManifest + "---" + pod + slice, "node.yaml": node("EU-1a")})
	for _, c := range []Config{{Zonal: true}, {Zonal: true, Namespaces: []string{"default"}}} {
		c.Manifests = []string{dir}
		p := readFiles(t, c)
		p.await(t, zoneA, dns.TypeA, "10.244.0.1")
		p.await(t, zoneB, dns.TypeA, "192.0.2.1")
	}
	p := readFiles(t, Config{Zonal: true, Manifests: []string{dir}})
	fixture.WriteFile(t, filepath.Join(dir, "node.yaml"), node("eu-1b"))
	p.await(t, zoneB, dns.TypeA, "10.244.0.1, 192.0.2.1")

	p = readFiles(t, Config{Manifests: []string{dir}})
	p.await(t, zoneB, dns.TypeA, "")
	p.awaitThat(t, "nodes are skipped", func() bool { return p.hasLine("read manifests", "1 Node") })
}

// zonalWorld returns an informer with a service, nodes in zone eu-1a, and a pod on each.
func zonalWorld(nodes int) *Informer {
	i := &Informer{joiner: newJoiner(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{}), complete: make(chan struct{}),
		missing: map[object.Origin]bool{{Kind: Nodes}: true}}
	i.joiner.naming.zonal = true
	i.joiner.trie.EnableZones()
	batch := []event{eventOf(object.NewService(fixture.Nginx()))}
	list := event{Origin: object.Origin{Kind: Nodes}, list: true}
	for n := range nodes {
		batch = append(batch, eventOf(object.NewPod(fixture.Web(n, on(fmt.Sprint("node-", n))))))
		list.objects = append(list.objects, object.NewNode(newNode(fmt.Sprint("node-", n), "eu-1a")))
	}
	i.apply(batch)
	i.apply([]event{list})
	return i
}

// TestNodeWalks limits the walks through the pods: none at the start, nor for an event that
// changes no zone, and one for a batch of events.
func TestNodeWalks(t *testing.T) {
	const nodes = 20
	i := zonalWorld(nodes)
	if i.joiner.walks != 0 {
		t.Errorf("the start walks the pods %d times for the nodes", i.joiner.walks)
	}
	events := func(zone string) (out []event) {
		for n := range nodes {
			out = append(out, eventOf(object.NewNode(newNode(fmt.Sprint("node-", n), zone))))
		}
		return out
	}
	relist := event{Origin: object.Origin{Kind: Nodes}, list: true}
	for _, e := range events("eu-1a") {
		relist.objects = append(relist.objects, e.object)
	}
	for _, step := range []struct {
		what  string
		batch []event
		walks int
		want  int // pods in zone eu-1b
	}{
		{"heartbeats", events("EU-1a"), 0, 0},
		{"an unchanged list", []event{relist}, 0, 0},
		{"new zones", events("eu-1b"), 1, nodes},
		{"a node without pods", []event{eventOf(object.NewNode(newNode("spare", "")))}, 0, nodes},
		{"there and back", slices.Concat(events("eu-1a"), []event{relist}, events("eu-1b")), 0, nodes},
		{"a list with old zones", []event{relist}, 1, 0},
	} {
		before := i.joiner.walks
		i.apply(step.batch)
		if n := i.joiner.walks - before; n != step.walks {
			t.Errorf("%s: %d walks, want %d", step.what, n, step.walks)
		}
		got := strings.Count(answer(i.joiner.trie, zoneB, dns.TypeA), "10.244")
		if got != step.want {
			t.Errorf("%s: %d pods are in the zone, want %d", step.what, got, step.want)
		}
		if len(i.joiner.rezoned) > 0 {
			t.Errorf("%s: %d nodes are still to be moved", step.what, len(i.joiner.rezoned))
		}
	}
}

// TestZoneLabelReads limits how often the label of a pod is read that many services select: once.
func TestZoneLabelReads(t *testing.T) {
	i := zonalWorld(1)
	var batch []event
	for n := range 100 {
		batch = append(batch, eventOf(object.NewService(fixture.Nginx(func(s *corev1.Service) { s.Name = fmt.Sprint("nginx-", n) }))))
	}
	i.apply(batch)
	before := i.joiner.naming.read
	if i.set(nil, Nodes, object.NewNode(newNode("node-0", "EU-1a"))) {
		t.Error("an event that changes no zone counts as a change") // for which a snapshot would be written
	}
	i.apply([]event{eventOf(object.NewPod(fixture.Web(0, on("node-0"), inZone("eu-1b"))))})
	if n := i.joiner.naming.read - before; n > 2 {
		t.Errorf("the labels of the old and the new pod are read %d times, want 2", n)
	}
	if got := answer(i.joiner.trie, zoneB, dns.TypeA); got != "10.244.0.1" {
		t.Errorf("the zone has %q", got)
	}
}

// TestNodesForgotten checks that nodes that are gone leave nothing behind.
func TestNodesForgotten(t *testing.T) {
	i := zonalWorld(5)
	i.apply([]event{{Origin: object.Origin{Kind: Nodes}, list: true}})
	if len(i.joiner.nodes) > 0 || len(i.joiner.rezoned) > 0 {
		t.Errorf("the joiner still has the nodes %v, %v", i.joiner.nodes, i.joiner.rezoned)
	}
	if got := answer(i.joiner.trie, zoneA, dns.TypeA); got != "" {
		t.Errorf("the zone still has %q", got)
	}
}

// TestNodeReused checks that decoding an unchanged node returns the stored one.
func TestNodeReused(t *testing.T) {
	i := zonalWorld(1)
	if i.joiner.reuse(object.NewNode(newNode("node-0", "EU-1A"))) != object.Object(i.joiner.nodes["node-0"]) {
		t.Error("an unchanged node is not reused")
	}
	if o := i.joiner.reuse(object.NewNode(newNode("node-0", "eu-1b"))); o.(*object.Node).Zone != "eu-1b" {
		t.Error("a changed node counts as unchanged")
	}
}

// TestAcceptMetadata checks that nodes are listed and watched as the client of Kubernetes for
// metadata does, and other kinds as before.
func TestAcceptMetadata(t *testing.T) {
	var mu sync.Mutex
	accepted := map[string]string{}
	c := Config{Zonal: true, Transport: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			accepted[path.Base(r.URL.Path)+" "+r.URL.Query().Get("watch")] = r.Header.Get("Accept")
			return next.RoundTrip(r)
		})
	}}
	p := watchServer(t, c, server{Options: apiserver.Options{NoInitialEvents: true}}, newNode("node-a", "eu-1a"))
	p.api.Put(newNode("node-a", "eu-1b"))
	p.awaitThat(t, "nodes are watched", func() bool { return p.received[Nodes] == 2 })
	mu.Lock()
	defer mu.Unlock()
	for request, want := range map[string]string{
		"nodes ":     "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
		"nodes true": "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
		"pods ":      "application/vnd.kubernetes.protobuf,application/json",
	} {
		if got := accepted[request]; got != want {
			t.Errorf("request %q accepts %s, want %s", request, got, want)
		}
	}
}

// TestExplainZones checks that an explanation has the zones of ready endpoints.
func TestExplainZones(t *testing.T) {
	objects := []any{fixture.Nginx(), newNode("node-a", "EU-1a"), fixture.Web(0, on("node-a")), fixture.Web(1), fixture.Web(2, fixture.NotReady, on("node-a")),
		fixture.Slice("by-hand", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}, Zone: ptr.To("eu-1b")})}
	for _, zonal := range []bool{true, false} {
		i := explained(t, Config{Zonal: zonal}, objects...)
		for host, want := range map[string]string{
			"web-0":     "pod web-0: web-0.nginx has 10.244.0.1, ready, in zone eu-1a, from pods of the API server",
			"web-1":     "pod web-1: web-1.nginx has 10.244.0.2, ready, in no zone, from pods of the API server",
			"web-2":     "pod web-2: not ready; it gets the name",
			"192-0-2-1": "endpoint 192.0.2.1 of EndpointSlice by-hand: ready, in zone eu-1b, with the name 192-0-2-1.nginx",
		} {
			if !zonal {
				want = strings.NewReplacer(", in zone eu-1a", "", ", in zone eu-1b", "", ", in no zone", "").Replace(want)
			}
			got := i.Explain(Subject{Namespace: "default", Service: "nginx", Host: host})
			if len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("zonal %t: %s is explained by %q, want %q", zonal, host, got, want)
			}
		}
	}
}
