//go:build cluster

package main_test

import (
	"context"
	"strings"
	"testing"
)

const clusterIP = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers: [{name: web, image: web}]
`

// TestChain queries names that headless passes on to the next plugin.
func TestChain(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, clusterIP)
	service := func(ns, name string) []string {
		svc, err := api.CoreV1().Services(ns).Get(context.Background(), name, get)
		if err != nil {
			t.Fatal(err)
		}
		return svc.Spec.ClusterIPs
	}
	addr := service(ns, "web")
	web := fqdn("web", ns)
	pod := pods(t, ns, "web", 1)[0]

	wantAnswer(t, addr, "A", web)
	wantAnswer(t, []string{web}, "-x", addr[0])
	wantAnswer(t, []string{"0 100 80 " + web}, "SRV", "_http._tcp."+web)
	wantNXDOMAIN(t, "A", "nothing."+web)
	wantNXDOMAIN(t, "A", fqdn("nothing", ns))
	wantAnswer(t, service("default", "kubernetes"), "A", "kubernetes.default.svc.cluster.local")
	wantAnswer(t, []string{`"1.1.0"`}, "TXT", "dns-version.cluster.local")
	podIP := ips(4, pod)
	wantAnswer(t, podIP, "A", strings.ReplaceAll(podIP[0], ".", "-")+"."+ns+".pod.cluster.local")
	for _, question := range [][]string{{"A", "example.org"}, {"A", "cluster.example.org"}, {"-x", "192.0.2.1"}, {"-x", "2001:db8::1"}} {
		if err := srv.refuses(question...); err != nil {
			t.Error(err)
		}
	}
	r, err := srv.dig("SOA", "cluster.local")
	if err != nil {
		t.Fatal(err)
	}
	if r.status != "NOERROR" || len(r.answer) != 1 {
		t.Errorf("want NOERROR with the zone's SOA: %s", r.text)
	}
}

// TestTypeChange makes a service headless, and then an alias again.
func TestTypeChange(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, clusterIP)
	podIP := ips(4, pods(t, ns, "web", 1)[0])
	web := fqdn("web", ns)
	patch := func(patch string) { kubectl(t, "-n", ns, "patch", "service", "web", "--type=merge", "-p", patch) }

	patch(`{"spec": {"type": "ExternalName", "externalName": "example.org", "clusterIP": null, "clusterIPs": null}}`)
	wantAnswer(t, []string{"example.org."}, "CNAME", web)

	patch(`{"spec": {"type": "ClusterIP", "externalName": null, "clusterIP": "None"}}`)
	wantAnswer(t, podIP, "A", web)
	agree(t, ns)

	patch(`{"spec": {"type": "ExternalName", "externalName": "example.org", "clusterIP": null, "clusterIPs": null}}`)
	wantAnswer(t, []string{"example.org."}, "CNAME", web)
}

// TestLateService creates a service after its pods, and deletes it.
func TestLateService(t *testing.T) {
	ns := namespace(t)
	service, statefulSet, _ := strings.Cut(nginx, "---")
	apply(t, ns, statefulSet)
	pods := pods(t, ns, "nginx", 3)
	wantNXDOMAIN(t, "A", fqdn("nginx", ns))

	apply(t, ns, service)
	wantStatefulSet(t, ns, pods)

	kubectl(t, "-n", ns, "label", "pod", "web-1", "app-")
	wantNXDOMAIN(t, "A", fqdn("web-1", "nginx", ns))

	kubectl(t, "-n", ns, "delete", "service", "nginx")
	wantNXDOMAIN(t, "A", fqdn("nginx", ns))
	wantNXDOMAIN(t, "A", fqdn("web-0", "nginx", ns))
	eventually(t, func() error { return srv.refuses("-x", ips(4, pods[0])[0]) })
}
