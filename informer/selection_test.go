package informer

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestSelectors checks what the API server is asked to select.
func TestSelectors(t *testing.T) {
	s, err := newSelection(selection{labels: "tier in (db, web),env=prod", namespaceLabels: "dns"})
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

	// Where no pods are watched, the slices of all controllers are.
	if s, err = newSelection(selection{labels: "env=prod", slices: true}); err != nil {
		t.Fatal(err)
	}
	var got metav1.ListOptions
	s.options(EndpointSlices, &got)
	if want := (metav1.ListOptions{LabelSelector: "env=prod"}); got != want {
		t.Errorf("slices are asked for with %+v, want %+v", got, want)
	}
	if s.has(Pods, newWeb(0)) {
		t.Error("pods are selected")
	}
	if want := []origin{{Services, ""}, {EndpointSlices, ""}}; !slices.Equal(s.origins(), want) {
		t.Errorf("%v are asked for, want %v", s.origins(), want)
	}
}

// TestLeftSelection checks which slices the API server is asked for.
func TestLeftSelection(t *testing.T) {
	s, err := newSelection(selection{labels: "env=prod"})
	if err != nil {
		t.Fatal(err)
	}
	services := map[key]struct{}{{"a", "db"}: {}, {"b", "db"}: {}, {"b", "nginx"}: {}}
	const managed = "endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io,env=prod"
	if got, want := s.left(services).String(), managed+",kubernetes.io/service-name in (db,nginx)"; got != want {
		t.Errorf("slices are asked for with %q, want %q", got, want)
	}
	for i := range leftNames {
		services[key{"a", fmt.Sprint("s", i)}] = struct{}{}
	}
	if got := s.left(services).String(); got != managed {
		t.Errorf("with %d services, slices are asked for with %q, want %q", len(services), got, managed)
	}
	if got, want := s.leftOrigins(), []origin{{leftSlices, ""}}; !slices.Equal(got, want) {
		t.Errorf("%v are asked for, want %v", got, want)
	}
	if s, err = newSelection(selection{slices: true}); err != nil || len(s.leftOrigins()) > 0 {
		t.Errorf("with slices alone, %v are asked for (%v)", s.leftOrigins(), err)
	}
}
