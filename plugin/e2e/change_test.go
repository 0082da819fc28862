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
)

const nginx = "nginx.default.svc.cluster.local"

var webs = []string{"web-0." + nginx, "web-1." + nginx, "web-2." + nginx}

// TestRollout restarts the StatefulSet, one pod after another, while a pod asks
// for all of them.
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
	t.Logf("the last answer with the address of a pod that was no longer ready came %v later", late)
	for i, name := range webs {
		wantReplaced(t, replies, name, &before[i], &after[i])
	}
	for _, r := range replies {
		if r.name == nginx && len(r.addrs) < 2 {
			t.Errorf("the service has two pods at any time: %s", r.text)
		}
	}
}

// wantReplaced requires that a name was answered with the address of one pod, and
// in the end with that of another.
func wantReplaced(t *testing.T, replies []reply, name string, before, after *corev1.Pod) {
	t.Helper()
	if before.UID == after.UID || addr(before, 4) == addr(after, 4) {
		t.Fatalf("%s was not replaced by another one with another address", before.Name)
	}
	if !slices.ContainsFunc(replies, func(r reply) bool { return r.name == name && slices.Equal(r.addrs, []string{addr(before, 4)}) }) {
		t.Errorf("%s was never %s", name, addr(before, 4))
	}
	if r := last(replies, name); !slices.Equal(r.addrs, []string{addr(after, 4)}) {
		t.Errorf("%s is not %s in the end: %s", name, addr(after, 4), r.text)
	}
}

// TestKilledPod takes a pod away at once, without a graceful end.
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

// TestKilledContainer kills the process of a pod, which the kubelet then starts
// again: the pod keeps its address.
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
		t.Errorf("want %s as before: %s", addr(&before[2], 4), r.text)
	}
}

// wantSame requires every reply to have the address of its pod.
func wantSame(t *testing.T, replies []reply, pods []corev1.Pod) {
	t.Helper()
	failures := 0
	for _, r := range replies {
		i := slices.Index(webs, r.name)
		if i >= 0 && r.status == "NOERROR" && slices.Equal(r.addrs, []string{addr(&pods[i], 4)}) {
			continue
		}
		if failures++; failures <= 5 {
			t.Errorf("%q at %s: %s", r.name, r.asked.Format(time.StampMilli), r.text)
		}
	}
	if failures > 0 {
		t.Errorf("%d of %d replies are wrong", failures, len(replies))
	}
}

// TestServerRollout replaces every server, and no query fails.
func TestServerRollout(t *testing.T) {
	web := pods(t, "default", "app=nginx", 3)
	const label = "k8s-app=kube-dns"
	before := pods(t, "kube-system", label, 2)
	udp := startAsker(t, "server-udp", "+notcp", webs...)
	tcp := startAsker(t, "server-tcp", "+tcp", webs...)
	// A port that is used again is a flow that kube-proxy has sent to a server before.
	flow := startAsker(t, "server-flow", "+notcp -b 0.0.0.0#10053", webs[0])
	kubectl(t, "-n", "kube-system", "rollout", "restart", "deployment/headless")
	kubectl(t, "-n", "kube-system", "rollout", "status", "deployment/headless", "--timeout=90s")
	// The old servers have to end, too.
	after := pods(t, "kube-system", label, 2)
	for _, old := range before {
		if slices.ContainsFunc(after, func(pod corev1.Pod) bool { return pod.UID == old.UID }) {
			t.Errorf("%s is still there", old.Name)
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

// controlPlane stops or starts the API server, and the controller manager with it. In a
// cluster, that one exits when it can't renew its lease. One that went on would leave
// the Service of the servers without endpoints for minutes after an outage: its
// EndpointSlice controller doubles its pauses for as long as its informers are behind.
func controlPlane(t *testing.T, verb string) {
	t.Helper()
	for _, script := range []string{"/apiserver.sh", "/controller-manager.sh"} {
		if _, err := command(scripts+script, verb); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOutage stops the API server for a minute. What was known is answered
// throughout; what changes afterwards is seen.
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
		t.Errorf("%s is another pod now", now[0].Name)
	}
	a.follow(t, time.Now().Add(ttl))
	wantSame(t, a.end(t), before)

	// Until a server has tried again, it answers with what was.
	eventually(t, func() error { return watching(pods(t, "kube-system", "k8s-app=kube-dns", 2)) })
	t.Logf("all servers watched again %.1fs after the API server was stopped", time.Since(stopped).Seconds())
	h := watch(t)
	a = startAsker(t, "after-outage", "", webs...)
	kubectl(t, "delete", "pod", "web-0")
	after := pods(t, "default", "app=nginx", 3)
	a.follow(t, time.Now().Add(ttl))
	replies := a.end(t)
	h.check(t, replies)
	wantReplaced(t, replies, webs[0], &before[0], &after[0])
}

// TestRestartInOutage kills all servers while the API server is stopped. They come
// back with what was known: there is a time without a reply, and none that is wrong.
// When the API server is back, there may be another such time: the plugin kubernetes
// begins to list up to a minute later, and until then no server counts as ready.
func TestRestartInOutage(t *testing.T) {
	web := pods(t, "default", "app=nginx", 3)
	servers := pods(t, "kube-system", "k8s-app=kube-dns", 2)
	known := time.Now()
	kubectl(t, "label", "pod", "web-0", "round=outage") // there is something to write
	for i := range servers {
		snapshot := fmt.Sprintf("/proc/%d/root/var/lib/headless/snapshot", process(t, &servers[i]))
		eventually(t, func() error {
			info, err := os.Stat(snapshot)
			if err == nil && info.ModTime().Before(known) {
				err = fmt.Errorf("%s has a snapshot of %v", servers[i].Name, info.ModTime())
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
				t.Fatalf("%s is another pod now", server.Name)
			}
			// What the API server says may be from before the outage. Its times are whole seconds.
			if since := readySince(&server); since.Before(killed.Truncate(time.Second)) {
				return fmt.Errorf("%s is ready since %v", server.Name, since)
			}
		}
		return nil
	})
	t.Logf("all servers were ready %.1fs after the API server was started", time.Since(back).Seconds())
	ready := time.Now()
	eventually(t, func() error { return inService(t, servers) })
	// Kube-proxy resumes its watch up to a minute later. Until then it may send to no server.
	listed := time.Now()
	eventually(t, func() error {
		answered := func(r reply) bool { return r.asked.After(listed) && r.status != "" }
		if !slices.ContainsFunc(a.replies(t), answered) {
			return errors.New("no server can be reached by the Service")
		}
		return nil
	})
	t.Logf("the Service had them %.1fs later", time.Since(ready).Seconds())
	end := time.Now().Add(ttl) // for both servers
	a.follow(t, end)
	replies := a.end(t)

	// Until a server is back nobody replies; from the first reply on, all do. The
	// plugin kubernetes waits for five seconds before it lets a server start.
	silent := slices.ContainsFunc(replies, func(r reply) bool { return r.asked.After(killed) && r.status == "" })
	if !silent {
		t.Fatal("the servers answered all the time: they were not killed")
	}
	for _, r := range replies {
		if r.status != "" && r.status != "NOERROR" {
			t.Errorf("%q at %s: %s", r.name, r.asked.Format(time.StampMilli), r.text)
		}
	}
	between := func(r reply, from, until time.Time) bool { return r.asked.After(from) && r.asked.Before(until) }
	begun := killed.Add(-3 * time.Second) // dig may have waited for two when they were killed
	replies = slices.DeleteFunc(replies, func(r reply) bool { return r.status == "" && between(r, begun, killed.Add(20*time.Second)) })
	all := len(replies)
	replies = slices.DeleteFunc(replies, func(r reply) bool { return r.status == "" && between(r, back, end) })
	wantSame(t, replies, web)
	t.Logf("%d questions had no answer while the servers were not ready after the outage", all-len(replies))
	first := slices.IndexFunc(replies, func(r reply) bool { return r.asked.After(killed.Add(time.Second)) })
	t.Logf("after the servers were killed there was an answer to a question of %.1fs later", replies[first].asked.Sub(killed).Seconds())
}

// inService returns an error unless each of the servers is a ready endpoint of their Service.
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
			return fmt.Errorf("%s is not among the ready endpoints %q", server.Name, ready)
		}
	}
	return nil
}
