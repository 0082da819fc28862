//go:build cluster

package deploy_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestBase installs the base as the DNS server of a cluster.
func TestBase(t *testing.T) {
	r := newRunbook(t)
	r.validate(t, "base", "--warnings-as-errors")
	const section = "A cluster without DNS"
	r.run(t, section, 0)
	t.Cleanup(func() {
		r.change(t, "corefile")
		r.run(t, section, 0)
		wantConfigMaps(t, 2)
		r.run(t, section, 1)
		wantRemoved(t)
	})

	service := get(t, "service", "kube-dns")
	if ip := at(t, service, "spec", "clusterIP"); ip != "10.96.0.10" {
		t.Errorf("clusterIP: got %v, want 10.96.0.10", ip)
	}
	for i, want := range []string{"53/UDP", "53/TCP", "9153/TCP"} {
		if got := fmt.Sprintf("%v/%v", at(t, service, "spec", "ports", i, "port"), at(t, service, "spec", "ports", i, "protocol")); got != want {
			t.Errorf("port %d: got %s, want %s", i, got, want)
		}
	}
	wantPorts(t, "deployment", "headless")
	wantDrain(t, "deployment", "headless")
	wantPlatforms(t, "deployment", "headless")
	wantEndpoints(t, "kube-dns", 2, anyEndpoint)
	ip := nginx(t)
	s := start(t, corefile(t, "deployment", "headless"), "headless")
	s.await(t)
	s.wantBufsize(t, "web-0.nginx.default.svc.cluster.local")
	eventually(t, func() error { return s.hasA("web-0.nginx.default.svc.cluster.local", ip) })
	eventually(t, func() error { return s.hasA("kube-dns.kube-system.svc.cluster.local", "10.96.0.10") })
	if log := kube.Log(s.name); strings.Contains(log, "forbidden") {
		t.Errorf("the API server refused a request:\n%s", log)
	}
	t.Run("rights", func(t *testing.T) {
		rights(t, corefile(t, "deployment", "headless"), "headless", "headless-namespaces")
	})
}

// TestK3s replaces the DNS server of k3s by the base, and reverts that. K3s has
// objects with the same names and labels as kubeadm.
func TestK3s(t *testing.T) {
	create(t, "testdata/kubeadm.yaml")
	kubectl(t, "-n", "kube-system", "rollout", "status", "deployment", "coredns")
	wantEndpoints(t, "kube-dns", 2, ready)
	service := get(t, "service", "kube-dns")["spec"]
	watch := watchEndpoints(t, "kube-dns")

	r := newRunbook(t)
	const section = "k3s"
	r.run(t, section, 1)
	r.run(t, section, 1) // as an upgrade does
	wantEndpoints(t, "kube-dns", 2, func(e any) error {
		if name := at(t, e, "targetRef", "name").(string); !strings.HasPrefix(name, "headless-") {
			return fmt.Errorf("%s is still an endpoint", name)
		}
		return nil
	})
	if got := at(t, get(t, "deployment", "headless"), "spec", "template", "spec", "containers", 0, "image"); got != "headless:1" {
		t.Errorf("image: got %v, want headless:1", got)
	}

	kubectl(t, "apply", "-f", "testdata/kubeadm.yaml") // as k3s does when it starts
	r.run(t, section, 4)
	wantRemoved(t)
	if after := get(t, "service", "kube-dns")["spec"]; !reflect.DeepEqual(after, service) {
		t.Errorf("the Service changed:\ngot  %v\nwant %v", after, service)
	}
	watch.await(t, "coredns-")
}
