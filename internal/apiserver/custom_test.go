package apiserver

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	mcsv1beta1 "sigs.k8s.io/mcs-api/pkg/apis/v1beta1"
	mcs "sigs.k8s.io/mcs-api/pkg/client/clientset/versioned"
)

// TestServeImports uses the client for ServiceImports, before and after a server has them.
func TestServeImports(t *testing.T) {
	for _, accept := range []string{"application/json", "application/vnd.kubernetes.protobuf,application/json"} {
		s := start(t)
		config := &rest.Config{Host: s.URL, ContentConfig: rest.ContentConfig{AcceptContentTypes: accept}, QPS: -1}
		c, err := mcs.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		found, err := discovery.NewDiscoveryClientForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		nginx := &mcsv1beta1.ServiceImport{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "nginx", Labels: map[string]string{"app": "web"}},
			Spec:       mcsv1beta1.ServiceImportSpec{Type: mcsv1beta1.Headless},
		}
		s.Put(nginx)
		resources := func(version string) int {
			list, err := found.ServerResourcesForGroupVersion("multicluster.x-k8s.io/" + version)
			switch {
			case apierrors.IsNotFound(err):
				return 0
			case err != nil:
				t.Fatal(err)
			}
			return len(list.APIResources)
		}
		if _, err := c.MulticlusterV1beta1().ServiceImports("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the list of a server without ServiceImports is %v", err)
		}
		if n := resources("v1beta1"); n != 0 {
			t.Errorf("a server without ServiceImports has %d resources", n)
		}

		s.ServeImports("v1alpha1")
		if resources("v1beta1") != 0 || resources("v1alpha1") != 1 {
			t.Errorf("a server with v1alpha1 has %d and %d resources", resources("v1beta1"), resources("v1alpha1"))
		}
		if _, err := c.MulticlusterV1beta1().ServiceImports("a").List(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("the list of another version is %v", err)
		}
		old, err := c.MulticlusterV1alpha1().ServiceImports("a").List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil || len(old.Items) != 1 || old.Items[0].Name != "nginx" || old.Items[0].Spec.Type != "Headless" ||
			old.Items[0].APIVersion != "multicluster.x-k8s.io/v1alpha1" {
			t.Fatalf("the list of v1alpha1 is %+v, %v", old, err)
		}
		if other, err := c.MulticlusterV1alpha1().ServiceImports("b").List(t.Context(), metav1.ListOptions{}); err != nil || len(other.Items) != 0 {
			t.Errorf("the list of another namespace is %+v, %v", other, err)
		}

		s.ServeImports("v1beta1", "v1alpha1")
		w, err := c.MulticlusterV1beta1().ServiceImports("").Watch(t.Context(), metav1.ListOptions{ResourceVersion: old.ResourceVersion, AllowWatchBookmarks: true})
		if err != nil {
			t.Fatal(err)
		}
		nginx.Spec.Type = mcsv1beta1.ClusterSetIP
		s.Put(nginx)
		s.Apply([]Change{{Object: nginx, Gone: true}})
		for _, want := range []watch.EventType{watch.Modified, watch.Deleted} {
			e := <-w.ResultChan()
			o, ok := e.Object.(*mcsv1beta1.ServiceImport)
			if e.Type != want || !ok || o.Name != "nginx" || o.Spec.Type != "ClusterSetIP" {
				t.Errorf("the event is %v %+v, want %v of the import", e.Type, e.Object, want)
			}
		}
		s.Bookmark()
		if e := <-w.ResultChan(); e.Type != watch.Bookmark {
			t.Errorf("the event is %v, want a bookmark", e.Type)
		}
		s.ServeImports()
		if e, open := <-w.ResultChan(); open {
			t.Errorf("the watch goes on after the server lost the resource: %v", e)
		}

		s.SetFault(Fault{Code: 503})
		if _, err := found.ServerResourcesForGroupVersion("multicluster.x-k8s.io/v1beta1"); !apierrors.IsServiceUnavailable(err) {
			t.Errorf("with a fault, the resources are %v", err)
		}
		s.SetFault(Fault{Code: 403, Lists: true})
		if n := resources("v1alpha1"); n != 0 {
			t.Errorf("where only lists fail, there are %d resources", n)
		}
	}
}
