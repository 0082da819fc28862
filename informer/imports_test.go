package informer

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/records"
)

const importName = "nginx.default.svc.clusterset.local."

// newImporting returns an informer without a source that joins imports.
func newImporting(selectNamespaces bool) *Informer {
	i := &Informer{joiner: newJoiner(records.New(), false, selectNamespaces), hooks: quietHooks(), synced: make(chan struct{})}
	i.joiner.imports = newImports(records.NewClusterset())
	i.broken.hook = func(object.Kind, int) {}
	return i
}

// hostAt returns an endpoint with a hostname, and is ready unless a change says otherwise.
func hostAt(hostname, addr string, change ...func(*discoveryv1.Endpoint)) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{addr}}
	if hostname != "" {
		e.Hostname = &hostname
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

func notReadyEndpoint(e *discoveryv1.Endpoint)    { e.Conditions.Ready = ptr.To(false) }
func terminatingEndpoint(e *discoveryv1.Endpoint) { e.Conditions.Terminating = ptr.To(true) }

func importEvent(change ...func(*mcsv1beta1.ServiceImport)) event {
	i := fixture.Import("nginx", change...)
	return eventOf(object.NewServiceImport(i, string(i.Spec.Type)))
}

func importedEvent(s *discoveryv1.EndpointSlice) event { return eventOf(object.NewEndpointSlice(s)) }

func importedGone(name string) event {
	return event{Origin: object.Origin{Kind: object.ImportedSlices}, key: object.Key{Namespace: "default", Name: name}}
}

func clusterSetIP(i *mcsv1beta1.ServiceImport) { i.Spec.Type = mcsv1beta1.ClusterSetIP }

// TestImports applies events to an import, one batch each.
func TestImports(t *testing.T) {
	importGone := event{Origin: object.Origin{Kind: object.ServiceImports}, key: object.Key{Namespace: "default", Name: "nginx"}}
	i := newImporting(false)
	for _, step := range []struct {
		what  string
		event event
		want  map[string]string // IPv4 addresses, below importName
	}{
		{"a slice before its import", importedEvent(fixture.Imported("c1-a", "nginx", "c1", hostAt("web-0", "10.1.0.1"), hostAt("", "10.1.0.2"))),
			map[string]string{"": "outside", "web-0.c1.": "outside"}},
		{"its import, of another type", importEvent(clusterSetIP), map[string]string{"": "outside"}},
		{"its import turns headless", importEvent(),
			map[string]string{"": "10.1.0.1, 10.1.0.2", "web-0.c1.": "10.1.0.1", "10-1-0-2.c1.": "10.1.0.2", "c1.": "", "web-0.": "missing"}},
		{"another cluster", importedEvent(fixture.Imported("c2-a", "nginx", "EU.c2", hostAt("web-0", "10.2.0.1"))),
			map[string]string{"": "10.1.0.1, 10.1.0.2, 10.2.0.1", "web-0.c1.": "10.1.0.1", "web-0.eu.c2.": "10.2.0.1", "eu.c2.": "", "c2.": ""}},
		{"a second slice of the cluster", importedEvent(fixture.Imported("c2-b", "nginx", "eu.c2", hostAt("web-0", "10.2.0.1"), hostAt("web-1", "10.2.0.2"))),
			map[string]string{"web-0.eu.c2.": "10.2.0.1", "web-1.eu.c2.": "10.2.0.2"}},
		{"the first one goes", importedGone("c2-a"), map[string]string{"": "10.1.0.1, 10.1.0.2, 10.2.0.1, 10.2.0.2"}},
		{"an endpoint that is not ready", importedEvent(fixture.Imported("c2-b", "nginx", "eu.c2", hostAt("web-0", "10.2.0.1", notReadyEndpoint), hostAt("web-1", "10.2.0.2"))),
			map[string]string{"web-0.eu.c2.": "missing", "web-1.eu.c2.": "10.2.0.2"}},
		{"the slice of another cluster", importedEvent(fixture.Imported("c2-b", "nginx", "c3", hostAt("web-1", "10.2.0.2"))),
			map[string]string{"web-1.eu.c2.": "missing", "eu.c2.": "missing", "web-1.c3.": "10.2.0.2"}},
		{"the slice of another import", importedEvent(fixture.Imported("c2-b", "db", "c3", hostAt("web-1", "10.2.0.2"))),
			map[string]string{"": "10.1.0.1, 10.1.0.2", "web-1.c3.": "missing"}},
		{"back, without a cluster", importedEvent(fixture.Imported("c2-b", "nginx", "", hostAt("web-1", "10.2.0.2"))),
			map[string]string{"": "10.1.0.1, 10.1.0.2"}},
		{"with a bad cluster", importedEvent(fixture.Imported("c2-b", "nginx", "a_b", hostAt("web-1", "10.2.0.2"))),
			map[string]string{"": "10.1.0.1, 10.1.0.2"}},
		{"with a good cluster", importedEvent(fixture.Imported("c2-b", "nginx", "c2", hostAt("web-1", "10.2.0.2"))),
			map[string]string{"": "10.1.0.1, 10.1.0.2, 10.2.0.2"}},
		{"the import turns back", importEvent(clusterSetIP), map[string]string{"": "outside", "web-1.c2.": "outside"}},
		{"a slice meanwhile", importedGone("c1-a"), map[string]string{"": "outside"}},
		{"the import is headless again", importEvent(), map[string]string{"": "10.2.0.2", "web-0.c1.": "missing"}},
		{"the import goes", importGone, map[string]string{"": "outside"}},
		{"the import comes again", importEvent(), map[string]string{"": "10.2.0.2"}},
		{"an import without endpoints", importedGone("c2-b"), map[string]string{"": "missing"}},
		{"it is deleted at the end", importGone, map[string]string{"": "outside"}},
	} {
		i.apply([]event{step.event})
		for name, want := range step.want {
			if got := answer(i.joiner.imports.trie, name+importName, dns.TypeA); got != want {
				t.Errorf("%s: %s is %q, want %q", step.what, name+importName, got, want)
			}
		}
		if s := i.joiner.trie.Stats(); s != (records.Stats{}) {
			t.Errorf("%s: the trie of services has %+v", step.what, s)
		}
	}
	if len(i.joiner.imports.namespaces) > 0 || i.joiner.imports.trie.Stats() != (records.Stats{}) {
		t.Errorf("without objects there are %v and %+v", i.joiner.imports.namespaces, i.joiner.imports.trie.Stats())
	}
}

// TestImportRules checks which endpoints of imported slices have which records: by the rules for
// slices of a Service.
func TestImportRules(t *testing.T) {
	slice := fixture.Imported("c1-a", "nginx", "c1",
		hostAt("web-0", "10.1.0.1"),
		hostAt("web-1", "10.1.0.2", notReadyEndpoint),
		hostAt("web-2", "10.1.0.3", notReadyEndpoint, terminatingEndpoint),
		hostAt("", "10.1.0.4", func(e *discoveryv1.Endpoint) { e.Zone = ptr.To("eu-1a") }),
		hostAt("", "10.1.0.5", fixture.Of("web-5")),
	)
	slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: ptr.To("every")}) // of no number
	for _, test := range []struct {
		podNames, addressed, zonal bool
		want                       map[string]string // of the rest of a name: records of type A and SRV
	}{
		{want: map[string]string{"": "10.1.0.1, 10.1.0.4, 10.1.0.5", "web-1.c1.": "missing", "10-1-0-5.c1.": "10.1.0.5", "10-1-0-4.c1.": "10.1.0.4"}},
		{addressed: true, want: map[string]string{"": "10.1.0.1, 10.1.0.4, 10.1.0.5", "web-1.c1.": "10.1.0.2", "web-2.c1.": "missing"}},
		{podNames: true, zonal: true, want: map[string]string{"web-5.c1.": "10.1.0.5", "10-1-0-5.c1.": "missing", "10-1-0-4.c1.": "10.1.0.4"}},
	} {
		i := newImporting(false)
		i.joiner.naming.podNames, i.joiner.naming.zonal, i.joiner.addressed = test.podNames, test.zonal, test.addressed
		i.apply([]event{importEvent(), importedEvent(slice)})
		for name, want := range test.want {
			if got := answer(i.joiner.imports.trie, name+importName, dns.TypeA); got != want {
				t.Errorf("%+v: %s is %q, want %q", test, name, got, want)
			}
		}
		if got := answer(i.joiner.imports.trie, "_web._tcp."+importName, dns.TypeSRV); got[:len("0 33 8080 ")] != "0 33 8080 " {
			t.Errorf("%+v: the port has %q", test, got)
		}
		if got := answer(i.joiner.imports.trie, "_every._tcp."+importName, dns.TypeSRV); got != "missing" {
			t.Errorf("%+v: a port without a number has %q", test, got)
		}
	}
}

// TestImportNames checks that only an import whose name is a DNS label makes a service.
func TestImportNames(t *testing.T) {
	for name, want := range map[string]bool{"nginx": true, "9": true, "web.nginx": false, "Nginx": false, "_tcp": false, "": false} {
		if got := object.NewServiceImport(fixture.Import(name), "Headless").Headless; got != want {
			t.Errorf("an import with the name %q is headless: %t", name, got)
		}
	}
	if object.NewServiceImport(fixture.Import("nginx"), "headless").Headless {
		t.Error("an import of type headless is Headless")
	}
}

// TestImportNamespaces serves and withdraws the namespace of imports.
func TestImportNamespaces(t *testing.T) {
	i := newImporting(true)
	allowed := eventOf(&object.Namespace{Key: object.Key{Name: "default"}})
	denied := event{Origin: object.Origin{Kind: object.Namespaces}, key: object.Key{Name: "default"}}
	slice := importedEvent(fixture.Imported("c1-a", "nginx", "c1", hostAt("web-0", "10.1.0.1")))
	second := importedEvent(fixture.Imported("c1-b", "nginx", "c1", hostAt("web-1", "10.1.0.2")))
	vip := eventOf(object.NewServiceImport(fixture.Import("vip"), "ClusterSetIP"))
	for _, step := range []struct {
		what  string
		batch []event
		want  string
	}{
		{"not served", []event{importEvent(), slice, vip}, "outside"},
		{"served", []event{allowed}, "10.1.0.1"},
		{"no longer served, and a slice", []event{denied, second}, "outside"},
		{"served again, and no slice", []event{allowed, importedGone("c1-a")}, "10.1.0.2"},
		{"a namespace without imports", []event{eventOf(&object.Namespace{Key: object.Key{Name: "prod"}})}, "10.1.0.2"},
	} {
		i.apply(step.batch)
		if got := answer(i.joiner.imports.trie, importName, dns.TypeA); got != step.want {
			t.Errorf("%s: the import has %q, want %q", step.what, got, step.want)
		}
		if got := answer(i.joiner.imports.trie, "vip.default.svc.clusterset.local.", dns.TypeA); got != "outside" {
			t.Errorf("%s: an import that is not headless has %q", step.what, got)
		}
	}
}

// TestImportedSliceOfService checks that an imported slice never counts for an ordinary Service, and
// that a slice with the label of its cluster alone does, whoever sends it.
func TestImportedSliceOfService(t *testing.T) {
	labelled := fixture.Imported("both", "nginx", "c1", hostAt("web-0", "10.1.0.1"))
	labelled.Labels[discoveryv1.LabelServiceName] = "derived-1a2b"
	labelled.Labels[discoveryv1.LabelManagedBy] = object.SliceController
	global := fixture.Slice("global", hostAt("web-1", "10.1.0.2"))
	global.Labels["multicluster.kubernetes.io/source-cluster"] = "c2"
	const derived = "derived-1a2b.default.svc.cluster.local."
	service := fixture.Nginx(unselecting)
	other := service.DeepCopy()
	other.Name = "derived-1a2b"
	for _, multi := range []bool{true, false} {
		i := newImporting(false)
		if !multi {
			i.joiner.imports = nil
		}
		i.apply([]event{eventOf(object.NewService(service)), eventOf(object.NewService(other)),
			{Origin: object.Origin{Kind: object.EndpointSlices}, object: object.NewEndpointSlice(labelled)}, eventOf(object.NewEndpointSlice(global))})
		for name, want := range map[string]string{nginxName: "10.1.0.2", derived: "missing"} {
			if got := answer(i.joiner.trie, name, dns.TypeA); got != want {
				t.Errorf("with imports %t, %s is %q, want %q", multi, name, got, want)
			}
		}
		if got := answer(i.joiner.trie, "1.0.1.10.in-addr.arpa.", dns.TypePTR); got != "outside" {
			t.Errorf("with imports %t, the reverse name of an imported address is %q", multi, got)
		}
	}
	// As one without a selector that has the name of the import, the Service takes no leftover slice of it.
	s := &store{Origin: object.Origin{Kind: object.LeftoverSlices}, services: map[object.Key]struct{}{{Namespace: "default", Name: "nginx"}: {}}}
	if s.takes(object.NewEndpointSlice(labelled)) {
		t.Error("an imported slice is taken as a leftover one")
	}
}

// TestImportStats checks that the counts of the hooks are the sums of both tries.
func TestImportStats(t *testing.T) {
	i := newImporting(false)
	var synced, stats records.Stats
	var services int
	i.hooks.Synced = func(s records.Stats) { synced = s }
	delays := 0
	i.hooks.Published = func(n int, s records.Stats, d []time.Duration) { services, stats, delays = n, s, len(d) }
	i.apply([]event{eventOf(object.NewService(fixture.Nginx())), eventOf(object.NewPod(fixture.Web(0))), importEvent(),
		importedEvent(fixture.Imported("c1-a", "nginx", "c1", hostAt("web-0", "10.1.0.1"), hostAt("web-0", "10.1.0.2"), hostAt("web-1", "10.1.0.3", notReadyEndpoint)))})
	want := records.Stats{Services: 2, Hosts: 2, Shared: 1, Ports: 2}
	want.Endpoints[records.Ready], want.Endpoints[records.NotReady] = 3, 1
	if services != 2 || synced != stats {
		t.Errorf("%d services are published, with %+v and then %+v", services, synced, stats)
	}
	want.Addresses = i.joiner.trie.Stats().Addresses // of the pod alone
	if stats != want || want.Addresses == 0 {
		t.Errorf("the counts are %+v, want %+v", stats, want)
	}
	i.apply([]event{importedGone("c1-a")})
	if want = i.joiner.trie.Stats(); services != 1 || stats.Endpoints != want.Endpoints || stats.Services != 2 {
		t.Errorf("without the slice, %d services are published, with %+v", services, stats)
	}
	// DNS sees a difference where the type of an import changes, and of no other type.
	other := func(name, importType string) event {
		return eventOf(object.NewServiceImport(fixture.Import(name), importType))
	}
	for _, step := range []struct {
		batch []event
		want  int
	}{
		{[]event{importEvent(clusterSetIP), other("vip", "ClusterSetIP"), other("db", "Headless")}, 2},
		{[]event{importedEvent(fixture.Imported("c1-a", "db", "c1")), importEvent()}, 2},
	} {
		if i.apply(step.batch); delays != step.want {
			t.Errorf("%d events have a delay, want %d", delays, step.want)
		}
	}
}

// TestImportBudget limits what an event of an import costs, as the endpoints that it counts. A tenant
// may write a thousand slices for one import, for an import each, or for none.
func TestImportBudget(t *testing.T) {
	const n, endpoints = 1000, 20
	slice := func(s int, service string, ready int) *object.EndpointSlice {
		var of []discoveryv1.Endpoint
		for e := range endpoints {
			of = append(of, hostAt(fmt.Sprintf("web-%d-%d", s, e), fmt.Sprintf("10.%d.%d.%d", s>>8, s&255, e)))
			if e == ready {
				notReadyEndpoint(&of[e])
			}
		}
		return object.NewEndpointSlice(fixture.Imported(fmt.Sprint("slice-", s), service, fmt.Sprint("c", s%7), of...))
	}
	cost := func(i *Informer, change func(*joiner)) int {
		change(i.joiner)
		defer i.joiner.imports.commit()
		if i.joiner.imports.update == nil {
			return 0
		}
		return i.joiner.imports.update.Size()
	}
	set := func(s *object.EndpointSlice) func(*joiner) {
		return func(j *joiner) { j.setImported(s.Key, s) }
	}
	remove := func(name string) func(*joiner) {
		return func(j *joiner) { j.setImported(object.Key{Namespace: "default", Name: name}, nil) }
	}
	for what, of := range map[string]func(s int) string{
		"one import":  func(int) string { return "nginx" },
		"import each": func(s int) string { return fmt.Sprint("nginx-", s) },
		"no import":   func(int) string { return "none" },
	} {
		i := newImporting(false)
		var batch []event
		for s := range n {
			batch = append(batch, eventOf(slice(s, of(s), -1)), eventOf(object.NewServiceImport(fixture.Import(of(s)), "Headless")))
		}
		if what == "no import" {
			batch = slices.DeleteFunc(batch, func(e event) bool { return e.Kind == object.ServiceImports })
		}
		i.apply(batch)
		for _, test := range []struct {
			what   string
			change func(*joiner)
			want   int
		}{
			{"an endpoint of a slice", set(slice(7, of(7), 10)), 1 + 2},
			{"the same again", set(slice(7, of(7), 10)), 0},
			{"the whole slice", set(slice(7, "elsewhere", 10)), 1 + endpoints},
			{"a slice that goes", remove("slice-8"), 1 + endpoints},
			{"a new slice", set(slice(n, of(n-1), -1)), 1 + endpoints},
			{"an import without a slice", func(j *joiner) {
				o := object.NewServiceImport(fixture.Import("other"), "Headless")
				j.setImport(o.Key, o)
			}, 1},
		} {
			want := test.want
			if what == "no import" && test.what != "an import without a slice" {
				want = 0
			}
			if got := cost(i, test.change); got > want {
				t.Errorf("%s, %s: %d services and endpoints are counted, want %d", what, test.what, got, want)
			}
		}
	}
}

// TestImportAllocs compares the change of an endpoint in one of many slices of an import with that
// of a Service.
func TestImportAllocs(t *testing.T) {
	const n = 100
	measure := func(i *Informer, build func(name string, e ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice) float64 {
		for s := range n {
			i.apply([]event{eventOf(object.NewEndpointSlice(build(fmt.Sprint("slice-", s), hostAt(fmt.Sprint("web-", s), fmt.Sprint("10.1.0.", s)))))})
		}
		ready := eventOf(object.NewEndpointSlice(build("slice-7", hostAt("web-7", "10.1.0.7"))))
		changes := []event{eventOf(object.NewEndpointSlice(build("slice-7", hostAt("web-7", "10.1.0.7", notReadyEndpoint)))), ready}
		return testing.AllocsPerRun(100, func() {
			i.apply(changes[:1])
			i.apply(changes[1:])
		})
	}
	ordinary, imported := newImporting(false), newImporting(false)
	ordinary.apply([]event{eventOf(object.NewService(fixture.Nginx(unselecting)))})
	imported.apply([]event{importEvent()})
	of := measure(ordinary, fixture.Slice)
	got := measure(imported, func(name string, e ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
		return fixture.Imported(name, "nginx", "c1", e...)
	})
	t.Logf("two changes make %v allocations for a Service, and %v for an import", of, got)
	if got > of {
		t.Errorf("two changes make %v allocations, and %v for a Service", got, of)
	}
}
