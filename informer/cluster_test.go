package informer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	"github.com/headless-dns/headless/records"
)

// probe is an informer under test with what its hooks were told.
type probe struct {
	*Informer
	trie   *records.Trie
	client *fake.Clientset

	mu        sync.Mutex
	changed   *sync.Cond
	published []int
	received  map[Kind]int
	rejected  []error
}

func newProbe(c Config) (*probe, error) {
	p := &probe{trie: records.New(), received: map[Kind]int{}}
	p.changed = sync.NewCond(&p.mu)
	note := func(f func()) {
		p.mu.Lock()
		defer p.mu.Unlock()
		f()
		p.changed.Broadcast()
	}
	c.Log = logr.Discard()
	c.Hooks = Hooks{
		Received:  func(k Kind) { note(func() { p.received[k]++ }) },
		Published: func(n int, _ records.Stats, _ []time.Duration) { note(func() { p.published = append(p.published, n) }) },
		Rejected:  func(err error) { note(func() { p.rejected = append(p.rejected, err) }) },
	}
	var err error
	p.Informer, err = New(p.trie, c)
	return p, err
}

// watchFake starts an informer on a fake API server.
func watchFake(t *testing.T, c Config, objects ...any) *probe {
	t.Helper()
	c.Cluster.Endpoint = "http://127.0.0.1:1" // never asked
	p, err := newProbe(c)
	if err != nil {
		t.Fatal(err)
	}
	p.client = fake.NewClientset()
	p.source.(*cluster).client = p.client
	p.create(t, objects...)

	// Unlike a real API server, the fake one forgets what happens between a list
	// and the watch that goes on from it: wait until all watches are open.
	var watches sync.WaitGroup
	watches.Add(len(p.source.origins()))
	p.client.PrependWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
		w, err := p.client.Tracker().Watch(a.GetResource(), a.GetNamespace())
		watches.Done()
		return true, w, err
	})
	p.start(t)
	watches.Wait()
	return p
}

func (p *probe) start(t *testing.T) {
	t.Helper()
	p.Start()
	t.Cleanup(p.Stop)
	select {
	case <-p.Synced():
	case <-time.After(30 * time.Second):
		t.Fatal("not synced")
	}
}

func (p *probe) create(t *testing.T, objects ...any) {
	t.Helper()
	ctx := context.Background()
	for _, o := range objects {
		var err error
		switch o := o.(type) {
		case *corev1.Service:
			_, err = p.client.CoreV1().Services(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
		case *corev1.Pod:
			_, err = p.client.CoreV1().Pods(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
		case *corev1.Namespace:
			_, err = p.client.CoreV1().Namespaces().Create(ctx, o, metav1.CreateOptions{})
		case *discoveryv1.EndpointSlice:
			_, err = p.client.DiscoveryV1().EndpointSlices(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// await waits until a name has an answer. Every publication is a reason to look
// again.
func (p *probe) await(t *testing.T, name string, rrtype uint16, want string) {
	t.Helper()
	late := time.AfterFunc(30*time.Second, func() { p.changed.Broadcast() })
	defer late.Stop()
	deadline := time.Now().Add(30 * time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	for answer(p.trie, name, rrtype) != want {
		if time.Now().After(deadline) {
			t.Fatalf("%s %s is %q, want %q", name, dns.TypeToString[rrtype], answer(p.trie, name, rrtype), want)
		}
		p.changed.Wait()
	}
}

const nginxName = "nginx.default.svc.cluster.local."

func TestWatch(t *testing.T) {
	ctx := context.Background()
	p := watchFake(t, Config{}, newNginx(), newWeb(0), newWeb(1))
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2")

	pods := p.client.CoreV1().Pods("default")
	p.create(t, newWeb(2))
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2, 10.244.0.3")
	if _, err := pods.UpdateStatus(ctx, newWeb(1, notReady), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.3")
	if err := pods.Delete(ctx, "web-0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	p.await(t, "web-0."+nginxName, dns.TypeA, "missing")

	// A slice of another controller is a source beside the pods.
	p.create(t, newSlice("by-hand", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}}))
	p.await(t, nginxName, dns.TypeA, "10.244.0.3, 192.0.2.1")

	// A service that is headless no more is not ours any more.
	if _, err := p.client.CoreV1().Services("default").Update(ctx, newNginx(func(s *corev1.Service) {
		s.Spec.ClusterIP, s.Spec.Type, s.Spec.ExternalName = "", corev1.ServiceTypeExternalName, "example.org"
	}), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.await(t, nginxName, dns.TypeA, "outside")
	p.await(t, "3.0.244.10.in-addr.arpa.", dns.TypePTR, "outside")
	if _, err := p.client.CoreV1().Services("default").Update(ctx, newNginx(), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.await(t, nginxName, dns.TypeA, "10.244.0.3, 192.0.2.1")

	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range []Kind{Services, Pods, EndpointSlices} {
		if p.received[k] == 0 {
			t.Errorf("no event of %v was noted", k)
		}
	}
}

// TestWatchNamespaces checks that a namespace's objects are all that is asked for.
func TestWatchNamespaces(t *testing.T) {
	elsewhere := func(p *corev1.Pod) { p.Namespace = "prod" }
	p := watchFake(t, Config{Namespaces: []string{"default", "staging", "default"}},
		newNginx(), newWeb(0), newNginx(func(s *corev1.Service) { s.Namespace = "prod" }), newWeb(1, elsewhere))
	p.await(t, nginxName, dns.TypeA, "10.244.0.1")
	p.await(t, "nginx.prod.svc.cluster.local.", dns.TypeA, "outside")
	lists := 0
	for _, a := range p.client.Actions() {
		if a.GetVerb() == "list" {
			lists++
			if ns := a.GetNamespace(); ns != "default" && ns != "staging" {
				t.Errorf("%s of namespace %q are listed", a.GetResource().Resource, ns)
			}
		}
	}
	if lists != 6 {
		t.Errorf("%d lists were asked for, want 6", lists)
	}
}

// TestWatchNamespaceLabels follows a namespace that loses its label.
func TestWatchNamespaceLabels(t *testing.T) {
	labelled := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", Labels: map[string]string{"dns": "headless"}}}
	p := watchFake(t, Config{NamespaceLabels: "dns=headless"}, labelled, newNginx(), newWeb(0))
	p.await(t, nginxName, dns.TypeA, "10.244.0.1")
	// An API server tells a selecting watch that the object is gone.
	if err := p.client.CoreV1().Namespaces().Delete(context.Background(), "default", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	p.await(t, nginxName, dns.TypeA, "outside")
	p.create(t, labelled)
	p.await(t, nginxName, dns.TypeA, "10.244.0.1")
}

// TestSelectors checks what the API server is asked to select.
func TestSelectors(t *testing.T) {
	s, err := newSelection(&Config{Labels: "tier in (db, web),env=prod", NamespaceLabels: "dns"})
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[Kind]metav1.ListOptions{
		Services:       {FieldSelector: "spec.clusterIP=None", LabelSelector: "env=prod,tier in (db,web)"},
		Pods:           {FieldSelector: "status.phase!=Succeeded,status.phase!=Failed"},
		EndpointSlices: {LabelSelector: "endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io,env=prod,tier in (db,web)"},
		Namespaces:     {LabelSelector: "dns"},
	} {
		var got metav1.ListOptions
		s.options(kind, &got)
		if got != want {
			t.Errorf("%v are asked for with %+v, want %+v", kind, got, want)
		}
	}
}

// TestStore drives the store as a reflector does, with what a fake API server
// doesn't send.
func TestStore(t *testing.T) {
	p, err := newProbe(Config{Cluster: Cluster{Endpoint: "http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	stores := map[Kind]*store{}
	for _, o := range p.source.origins() {
		stores[o.kind] = &store{origin: o, queue: p.queue}
	}
	apply := func() { p.apply(p.queue.drain()) }
	check := func(what, want string) {
		t.Helper()
		if got := answer(p.trie, nginxName, dns.TypeA); got != want {
			t.Errorf("%s: the service has %q, want %q", what, got, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	// Before every kind was listed, nothing is served.
	must(stores[Pods].Replace([]any{newWeb(0), newWeb(1)}, "1"))
	must(stores[Services].Replace([]any{newNginx()}, "1"))
	apply()
	check("not all is listed", "outside")
	must(stores[EndpointSlices].Replace(nil, "1"))
	apply()
	check("all is listed", "10.244.0.1, 10.244.0.2")
	select {
	case <-p.Synced():
	default:
		t.Error("the informer is not synced")
	}

	// A list replaces: web-0 was deleted while nobody watched, web-2 came.
	must(stores[Pods].Replace([]any{newWeb(1), newWeb(2)}, "2"))
	apply()
	check("a relist", "10.244.0.2, 10.244.0.3")

	// A deletion of which only the name is known, and one of something unknown.
	must(stores[Pods].Delete(cache.DeletedFinalStateUnknown{Key: "default/web-1"}))
	must(stores[Pods].Delete(newWeb(7)))
	apply()
	check("a missed deletion", "10.244.0.3")

	// What changes nothing in DNS publishes nothing; a drain publishes once.
	before := len(p.published)
	must(stores[Pods].Update(newWeb(2, func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} })))
	must(stores[Pods].Update(newWeb(0, func(p *corev1.Pod) { p.Labels = map[string]string{"app": "other"} })))
	must(stores[Services].Update(newNginx(func(s *corev1.Service) { s.Annotations = map[string]string{"a": "b"} })))
	must(stores[Pods].Replace([]any{newWeb(2)}, "3"))
	apply()
	if n := len(p.published); n != before {
		t.Errorf("%d publications without a change", n-before)
	}
	for i := range 5 {
		must(stores[Pods].Add(newWeb(10 + i)))
	}
	apply()
	if n := len(p.published); n != before+1 || p.published[n-1] != 1 {
		t.Errorf("five pods of a service in one drain publish %v", p.published[before:])
	}

	// A transformed object is taken as it is; anything else is an error.
	slimmed, err := stores[Pods].Transformer()(newWeb(1))
	must(err)
	must(stores[Pods].Replace([]any{slimmed}, "4"))
	apply()
	check("a transformed list", "10.244.0.2")
	if err := stores[Pods].Add(&corev1.ConfigMap{}); err == nil || !strings.Contains(err.Error(), "ConfigMap") {
		t.Errorf("a ConfigMap is taken: %v", err)
	}
	if err := stores[Pods].Replace([]any{&corev1.ConfigMap{}}, "5"); err == nil {
		t.Error("a list of ConfigMaps is taken")
	}
	if err := stores[Pods].Delete(7); err == nil {
		t.Error("the deletion of a number is taken")
	}

	// A bookmark is a sign of life.
	received := p.received[Services]
	must(stores[Services].Bookmark("9"))
	if p.received[Services] != received+1 {
		t.Error("a bookmark was not noted")
	}
}

func TestNewErrors(t *testing.T) {
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{}, "load in-cluster configuration"},
		{Config{Cluster: Cluster{Kubeconfig: "/no/such/file"}}, `load kubeconfig "/no/such/file"`},
		{Config{Cluster: Cluster{Endpoint: "https://127.0.0.1", CA: "/no/such/file"}}, "/no/such/file"},
		{Config{Labels: "a in"}, `parse label selector "a in"`},
		{Config{NamespaceLabels: "a in b"}, `parse label selector "a in b"`},
		{Config{Namespaces: []string{"a"}, NamespaceLabels: "b"}, "by name [\"a\"] and by label \"b\" at once"},
		{Config{Manifests: []string{"/no/such/file"}}, `read manifests "/no/such/file": no such file or directory`},
	} {
		_, err := newProbe(test.config)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: the error is %v, want one with %q", test.config, err, test.want)
		}
	}
}

// TestClusterConfig checks the connection of each form: protobuf whatever it is,
// and the context of a kubeconfig file that was asked for.
func TestClusterConfig(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(`
apiVersion: v1
kind: Config
clusters:
- {name: a, cluster: {server: "https://10.0.0.1:6443"}}
- {name: b, cluster: {server: "https://10.0.0.2:6443"}}
users: [{name: u, user: {token: secret}}]
contexts:
- {name: a, context: {cluster: a, user: u}}
- {name: b, context: {cluster: b, user: u}}
current-context: a
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		cluster     Cluster
		host, token string
	}{
		{Cluster{Kubeconfig: kubeconfig}, "https://10.0.0.1:6443", "secret"},
		{Cluster{Kubeconfig: kubeconfig, Context: "b"}, "https://10.0.0.2:6443", "secret"},
		{Cluster{Kubeconfig: kubeconfig, Endpoint: "https://10.0.0.3:6443"}, "https://10.0.0.1:6443", "secret"},
		{Cluster{Endpoint: "https://10.0.0.3:6443"}, "https://10.0.0.3:6443", ""},
	} {
		test.cluster.UserAgent = "CoreDNS"
		c, err := test.cluster.config()
		if err != nil {
			t.Errorf("%+v: %v", test.cluster, err)
			continue
		}
		if c.Host != test.host || c.BearerToken != test.token || c.UserAgent != "CoreDNS" {
			t.Errorf("%+v connects to %q with token %q as %q", test.cluster, c.Host, c.BearerToken, c.UserAgent)
		}
		const protobuf = "application/vnd.kubernetes.protobuf"
		if c.ContentType != protobuf || !strings.HasPrefix(c.AcceptContentTypes, protobuf+",") {
			t.Errorf("%+v sends %q and accepts %q", test.cluster, c.ContentType, c.AcceptContentTypes)
		}
	}
}
