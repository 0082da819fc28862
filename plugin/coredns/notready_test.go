//go:build cluster

package main_test

import "testing"

// mariadb has a port without a name, which has no SRV name of its own.
const mariadb = `
apiVersion: v1
kind: Service
metadata: {name: mariadb}
spec:
  clusterIP: None
  selector: {app: mariadb}
  ports: [{port: 3306}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: mariadb}
spec:
  serviceName: mariadb
  replicas: 2
  selector: {matchLabels: {app: mariadb}}
  template:
    metadata: {labels: {app: mariadb}}
    spec:
      containers: [{name: mariadb, image: mariadb}]
`

func TestUnnamedPort(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, mariadb)
	pods := pods(t, ns, "mariadb", 2)
	svc := fqdn("mariadb", ns)

	wantAnswer(t, ips(4, pods...), "A", svc)
	wantAnswer(t, ips(4, pods[1]), "A", "mariadb-1."+svc)
	eventually(t, func() error {
		return srv.answersSRV(3306, map[string][]string{
			"mariadb-0." + svc: ips(4, pods[0]),
			"mariadb-1." + svc: ips(4, pods[1]),
		}, svc)
	})
	agree(t, ns)
}

// notReady has two services select the same pods, which nothing makes ready.
const notReady = `
apiVersion: v1
kind: Service
metadata: {name: ready}
spec:
  clusterIP: None
  selector: {app: slow}
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: any}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {app: slow}
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Pod
metadata: {name: slow-0, labels: {app: slow}}
spec:
  nodeName: manual
  hostname: slow-0
  subdomain: ready
  containers: [{name: slow, image: slow}]
---
apiVersion: v1
kind: Pod
metadata: {name: slow-1, labels: {app: slow}}
spec:
  nodeName: manual
  hostname: slow-1
  subdomain: any
  containers: [{name: slow, image: slow}]
`

func TestNotReady(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, notReady)
	zero, one := []string{"10.201.2.1"}, []string{"10.201.2.2"}
	both := append(zero, one...)
	ready, any := fqdn("ready", ns), fqdn("any", ns)

	wantNoName(t, "A", ready)
	wantNoName(t, "A", any)

	setStatus(t, ns, "slow-0", false, zero...)
	setStatus(t, ns, "slow-1", false, one...)
	wantAnswer(t, both, "A", any)
	wantAnswer(t, zero, "A", "10-201-2-1."+any)
	wantAnswer(t, one, "A", "slow-1."+any)
	wantNoName(t, "A", ready)
	wantNoName(t, "A", "slow-0."+ready)
	wantNoName(t, "SRV", "_http._tcp."+ready)
	agree(t, ns)

	setStatus(t, ns, "slow-0", true, zero...)
	wantAnswer(t, zero, "A", "slow-0."+ready)
	wantAnswer(t, zero, "A", ready)
	wantAnswer(t, both, "A", any)
	// The address has a dashed name in the other service, too.
	wantAnswer(t, []string{"slow-0." + ready}, "-x", zero[0])
	agree(t, ns)

	// Back again, as when a readiness probe fails.
	setStatus(t, ns, "slow-0", false, zero...)
	wantNoName(t, "A", "slow-0."+ready)
	wantNoName(t, "A", ready)

	// The grace period goes by only where a kubelet ends the pod, so it stays.
	setStatus(t, ns, "slow-0", true, zero...)
	wantAnswer(t, zero, "A", "slow-0."+ready)
	kubectl(t, "-n", ns, "delete", "pod", "slow-0", "--grace-period=600", "--wait=false")
	wantNoName(t, "A", "slow-0."+ready)
	wantAnswer(t, both, "A", any)
	agree(t, ns)

	remove(t, ns, "slow-0")
	wantAnswer(t, one, "A", any)

	kubectl(t, "-n", ns, "patch", "service", "any", "-p", `{"spec":{"publishNotReadyAddresses":false}}`)
	wantNoName(t, "A", any)
	kubectl(t, "-n", ns, "patch", "service", "ready", "-p", `{"spec":{"publishNotReadyAddresses":true}}`)
	wantAnswer(t, one, "A", ready)
	agree(t, ns)

	// A pod that has ended keeps its address, which may be another's by now. The
	// EndpointSlice controller looks at a pod's phase only when something else has
	// changed, as its readiness has here.
	setStatus(t, ns, "slow-1", true, one...)
	kubectl(t, "-n", ns, "patch", "pod", "slow-1", "--subresource=status", "--type=merge", "-p",
		`{"status": {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}}`)
	wantNoName(t, "A", ready)
	wantNoName(t, "A", "10-201-2-2."+ready)
	agree(t, ns)
}
