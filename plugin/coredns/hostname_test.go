//go:build cluster

package main_test

import (
	"strings"
	"testing"
)

const hostnames = `
apiVersion: v1
kind: Service
metadata: {name: busybox-subdomain}
spec:
  clusterIP: None
  selector: {app: busybox}
  ports: [{name: foo, port: 1234}]
---
apiVersion: v1
kind: Pod
metadata: {name: busybox1, labels: {app: busybox}}
spec:
  hostname: busybox-1
  subdomain: busybox-subdomain
  containers: [{name: busybox, image: busybox}]
---
apiVersion: v1
kind: Pod
metadata: {name: busybox2, labels: {app: busybox}}
spec:
  hostname: busybox-2
  subdomain: another-subdomain
  containers: [{name: busybox, image: busybox}]
`

// TestHostname queries a pod whose subdomain is the service, and one with another
// subdomain.
func TestHostname(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, hostnames)
	pods := pods(t, ns, "busybox", 2)
	one, two := ips(4, pods[0]), ips(4, pods[1])
	svc := fqdn("busybox-subdomain", ns)

	wantAnswer(t, append(one, two...), "A", svc)
	wantAnswer(t, one, "A", "busybox-1."+svc)
	wantAnswer(t, []string{"busybox-1." + svc}, "-x", one[0])

	dashed := strings.ReplaceAll(two[0], ".", "-") + "." + svc
	wantAnswer(t, two, "A", dashed)
	wantAnswer(t, []string{dashed}, "-x", two[0])

	wantNXDOMAIN(t, "A", "busybox-2."+svc)
	wantNXDOMAIN(t, "A", fqdn("busybox-2", "another-subdomain", ns))
	// The label of a pod is its hostname or its dashed address, never the pod's name.
	wantNXDOMAIN(t, "A", "busybox1."+svc)
	wantNXDOMAIN(t, "A", strings.ReplaceAll(one[0], ".", "-")+"."+svc)
	agree(t, ns)
}

const sharedHostname = `
apiVersion: v1
kind: Service
metadata: {name: twins}
spec:
  clusterIP: None
  selector: {app: twin}
  ports: [{name: foo, port: 1234}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: twin}
spec:
  replicas: 3
  selector: {matchLabels: {app: twin}}
  template:
    metadata: {labels: {app: twin}}
    spec:
      hostname: twin
      subdomain: twins
      containers: [{name: twin, image: twin}]
`

// TestSharedHostname queries a Deployment whose pods share a hostname.
func TestSharedHostname(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, sharedHostname)
	pods := pods(t, ns, "twin", 3)
	host := fqdn("twin", "twins", ns)

	wantAnswer(t, ips(4, pods...), "A", fqdn("twins", ns))
	wantAnswer(t, ips(4, pods...), "A", host)
	for _, addr := range ips(4, pods...) {
		wantAnswer(t, []string{host}, "-x", addr)
	}
	agree(t, ns)
}
