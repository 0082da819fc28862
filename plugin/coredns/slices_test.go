//go:build cluster

package main_test

import "testing"

const slice = `
apiVersion: v1
kind: Service
metadata: {name: outside}
spec:
  clusterIP: None
  ports: [{name: http, port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: outside-1
  labels: {kubernetes.io/service-name: outside}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- {addresses: [192.0.2.1], hostname: one}
- {addresses: [192.0.2.2], conditions: {ready: true}}
- {addresses: [192.0.2.3], hostname: three, conditions: {ready: false}}
`

// TestEndpointSlice queries a service without a selector, with a manual
// EndpointSlice.
func TestEndpointSlice(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, slice)
	svc := fqdn("outside", ns)
	one, two := []string{"192.0.2.1"}, []string{"192.0.2.2"}

	wantAnswer(t, append(one, two...), "A", svc)
	wantAnswer(t, one, "A", "one."+svc)
	wantAnswer(t, two, "A", "192-0-2-2."+svc)
	wantNXDOMAIN(t, "A", "three."+svc)
	eventually(t, func() error {
		return srv.answersSRV(8080, map[string][]string{"one." + svc: one, "192-0-2-2." + svc: two}, "_http._tcp."+svc)
	})
	wantAnswer(t, []string{"one." + svc}, "-x", one[0])
	wantAnswer(t, []string{"192-0-2-2." + svc}, "-x", two[0])
	agree(t, ns)

	kubectl(t, "-n", ns, "patch", "endpointslice", "outside-1", "--type=json", "-p",
		`[{"op": "replace", "path": "/endpoints/2/conditions/ready", "value": true}, {"op": "remove", "path": "/endpoints/0"}]`)
	wantAnswer(t, []string{"192.0.2.3"}, "A", "three."+svc)
	wantNXDOMAIN(t, "A", "one."+svc)
	agree(t, ns)

	kubectl(t, "-n", ns, "delete", "endpointslice", "outside-1")
	wantNXDOMAIN(t, "A", svc)
}

const endpoints = `
apiVersion: v1
kind: Service
metadata: {name: mirrored}
spec:
  clusterIP: None
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Endpoints
metadata: {name: mirrored}
subsets:
- addresses: [{ip: 192.0.2.11, hostname: one}, {ip: 192.0.2.12}]
  notReadyAddresses: [{ip: 192.0.2.13}]
  ports: [{name: http, port: 8080}]
`

// TestEndpoints queries a service with a manual object of the older kind Endpoints,
// which a controller mirrors to an EndpointSlice.
func TestEndpoints(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, endpoints)
	svc := fqdn("mirrored", ns)
	wantAnswer(t, []string{"192.0.2.11", "192.0.2.12"}, "A", svc)
	wantAnswer(t, []string{"192.0.2.11"}, "A", "one."+svc)
	agree(t, ns)
}

// TestEndpointSliceBeside adds a manual slice to a service that also has slices of
// the EndpointSlice controller.
func TestEndpointSliceBeside(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, nginx)
	pods := pods(t, ns, "nginx", 3)
	svc := fqdn("nginx", ns)
	wantAnswer(t, ips(4, pods...), "A", svc)

	apply(t, ns, `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: beside, labels: {kubernetes.io/service-name: nginx}}
addressType: IPv4
ports: [{name: web, port: 8080}]
endpoints: [{addresses: [192.0.2.21], hostname: guest}]
`)
	wantAnswer(t, append(ips(4, pods...), "192.0.2.21"), "A", svc)
	wantAnswer(t, []string{"192.0.2.21"}, "A", "guest."+svc)
	wantAnswer(t, ips(4, pods[0]), "A", "web-0."+svc)
	agree(t, ns)

	kubectl(t, "-n", ns, "delete", "endpointslice", "beside")
	wantStatefulSet(t, ns, pods)
	wantNXDOMAIN(t, "A", "guest."+svc)
}
