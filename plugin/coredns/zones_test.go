//go:build cluster

package main_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/headless-dns/headless/internal/cluster"
)

// zoneNode is a node in a topology zone. Nothing simulates its kubelet, and nothing is scheduled there.
const zoneNode = `
---
apiVersion: v1
kind: Node
metadata: {name: %s, labels: {topology.kubernetes.io/zone: %s}}
spec: {unschedulable: true}
status: {conditions: [{type: Ready, status: "True", reason: Manual}]}
`

const zoneService = `
apiVersion: v1
kind: Service
metadata: {name: db}
spec:
  clusterIP: None
  ipFamilyPolicy: RequireDualStack
  selector: {app: db}
  ports: [{name: sql, port: 5432}]
`

// zonePod waits for the test to bind it to a node.
const zonePod = `
---
apiVersion: v1
kind: Pod
metadata: {name: db-%d, labels: {app: db}}
spec:
  hostname: db-%[1]d
  subdomain: db
  schedulerName: test
  containers: [{name: db, image: db}]
`

// startZonal starts two servers with names of topology zones. The first one gets the right to
// Nodes only when its log says that it lacks it, and is not ready before. The second one needs
// no such right, as it watches EndpointSlices.
func startZonal(t *testing.T) (byPods, bySlices *server) {
	t.Helper()
	createAccount(t, "zonal", "headless")
	byPods, err := launch("zonal", "zonal")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(t, "zonal") })
	if bySlices, err = newServer("zonal-slices", "zonal slices"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(t, "zonal-slices") })

	const refused = `User "system:serviceaccount:kube-system:zonal" cannot list resource "nodes"`
	eventually(t, func() error {
		if !strings.Contains(byPods.log(1<<20), refused) {
			return fmt.Errorf("%q is not in the log:\n%s", refused, byPods.log(4096))
		}
		return byPods.failing(1) // no other kind of objects
	})
	if _, err := cluster.Fetch(byPods.ready); err == nil {
		t.Error("the server is ready without the right to Nodes")
	}
	r, err := byPods.dig("A", fqdn("db", "default"))
	if err != nil || r.status != "SERVFAIL" {
		t.Errorf("want SERVFAIL without the right to Nodes: %v %v", r, err)
	}
	grant(t, "zonal", "headless-nodes")
	if err := byPods.await(); err != nil {
		t.Fatal(err)
	}
	return byPods, bySlices
}

// TestZones queries the names of topology zones, with pods bound to nodes in three zones.
func TestZones(t *testing.T) {
	byPods, bySlices := startZonal(t)
	ns := namespace(t)
	manifest := zoneService
	for i, zone := range []string{"EU-1a", "eu-1b", "eu-1c"} {
		node := fmt.Sprint("zones-", i)
		manifest += fmt.Sprintf(zoneNode, node, zone) + fmt.Sprintf(zonePod, i)
		t.Cleanup(func() { kubectl(t, "delete", "node", node, "--ignore-not-found") })
	}
	apply(t, ns, manifest)
	// With its addresses, the EndpointSlice controller has seen a node, too.
	kubectl(t, "wait", "--for=jsonpath={.spec.podCIDRs[1]}", "node", "zones-0", "zones-1", "zones-2", "--timeout=60s")
	var db [3]corev1.Pod
	for i := range db {
		bindPod(t, ns, fmt.Sprint("db-", i), fmt.Sprint("zones-", i))
		if i == 2 {
			// As a pod that was bound before Kubernetes set the label.
			kubectl(t, "-n", ns, "label", "pod", "db-2", corev1.LabelTopologyZone+"-")
		}
		setStatus(t, ns, fmt.Sprint("db-", i), true, fmt.Sprint("10.201.9.", i+1), fmt.Sprint("fd00:201:9::", i+1))
	}
	copy(db[:], pods(t, ns, "db", len(db)))

	for _, s := range []*server{byPods, bySlices} {
		s.wantZone(t, ns, "eu-1a", db[:], db[0])
		s.wantZone(t, ns, "EU-1B", db[:], db[1])
		s.wantZone(t, ns, "eu-1c", db[:], db[2])
		s.wantZone(t, ns, "eu-1d", db[:])
	}

	// A zone is drained: its pod is deleted.
	remove(t, ns, "db-1")
	left := []corev1.Pod{db[0], db[2]}
	for _, s := range []*server{byPods, bySlices} {
		s.wantZone(t, ns, "eu-1b", left)
	}

	// The nodes get another zone. The label of a pod wins.
	kubectl(t, "label", "node", "zones-0", "zones-2", "--overwrite", corev1.LabelTopologyZone+"=eu-1d")
	byPods.wantZone(t, ns, "eu-1d", left, db[2])
	byPods.wantZone(t, ns, "eu-1c", left)
	byPods.wantZone(t, ns, "eu-1a", left, db[0])

	// Another zone is drained: its pod fails the readiness probe. For that, the EndpointSlice
	// controller writes a slice anew, with the zones of the nodes.
	setStatus(t, ns, "db-2", false, ips(4, db[2])[0], ips(6, db[2])[0])
	byPods.wantZone(t, ns, "eu-1d", db[:1])
	bySlices.wantZone(t, ns, "eu-1d", db[:1], db[0])
	bySlices.wantZone(t, ns, "eu-1c", db[:1])

	// Without its node, a pod is in the zone of its label or in none.
	setStatus(t, ns, "db-2", true, ips(4, db[2])[0], ips(6, db[2])[0])
	byPods.wantZone(t, ns, "eu-1d", left, db[2])
	kubectl(t, "delete", "node", "zones-0", "zones-2")
	byPods.wantZone(t, ns, "eu-1d", left)
	byPods.wantZone(t, ns, "eu-1a", left, db[0])
}

// bindPod binds a pod to a node as the scheduler does. The API server then labels it with the
// zone of the node, since Kubernetes 1.35; with an older one, the test does that.
func bindPod(t *testing.T, ns, pod, node string) {
	t.Helper()
	ctx := context.Background()
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}
	if err := api.CoreV1().Pods(ns).Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bound, err := api.CoreV1().Pods(ns).Get(ctx, pod, get)
	if err != nil {
		t.Fatal(err)
	}
	on, err := api.CoreV1().Nodes().Get(ctx, node, get)
	if err != nil {
		t.Fatal(err)
	}
	want, got := on.Labels[corev1.LabelTopologyZone], bound.Labels[corev1.LabelTopologyZone]
	if got == want {
		return
	}
	version, err := api.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if minor, err := strconv.Atoi(version.Minor); err != nil || minor >= 35 {
		t.Errorf("Kubernetes %s labels %s with the zone %q, want %q", version, pod, got, want)
	}
	kubectl(t, "-n", ns, "label", "pod", pod, corev1.LabelTopologyZone+"="+want)
}

// wantZone waits until a zone has exactly these of all ready pods of the service db.
func (s *server) wantZone(t *testing.T, ns, zone string, all []corev1.Pod, in ...corev1.Pod) {
	t.Helper()
	pin, prefer := fqdn(zone, "pin", "_zone", "db", ns), fqdn(zone, "prefer", "_zone", "db", ns)
	preferred := in
	if len(in) == 0 {
		preferred = all
		eventually(t, func() error { return s.denies("NOERROR", "A", pin) })
	} else {
		eventually(t, func() error { return s.answers(ips(4, in...), "A", pin) })
		eventually(t, func() error { return s.answers(ips(6, in...), "AAAA", pin) })
		eventually(t, func() error { return s.answersSRV(5432, glue(ns, in), "_sql._tcp."+pin) })
	}
	eventually(t, func() error { return s.answers(ips(4, preferred...), "A", prefer) })
	eventually(t, func() error { return s.answers(ips(6, preferred...), "AAAA", prefer) })
	eventually(t, func() error { return s.answersSRV(5432, glue(ns, preferred), "_sql._tcp."+prefer) })
}

// glue returns the addresses of pods of the service db by their names.
func glue(ns string, pods []corev1.Pod) map[string][]string {
	out := map[string][]string{}
	for _, pod := range pods {
		out[fqdn(pod.Name, "db", ns)] = append(ips(4, pod), ips(6, pod)...)
	}
	return out
}

// failing returns an error unless the watches of exactly n kinds of objects fail.
func (s *server) failing(n int) error {
	got, err := cluster.FailingWatches(s.metrics)
	if err == nil && got != n {
		err = fmt.Errorf("%s: the watches of %d kinds fail, want %d", s.name, got, n)
	}
	return err
}
