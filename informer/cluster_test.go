package informer

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/internal/apiserver"
)

// servers are the kinds of API servers.
var servers = map[string]server{
	"protobuf":      {fault: noLists},
	"JSON":          {fault: noLists, Options: apiserver.Options{JSON: true}},
	"lists":         {Options: apiserver.Options{NoInitialEvents: true}},
	"lists in JSON": {Options: apiserver.Options{NoInitialEvents: true, JSON: true}},
}

func TestWatch(t *testing.T) {
	for name, o := range servers {
		t.Run(name, func(t *testing.T) { testWatch(t, o) })
	}
}

func testWatch(t *testing.T, o server) {
	p := watchServer(t, Config{}, o, fixture.Nginx(), fixture.Web(0), fixture.Web(1))
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2")

	p.api.Put(fixture.Web(2))
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2, 10.244.0.3")
	p.api.Put(fixture.Web(1, fixture.NotReady))
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.3")
	p.api.Apply(gone(fixture.Web(0)))
	p.await(t, "web-0."+nginxName, dns.TypeA, "missing")

	// A slice of another controller counts beside the pods.
	p.api.Put(fixture.Slice("by-hand", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}}))
	p.await(t, nginxName, dns.TypeA, "10.244.0.3, 192.0.2.1")

	// A service that is no longer headless leaves the trie.
	p.api.Put(fixture.Nginx(func(s *corev1.Service) {
		s.Spec.ClusterIP, s.Spec.Type, s.Spec.ExternalName = "", corev1.ServiceTypeExternalName, "example.org"
	}))
	p.await(t, nginxName, dns.TypeA, "outside")
	p.await(t, "3.0.244.10.in-addr.arpa.", dns.TypePTR, "outside")
	p.api.Put(fixture.Nginx())
	p.await(t, nginxName, dns.TypeA, "10.244.0.3, 192.0.2.1")

	// An error ends a watch. The reflector relists.
	before := len(p.api.Asked("pods"))
	p.api.Fail("pods", apierrors.NewResourceExpired("too old"))
	p.api.Put(fixture.Web(4))
	p.await(t, nginxName, dns.TypeA, "10.244.0.3, 10.244.0.5, 192.0.2.1")
	if requests := p.api.Asked("pods"); len(requests) == before {
		t.Errorf("no request followed the error: %q", requests)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range []object.Kind{object.Services, object.Pods, object.EndpointSlices} {
		if p.received[k] == 0 {
			t.Errorf("the hook received no event of %v", k)
		}
	}
}

// TestWatchNamespaces checks that the informer requests nothing outside the namespaces.
func TestWatchNamespaces(t *testing.T) {
	elsewhere := func(p *corev1.Pod) { p.Namespace = "prod" }
	p := watchServer(t, Config{Namespaces: []string{"default", "staging", "default"}}, server{},
		fixture.Nginx(), fixture.Web(0), fixture.Nginx(func(s *corev1.Service) { s.Namespace = "prod" }), fixture.Web(1, elsewhere))
	p.await(t, nginxName, dns.TypeA, "10.244.0.1")
	p.await(t, "nginx.prod.svc.cluster.local.", dns.TypeA, "outside")
	requests := p.api.Asked("/")
	for _, r := range requests {
		if !strings.Contains(r, "/namespaces/default/") && !strings.Contains(r, "/namespaces/staging/") {
			t.Errorf("request %q is outside the namespaces", r)
		}
	}
	if len(requests) != 6 {
		t.Errorf("the requests are %q, want 6", requests)
	}
}

// TestWatchManyNamespaces ends the watches of a hundred namespaces at once. Neither the
// start nor the retries wait for each other.
func TestWatchManyNamespaces(t *testing.T) {
	for name, o := range map[string]server{"protobuf": {}, "lists": {Options: apiserver.Options{NoInitialEvents: true}}, "HTTP/2": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newServer(t, o)
			c := Config{Cluster: Cluster{Endpoint: api.URL}}
			if name == "HTTP/2" {
				c.Cluster = overHTTP2(t, api)
			}
			in := func(ns string) (*corev1.Service, *discoveryv1.EndpointSlice, func(*corev1.Pod)) {
				slice := fixture.Slice("by-hand")
				slice.Namespace = ns
				return fixture.Nginx(func(s *corev1.Service) { s.Namespace = ns }), slice, func(p *corev1.Pod) { p.Namespace = ns }
			}
			for i := range 100 {
				c.Namespaces = append(c.Namespaces, fmt.Sprint("team-", i))
			}
			applyAll := func(pod int) {
				for _, ns := range c.Namespaces {
					service, slice, namespaced := in(ns)
					api.Put(service, slice, fixture.Web(pod, namespaced))
				}
			}
			applyAll(0)
			p, err := newProbe(c)
			if err != nil {
				t.Fatal(err)
			}
			p.start(t)
			applyAll(1) // a watch that ends within a second without an event counts as a fault
			for _, ns := range c.Namespaces {
				p.await(t, "nginx."+ns+".svc.cluster.local.", dns.TypeA, twoPods)
			}
			p.awaitThat(t, "all watches had events", func() bool {
				return p.received[object.Services] >= 200 && p.received[object.EndpointSlices] >= 200
			})
			api.DropWatches()
			applyAll(2)
			for _, ns := range c.Namespaces {
				p.await(t, "nginx."+ns+".svc.cluster.local.", dns.TypeA, threePods)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.logged) > 0 {
				t.Errorf("%d lines are logged, the first is %s", len(p.logged), p.logged[0])
			}
		})
	}
}

// overHTTP2 serves the API over HTTP/2, with as many streams per connection as
// kube-apiserver permits.
func overHTTP2(t *testing.T, api *apiserver.Server) Cluster {
	t.Helper()
	s := httptest.NewUnstartedServer(api)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that end early
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 100}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca")
	fixture.WriteFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return Cluster{Endpoint: s.URL, CA: ca}
}

// TestWatchOldServer watches servers that cannot select headless Services. The informer
// receives all of them, and does not try the selector again.
func TestWatchOldServer(t *testing.T) {
	web := func(s *corev1.Service) { s.Name = "web" }
	const webName = "web.default.svc.cluster.local."
	for name, o := range map[string]server{
		"protobuf": {Options: apiserver.Options{NoClusterIP: true}},
		"JSON":     {Options: apiserver.Options{NoClusterIP: true, JSON: true}},
		"lists":    {Options: apiserver.Options{NoClusterIP: true, NoInitialEvents: true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := watchServer(t, Config{Namespaces: []string{"default", "prod"}}, o, fixture.Nginx(), fixture.Web(0),
				fixture.Nginx(web, func(s *corev1.Service) { s.Spec.ClusterIP = "10.96.0.1" }))
			p.await(t, nginxName, dns.TypeA, "10.244.0.1")
			p.await(t, webName, dns.TypeA, "outside")
			p.api.Put(fixture.Nginx(web))
			p.await(t, webName, dns.TypeA, "10.244.0.1")
			before := p.api.Asked("fieldSelector=spec.clusterIP")
			p.api.Fail("services", apierrors.NewResourceExpired("too old"))
			p.api.Put(fixture.Nginx(web, func(s *corev1.Service) { s.Spec.ClusterIP = "10.96.0.1" }))
			p.await(t, webName, dns.TypeA, "outside")
			if after := p.api.Asked("fieldSelector=spec.clusterIP"); len(after) != len(before) {
				t.Errorf("the selector is tried again: %q", after[len(before):])
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.logged) != 1 || !strings.Contains(p.logged[0], "API server is older than Kubernetes 1.31") {
				t.Errorf("the log has %q", p.logged)
			}
		})
	}
}

// TestWatchBadRequest watches a server that rejects all requests for Services. The
// selector is not the cause.
func TestWatchBadRequest(t *testing.T) {
	f := newFaulty(t, 10)
	f.api.SetFault(apiserver.Fault{Code: http.StatusBadRequest})
	f.Start()
	f.awaitThat(t, "the fault is logged", func() bool { return f.failing[object.Services] == 1 })
	f.api.SetFault(apiserver.Fault{})
	f.await(t, nginxName, dns.TypeA, twoPods)
	if f.source.(*cluster).allServices.Load() {
		t.Error("all Services are watched")
	}
}

// TestWatchNamespaceLabels follows a namespace that loses its label.
func TestWatchNamespaceLabels(t *testing.T) {
	unlabelled := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	labelled := unlabelled.DeepCopy()
	labelled.Labels = map[string]string{"dns": "headless"}
	for name, o := range servers {
		t.Run(name, func(t *testing.T) {
			p := watchServer(t, Config{NamespaceLabels: "dns=headless"}, o, labelled, fixture.Nginx(), fixture.Web(0))
			p.await(t, nginxName, dns.TypeA, "10.244.0.1")
			p.api.Put(unlabelled)
			p.await(t, nginxName, dns.TypeA, "outside")
			p.api.Put(labelled)
			p.await(t, nginxName, dns.TypeA, "10.244.0.1")
		})
	}
}

// TestWatchSlices takes the endpoints from slices and requests no pods.
func TestWatchSlices(t *testing.T) {
	controlled := func(name string, e ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
		s := fixture.Slice(name, e...)
		s.Labels[discoveryv1.LabelManagedBy], s.Labels["dns"] = object.SliceController, "headless"
		return s
	}
	byHand := fixture.Slice("by-hand", discoveryv1.Endpoint{Addresses: []string{"192.0.2.1"}})
	byHand.Labels["dns"] = "headless"
	labelled := func(s *corev1.Service) { s.Labels = map[string]string{"dns": "headless"} }
	p := watchServer(t, Config{Slices: true, Labels: "dns=headless"}, server{}, fixture.Nginx(labelled), fixture.Web(0), byHand,
		fixture.Nginx(func(s *corev1.Service) { s.Name = "unlabelled" }),
		fixture.Slice("unlabelled", discoveryv1.Endpoint{Addresses: []string{"192.0.2.9"}}),
		controlled("nginx-abc", discoveryv1.Endpoint{Addresses: []string{"10.244.0.2"}, Hostname: ptr.To("web-1")}))
	p.await(t, nginxName, dns.TypeA, "10.244.0.2, 192.0.2.1")
	p.await(t, "web-1."+nginxName, dns.TypeA, "10.244.0.2")
	p.await(t, "unlabelled.default.svc.cluster.local.", dns.TypeA, "outside")
	p.api.Put(controlled("nginx-abc", discoveryv1.Endpoint{Addresses: []string{"10.244.0.3"}, Hostname: ptr.To("web-2")}))
	p.await(t, nginxName, dns.TypeA, "10.244.0.3, 192.0.2.1")
	if requests := p.api.Asked("pods"); len(requests) > 0 {
		t.Errorf("pods are requested: %q", requests)
	}
	for _, r := range p.api.Asked("endpointslices") {
		if !strings.Contains(r, "labelSelector=dns%3Dheadless%2C%21multicluster.kubernetes.io%2Fservice-name&") {
			t.Errorf("slices are requested with %q", r)
		}
	}
}

func TestNewErrors(t *testing.T) {
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{}, "no API server is given, and this is not a pod"},
		{Config{Cluster: Cluster{Kubeconfig: "/dev/null"}}, `load kubeconfig "/dev/null": it names no cluster`},
		{Config{Cluster: Cluster{Kubeconfig: "/no/such/file"}}, `load kubeconfig "/no/such/file"`},
		{Config{Cluster: Cluster{Endpoint: "https://127.0.0.1", CA: "/no/such/file"}}, "/no/such/file"},
		{Config{Labels: "a in"}, `parse label selector "a in"`},
		{Config{NamespaceLabels: "a in b"}, `parse label selector "a in b"`},
		{Config{Namespaces: []string{"a"}, NamespaceLabels: "b"}, "by name [\"a\"] and by label \"b\" at once"},
		{Config{Manifests: []string{"/no/such/file"}}, `read manifest "/no/such/file": no such file or directory`},
	} {
		_, err := newProbe(test.config)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: the error is %v, want one with %q", test.config, err, test.want)
		}
	}
}

// TestClusterConfig checks each way to an API server: it uses protobuf, and the chosen
// context of a kubeconfig file.
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
		if c.QPS >= 0 {
			t.Errorf("%+v is limited to %v requests a second", test.cluster, c.QPS)
		}
		const protobuf = "application/vnd.kubernetes.protobuf"
		if c.ContentType != protobuf || !strings.HasPrefix(c.AcceptContentTypes, protobuf+",") {
			t.Errorf("%+v sends %q and accepts %q", test.cluster, c.ContentType, c.AcceptContentTypes)
		}
	}
}
