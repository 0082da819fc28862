//go:build cluster

package main_test

import (
	"strings"
	"testing"
)

const ports = `
apiVersion: v1
kind: Service
metadata: {name: ports}
spec:
  clusterIP: None
  selector: {app: ports}
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
  - {name: http, port: 80, targetPort: http}
  - {name: sctp, port: 3868, protocol: SCTP, targetPort: 13868}
---
apiVersion: v1
kind: Service
metadata: {name: portless}
spec:
  clusterIP: None
  selector: {app: ports}
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec:
  clusterIP: None
  selector: {app: nothing}
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Pod
metadata: {name: old, labels: {app: ports}}
spec:
  hostname: old
  subdomain: ports
  containers: [{name: old, image: old, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: new, labels: {app: ports}}
spec:
  hostname: new
  subdomain: ports
  containers: [{name: new, image: new, ports: [{name: http, containerPort: 9090}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: none, labels: {app: ports}}
spec:
  containers: [{name: none, image: none}]
---
apiVersion: v1
kind: Pod
metadata: {name: host, labels: {app: ports}}
spec:
  hostNetwork: true
  hostname: host
  subdomain: ports
  containers: [{name: host, image: host}]
---
apiVersion: v1
kind: Pod
metadata: {name: neighbour, labels: {app: ports}}
spec:
  hostNetwork: true
  containers: [{name: neighbour, image: neighbour}]
`

// TestPorts queries a service with several ports. One has a named target port, to
// which two pods give different numbers and three give none. Two pods have the
// address of their node.
func TestPorts(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, ports)
	pods := pods(t, ns, "ports", 5)
	svc := fqdn("ports", ns)
	addrs := map[string][]string{}
	for _, pod := range pods {
		addrs[pod.Name] = ips(4, pod)
	}

	resolved := func(name string) func() error {
		return func() error {
			want := []string{"0 50 8080 old." + svc, "0 50 9090 new." + svc}
			return srv.answers(want, "SRV", name+"._tcp."+svc)
		}
	}
	eventually(t, resolved("_http"))
	wantAnswer(t, addrs["host"], "A", "host."+svc)
	eventually(t, func() error {
		return srv.denies("NOERROR", "SRV", fqdn("portless", ns))
	})
	agree(t, ns)

	kubectl(t, "-n", ns, "patch", "service", "ports", "--type=json", "-p", `[{"op": "replace", "path": "/spec/ports/2/name", "value": "web"}]`)
	eventually(t, resolved("_web"))
	wantNXDOMAIN(t, "SRV", "_http._tcp."+svc)
	agree(t, ns)

	kubectl(t, "-n", ns, "patch", "service", "portless", "--type=merge", "-p", `{"spec": {"selector": {"app": "nothing"}}}`)
	wantNXDOMAIN(t, "A", fqdn("portless", ns))
	kubectl(t, "-n", ns, "patch", "service", "empty", "--type=merge", "-p", `{"spec": {"selector": {"app": "ports"}}}`)
	wantAnswer(t, addrs["old"], "A", strings.ReplaceAll(addrs["old"][0], ".", "-")+"."+fqdn("empty", ns))
	agree(t, ns)
}
