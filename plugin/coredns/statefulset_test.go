//go:build cluster

package main_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// nginx is the StatefulSet of the Kubernetes documentation and its service.
const nginx = `
apiVersion: v1
kind: Service
metadata: {name: nginx, labels: {app: nginx}}
spec:
  clusterIP: None
  selector: {app: nginx}
  ports: [{port: 80, name: web}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: nginx
  replicas: 3
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      containers: [{name: nginx, image: nginx, ports: [{containerPort: 80, name: web}]}]
`

func TestStatefulSet(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, nginx)
	wantStatefulSet(t, ns, pods(t, ns, "nginx", 3))

	web0 := "web-0.nginx." + ns
	t.Run("case", func(t *testing.T) {
		wantAnswer(t, ips(4, pods(t, ns, "nginx", 3)[0]), "A", "wEB-0.Nginx."+ns+".sVC.cLUSTER.Local")
	})
	t.Run("no data", func(t *testing.T) {
		for _, question := range [][2]string{
			{"TXT", fqdn("nginx", ns)},
			{"MX", fqdn(web0)},
			{"A", fqdn("_web", "_tcp", "nginx", ns)},
			{"A", fqdn("_tcp", "nginx", ns)}, // an empty non-terminal
		} {
			if err := srv.denies("NOERROR", question[0], question[1]); err != nil {
				t.Error(err)
			}
		}
	})
	// With the search domains and ndots of a pod's resolver.
	t.Run("search", func(t *testing.T) {
		eventually(t, func() error {
			r, err := srv.dig("+search", "+ndots=5", "+domain=svc.cluster.local", "A", web0)
			if err == nil && (len(r.answer) != 1 || r.answer[0].Header().Name != fqdn(web0)) {
				err = fmt.Errorf("want one address: %s", r.text)
			}
			return err
		})
	})
	t.Run("nslookup", func(t *testing.T) {
		addr := ips(4, pods(t, ns, "nginx", 3)[0])[0]
		out, err := command("busybox", "nslookup", "-type=a", fqdn(web0), "127.0.0.1:"+srv.port)
		if err != nil || !strings.Contains(out, "Address: "+addr+"\n") {
			t.Errorf("want %s: %v\n%s", addr, err, out)
		}
	})
	t.Run("agreement", func(t *testing.T) { agree(t, ns) })

	kubectl(t, "-n", ns, "scale", "statefulset", "web", "--replicas=5")
	five := pods(t, ns, "nginx", 5)
	wantStatefulSet(t, ns, five)

	kubectl(t, "-n", ns, "scale", "statefulset", "web", "--replicas=2")
	wantStatefulSet(t, ns, pods(t, ns, "nginx", 2))
	for i, pod := range five[2:] {
		wantNXDOMAIN(t, "A", fqdn(pod.Name, "nginx", ns))
		wantNXDOMAIN(t, "SRV", fqdn(pod.Name, "nginx", ns))
		eventually(t, func() error { return srv.refuses("-x", ips(4, five[2:][i])[0]) })
	}
	agree(t, ns)
}

// wantStatefulSet waits until the names of nginx resolve to exactly these pods.
func wantStatefulSet(t *testing.T, ns string, pods []corev1.Pod) {
	t.Helper()
	wantAnswer(t, ips(4, pods...), "A", fqdn("nginx", ns))
	glue := map[string][]string{}
	for _, pod := range pods {
		addr, host := ips(4, pod), fqdn(pod.Name, "nginx", ns)
		glue[host] = addr
		wantAnswer(t, addr, "A", host)
		wantAnswer(t, []string{host}, "-x", addr[0])
		// The service has one family, its pods have both.
		if err := srv.denies("NOERROR", "AAAA", host); err != nil {
			t.Error(err)
		}
	}
	eventually(t, func() error { return srv.answersSRV(80, glue, fqdn("_web", "_tcp", "nginx", ns)) })
	eventually(t, func() error { return srv.answersSRV(80, glue, fqdn("_web", "_tcp", "nginx", ns), "+tcp") })
}

// TestLargeStatefulSet queries a service with more pods than fit into a UDP
// reply.
func TestLargeStatefulSet(t *testing.T) {
	ns := namespace(t)
	const n = 200
	large := strings.Replace(nginx, "replicas: 3", fmt.Sprintf("replicas: %d\n  podManagementPolicy: Parallel", n), 1)
	apply(t, ns, large)
	pods := pods(t, ns, "nginx", n)
	svc := fqdn("nginx", ns)

	eventually(t, func() error { return srv.answers(ips(4, pods...), "+tcp", "A", svc) })
	r, err := srv.dig("+notcp", "+ignore", "A", svc)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(r.flags, "tc") {
		t.Errorf("want a truncated reply: %s", r.text)
	}
	// By default dig retries a truncated reply over TCP.
	wantAnswer(t, ips(4, pods...), "A", svc)
	agree(t, ns)
}
