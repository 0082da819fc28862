package selection

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
)

// notImported excludes the slices of multi-cluster services.
const notImported = "!multicluster.kubernetes.io/service-name"

// TestSelectors checks the selectors that the API server gets.
func TestSelectors(t *testing.T) {
	s, err := New(Config{Labels: "tier in (db, web),env=prod", NamespaceLabels: "dns"})
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[object.Kind]metav1.ListOptions{
		object.Services:       {FieldSelector: "spec.clusterIP=None", LabelSelector: "env=prod,tier in (db,web)"},
		object.Pods:           {FieldSelector: "status.phase!=Succeeded,status.phase!=Failed"},
		object.EndpointSlices: {LabelSelector: "endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io,env=prod," + notImported + ",tier in (db,web)"},
		object.Namespaces:     {LabelSelector: "dns"},
	} {
		var got metav1.ListOptions
		s.Options(kind, &got)
		if got != want {
			t.Errorf("the options for %v are %+v, want %+v", kind, got, want)
		}
	}

	// Where no pods are watched, the slices of all controllers are selected.
	if s, err = New(Config{Labels: "env=prod", Slices: true}); err != nil {
		t.Fatal(err)
	}
	var got metav1.ListOptions
	s.Options(object.EndpointSlices, &got)
	if want := (metav1.ListOptions{LabelSelector: "env=prod," + notImported}); got != want {
		t.Errorf("the options for slices are %+v, want %+v", got, want)
	}
	if s.Has(object.Pods, fixture.Web(0)) {
		t.Error("pods are selected")
	}
	if want := []object.Origin{{Kind: object.Services, Namespace: ""}, {Kind: object.EndpointSlices, Namespace: ""}}; !slices.Equal(s.Origins(), want) {
		t.Errorf("the origins are %v, want %v", s.Origins(), want)
	}
}

// TestImports checks which ServiceImports and slices are selected: all of them, or the imports with
// the labels of the option. Ordinary slices are those without the label of a multi-cluster service,
// whatever the options.
func TestImports(t *testing.T) {
	labelled := func(labels map[string]string) *metav1.ObjectMeta {
		return &metav1.ObjectMeta{Namespace: "a", Labels: labels}
	}
	both := map[string]string{"multicluster.kubernetes.io/service-name": "db", "kubernetes.io/service-name": "derived-1a2b", "env": "prod"}
	global := map[string]string{"multicluster.kubernetes.io/source-cluster": "c1", "kubernetes.io/service-name": "db", "env": "prod"}
	for _, test := range []struct {
		config Config
		want   bool
		labels string
	}{
		{Config{}, false, ""},
		{Config{Slices: true, Zonal: true}, false, ""},
		{Config{MultiCluster: true}, true, ""},
		{Config{MultiCluster: true, Labels: "env=prod", NamespaceLabels: "dns", Slices: true}, true, "env=prod"},
		{Config{MultiCluster: true, Namespaces: []string{"a"}}, true, ""},
	} {
		s, err := New(test.config)
		if err != nil {
			t.Fatal(err)
		}
		ns := ""
		if len(s.Namespaces) > 0 {
			ns = "a"
		}
		for kind, want := range map[object.Kind]metav1.ListOptions{
			object.ServiceImports: {LabelSelector: test.labels},
			object.ImportedSlices: {LabelSelector: "multicluster.kubernetes.io/service-name"},
		} {
			if got := slices.Contains(s.Origins(), object.Origin{Kind: kind, Namespace: ns}); got != test.want {
				t.Errorf("%+v: %v are listed: %t", test.config, kind, got)
			}
			var got metav1.ListOptions
			if s.Options(kind, &got); got != want {
				t.Errorf("%+v: the options for %v are %+v, want %+v", test.config, kind, got, want)
			}
			if s.Has(kind, labelled(both)) != test.want {
				t.Errorf("%+v: an object with %v is %v: %t", test.config, both, kind, !test.want)
			}
		}
		if s.Has(object.ServiceImports, labelled(map[string]string{"env": "test"})) != (test.want && test.labels == "") {
			t.Errorf("%+v: imports are not selected by their labels", test.config)
		}
		if s.Has(object.ImportedSlices, labelled(global)) || s.Has(object.EndpointSlices, labelled(both)) || !s.Has(object.EndpointSlices, labelled(global)) {
			t.Errorf("%+v: only the label of the multi-cluster service makes a slice an imported one", test.config)
		}
	}
}

// TestNodes checks that nodes are selected where pods need them for their zones, once for all
// namespaces.
func TestNodes(t *testing.T) {
	for _, test := range []struct {
		config Config
		want   bool
	}{
		{Config{Zonal: true, Namespaces: []string{"a", "b"}}, true},
		{Config{Zonal: true, Labels: "app"}, true},
		{Config{Zonal: true, Slices: true}, false},
		{Config{}, false},
	} {
		s, err := New(test.config)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, o := range s.Origins() {
			if o == (object.Origin{Kind: object.Nodes}) {
				n++
			}
		}
		var options metav1.ListOptions
		s.Options(object.Nodes, &options)
		if (n == 1) != test.want || s.Has(object.Nodes, &metav1.ObjectMeta{}) != test.want || options != (metav1.ListOptions{}) {
			t.Errorf("%+v: %d lists of nodes with options %+v, want any %t", test.config, n, options, test.want)
		}
	}
}

// TestLeftover checks which leftover slices are selected.
func TestLeftover(t *testing.T) {
	s, err := New(Config{Labels: "env=prod"})
	if err != nil {
		t.Fatal(err)
	}
	services := map[object.Key]struct{}{{Namespace: "a", Name: "db"}: {}, {Namespace: "b", Name: "db"}: {}, {Namespace: "b", Name: "nginx"}: {}}
	const managed = "endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io,env=prod"
	if got, want := s.Leftover(services).String(), managed+",kubernetes.io/service-name in (db,nginx),"+notImported; got != want {
		t.Errorf("the selector is %q, want %q", got, want)
	}
	for i := range maxNames {
		services[object.Key{Namespace: "a", Name: fmt.Sprint("s", i)}] = struct{}{}
	}
	if got := s.Leftover(services).String(); got != managed+","+notImported {
		t.Errorf("with %d services, the selector is %q, want %q", len(services), got, managed+","+notImported)
	}
	if got, want := s.LeftoverOrigins(), []object.Origin{{Kind: object.LeftoverSlices, Namespace: ""}}; !slices.Equal(got, want) {
		t.Errorf("the origins are %v, want %v", got, want)
	}
	if s, err = New(Config{Slices: true}); err != nil || len(s.LeftoverOrigins()) > 0 {
		t.Errorf("with slices alone, the leftover origins are %v (%v)", s.LeftoverOrigins(), err)
	}
}
