//go:build cluster

package main_test

import "testing"

// mariadb has an unnamed port, so no port name has SRV records.
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

// unready has two services that select the same pods. The test sets their readiness.
const unready = `
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
metadata: {name: not-ready}
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
  subdomain: not-ready
  containers: [{name: slow, image: slow}]
`

func TestNotReady(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, unready)
	zero, one := []string{"10.201.2.1"}, []string{"10.201.2.2"}
	both := append(zero, one...)
	ready, notReady := fqdn("ready", ns), fqdn("not-ready", ns)

	wantNXDOMAIN(t, "A", ready)
	wantNXDOMAIN(t, "A", notReady)

	setStatus(t, ns, "slow-0", false, zero...)
	setStatus(t, ns, "slow-1", false, one...)
	wantAnswer(t, both, "A", notReady)
	wantAnswer(t, zero, "A", "10-201-2-1."+notReady)
	wantAnswer(t, one, "A", "slow-1."+notReady)
	wantNXDOMAIN(t, "A", ready)
	wantNXDOMAIN(t, "A", "slow-0."+ready)
	wantNXDOMAIN(t, "SRV", "_http._tcp."+ready)
	agree(t, ns)

	setStatus(t, ns, "slow-0", true, zero...)
	wantAnswer(t, zero, "A", "slow-0."+ready)
	wantAnswer(t, zero, "A", ready)
	wantAnswer(t, both, "A", notReady)
	// The address also has a dashed name in the other service.
	wantAnswer(t, []string{"slow-0." + ready}, "-x", zero[0])
	agree(t, ns)

	// The readiness probe fails.
	setStatus(t, ns, "slow-0", false, zero...)
	wantNXDOMAIN(t, "A", "slow-0."+ready)
	wantNXDOMAIN(t, "A", ready)

	// No kubelet ends the pod, so it stays in its grace period.
	setStatus(t, ns, "slow-0", true, zero...)
	wantAnswer(t, zero, "A", "slow-0."+ready)
	kubectl(t, "-n", ns, "delete", "pod", "slow-0", "--grace-period=600", "--wait=false")
	wantNXDOMAIN(t, "A", "slow-0."+ready)
	wantAnswer(t, both, "A", notReady)
	agree(t, ns)

	remove(t, ns, "slow-0")
	wantAnswer(t, one, "A", notReady)

	kubectl(t, "-n", ns, "patch", "service", "not-ready", "-p", `{"spec":{"publishNotReadyAddresses":false}}`)
	wantNXDOMAIN(t, "A", notReady)
	kubectl(t, "-n", ns, "patch", "service", "ready", "-p", `{"spec":{"publishNotReadyAddresses":true}}`)
	wantAnswer(t, one, "A", ready)
	agree(t, ns)

	// A pod that has ended keeps its address, which another pod may have by then. The
	// EndpointSlice controller looks at the phase of a pod only when something else
	// changes, such as its readiness here.
	setStatus(t, ns, "slow-1", true, one...)
	kubectl(t, "-n", ns, "patch", "pod", "slow-1", "--subresource=status", "--type=merge", "-p",
		`{"status": {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}}`)
	wantNXDOMAIN(t, "A", ready)
	wantNXDOMAIN(t, "A", "10-201-2-2."+ready)
	agree(t, ns)
}
