//go:build cluster

package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// wantEndpoints waits until the Service has n IPv4 endpoints and f accepts each of them.
func wantEndpoints(t *testing.T, service string, n int, f func(endpoint any) error) {
	t.Helper()
	eventually(t, func() error {
		var list map[string]any
		out := kubectl(t, "-n", "kube-system", "get", "endpointslice", "-l", "kubernetes.io/service-name="+service, "-o", "json")
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return err
		}
		found := 0
		for _, slice := range list["items"].([]any) {
			eps, _ := slice.(map[string]any)["endpoints"].([]any)
			if slice.(map[string]any)["addressType"] != "IPv4" {
				continue
			}
			for _, e := range eps {
				found++
				if err := f(e); err != nil {
					return err
				}
			}
		}
		if found != n {
			return fmt.Errorf("Service %s has %d endpoints, want %d:\n%s", service, found, n, out)
		}
		return nil
	})
}

// anyEndpoint accepts every endpoint.
func anyEndpoint(any) error { return nil }

// ready accepts endpoints that are ready.
func ready(e any) error {
	if r := e.(map[string]any)["conditions"].(map[string]any)["ready"]; r != true {
		return fmt.Errorf("the endpoint is not ready: %v", e)
	}
	return nil
}

// endpointWatch is a kubectl that watches the EndpointSlices of a Service.
type endpointWatch struct{ log string }

func watchEndpoints(t *testing.T, service string) *endpointWatch {
	t.Helper()
	w := &endpointWatch{t.Name() + "-" + service}
	process(t, w.log, nil, bin+"/kubectl", "-n", "kube-system", "get", "endpointslices", "-l", "kubernetes.io/service-name="+service,
		"--watch", "--output-watch-events", "-o", "json")
	eventually(t, func() error {
		if kube.Log(w.log) == "" {
			return errors.New("the watch has no event yet")
		}
		return nil
	})
	return w
}

// await waits until the names of all ready endpoints begin with prefix. It fails if the
// Service had no ready endpoint at any moment.
func (w *endpointWatch) await(t *testing.T, prefix string) {
	t.Helper()
	eventually(t, func() error {
		ready := map[string]bool{} // names of endpoints
		for events := json.NewDecoder(strings.NewReader(kube.Log(w.log))); ; {
			var event struct {
				Type   string
				Object discoveryv1.EndpointSlice
			}
			// The last event may be incomplete.
			if err := events.Decode(&event); err != nil {
				break
			}
			clear(ready)
			for _, e := range event.Object.Endpoints {
				if *e.Conditions.Ready {
					ready[e.TargetRef.Name] = true
				}
			}
			if event.Type == "DELETED" || len(ready) == 0 {
				t.Fatalf("the Service had no ready endpoint for a moment:\n%s", kube.Log(w.log))
			}
		}
		for name := range ready {
			if !strings.HasPrefix(name, prefix) {
				return fmt.Errorf("%s is still an endpoint", name)
			}
		}
		return nil
	})
}
