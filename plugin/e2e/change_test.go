//go:build e2e

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/headless-dns/headless/internal/cluster"
)

const nginx = "nginx.default.svc.cluster.local"

var webs = []string{"web-0." + nginx, "web-1." + nginx, "web-2." + nginx}

// TestRollout restarts the StatefulSet, one pod after another, under queries for every
// pod.
func TestRollout(t *testing.T) {
	before := pods(t, "default", "app=nginx", 3)
	h := watch(t)
	a := startAsker(t, "rollout", "", append(webs, nginx)...)
	kubectl(t, "rollout", "restart", "statefulset/web")
	kubectl(t, "rollout", "status", "statefulset/web", "--timeout=90s")
	after := pods(t, "default", "app=nginx", 3)
	a.follow(t, time.Now().Add(ttl))
	replies := a.end(t)

	late := h.check(t, replies)
	t.Logf("the last answer with the address of a pod came %v after the pod was no longer ready", late)
	for i, name := range webs {
		wantReplaced(t, replies, name, &before[i], &after[i])
	}
	for _, r := range replies {
		if r.name == nginx && len(r.addrs) < 2 {
			t.Errorf("want at least two addresses of the service: %s", r.text)
		}
	}
}

// wantReplaced requires that a name first had the address of one pod, and at the end has
// that of another.
func wantReplaced(t *testing.T, replies []reply, name string, before, after *corev1.Pod) {
	t.Helper()
	if before.UID == after.UID || addr(before, 4) == addr(after, 4) {
		t.Fatalf("%s was not replaced by a pod with another address", before.Name)
	}
	if !slices.ContainsFunc(replies, func(r reply) bool { return r.name == name && slices.Equal(r.addrs, []string{addr(before, 4)}) }) {
		t.Errorf("no reply for %s with %s", name, addr(before, 4))
	}
	if r := last(replies, name); !slices.Equal(r.addrs, []string{addr(after, 4)}) {
		t.Errorf("last reply for %s: want %s, got %s", name, addr(after, 4), r.text)
	}
}

// TestKilledPod deletes a pod without a grace period.
func TestKilledPod(t *testing.T) {
	before := pods(t, "default", "app=nginx", 3)
	h := watch(t)
	a := startAsker(t, "killed-pod", "", webs...)
	kubectl(t, "delete", "pod", "web-1", "--grace-period=0", "--force")
	after := pods(t, "default", "app=nginx", 3)
	a.follow(t, time.Now().Add(ttl))
	replies := a.end(t)

	h.check(t, replies)
	wantReplaced(t, replies, webs[1], &before[1], &after[1])
	ask(t, "default", after, []question{{"dnsutils", "dig -x $A1", `5 IN PTR web-1\.nginx\.$D\. `}})
	ask(t, "default", before, []question{{"dnsutils", "dig -x $A1", `status: NXDOMAIN`}})
}

// TestKilledContainer kills the process of a pod. The kubelet restarts it, and the pod
// keeps its address.
func TestKilledContainer(t *testing.T) {
	before := pods(t, "default", "app=nginx", 3)
	h := watch(t)
	a := startAsker(t, "killed-container", "", webs...)
	kill(t, &before[2])
	eventually(t, func() error {
		if pod := pods(t, "default", "app=nginx", 3)[2]; pod.Status.ContainerStatuses[0].RestartCount != 1 {
			return fmt.Errorf("%s has not restarted", pod.Name)
		}
		return nil
	})
	a.follow(t, time.Now().Add(ttl))
	replies := a.end(t)

	h.check(t, replies)
	if r := last(replies, webs[2]); !slices.Equal(r.addrs, []string{addr(&before[2], 4)}) {
		t.Errorf("last reply for %s: want %s as before, got %s", webs[2], addr(&before[2], 4), r.text)
	}
}

// wantSame requires that every reply has the address of its pod.
func wantSame(t *testing.T, replies []reply, pods []corev1.Pod) {
	t.Helper()
	failures := 0
	for _, r := range replies {
		i := slices.Index(webs, r.name)
		if i >= 0 && r.status == "NOERROR" && slices.Equal(r.addrs, []string{addr(&pods[i], 4)}) {
			continue
		}
		if failures++; failures <= 5 {
			t.Errorf("%q at %s: %s", r.name, r.sent.Format(time.StampMilli), r.text)
		}
	}
	if failures > 0 {
		t.Errorf("%d of %d replies are wrong", failures, len(replies))
	}
}

// TestServerRollout replaces every server. No query may fail.
func TestServerRollout(t *testing.T) {
	web := pods(t, "default", "app=nginx", 3)
	const label = "k8s-app=kube-dns"
	before := pods(t, "kube-system", label, 2)
	udp := startAsker(t, "server-udp", "+notcp", webs...)
	tcp := startAsker(t, "server-tcp", "+tcp", webs...)
	// A reused source port is a flow for which kube-proxy has already chosen a server.
	flow := startAsker(t, "server-flow", "+notcp -b 0.0.0.0#10053", webs[0])
	kubectl(t, "-n", "kube-system", "rollout", "restart", "deployment/headless")
	kubectl(t, "-n", "kube-system", "rollout", "status", "deployment/headless", "--timeout=90s")
	// pods waits for the old servers to end.
	after := pods(t, "kube-system", label, 2)
	for _, old := range before {
		if slices.ContainsFunc(after, func(pod corev1.Pod) bool { return pod.UID == old.UID }) {
			t.Errorf("the old server %s still runs", old.Name)
		}
	}
	end := time.Now().Add(time.Second)
	udp.follow(t, end)
	tcp.follow(t, end)
	flow.follow(t, end)
	wantSame(t, udp.end(t), web)
	wantSame(t, tcp.end(t), web)
	wantSame(t, flow.end(t), web)
}

// controlPlane stops or starts the API server and the controller manager. In a cluster
// the controller manager exits when it can't renew its lease. If it kept running, the
// Service of the servers would lack endpoints for minutes after an outage: the
// EndpointSlice controller doubles its back-off while its informers are behind.
func controlPlane(t *testing.T, verb string) {
	t.Helper()
	for _, script := range []string{"/apiserver.sh", "/controller-manager.sh"} {
		if _, err := command(cluster.Scripts+script, verb); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOutage stops the API server for a minute. Known names keep resolving, and later
// changes are served.
func TestOutage(t *testing.T) {
	before := pods(t, "default", "app=nginx", 3)
	a := startAsker(t, "outage", "", webs...)
	controlPlane(t, "stop")
	stopped := time.Now()
	if _, err := command("kubectl", "get", "--raw", "/readyz"); err == nil {
		t.Fatal("the API server still answers")
	}
	a.follow(t, stopped.Add(time.Minute))
	controlPlane(t, "start")
	t.Logf("the API server was away for %.1fs", time.Since(stopped).Seconds())
	if now := pods(t, "default", "app=nginx", 3); now[0].UID != before[0].UID || now[0].Status.PodIP != before[0].Status.PodIP {
		t.Errorf("%s was replaced during the outage", now[0].Name)
	}
	a.follow(t, time.Now().Add(ttl))
	wantSame(t, a.end(t), before)

	// A server serves changes only after it has retried its watches.
	eventually(t, func() error { return watching(pods(t, "kube-system", "k8s-app=kube-dns", 2)) })
	t.Logf("all watches worked %.1fs after the API server was stopped", time.Since(stopped).Seconds())
	h := watch(t)
	a = startAsker(t, "after-outage", "", webs...)
	kubectl(t, "delete", "pod", "web-0")
	after := pods(t, "default", "app=nginx", 3)
	a.follow(t, time.Now().Add(ttl))
	replies := a.end(t)
	h.check(t, replies)
	wantReplaced(t, replies, webs[0], &before[0], &after[0])
}

// TestRestartInOutage kills all servers while the API server is down. They restart from
// their snapshots: for some time there is no reply, but never a wrong one. There may be a
// second time without a reply when the API server is back: the kubernetes plugin lists up
// to a minute later, and until then no server is ready.
func TestRestartInOutage(t *testing.T) {
	web := pods(t, "default", "app=nginx", 3)
	servers := pods(t, "kube-system", "k8s-app=kube-dns", 2)
	labelled := time.Now()
	kubectl(t, "label", "pod", "web-0", "round=outage") // a change, so that the snapshots are written
	for i := range servers {
		snapshot := fmt.Sprintf("/proc/%d/root/var/lib/headless/snapshot", process(t, &servers[i]))
		eventually(t, func() error {
			info, err := os.Stat(snapshot)
			if err == nil && info.ModTime().Before(labelled) {
				err = fmt.Errorf("the snapshot of %s is of %v, want one after %v", servers[i].Name, info.ModTime(), labelled)
			}
			return err
		})
	}
	a := startAsker(t, "restart-in-outage", "", webs...)
	controlPlane(t, "stop")
	killed := time.Now()
	for i := range servers {
		kill(t, &servers[i])
	}
	a.follow(t, killed.Add(45*time.Second))
	back := time.Now()
	controlPlane(t, "start")
	eventually(t, func() error {
		for i, server := range pods(t, "kube-system", "k8s-app=kube-dns", 2) {
			if server.Name != servers[i].Name {
				t.Fatalf("%s was replaced", servers[i].Name)
			}
			// The API server may still have the condition of before the outage. Its times
			// are whole seconds.
			if since := readySince(&server); since.Before(killed.Truncate(time.Second)) {
				return fmt.Errorf("%s is ready since %v, want since after the outage", server.Name, since)
			}
		}
		return nil
	})
	t.Logf("all servers were ready %.1fs after the API server was started", time.Since(back).Seconds())
	ready := time.Now()
	eventually(t, func() error { return inService(t, servers) })
	// Kube-proxy resumes its watch up to a minute later. Until then it may know no ready
	// server.
	endpoints := time.Now()
	eventually(t, func() error {
		answered := func(r reply) bool { return r.sent.After(endpoints) && r.status != "" }
		if !slices.ContainsFunc(a.replies(t), answered) {
			return errors.New("no reply through the Service")
		}
		return nil
	})
	t.Logf("the Service answered %.1fs later", time.Since(ready).Seconds())
	end := time.Now().Add(ttl) // for both servers
	a.follow(t, end)
	replies := a.end(t)

	// Before the first server is back there is no reply; from then on every query has
	// one. A server starts only after the five seconds that the kubernetes plugin waits.
	silent := slices.ContainsFunc(replies, func(r reply) bool { return r.sent.After(killed) && r.status == "" })
	if !silent {
		t.Fatal("every query had a reply: the servers were not killed")
	}
	for _, r := range replies {
		if r.status != "" && r.status != "NOERROR" {
			t.Errorf("%q at %s: %s", r.name, r.sent.Format(time.StampMilli), r.text)
		}
	}
	between := func(r reply, from, until time.Time) bool { return r.sent.After(from) && r.sent.Before(until) }
	begun := killed.Add(-3 * time.Second) // dig waits two seconds for a reply
	replies = slices.DeleteFunc(replies, func(r reply) bool { return r.status == "" && between(r, begun, killed.Add(20*time.Second)) })
	before := len(replies)
	replies = slices.DeleteFunc(replies, func(r reply) bool { return r.status == "" && between(r, back, end) })
	wantSame(t, replies, web)
	t.Logf("%d queries had no reply while the servers were not ready after the outage", before-len(replies))
	first := slices.IndexFunc(replies, func(r reply) bool { return r.sent.After(killed.Add(time.Second)) })
	t.Logf("the first query with a reply was sent %.1fs after the servers were killed", replies[first].sent.Sub(killed).Seconds())
}

// inService returns an error unless every server is a ready endpoint of the Service.
func inService(t *testing.T, servers []corev1.Pod) error {
	t.Helper()
	out := kubectl(t, "-n", "kube-system", "get", "endpointslices", "-l", "kubernetes.io/service-name=kube-dns", "-o", "json")
	var list discoveryv1.EndpointSliceList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	var ready []string
	for _, s := range list.Items {
		for _, e := range s.Endpoints {
			if *e.Conditions.Ready {
				ready = append(ready, e.TargetRef.Name)
			}
		}
	}
	for _, server := range servers {
		if !slices.Contains(ready, server.Name) {
			return fmt.Errorf("%s is not a ready endpoint; these are %q", server.Name, ready)
		}
	}
	return nil
}
