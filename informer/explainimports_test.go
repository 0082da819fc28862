package informer

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/headless-dns/headless/informer/internal/fixture"
)

// importSubject returns the subject of a name below the ServiceImport nginx, or of another one if the
// name is HOST.CLUSTER/IMPORT.
func importSubject(name string) Subject {
	s := Subject{Namespace: "default", Service: "nginx", Clusterset: true}
	name, service, ok := strings.Cut(name, "/")
	if ok {
		s.Service = service
	}
	switch port, protocol, ok := strings.Cut(name, "._"); {
	case ok:
		s.Port, s.Protocol = port[1:], protocol
	case strings.HasPrefix(name, "_"):
		s.Protocol = name[1:]
	case strings.Contains(name, "."):
		s.Host, s.Cluster, _ = strings.Cut(name, ".")
	default:
		s.Cluster = name
	}
	return s
}

func portsOf(s *discoveryv1.EndpointSlice, ports ...discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
	s.Ports = ports
	return s
}

func slicePort(name string, number int32) discoveryv1.EndpointPort {
	return discoveryv1.EndpointPort{Name: &name, Port: &number}
}

// TestExplainImports checks the reasons for each cause that users of multi-cluster services meet.
func TestExplainImports(t *testing.T) {
	udp := slicePort("dns", 53)
	udp.Protocol = ptr.To(corev1.ProtocolUDP)
	var many []discoveryv1.EndpointPort
	for n := range int32(7) {
		many = append(many, slicePort(fmt.Sprint("p", n), 7000+n))
	}
	objects := []any{
		fixture.Import("nginx"),
		fixture.Imported("c1-a", "nginx", "c1", hostAt("web-0", "10.1.0.1"), hostAt("web-1", "10.1.0.2", notReadyEndpoint), hostAt("", "10.1.0.3")),
		fixture.Imported("c2-a", "nginx", "EU.c2", hostAt("web-0", "10.2.0.1"), hostAt("web-2", "10.2.0.2", notReadyEndpoint, terminatingEndpoint)),
		fixture.Imported("c2-b", "nginx", "a_b", hostAt("web-9", "10.2.0.3")),
		portsOf(fixture.Imported("c2-c", "nginx", "", hostAt("web-9", "10.2.0.4")), slicePort("stray", 1)),
		portsOf(fixture.Imported("c3-a", "nginx", "c3", hostAt("web-3", "10.3.0.1", notReadyEndpoint)), slicePort("late", 8081)),
		portsOf(fixture.Imported("c4-a", "nginx", "c4", hostAt("eu", "10.4.0.1")), slicePort("", 9090), udp),

		fixture.Import("vip", clusterSetIP), fixture.Imported("vip-a", "vip", "c1", hostAt("web-0", "10.1.1.1")),
		fixture.Imported("wait-a", "wait", "c1", hostAt("web-0", "10.1.2.1")), fixture.Imported("wait-b", "wait", "c2"),
		fixture.Import("lone"),
		fixture.Import("idle"), fixture.Imported("idle-a", "idle", "c1", hostAt("web-0", "10.1.3.1", notReadyEndpoint)),
		fixture.Import("none"), portsOf(fixture.Imported("none-a", "none", "c1", hostAt("web-0", "10.1.4.1"))),
		fixture.Import("many"), portsOf(fixture.Imported("many-a", "many", "c1", hostAt("web-0", "10.1.5.1"), hostAt("web-0", "10.1.5.2")), many...),
		portsOf(fixture.Imported("many-b", "many", "c2", hostAt("web-0", "10.2.5.1")), many...),
		// The Service of this name and its pod have nothing to do with the import.
		headlessService("nginx", "nginx"), readyPod("web-8", "nginx", "nginx", "10.0.0.8"),
	}
	const (
		ready = "ServiceImport nginx: 4 of 7 endpoints ready: 2 in c1, 1 in c4, 1 in eu.c2"
		bad   = "its label multicluster.kubernetes.io/source-cluster is missing or no id of a cluster, so its endpoints have no names"
		late1 = "endpoint 10.1.0.2 of EndpointSlice c1-a: not ready, with the name web-1.c1.nginx"
		late2 = "endpoint 10.2.0.2 of EndpointSlice c2-a: terminating, with the name web-2.eu.c2.nginx"
		late3 = "endpoint 10.3.0.1 of EndpointSlice c3-a: not ready, with the name web-3.c3.nginx"
	)
	all := []string{ready, "EndpointSlice c2-b: " + bad, "EndpointSlice c2-c: " + bad, late1, late2, late3}
	after := func(first ...string) []string { return append(first, all...) }
	i := explained(t, Config{MultiCluster: true}, objects...)
	for name, want := range map[string][]string{
		// Imports.
		"":        all,
		"/lone":   {"ServiceImport lone: 0 of 0 endpoints ready, from 0 EndpointSlices", "ServiceImport lone: no EndpointSlice has the label multicluster.kubernetes.io/service-name: lone; the implementation of the Multi-Cluster Services API writes them"},
		"/idle":   {"ServiceImport idle: 0 of 1 endpoints ready, from 1 EndpointSlices", "endpoint 10.1.3.1 of EndpointSlice idle-a: not ready, with the name web-0.c1.idle"},
		"/vip":    {"ServiceImport vip: its type is not Headless, so its endpoints have no names; it is Headless while the exported services have clusterIP: None"},
		"/absent": {"default/absent: no ServiceImport that this server watches; there is one while a cluster exports the service and the implementation of the Multi-Cluster Services API works"},
		"/wait": {
			"default/wait: no ServiceImport that this server watches; there is one while a cluster exports the service and the implementation of the Multi-Cluster Services API works",
			"default/wait: the number of EndpointSlices that wait for the ServiceImport is 2",
		},
		"web-0.c1/vip": {"ServiceImport vip: its type is not Headless, so its endpoints have no names; it is Headless while the exported services have clusterIP: None"},

		// Hosts in a cluster.
		"web-0.c1":    {"endpoint 10.1.0.1 of EndpointSlice c1-a: ready, with the name web-0.c1.nginx"},
		"web-0.eu.c2": {"endpoint 10.2.0.1 of EndpointSlice c2-a: ready, with the name web-0.eu.c2.nginx"},
		"10-1-0-3.c1": {"endpoint 10.1.0.3 of EndpointSlice c1-a: ready, with the name 10-1-0-3.c1.nginx"},
		"web-1.c1":    {late1},
		"web-2.eu.c2": {late2},
		"web-0.c9":    after("cluster c9: no endpoint of ServiceImport nginx there has the hostname web-0", "hostname web-0: it is in cluster c1 and eu.c2, where its name is web-0.c1.nginx"),
		"web-0.c2":    after("cluster c2: no endpoint of ServiceImport nginx there has the hostname web-0", "hostname web-0: it is in cluster c1 and eu.c2, where its name is web-0.c1.nginx"),
		"web-2.c1":    after("cluster c1: no endpoint of ServiceImport nginx there has the hostname web-2", "hostname web-2: it is in cluster eu.c2, where its name is web-2.eu.c2.nginx"),
		"web-9.a_b":   after("cluster a_b: no endpoint of ServiceImport nginx there has the hostname web-9"),
		"web-8.c1":    after("cluster c1: no endpoint of ServiceImport nginx there has the hostname web-8"),
		"web-0":       after("cluster web-0: no endpoint of ServiceImport nginx is there", "hostname web-0: it is in cluster c1 and eu.c2, where its name is web-0.c1.nginx"),

		"web-0.c9/many": {"cluster c9: no endpoint of ServiceImport many there has the hostname web-0",
			"hostname web-0: it is in cluster c1 and c2, where its name is web-0.c1.many", "ServiceImport many: 3 of 3"},

		// Clusters.
		"c1":    after("cluster c1: 2 of 3 endpoints of ServiceImport nginx ready there; the cluster's name has no records, the names of the endpoints are below it"),
		"c3":    after("cluster c3: 0 of 1 endpoints of ServiceImport nginx ready there; "),
		"eu.c2": after("cluster eu.c2: 1 of 2 endpoints of ServiceImport nginx ready there; "),
		"c2":    after("cluster c2: 1 of 2 endpoints of ServiceImport nginx ready there; "),
		"u.c2":  after("cluster c2: no endpoint of ServiceImport nginx there has the hostname u"),
		"eu.c4": {"endpoint 10.4.0.1 of EndpointSlice c4-a: ready, with the name eu.c4.nginx"},
		"a_b":   after("cluster a_b: no endpoint of ServiceImport nginx is there"),

		// Ports.
		"_web._tcp":      after("ServiceImport nginx: 3 of 4 ready endpoints have the tcp port web"),
		"_late._tcp":     after("ServiceImport nginx: 0 of 4 ready endpoints have the tcp port late"),
		"_p0._tcp/many":  {"ServiceImport many: 3 of 3 endpoints ready: 2 in c1, 1 in c2"},
		"_web._udp":      after("ServiceImport nginx: its EndpointSlices have no udp port named web; they have 9090/tcp, dns (53/udp), late (8081/tcp), web (8080/tcp)"),
		"_stray._tcp":    after("ServiceImport nginx: its EndpointSlices have no tcp port named stray; they have 9090/tcp, ", "ServiceImport nginx: a tcp port without a name has no DNS name; give it one in the exported services"),
		"_tcp":           after("ServiceImport nginx: only names of ports, such as _web._tcp, are below _tcp"),
		"_sctp":          after("ServiceImport nginx: its EndpointSlices have no sctp port with a name; they have 9090/tcp, dns (53/udp)"),
		"_web._tcp/none": {"ServiceImport none: its EndpointSlices have no tcp port named web; they have none", "ServiceImport none: 1 of 1 endpoints ready: 1 in c1"},
		"_tcp/none":      {"ServiceImport none: its EndpointSlices have no tcp port with a name; they have none", "ServiceImport none: 1 of 1 endpoints ready: 1 in c1"},
		"_p9._tcp/many": {"ServiceImport many: its EndpointSlices have no tcp port named p9; they have p0 (7000/tcp), p1 (7001/tcp), p2 (7002/tcp), p3 (7003/tcp), p4 (7004/tcp) and 2 more",
			"ServiceImport many: 3 of 3 endpoints ready: 2 in c1, 1 in c2"},
	} {
		s := importSubject(name)
		checkReasons(t, i, s, want)
		if got := i.Explain(s); len(got) != len(want) {
			t.Errorf("%s has %d reasons, want %d: %q", name, len(got), len(want), got)
		}
	}

	// An import is not in the cluster's own zone, nor is the address of its endpoint there.
	checkReasons(t, i, Subject{Namespace: "default", Service: "lone"}, []string{"default/lone: no headless service that this server watches"})
	checkReasons(t, i, Subject{Namespace: "default", Service: "nginx", Host: "web-0"}, []string{"no pod with hostname web-0 in namespace default", "service nginx: 1 of 1"})
}

// TestExplainImportsAddressed explains endpoints whose hosts have their addresses before they are
// ready.
func TestExplainImportsAddressed(t *testing.T) {
	i := explained(t, Config{MultiCluster: true, Addressed: true}, fixture.Import("nginx"),
		fixture.Imported("c1-a", "nginx", "c1", hostAt("web-0", "10.1.0.1", notReadyEndpoint), hostAt("web-1", "10.1.0.2", notReadyEndpoint, terminatingEndpoint)))
	const late = "endpoint 10.1.0.1 of EndpointSlice c1-a: not ready (hosts addressed), with the name web-0.c1.nginx"
	checkReasons(t, i, importSubject("web-0.c1"), []string{late})
	checkReasons(t, i, importSubject("web-1.c1"), []string{"endpoint 10.1.0.2 of EndpointSlice c1-a: terminating, with the name web-1.c1.nginx"})
	checkReasons(t, i, importSubject(""), []string{"ServiceImport nginx: 0 of 2 endpoints ready, from 1 EndpointSlices", late})
}

// TestExplainImportsView checks what is said of imports that the server does not watch, or has from a
// snapshot.
func TestExplainImportsView(t *testing.T) {
	const none = "prod/db: no ServiceImport that this server watches; there is one while a cluster exports the service and the implementation of the Multi-Cluster Services API works"
	s := Subject{Namespace: "prod", Service: "db", Clusterset: true, Host: "db-0", Cluster: "c1"}
	for name, test := range map[string]struct {
		config Config
		want   string
	}{
		"namespaces":       {Config{Namespaces: []string{"default", "dev"}}, none + "; it watches only namespaces default dev (option namespaces)"},
		"labels":           {Config{Labels: "dns=yes"}, none + "; it watches only ServiceImports whose labels match dns=yes (option labels)"},
		"namespace labels": {Config{NamespaceLabels: "team=a"}, "prod/db: the server does not serve namespace prod: it serves only namespaces whose labels match team=a (option namespace_labels)"},
	} {
		test.config.MultiCluster = true
		i := explained(t, test.config, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, fixture.Import("nginx"), fixture.Imported("c1-a", "nginx", "c1", hostAt("web-0", "10.1.0.1")))
		checkReasons(t, i, s, []string{test.want})
		checkReasons(t, i, importSubject("web-0.c1"), []string{"endpoint 10.1.0.1 of EndpointSlice c1-a: ready, with the name web-0.c1.nginx"})
		i.restored.Store(true)
		if got := i.Explain(importSubject("web-0.c1")); len(got) != 2 || got[1] != "the server has reached no API server since its start, so all this is from its snapshot" {
			t.Errorf("%s, from a snapshot: %q", name, got)
		}
	}
}

// TestExplainImportsLimits checks that an explanation is short and costs no more than its objects,
// whatever these are.
func TestExplainImportsLimits(t *testing.T) {
	long := strings.Repeat("a", 63)
	objects := []any{fixture.Import(long), fixture.Import("bad"), fixture.Import("lone" + long[:59])}
	for n := range 100 {
		endpoints := []discoveryv1.Endpoint{hostAt("web-0", fmt.Sprint("10.1.0.", n))}
		for m := range MaxReasons + 5 {
			endpoints = append(endpoints, hostAt(long, fmt.Sprintf("10.1.%d.%d", 1+m, n), notReadyEndpoint))
		}
		s := fixture.Imported(fmt.Sprint(strings.Repeat(long+".", 3), n), long, fmt.Sprint("c", n), endpoints...)
		objects = append(objects, portsOf(s, slicePort(fmt.Sprint("p", n), 80)), fixture.Imported(fmt.Sprint("bad-", n), "bad", "-"))
	}
	i := explained(t, Config{MultiCluster: true, Labels: strings.Repeat("b", 300)}, objects...)
	for _, name := range []string{"", "web-0", "web-0.c1", "web-0.c", long + ".c1", long + "." + long, "c1", "_p1._tcp", "_none._udp", "_udp"} {
		for _, service := range []string{long, "bad", "lone" + long[:59], "none"} {
			s := importSubject(name + "/" + service)
			e := explanation{informer: i}
			e.multiCluster(s)
			if len(e.reasons) == 0 || len(e.reasons) > MaxReasons || e.states > MaxReasons {
				t.Errorf("%+v has %d reasons, from %d endpoints", s, len(e.reasons), e.states)
			}
			for _, reason := range e.reasons {
				if len(reason) > MaxReason {
					t.Errorf("%+v has a reason of %d bytes", s, len(reason))
				}
			}
		}
	}
	got := i.Explain(importSubject("web-0/" + long))
	if want := "hostname web-0: it is in cluster "; len(got) < 2 || !strings.HasPrefix(got[1], want) || strings.Count(got[1], " and ") != maxListed-1 {
		t.Errorf("a hostname in 100 clusters has %q", got)
	}
}

// TestExplainImportsDuringChanges explains names while the writer changes imports and slices, for the
// race detector.
func TestExplainImportsDuringChanges(t *testing.T) {
	i := newImporting(false)
	i.apply([]event{importEvent()}) // it is synced
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				for _, name := range []string{"", "web-0.c1", "web-1.c1", "c1", "web-0", "_web._tcp", "_none._tcp"} {
					if len(i.Explain(importSubject(name))) == 0 {
						t.Errorf("%q has no reasons", name)
					}
				}
			}
		})
	}
	steps := []event{
		importEvent(), importedEvent(fixture.Imported("c1-a", "nginx", "c1", hostAt("web-0", "10.1.0.1"))),
		importedEvent(fixture.Imported("c1-b", "nginx", "c1", hostAt("web-1", "10.1.0.2", notReadyEndpoint))),
		importedEvent(fixture.Imported("c1-a", "nginx", "c2", hostAt("web-0", "10.1.0.1"))),
		importEvent(clusterSetIP), importedGone("c1-b"), importedGone("c1-a"),
	}
	for range 300 {
		for _, e := range steps {
			i.apply([]event{e})
		}
	}
	stop.Store(true)
	readers.Wait()
	if got := i.Explain(importSubject("")); !slices.Equal(got, []string{"ServiceImport nginx: its type is not Headless, so its endpoints have no names; it is Headless while the exported services have clusterIP: None"}) {
		t.Errorf("at the end: %q", got)
	}
}
