package informer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

var readyTime = time.Date(2026, 11, 27, 10, 3, 12, 0, time.UTC)

// explained returns an informer with some objects, without a source.
func explained(t testing.TB, c Config, objects ...any) *Informer {
	t.Helper()
	j := newJoiner(records.New(), c.PodNames, c.NamespaceLabels != "")
	j.slicesOnly, j.addressed, j.naming.zonal = c.Slices, c.Addressed, c.Zonal
	if c.MultiCluster {
		j.imports = newImports(records.NewClusterset())
	}
	u := j.trie.Update()
	for _, o := range objects {
		switch o := o.(type) {
		case *corev1.Pod:
			j.set(u, object.NewPod(o))
		case *corev1.Service:
			j.set(u, object.NewService(o))
		case *discoveryv1.EndpointSlice:
			j.set(u, object.NewEndpointSlice(o))
		case *corev1.Namespace:
			j.set(u, &object.Namespace{Key: object.Key{Name: o.Name}})
		case *corev1.Node:
			j.set(u, object.NewNode(o))
		case *mcsv1beta1.ServiceImport:
			j.set(u, object.NewServiceImport(o, string(o.Spec.Type)))
		default:
			t.Fatalf("unexpected %T", o)
		}
	}
	j.start()
	i := &Informer{joiner: j, config: c, synced: make(chan struct{})}
	close(i.synced)
	return i
}

func headlessService(name, app string, ports ...corev1.ServicePort) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Ports: ports},
	}
	if app != "" {
		s.Spec.Selector = map[string]string{"app": app}
	}
	return s
}

// readyPod returns a ready pod of a StatefulSet, changed by edits.
func readyPod(name, subdomain, app, ip string, edits ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": app, "statefulset.kubernetes.io/pod-name": name}},
		Spec:       corev1.PodSpec{Hostname: name, Subdomain: subdomain},
		Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: ip}}, Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(readyTime)},
		}},
	}
	for _, edit := range edits {
		edit(p)
	}
	return p
}

func notReady(p *corev1.Pod)   { p.Status.Conditions[0].Status = corev1.ConditionFalse }
func noAddress(p *corev1.Pod)  { p.Status.PodIPs = nil; notReady(p) }
func terminates(p *corev1.Pod) { p.DeletionTimestamp = ptr.To(metav1.NewTime(readyTime)) }
func noHostname(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = "", "" }
func hostname(h string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Hostname = h }
}

// TestExplain checks the reasons for each cause that users meet.
func TestExplain(t *testing.T) {
	web := corev1.ServicePort{Name: "web", Port: 80, TargetPort: intstr.FromInt32(8080)}
	i := explained(t, Config{},
		headlessService("nginx", "nginx", web, corev1.ServicePort{Port: 81, Protocol: corev1.ProtocolUDP}, corev1.ServicePort{Name: "named", Port: 82, TargetPort: intstr.FromString("http")}),
		headlessService("peers", "nginx"),
		headlessService("nothing", "nobody"),
		headlessService("typo", "ngnix"),
		headlessService("by-hand", ""),
		headlessService("starting", "starting"),
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "vip"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.9"}},
		readyPod("web-0", "nginx", "nginx", "10.0.0.1"),
		readyPod("web-1", "nginx", "nginx", "10.0.0.2", notReady),
		readyPod("web-2", "nginx", "nginx", "", noAddress),
		readyPod("web-3", "nginx", "nginx", "10.0.0.4", terminates),
		readyPod("web-4", "nginx", "nginx", "fd00::5"),
		readyPod("web-5", "web", "nginx", "10.0.0.6"),
		readyPod("web-6", "nginx", "other", "10.0.0.7"),
		readyPod("deploy-7", "nginx", "nginx", "10.0.0.8", noHostname),
		readyPod("pod-8", "nginx", "nginx", "10.0.0.9", hostname("shared")),
		readyPod("pod-9", "nginx", "nginx", "10.0.0.10", hostname("shared")),
		readyPod("typo-0", "typo", "typo", "10.0.0.11"),
		readyPod("missing-0", "missing", "missing", "10.0.0.12"),
		readyPod("web-10", "nginx", "nginx", "10.0.0.13", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
		&discoveryv1.EndpointSlice{ // the pods have the same endpoints
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx-abc", Labels: map[string]string{
				discoveryv1.LabelServiceName: "nginx", discoveryv1.LabelManagedBy: object.SliceController}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}, Hostname: ptr.To("web-0")}},
		},
		headlessService("ended", "ended"),
		readyPod("ended-0", "ended", "ended", "10.0.0.14", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
		readyPod("start-0", "starting", "starting", "10.0.1.1", notReady),
		readyPod("start-1", "starting", "starting", "", noAddress),
	)
	for _, test := range []struct {
		subject Subject
		want    []string
	}{
		// Names that resolve.
		{Subject{Service: "nginx", Host: "web-0"}, []string{"pod web-0: web-0.nginx has 10.0.0.1, ready since 2026-11-27T10:03:12Z, from pods of the API server"}},
		{Subject{Service: "nginx", Host: "shared"}, []string{
			"pod pod-8: shared.nginx has 10.0.0.9, ready since 2026-11-27T10:03:12Z, from pods of the API server",
			"pod pod-9: shared.nginx has 10.0.0.10, ready since 2026-11-27T10:03:12Z, from pods of the API server",
		}},
		{Subject{Service: "nginx", Host: "10-0-0-8"}, []string{"pod deploy-7: 10-0-0-8.nginx has 10.0.0.8, ready since 2026-11-27T10:03:12Z, from pods of the API server"}},

		// Pods that do not answer.
		{Subject{Service: "nginx", Host: "web-1"}, []string{"pod web-1: not ready; it gets the name when its readiness probe succeeds, or at once with annotation headless-dns.github.io/hosts: addressed"}},
		{Subject{Service: "nginx", Host: "web-2"}, []string{"pod web-2: no address yet; it gets the name when it is scheduled, started and ready"}},
		{Subject{Service: "nginx", Host: "web-3"}, []string{"pod web-3: terminating; the pod that replaces it gets the name when it is ready"}},
		{Subject{Service: "nginx", Host: "web-4"}, []string{"pod web-4: no address in a family of service nginx, whose ipFamilies are IPv4"}},

		// Pods with another name.
		{Subject{Service: "nginx", Host: "web-5"}, []string{`pod web-5: its subdomain is "web", not "nginx", so its name is 10-0-0-6.nginx; set its subdomain, which is the serviceName of a StatefulSet, to nginx`}},
		{Subject{Service: "peers", Host: "web-0"}, []string{`pod web-0: its subdomain is "nginx", not "peers", so its name is 10-0-0-1.peers; set its subdomain, which is the serviceName of a StatefulSet, to peers`}},
		{Subject{Service: "nginx", Host: "web-6"}, []string{`pod web-6: service nginx does not select it: its label app is "other", but the selector wants "nginx"`}},
		{Subject{Service: "nginx", Host: "deploy-7"}, []string{"pod deploy-7: it has no hostname, so its name is 10-0-0-8.nginx; set hostname, and subdomain to nginx, as a StatefulSet does"}},
		{Subject{Service: "nginx", Host: "pod-8"}, []string{`pod pod-8: its hostname is "shared", so its name is shared.nginx`}},
		{Subject{Service: "nginx", Host: "web-99"}, []string{
			"no pod with hostname web-99 in namespace default",
			"service nginx: 5 of 9 endpoints ready, from pods of the API server",
			"pod web-1: not ready", "pod web-2: no address yet", "pod web-3: terminating", "pod web-4: no address in a family",
			"service nginx: it selects 9 pods; the name of pod deploy-7 is 10-0-0-8.nginx",
		}},

		// Services.
		{Subject{Service: "starting"}, []string{"service starting: 0 of 2 endpoints ready, from pods of the API server", "pod start-0: not ready; ", "pod start-1: no address yet; "}},
		{Subject{Service: "nothing"}, []string{"service nothing: 0 of 0 endpoints ready", "service nothing: its selector app=nobody matches no pod in namespace default; correct the selector, or the labels of the pods"}},
		{Subject{Service: "typo"}, []string{"service typo: 0 of 0 endpoints ready", "service typo: its selector app=ngnix matches no pod", `pod typo-0: service typo does not select it: its label app is "typo", but the selector wants "ngnix"`}},
		{Subject{Service: "by-hand"}, []string{"service by-hand: 0 of 0 endpoints ready, from EndpointSlices of the API server", "service by-hand: it has no selector, so its endpoints are those of EndpointSlices that someone writes; there are none"}},
		{Subject{Service: "by-hand", Host: "web-0"}, []string{"pod web-0: service by-hand has no selector, so it selects no pod"}},
		{Subject{Service: "vip"}, []string{"service vip: it is not headless, so its pods have no names; only clusterIP: None makes it headless"}},
		{Subject{Service: "missing"}, []string{
			"default/missing: no headless service that this server watches; create it with clusterIP: None, or correct the name",
			`1 pod has subdomain "missing" and would have a name below such a service, if it selects the pod`,
		}},
		{Subject{Service: "web", Host: "web-0"}, []string{"default/web: no headless service that this server watches", `pod web-0: its subdomain is "nginx", so its name is web-0.nginx`, `1 pod has subdomain "web"`}},
		{Subject{Namespace: "other", Service: "nginx"}, []string{"other/nginx: no headless service that this server watches; create it with clusterIP: None, or correct the name"}},

		// Ports.
		{Subject{Service: "nginx", Port: "http", Protocol: "tcp"}, []string{"service nginx: no tcp port named http; it has web (8080/tcp), 81/udp, named (http/tcp)"}},
		{Subject{Service: "nginx", Port: "dns", Protocol: "udp"}, []string{"service nginx: port 81/udp has no name; give it one in the Service"}},
		{Subject{Service: "nginx", Port: "named", Protocol: "tcp"}, []string{`service nginx: targetPort "http" of port named is no tcp port of the containers of 9 of 9 pods`, "service nginx: 5 of 9 endpoints ready"}},
		{Subject{Service: "nginx", Port: "web", Protocol: "tcp"}, []string{"service nginx: 5 of 9 endpoints ready, from pods of the API server", "pod web-1: not ready"}},
		{Subject{Service: "nginx", Protocol: "tcp"}, []string{"service nginx: only names of ports, such as _web._tcp, are below _tcp"}},
		{Subject{Service: "peers", Protocol: "sctp"}, []string{"service peers: no sctp port with a name; it has none"}},
		{Subject{Service: "peers", Port: "web", Protocol: "tcp"}, []string{"service peers: no tcp port named web; it has none"}},

		// Addresses.
		{Subject{Addr: netip.MustParseAddr("10.0.0.1")}, []string{"pod web-0: web-0.nginx has 10.0.0.1, ready since", "pod web-0: 10-0-0-1.peers has 10.0.0.1, ready since"}},
		{Subject{Addr: netip.MustParseAddr("10.0.0.2")}, []string{"pod web-1: not ready; ", "pod web-1: not ready; "}},
		{Subject{Addr: netip.MustParseAddr("10.0.0.13")}, []string{"pod web-10: it has ended, so it has no name"}},
		{Subject{Service: "nginx", Host: "web-10"}, []string{"pod web-10: it has ended, so it has no name"}},
		{Subject{Service: "ended"}, []string{"service ended: 0 of 0 endpoints ready", "service ended: its selector app=ended matches no pod", "pod ended-0: it has ended, so it has no name"}},
		{Subject{Addr: netip.MustParseAddr("10.0.0.12")}, []string{"pod default/missing-0 has the address 10.0.0.12, but no headless service that this server serves selects it"}},
		{Subject{Addr: netip.MustParseAddr("10.9.9.9")}, []string{"10.9.9.9: no pod that this server watches has this address"}},
	} {
		if test.subject.Namespace == "" {
			test.subject.Namespace = "default"
		}
		checkReasons(t, i, test.subject, test.want)
	}
}

// TestExplainAddressed explains pods whose hosts have their addresses before they are ready.
func TestExplainAddressed(t *testing.T) {
	notReady := func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }
	annotated := func(s *corev1.Service, value string) *corev1.Service {
		s.Annotations = map[string]string{object.HostsAnnotation: value}
		return s
	}
	byHand := headlessService("by-hand", "")
	i := explained(t, Config{Addressed: true}, headlessService("nginx", "nginx"), annotated(headlessService("typo", "typo"), "address"),
		annotated(headlessService("late", "late"), "ready"), byHand,
		readyPod("web-0", "nginx", "nginx", "10.0.0.1", notReady),
		readyPod("web-1", "nginx", "nginx", "10.0.0.2", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: readyTime} }),
		readyPod("web-2", "nginx", "nginx", "", func(p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = "", nil }, notReady),
		readyPod("typo-0", "typo", "typo", "10.0.0.3"),
		readyPod("late-0", "late", "late", "10.0.0.4", notReady),
		&discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "by-hand-1", Labels: map[string]string{discoveryv1.LabelServiceName: "by-hand"}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.5"}, Hostname: ptr.To("db-0"),
				Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false)}}},
		})
	const typo = `service typo: its annotation headless-dns.github.io/hosts is neither "ready" nor "addressed", so the option hosts counts`
	for _, test := range []struct {
		service, host string
		want          []string
	}{
		{"nginx", "web-0", []string{"pod web-0: not ready; web-0.nginx has 10.0.0.1 all the same while no ready pod has that name (hosts addressed); nginx and SRV records have the pod when it is ready"}},
		{"nginx", "web-1", []string{"pod web-1: terminating; the pod that replaces it gets the name when it has an address"}},
		{"nginx", "web-2", []string{"pod web-2: no address yet; it gets the name when it is scheduled and started"}},
		{"late", "late-0", []string{"pod late-0: not ready; it gets the name when its readiness probe succeeds, or at once with annotation headless-dns.github.io/hosts: addressed"}},
		{"typo", "typo-0", []string{"pod typo-0: typo-0.typo has 10.0.0.3, ready since ", typo}},
		{"typo", "", []string{"service typo: 1 of 1 endpoints ready, from pods of the API server", typo}},
		{"by-hand", "db-0", []string{"endpoint 10.0.0.5 of EndpointSlice by-hand-1: not ready (hosts addressed), with the name db-0.by-hand"}},
	} {
		checkReasons(t, i, Subject{Namespace: "default", Service: test.service, Host: test.host}, test.want)
	}
}

// checkReasons checks that the explanation begins with reasons that begin so.
func checkReasons(t *testing.T, i *Informer, s Subject, want []string) {
	t.Helper()
	got := i.Explain(s)
	same := len(got) >= len(want)
	for n := range want {
		same = same && strings.HasPrefix(got[n], want[n])
	}
	if !same || len(want) == 1 && len(got) != 1 {
		t.Errorf("the explanation of %+v is\n%s\nwant\n%s", s, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestExplainView checks what is said of objects that the server does not watch.
func TestExplainView(t *testing.T) {
	nginx := headlessService("nginx", "nginx")
	pod := readyPod("web-0", "nginx", "nginx", "10.0.0.1")
	here := Subject{Namespace: "default", Service: "nginx", Host: "web-0"}
	elsewhere := Subject{Namespace: "prod", Service: "db"}
	none := "prod/db: no headless service that this server watches; create it with clusterIP: None, or correct the name"
	for name, test := range map[string]struct {
		config Config
		want   string
	}{
		"namespaces": {Config{Namespaces: []string{"default", "dev"}}, none + "; it watches only namespaces default dev (option namespaces)"},
		"labels":     {Config{Labels: "dns=yes"}, none + "; it watches only services whose labels match dns=yes (option labels)"},
		"namespace labels": {Config{NamespaceLabels: "team=a", Labels: "dns=yes"},
			"prod/db: the server does not serve namespace prod: it serves only namespaces whose labels match team=a (option namespace_labels), and it watches only services whose labels match dns=yes (option labels)"},
		"manifests": {Config{Manifests: []string{"a.yaml"}}, none},
	} {
		i := explained(t, test.config, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, nginx, pod)
		checkReasons(t, i, elsewhere, []string{test.want})
		origin := "the API server"
		if name == "manifests" {
			origin = "manifests"
		}
		checkReasons(t, i, here, []string{"pod web-0: web-0.nginx has 10.0.0.1, ready since 2026-11-27T10:03:12Z, from pods of " + origin})
		i.restored.Store(true)
		if got := i.Explain(here); len(got) != 2 || got[1] != "the server has reached no API server since its start, so all this is from its snapshot" {
			t.Errorf("%s, from a snapshot: %q", name, got)
		}
		i.synced = make(chan struct{})
		checkReasons(t, i, here, []string{"the server is not ready: it has not listed every kind of object yet; its log says why"})
	}
}

// TestExplainSlices checks explanations from EndpointSlices alone.
func TestExplainSlices(t *testing.T) {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "nginx-abc", Labels: map[string]string{discoveryv1.LabelServiceName: "nginx"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.0.0.1"}, Hostname: ptr.To("web-0")},
			{Addresses: []string{"10.0.0.2"}, Hostname: ptr.To("web-1"), Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false)}},
			{Addresses: []string{"10.0.0.3"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false), Terminating: ptr.To(true)}},
		},
	}
	i := explained(t, Config{Slices: true}, headlessService("nginx", "nginx"), headlessService("empty", "nobody"), slice)
	for _, test := range []struct {
		subject Subject
		want    []string
	}{
		{Subject{Service: "nginx", Host: "web-0"}, []string{"endpoint 10.0.0.1 of EndpointSlice nginx-abc: ready, with the name web-0.nginx"}},
		{Subject{Service: "nginx", Host: "web-1"}, []string{"endpoint 10.0.0.2 of EndpointSlice nginx-abc: not ready, with the name web-1.nginx"}},
		{Subject{Service: "nginx", Host: "10-0-0-3"}, []string{"endpoint 10.0.0.3 of EndpointSlice nginx-abc: terminating, with the name 10-0-0-3.nginx"}},
		{Subject{Service: "nginx", Host: "web-9"}, []string{
			"no endpoint with hostname web-9 in the EndpointSlices of service nginx",
			"service nginx: 1 of 3 endpoints ready, from EndpointSlices of the API server",
			"endpoint 10.0.0.2", "endpoint 10.0.0.3",
		}},
		{Subject{Service: "empty"}, []string{"service empty: 0 of 0 endpoints ready", "service empty: no EndpointSlice has an endpoint of it: its selector app=nobody matches no pod with an address"}},
		{Subject{Addr: netip.MustParseAddr("10.0.0.2")}, []string{"endpoint 10.0.0.2 of EndpointSlice nginx-abc: not ready, with the name web-1.nginx"}},
	} {
		test.subject.Namespace = "default"
		checkReasons(t, i, test.subject, test.want)
	}
}

// TestExplainDuringChanges explains names while the writer applies histories, for the race
// detector.
func TestExplainDuringChanges(t *testing.T) {
	for seed := range uint64(5) {
		h := drawHistory(rand.New(rand.NewPCG(seed, 0)), 400)
		p := newPipeline(h)
		var stop atomic.Bool
		var readers sync.WaitGroup
		for n := range 2 {
			readers.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(n)))
				for !stop.Load() {
					q := questions[rng.IntN(len(questions))]
					s := Subject{Namespace: q.service.Namespace, Service: q.service.Name, Host: q.host, Port: q.port, Protocol: q.protocol, Addr: q.addr}
					if len(p.Explain(s)) == 0 {
						t.Errorf("%+v has no reasons", s)
					}
				}
			})
		}
		err := h.play(t, p, func() error {
			p.apply(p.batch)
			p.batch = nil
			return nil
		})
		stop.Store(true)
		readers.Wait()
		if err != nil {
			t.Error(err)
		}
	}
}

// TestStrayHostname checks which hostnames a service does not have as names.
func TestStrayHostname(t *testing.T) {
	s := newJoinedService(object.NewService(headlessService("nginx", "nginx")))
	for _, test := range []struct {
		pod      *corev1.Pod
		podNames bool
		want     records.Stray
	}{
		{readyPod("web-0", "web", "nginx", "10.0.0.1"), false, records.Stray{Hostname: "web-0", Subdomain: "web"}},
		{readyPod("web-0", "", "nginx", "10.0.0.1"), false, records.Stray{Hostname: "web-0"}},
		{readyPod("web-0", "nginx", "nginx", "10.0.0.1"), false, records.Stray{}},
		{readyPod("web-0", "web", "nginx", "10.0.0.1", noHostname), false, records.Stray{}},
		{readyPod("web-0", "web", "nginx", "10.0.0.1"), true, records.Stray{}}, // it has the name anyway
		{readyPod("web-0", "web", "nginx", "10.0.0.1", hostname("other")), true, records.Stray{Hostname: "other", Subdomain: "web"}},
	} {
		got, ok := strayHostname(s, object.NewPod(test.pod), &naming{podNames: test.podNames})
		if got != test.want || ok != (test.want != records.Stray{}) {
			t.Errorf("pod %s of %q has %+v, %v, want %+v", test.pod.Name, test.pod.Spec.Subdomain, got, ok, test.want)
		}
	}
}

// TestExplainLimits checks that an explanation is short, whatever the objects are.
func TestExplainLimits(t *testing.T) {
	long := strings.Repeat("a", 63)
	objects := []any{headlessService(long, long)}
	for n := range 100 {
		objects = append(objects, readyPod(fmt.Sprintf("%s.%s.%s.%d", long, long, long, n), "nginx", long, "10.0.0.1", notReady, noHostname))
	}
	i := explained(t, Config{Labels: strings.Repeat("b", 300)}, objects...)
	for _, s := range []Subject{{Service: long}, {Service: "nginx"}, {Service: long, Host: long}, {Addr: netip.MustParseAddr("10.0.0.1")}} {
		s.Namespace = "default"
		got := i.Explain(s)
		if len(got) == 0 || len(got) > MaxReasons {
			t.Errorf("%+v has %d reasons", s, len(got))
		}
		for _, reason := range got {
			if len(reason) > MaxReason {
				t.Errorf("%+v has a reason of %d bytes", s, len(reason))
			}
		}
	}
}

// TestExplainCost explains the address of many pods that many services select: the work must not
// be the product.
func TestExplainCost(t *testing.T) {
	var objects []any
	for n := range 300 {
		objects = append(objects, headlessService(fmt.Sprint("s-", n), "nginx"), readyPod(fmt.Sprint("web-", n), "s-0", "nginx", "10.0.0.1"))
	}
	i := explained(t, Config{}, objects...)
	e := explanation{informer: i}
	e.address(netip.MustParseAddr("10.0.0.1"))
	if len(e.reasons) != MaxReasons || e.states != MaxReasons {
		t.Errorf("%d reasons took %d looks at a pod and a service, want %d", len(e.reasons), e.states, MaxReasons)
	}
}

// BenchmarkExplain explains names in a namespace of 10,000 pods. The writer waits for no longer
// than the part "view".
func BenchmarkExplain(b *testing.B) {
	objects := []any{headlessService("nginx", "nginx")}
	for n := range 10000 {
		edit := func(*corev1.Pod) {}
		if n%2 == 0 {
			edit = notReady
		}
		objects = append(objects, readyPod(fmt.Sprint("web-", n), "nginx", "nginx", fmt.Sprintf("10.1.%d.%d", n/250, n%250), edit))
	}
	i := explained(b, Config{}, objects...)
	b.Run("view", func(b *testing.B) {
		for b.Loop() {
			i.joiner.view("default")
		}
	})
	for name, s := range map[string]Subject{
		"host":         {Namespace: "default", Service: "nginx", Host: "web-777"},
		"missing host": {Namespace: "default", Service: "nginx", Host: "web-x"},
		"service":      {Namespace: "default", Service: "nginx"},
		"other":        {Namespace: "default", Service: "other", Host: "web-7"},
		"address":      {Addr: netip.MustParseAddr("10.1.3.3")},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				i.Explain(s)
			}
		})
	}
}

// TestExplainExternal checks that an external name is explained of an annotated service that is
// served alone. The reason for all others is the same, whatever they lack.
func TestExplainExternal(t *testing.T) {
	annotated := func(namespace, name string) *corev1.Service {
		s := headlessService(name, name)
		s.Namespace, s.Annotations = namespace, map[string]string{object.ExternalAnnotation: "true"}
		return s
	}
	vip := annotated("default", "vip")
	vip.Spec.ClusterIP = "10.96.0.1"
	i := explained(t, Config{NamespaceLabels: "team=a"}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}},
		annotated("default", "nginx"), annotated("other", "nginx"), vip, headlessService("inner", "inner"))
	for _, name := range []string{"other/nginx", "default/vip", "default/inner", "default/none", "none/none"} {
		namespace, service, _ := strings.Cut(name, "/")
		checkReasons(t, i, Subject{Namespace: namespace, Service: service, External: true},
			[]string{name + `: no headless service with annotation headless-dns.github.io/external: "true" that this server watches`})
	}
	checkReasons(t, i, Subject{Namespace: "default", Service: "nginx", External: true}, []string{"service nginx: 0 of 0 endpoints ready", "service nginx: its selector app=nginx matches no pod"})
}
