package informer

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

// TestPodEndpoints checks the rules of the EndpointSlice controller, and the reasons for
// the endpoints that it leaves out.
func TestPodEndpoints(t *testing.T) {
	dual := func(s *corev1.Service) {
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}
	}
	only6 := func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} }
	target := func(to intstr.IntOrString) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = to }
	}
	for _, test := range []struct {
		what     string
		service  []func(*corev1.Service)
		pod      []func(*corev1.Pod)
		podNames bool
		// addressed is the setting of the service.
		addressed bool
		want      string
	}{
		{what: "a ready pod", addressed: true, want: "web-0* 10.244.0.1 tcp/web:80"},
		{what: "not ready, addressed", addressed: true, pod: []func(*corev1.Pod){fixture.NotReady}, want: "web-0* 10.244.0.1 tcp/web:80 (not ready) addressed"},
		{what: "not ready, addressed, dual-stack", addressed: true, service: []func(*corev1.Service){dual}, pod: []func(*corev1.Pod){fixture.NotReady},
			want: "web-0* 10.244.0.1 tcp/web:80 (not ready) addressed, web-0* fd00::1 tcp/web:80 (not ready) addressed"},
		{what: "not ready, addressed and published", addressed: true, service: []func(*corev1.Service){publish}, pod: []func(*corev1.Pod){fixture.NotReady},
			want: "web-0* 10.244.0.1 tcp/web:80"},
		{what: "terminating, addressed", addressed: true, pod: []func(*corev1.Pod){fixture.Terminating, fixture.NotReady},
			want: "web-0* 10.244.0.1 tcp/web:80 (terminating)"},
		{what: "no IP yet, addressed", addressed: true, pod: []func(*corev1.Pod){fixture.NoAddress}, want: "web-0* (no address yet)"},
		{what: "a family that the pod lacks, addressed", addressed: true, service: []func(*corev1.Service){only6},
			pod:  []func(*corev1.Pod){fixture.NotReady, func(p *corev1.Pod) { p.Status.PodIPs = p.Status.PodIPs[:1] }},
			want: "web-0* (no address in a family of the service)"},
		{what: "failed, addressed", addressed: true, pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }}, want: ""},

		{what: "a ready pod", want: "web-0* 10.244.0.1 tcp/web:80"},
		{what: "dual-stack", service: []func(*corev1.Service){dual},
			want: "web-0* 10.244.0.1 tcp/web:80, web-0* fd00::1 tcp/web:80"},
		{what: "IPv6 alone", service: []func(*corev1.Service){only6}, want: "web-0* fd00::1 tcp/web:80"},
		{what: "no families", service: []func(*corev1.Service){func(s *corev1.Service) { s.Spec.IPFamilies = nil }},
			want: "web-0* 10.244.0.1 tcp/web:80, web-0* fd00::1 tcp/web:80"},
		{what: "a family that the pod lacks", service: []func(*corev1.Service){only6},
			pod:  []func(*corev1.Pod){func(p *corev1.Pod) { p.Status.PodIPs = p.Status.PodIPs[:1] }},
			want: "web-0* (no address in a family of the service)"},
		{what: "not ready", pod: []func(*corev1.Pod){fixture.NotReady}, want: "web-0* 10.244.0.1 tcp/web:80 (not ready)"},
		{what: "no condition", pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Status.Conditions = nil }},
			want: "web-0* 10.244.0.1 tcp/web:80 (not ready)"},
		{what: "terminating", pod: []func(*corev1.Pod){fixture.Terminating}, want: "web-0* 10.244.0.1 tcp/web:80 (terminating)"},
		{what: "terminating and not ready", pod: []func(*corev1.Pod){fixture.Terminating, fixture.NotReady},
			want: "web-0* 10.244.0.1 tcp/web:80 (terminating)"},
		{what: "not ready but published", service: []func(*corev1.Service){publish}, pod: []func(*corev1.Pod){fixture.NotReady},
			want: "web-0* 10.244.0.1 tcp/web:80"},
		{what: "terminating but published", service: []func(*corev1.Service){publish}, pod: []func(*corev1.Pod){fixture.Terminating},
			want: "web-0* 10.244.0.1 tcp/web:80"},
		{what: "no IP yet", pod: []func(*corev1.Pod){fixture.NoAddress}, want: "web-0* (no address yet)"},
		{what: "no IP yet but published", service: []func(*corev1.Service){publish}, pod: []func(*corev1.Pod){fixture.NoAddress},
			want: "web-0* (no address yet)"},
		{what: "succeeded", pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }}, want: ""},
		{what: "failed", pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }}, want: ""},
		{what: "host network", pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.HostNetwork = true }}, want: "web-0* 10.244.0.1 tcp/web:80"},

		{what: "another subdomain", pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.Subdomain = "other" }},
			want: "10-244-0-1 10.244.0.1 tcp/web:80"},
		{what: "no hostname", pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.Hostname = "" }},
			want: "10-244-0-1 10.244.0.1 tcp/web:80"},
		{what: "no hostname, dual-stack", service: []func(*corev1.Service){dual}, pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.Hostname = "" }},
			want: "10-244-0-1 10.244.0.1 tcp/web:80, fd00--1 fd00::1 tcp/web:80"},
		{what: "pod names", podNames: true, pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.Hostname, p.Name = "", "web-x7k2p" }},
			want: "web-x7k2p 10.244.0.1 tcp/web:80"},
		{what: "pod names, but a hostname", podNames: true, pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Name = "web-x7k2p" }},
			want: "web-0* 10.244.0.1 tcp/web:80"},
		{what: "pod names with a dot", podNames: true, pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.Hostname, p.Name = "", "web.x" }},
			want: "10-244-0-1 10.244.0.1 tcp/web:80"},
		{what: "pod names too long", podNames: true, pod: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.Hostname, p.Name = "", strings.Repeat("x", 64) }},
			want: "10-244-0-1 10.244.0.1 tcp/web:80"},

		{what: "a target number", service: []func(*corev1.Service){target(intstr.FromInt32(8000))}, want: "web-0* 10.244.0.1 tcp/web:8000"},
		{what: "a target name", service: []func(*corev1.Service){target(intstr.FromString("http"))}, want: "web-0* 10.244.0.1 tcp/web:8080"},
		{what: "a target name of another protocol", service: []func(*corev1.Service){target(intstr.FromString("http")),
			func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP }}, want: "web-0* 10.244.0.1 udp/web:8081"},
		{what: "a target name that the pod lacks", service: []func(*corev1.Service){target(intstr.FromString("grpc"))}, want: "web-0* 10.244.0.1"},
		{what: "a target name of a sidecar", service: []func(*corev1.Service){target(intstr.FromString("grpc"))},
			pod: []func(*corev1.Pod){func(p *corev1.Pod) {
				p.Spec.InitContainers = []corev1.Container{
					{Ports: []corev1.ContainerPort{{Name: "grpc", ContainerPort: 1}}}, // runs and ends
					{RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), Ports: []corev1.ContainerPort{{Name: "grpc", ContainerPort: 9090}}},
				}
			}}, want: "web-0* 10.244.0.1 tcp/web:9090"},
		{what: "no ports", service: []func(*corev1.Service){func(s *corev1.Service) { s.Spec.Ports = nil }}, want: "web-0* 10.244.0.1"},
		{what: "a port without a name or protocol", service: []func(*corev1.Service){func(s *corev1.Service) {
			s.Spec.Ports = []corev1.ServicePort{{Port: 3306}}
		}}, want: "web-0* 10.244.0.1 tcp/:3306"},
	} {
		got := describe(func(yield func(records.Endpoint)) {
			s := newJoinedService(object.NewService(fixture.Nginx(test.service...)))
			s.addressed = test.addressed
			podEndpoints(s, object.NewPod(fixture.Web(0, test.pod...)), "eu-1a", &naming{podNames: test.podNames}, func(e records.Endpoint) {
				if (e.Zone == "eu-1a") != (e.Withheld == records.Ready) {
					t.Errorf("%s: an endpoint is in zone %q: %v", test.what, e.Zone, e.Withheld)
				}
				yield(e)
			})
		})
		if got != test.want {
			t.Errorf("%s: the endpoints are %q, want %q", test.what, got, test.want)
		}
	}
}

// describe formats endpoints, with a star after names that are hostnames.
func describe(each func(func(records.Endpoint))) string {
	var out []string
	each(func(e records.Endpoint) {
		s := e.Host
		if e.Hostname {
			s += "*"
		}
		if e.Addr.IsValid() {
			s += " " + e.Addr.String()
		}
		for _, p := range e.Ports.Ports() {
			s += fmt.Sprintf(" %s/%s:%d", p.Protocol, p.Name, p.Number)
		}
		if e.Withheld != records.Ready {
			s += fmt.Sprintf(" (%v)", e.Withheld)
		}
		if e.Addressed {
			s += " addressed"
		}
		out = append(out, s)
	})
	return strings.Join(out, ", ")
}

func TestSliceEndpoints(t *testing.T) {
	pod := &corev1.ObjectReference{Kind: "Pod", Name: "web-x7k2p"}
	slice := fixture.Slice("by-hand",
		discoveryv1.Endpoint{Addresses: []string{"010.0.0.01", "10.0.0.2"}, Hostname: ptr.To("DB-0")},
		discoveryv1.Endpoint{Addresses: []string{"10.0.0.3"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}, TargetRef: pod},
		discoveryv1.Endpoint{Addresses: []string{"10.0.0.4"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false)}},
		discoveryv1.Endpoint{Addresses: []string{"10.0.0.5"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false), Terminating: ptr.To(true)}},
		discoveryv1.Endpoint{Addresses: []string{"db.example.org", "010.0.0.0.6"}},
	)
	slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: ptr.To("any")}) // without a number
	for i := range slice.Endpoints {
		slice.Endpoints[i].Zone = ptr.To("eu-1a")
	}
	const published = "db-0* 10.0.0.1 tcp/web:8080, db-0* 10.0.0.2 tcp/web:8080, 10-0-0-3 10.0.0.3 tcp/web:8080, " +
		"10-0-0-4 10.0.0.4 tcp/web:8080, 10-0-0-5 10.0.0.5 tcp/web:8080"
	addressed := false
	endpoints := func(podNames bool, change ...func(*corev1.Service)) string {
		return describe(func(yield func(records.Endpoint)) {
			s, service := object.NewEndpointSlice(slice), newJoinedService(object.NewService(fixture.Nginx(change...)))
			service.addressed = addressed
			sliceEndpoints(service.sliceRules(), s, s.Endpoints, &naming{podNames: podNames, zonal: true}, func(e records.Endpoint) {
				if (e.Zone == "eu-1a") != (e.Withheld == records.Ready) {
					t.Errorf("an endpoint is in zone %q: %v", e.Zone, e.Withheld)
				}
				yield(e)
			})
		})
	}
	if got := endpoints(false, publish); got != published {
		t.Errorf("of a service with publishNotReadyAddresses, the endpoints are %q, want %q", got, published)
	}
	for podNames, want := range map[bool]string{
		false: "db-0* 10.0.0.1 tcp/web:8080, db-0* 10.0.0.2 tcp/web:8080, 10-0-0-3 10.0.0.3 tcp/web:8080, " +
			"10-0-0-4 10.0.0.4 tcp/web:8080 (not ready), 10-0-0-5 10.0.0.5 tcp/web:8080 (terminating)",
		true: "db-0* 10.0.0.1 tcp/web:8080, db-0* 10.0.0.2 tcp/web:8080, web-x7k2p 10.0.0.3 tcp/web:8080, " +
			"10-0-0-4 10.0.0.4 tcp/web:8080 (not ready), 10-0-0-5 10.0.0.5 tcp/web:8080 (terminating)",
	} {
		if got := endpoints(podNames); got != want {
			t.Errorf("with pod names %v, the endpoints are %q, want %q", podNames, got, want)
		}
	}
	addressed = true
	want := "db-0* 10.0.0.1 tcp/web:8080, db-0* 10.0.0.2 tcp/web:8080, 10-0-0-3 10.0.0.3 tcp/web:8080, " +
		"10-0-0-4 10.0.0.4 tcp/web:8080 (not ready) addressed, 10-0-0-5 10.0.0.5 tcp/web:8080 (terminating)"
	if got := endpoints(false); got != want {
		t.Errorf("addressed, the endpoints are %q, want %q", got, want)
	}
	if got := endpoints(false, publish); got != published {
		t.Errorf("addressed and published, the endpoints are %q, want %q", got, published)
	}
}

// TestHostsAnnotation checks that the annotation of a service wins over the setting, also when it
// comes, changes and goes.
func TestHostsAnnotation(t *testing.T) {
	pod := fixture.Web(0, fixture.NotReady)
	for _, byDefault := range []bool{false, true} {
		for _, inSlices := range []bool{false, true} {
			i := explained(t, Config{Addressed: byDefault, Slices: inSlices})
			set := func(o object.Object) {
				u := i.joiner.trie.Update()
				i.joiner.set(u, o)
				i.joiner.flush(u)
				u.Commit()
			}
			if set(object.NewPod(pod)); inSlices {
				slice := fixture.Slice("nginx-1", discoveryv1.Endpoint{Addresses: []string{"10.244.0.1"}, Hostname: ptr.To("web-0"),
					Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false)}})
				slice.Labels = map[string]string{discoveryv1.LabelServiceName: "nginx"}
				set(object.NewEndpointSlice(slice))
			}
			for _, value := range []string{"", "addressed", "ready", "addressed", "", "ready", "Addressed", "ready", "unset", "addressed"} {
				set(object.NewService(fixture.Nginx(func(s *corev1.Service) {
					if value != "unset" {
						s.Annotations = map[string]string{"headless-dns.github.io/hosts": value}
					}
				})))
				want := "missing"
				if value == "addressed" || value != "ready" && byDefault {
					want = "10.244.0.1"
				}
				if got := answer(i.joiner.trie, "web-0.nginx.default.svc.cluster.local.", dns.TypeA); got != want {
					t.Errorf("default %v, from slices %v, annotation %q: got %q, want %q", byDefault, inSlices, value, got, want)
				}
			}
		}
	}
}

func TestDashed(t *testing.T) {
	for address, want := range map[string]string{
		"10.1.2.3":                             "10-1-2-3",
		"2001:db8:3333:4444:5555:6666:7777:88": "2001-db8-3333-4444-5555-6666-7777-88",
		"2001:db8::1":                          "2001-db8--1",
		"2001:db8:3333:4444:5555:6666::":       "2001-db8-3333-4444-5555-6666--0",
		"::1":                                  "0--1",
		"::":                                   "0--0",
	} {
		got := dashed(netip.MustParseAddr(address))
		if got != want || !isLabel(got) {
			t.Errorf("%s is the label %q, want %q", address, got, want)
		}
		if back, err := netip.ParseAddr(strings.ReplaceAll(got, "-", ":")); strings.Contains(address, ":") && (err != nil || back != netip.MustParseAddr(address)) {
			t.Errorf("%q is the address %v (%v), want %s", got, back, err, address)
		}
	}
}

// TestLabelBudget checks that the labels of a pod are made once for all services that
// select it. To validate a name and format an address takes longer than everything else.
func TestLabelBudget(t *testing.T) {
	s := newJoinedService(object.NewService(fixture.Nginx(func(s *corev1.Service) {
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	})))
	podOf := func(name string) *object.Pod {
		return object.NewPod(fixture.Web(0, func(p *corev1.Pod) {
			p.Name, p.Spec.Hostname, p.Status.PodIPs = name, "", []corev1.PodIP{{IP: "10.244.0.1"}, {IP: "fd00::1"}}
		}))
	}
	for _, test := range []struct {
		naming naming
		pod    *object.Pod
		want   string
	}{
		{naming{}, podOf("web-0"), "10-244-0-1 fd00--1"},
		{naming{podNames: true}, podOf("web-0"), "web-0 web-0"},
		{naming{podNames: true}, podOf("web.0"), "10-244-0-1 fd00--1"}, // not a label
	} {
		var hosts []string
		podEndpoints(s, test.pod, "", &test.naming, func(e records.Endpoint) { hosts = append(hosts, e.Host) })
		if got := strings.Join(hosts, " "); got != test.want {
			t.Errorf("the labels are %q, want %q", got, test.want)
		}
		if n := testing.AllocsPerRun(10, func() { podEndpoints(s, test.pod, "", &test.naming, func(records.Endpoint) {}) }); n > 0 {
			t.Errorf("another service takes %v allocations", n)
		}
	}
}

// TestExternalAnnotation checks that only "true" gives a service external names, also when the
// annotation comes, changes and goes, and when the service or its namespace does.
func TestExternalAnnotation(t *testing.T) {
	i := explained(t, Config{})
	do := func(f func(j *joiner, u *records.Update)) {
		u := i.joiner.trie.Update()
		f(i.joiner, u)
		i.joiner.flush(u)
		u.Commit()
	}
	service := func(value string, change ...func(*corev1.Service)) object.Object {
		return object.NewService(fixture.Nginx(func(s *corev1.Service) {
			if value != "unset" {
				s.Annotations = map[string]string{"headless-dns.github.io/external": value}
			}
			for _, c := range change {
				c(s)
			}
		}))
	}
	check := func(what, want string) {
		t.Helper()
		if got := answer(i.joiner.trie, "web-0.nginx.default.example.org.", dns.TypeA); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	do(func(j *joiner, u *records.Update) { j.set(u, object.NewPod(fixture.Web(0))) })
	for _, value := range []string{"", "true", "false", "true", "unset", "true", "True", "1", "true", " true"} {
		do(func(j *joiner, u *records.Update) { j.set(u, service(value)) })
		if value == "true" {
			check(value, "10.244.0.1")
		} else {
			check(value, "outside")
		}
	}
	clusterIP := func(s *corev1.Service) { s.Spec.ClusterIP = "10.96.0.1" }
	for _, step := range []struct {
		what string
		do   func(j *joiner, u *records.Update)
		want string
	}{
		{"annotated again", func(j *joiner, u *records.Update) { j.set(u, service("true")) }, "10.244.0.1"},
		{"no longer headless", func(j *joiner, u *records.Update) { j.set(u, service("true", clusterIP)) }, "outside"},
		{"headless again", func(j *joiner, u *records.Update) { j.set(u, service("true")) }, "10.244.0.1"},
		{"deleted", func(j *joiner, u *records.Update) { j.remove(u, object.Services, service("").ID()) }, "outside"},
		{"created without", func(j *joiner, u *records.Update) { j.set(u, service("")) }, "outside"},
		{"deleted and created at once", func(j *joiner, u *records.Update) {
			j.remove(u, object.Services, service("").ID())
			j.set(u, service("true"))
		}, "10.244.0.1"},
		{"changed twice at once", func(j *joiner, u *records.Update) {
			j.set(u, service(""))
			j.set(u, service("true"))
		}, "10.244.0.1"},
		{"deleted and created without", func(j *joiner, u *records.Update) {
			j.remove(u, object.Services, service("").ID())
			j.set(u, service(""))
		}, "outside"},
	} {
		do(step.do)
		check(step.what, step.want)
	}
}
