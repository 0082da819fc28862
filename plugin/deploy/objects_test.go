//go:build cluster

package deploy_test

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// create creates the objects of a file, and deletes them at the end of the test.
func create(t *testing.T, file string) {
	t.Helper()
	t.Cleanup(func() { kubectl(t, "delete", "-f", file, "--ignore-not-found") })
	kubectl(t, "create", "-f", file)
}

// get returns an object of kube-system.
func get(t *testing.T, kind, name string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(kubectl(t, "-n", "kube-system", "get", kind, name, "-o", "json")), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// at returns the value in an object at a path of keys and indices.
func at(t *testing.T, object any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch o := object.(type) {
		case map[string]any:
			object = o[step.(string)]
		case []any:
			object = o[step.(int)]
		default:
			t.Fatalf("%v has no field %v", object, step)
		}
	}
	return object
}

// corefile returns the Corefile that a workload mounts.
func corefile(t *testing.T, kind, name string) string {
	t.Helper()
	config := at(t, get(t, kind, name), "spec", "template", "spec", "volumes", 0, "configMap", "name")
	return at(t, get(t, "configmap", config.(string)), "data", "Corefile").(string)
}

// removeElement removes the only element of a list whose key has this value.
func removeElement(t *testing.T, object map[string]any, list, key, value string) {
	t.Helper()
	old := object[list].([]any)
	object[list] = slices.DeleteFunc(slices.Clone(old), func(e any) bool { return e.(map[string]any)[key] == value })
	if len(object[list].([]any)) != len(old)-1 {
		t.Errorf("%d of %v have the %s %s, want 1", len(old)-len(object[list].([]any)), old, key, value)
	}
}

// objectsOf parses YAML documents into objects.
func objectsOf(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for documents := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		var object map[string]any
		if err := documents.Decode(&object); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, object)
	}
}

// nginx creates a headless service for the time of the test, and returns the address of
// its first pod.
func nginx(t *testing.T) string {
	t.Helper()
	create(t, "testdata/nginx.yaml")
	kubectl(t, "rollout", "status", "statefulset", "web")
	return kubectl(t, "get", "pod", "web-0", "-o", "jsonpath={.status.podIP}")
}

// wantConfigMaps requires n ConfigMaps with the name of a Corefile of the folders: one
// for each version of the Corefile.
func wantConfigMaps(t *testing.T, n int) {
	t.Helper()
	names := strings.Fields(kubectl(t, "-n", "kube-system", "get", "configmap", "-o", "name"))
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "configmap/headless") })
	if len(names) != n {
		t.Errorf("want %d ConfigMaps, got %v", n, names)
	}
}

// wantRemoved requires that no object of the folders is left.
func wantRemoved(t *testing.T) {
	t.Helper()
	wantConfigMaps(t, 0)
	const kinds = "services,serviceaccounts,deployments,daemonsets,poddisruptionbudgets,clusterroles,clusterrolebindings"
	if left := kubectl(t, "-n", "kube-system", "get", kinds, "-o", "name"); strings.Contains(left, "/headless") {
		t.Errorf("want no objects of headless, got:\n%s", left)
	}
}
