//go:build cluster

package main_test

import "testing"

const dual = `
apiVersion: v1
kind: Service
metadata: {name: dual}
spec:
  clusterIP: None
  selector: {app: dual}
  ports: [{name: http, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: six}
spec:
  clusterIP: None
  ipFamilies: [IPv6]
  selector: {app: dual}
  ports: [{name: http, port: 80}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: dual}
spec:
  serviceName: dual
  replicas: 2
  selector: {matchLabels: {app: dual}}
  template:
    metadata: {labels: {app: dual}}
    spec:
      containers: [{name: dual, image: dual}]
---
apiVersion: v1
kind: Pod
metadata: {name: odd, labels: {app: dual}}
spec:
  nodeName: manual
  containers: [{name: odd, image: odd}]
`

func TestDualStack(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, dual)
	// A dashed address must be a valid label: it must not end with a dash.
	setStatus(t, ns, "odd", true, "10.201.3.1", "fd00:201::")
	pods := pods(t, ns, "dual", 3)
	svc, six := fqdn("dual", ns), fqdn("six", ns)

	// The service has one family, its pods have both.
	wantAnswer(t, ips(4, pods...), "A", svc)
	wantAnswer(t, ips(6, pods...), "AAAA", six)
	for _, question := range [][2]string{{"AAAA", svc}, {"A", six}} {
		if err := srv.denies("NOERROR", question[0], question[1]); err != nil {
			t.Error(err)
		}
	}
	agree(t, ns)

	kubectl(t, "-n", ns, "patch", "service", "dual", "-p", `{"spec": {"ipFamilyPolicy": "RequireDualStack"}}`)
	wantAnswer(t, ips(4, pods...), "A", svc)
	wantAnswer(t, ips(6, pods...), "AAAA", svc)
	for _, pod := range pods[:2] {
		host := pod.Name + "." + svc
		four, six := ips(4, pod), ips(6, pod)
		wantAnswer(t, four, "A", host)
		wantAnswer(t, six, "AAAA", host)
		wantAnswer(t, []string{host}, "-x", four[0])
		wantAnswer(t, []string{host}, "-x", six[0])
	}
	wantAnswer(t, []string{"10.201.3.1"}, "A", "10-201-3-1."+svc)
	agree(t, ns)
}
