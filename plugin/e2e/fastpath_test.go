//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/headless-dns/headless/internal/cluster"
)

// TestFastPath adds the fast path to the deployed Corefile and removes it again. The servers reload
// it under queries, none of which may fail.
func TestFastPath(t *testing.T) {
	servers := pods(t, "kube-system", "k8s-app=kube-dns", 2)
	web := pods(t, "default", "app=nginx", 3)
	name := kubectl(t, "-n", "kube-system", "get", "deployment/headless", "-o", "jsonpath={.spec.template.spec.volumes[?(@.name=='config')].configMap.name}")
	deployed := kubectl(t, "-n", "kube-system", "get", "configmap/"+name, "-o", "jsonpath={.data.Corefile}")
	// The first reload comes when the deployed Corefile lets it, the second one sooner.
	fast := edit(t, edit(t, deployed, "    headless cluster.local in-addr.arpa ip6.arpa {\n", "$0        fastpath\n"), "    reload\n", "    reload 2s 1s\n")
	t.Cleanup(func() { setCorefile(t, name, deployed) })
	addToNode(t, "route", services...)
	kubectl(t, "run", "host-client", "--image=localhost/dnsutils:e2e", "--restart=Never",
		`--overrides={"spec": {"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet", "terminationGracePeriodSeconds": 0}}`)
	t.Cleanup(func() { kubectl(t, "delete", "pod", "host-client", "--wait=false") })
	a := startAsker(t, "fastpath", "+notcp", webs...)

	setCorefile(t, name, fast)
	wantSockets(t, servers, 1)
	kubectl(t, "wait", "pod/host-client", "--for=condition=Ready", "--timeout=90s")
	for i := range servers {
		wantRights(t, &servers[i])
	}
	addrs := []string{"10.96.0.10"}
	for i := range servers {
		addrs = append(addrs, addr(&servers[i], 4), addr(&servers[i], 6))
	}
	before := fastAnswers(t, servers)
	askServers(t, web, addrs)
	for i, after := range fastAnswers(t, servers) {
		// Three clients ask by each of two addresses.
		if n := float64(2 * 3 * ownQuestions); after-before[i] < n {
			t.Errorf("fast answers of %s: %v and then %v, want %v more", servers[i].Name, before[i], after, n)
		}
	}
	a.follow(t, time.Now().Add(time.Second))

	setCorefile(t, name, deployed)
	wantSockets(t, servers, 0)
	before = fastAnswers(t, servers)
	askServers(t, web, addrs)
	for i, after := range fastAnswers(t, servers) {
		if after != before[i] {
			t.Errorf("fast answers of %s without the fast path: %v and then %v", servers[i].Name, before[i], after)
		}
	}
	a.follow(t, time.Now().Add(time.Second))
	wantSame(t, a.end(t), web)
}

// ownQuestions is how many of a client's questions to a server the fast path answers.
const ownQuestions = 4

// askServers asks each of the addresses, from two pods and the network of the node.
func askServers(t *testing.T, web []corev1.Pod, addrs []string) {
	t.Helper()
	var questions []question
	for _, at := range addrs {
		nslookup := question{pod: "busybox"}
		for _, q := range []struct{ name, want string }{
			{"-type=a web-0.nginx.$D", `Address: $A0 `},
			{"-type=aaaa nginx.$D", `Address: $B0 `},
			{"-type=srv _web._tcp.nginx.$D", `0 \d+ 80 web-\d\.nginx\.$D`},
			{"-type=a web-9.nginx.$D", `can't find web-9\.nginx\.$D: NXDOMAIN`},
			{"-type=a kubernetes.default.svc.cluster.local", `Address: 10\.96\.0\.1 `},
			{"-type=a example.org", `Address: 192\.0\.2\.1$`},
		} {
			nslookup.ask += "nslookup " + q.name + " " + at + "; "
			nslookup.want += `Server: ` + regexp.QuoteMeta(at) + ` .*` + q.want + `.*`
		}
		questions = append(questions, nslookup, dig("dnsutils", "@"+at, at+"#53"), dig("host-client", "@"+at, at+"#53"))
	}
	ask(t, "default", web, questions)
}

// dig returns the questions of a pod to a server. Dig rejects a reply from another address.
func dig(pod, flags, server string) question {
	out := question{pod: pod}
	for _, q := range []struct{ name, want string }{
		{"web-0.nginx.$D A", `status: NOERROR.* flags: qr aa rd; .*web-0\.nginx\.$D\. 5 IN A $A0 `},
		{"nginx.$D AAAA", `status: NOERROR.* flags: qr aa rd; .*ANSWER: 3, .*nginx\.$D\. 5 IN AAAA $B0 `},
		{"_web._tcp.nginx.$D SRV", `ANSWER: 3, .*5 IN SRV 0 \d+ 80 web-\d\.nginx\.$D\. .*ADDITIONAL SECTION: .* IN (A|AAAA) `},
		{"web-9.nginx.$D A", `status: NXDOMAIN.* flags: qr aa rd; .*ANSWER: 0, AUTHORITY: 0, .*\(no pod with hostname web-9\)`},
		{"kubernetes.default.svc.cluster.local A", `kubernetes\.default\.svc\.cluster\.local\. \d+ IN A 10\.96\.0\.1 `},
		{"example.org A", `example\.org\. \d+ IN A 192\.0\.2\.1 `},
	} {
		out.ask += "dig +tries=1 +notcp " + flags + " " + q.name + "; "
		out.want += q.want + `.*SERVER: ` + regexp.QuoteMeta(server) + `\(.*`
	}
	return out
}

// TestFastPathHost runs a server as deployed, but with the fast path and in the network of the node,
// which has two addresses of each family. The kernel alone would send every reply from the first.
func TestFastPathHost(t *testing.T) {
	web := pods(t, "default", "app=nginx", 3)
	const v4, v6 = "10.207.0.1", "fd00:207::1"
	addToNode(t, "route", services...)
	addToNode(t, "address", v4+"/32", "dev", "lo")
	addToNode(t, "address", v6+"/128", "dev", "lo")
	const corefile = `.:1053 {
    errors
    bufsize 1232
    ready :1054
    prometheus :1055
    headless cluster.local in-addr.arpa ip6.arpa {
        fastpath
        denial 5 bare
    }
    kubernetes cluster.local
    forward . /etc/resolv.conf
    loadbalance
}
`
	runServer(t, "host-server", corefile, hostNetwork(1054))
	server := pods(t, "kube-system", "app=host-server", 1)
	wantRights(t, &server[0])
	metric := func(name string) float64 {
		value, err := cluster.Metric("127.0.0.1:1055", name)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	eventually(t, func() error {
		if n := metric(fastSockets); n != 1 {
			return fmt.Errorf("the fast path has %v sockets, want 1", n)
		}
		return nil
	})
	before := metric(fastTotal)
	addrs := []string{"10.200.0.1", "fd00:200::1", v4, v6}
	var questions []question
	for _, at := range addrs {
		questions = append(questions, dig("dnsutils", "-p 1053 @"+at, at+"#1053"))
	}
	ask(t, "default", web, questions)
	if n, want := metric(fastTotal)-before, float64(len(addrs)*ownQuestions); n != want {
		t.Errorf("fast answers: %v, want %v", n, want)
	}
}

// services is a route for kube-proxy on the node itself, which has no default route.
var services = []string{"10.96.0.0/16", "dev", "pods"}

// addToNode adds an address or a route to the node until the test ends.
func addToNode(t *testing.T, kind string, args ...string) {
	t.Helper()
	if _, err := command("ip", append([]string{kind, "add"}, args...)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := command("ip", append([]string{kind, "delete"}, args...)...); err != nil {
			t.Error(err)
		}
	})
}

// edit replaces a line of a text, which must have it once. $0 stands for the line.
func edit(t *testing.T, text, line, with string) string {
	t.Helper()
	if n := strings.Count(text, line); n != 1 {
		t.Fatalf("the text has %d lines %q, want one:\n%s", n, line, text)
	}
	return strings.Replace(text, line, strings.ReplaceAll(with, "$0", line), 1)
}

// setCorefile changes a ConfigMap of the servers. The kubelet updates the file at once when the pod
// changes, too, and after up to a minute else.
func setCorefile(t *testing.T, configMap, text string) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"Corefile": text}})
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, "-n", "kube-system", "patch", "configmap/"+configMap, "--type=merge", "--patch="+string(patch))
	kubectl(t, "-n", "kube-system", "annotate", "pod", "-l", "k8s-app=kube-dns", "--overwrite", "corefile="+time.Now().Format(time.RFC3339Nano))
}

// Metrics of the fast path.
const (
	fastSockets = "coredns_headless_fastpath_sockets"
	fastTotal   = "coredns_headless_fastpath_answers_total"
)

func metricsAddr(pod *corev1.Pod) string { return net.JoinHostPort(addr(pod, 4), "9153") }

// wantSockets waits until the fast path of every server has n sockets.
func wantSockets(t *testing.T, servers []corev1.Pod, n float64) {
	t.Helper()
	begin := time.Now()
	eventually(t, func() error {
		for _, pod := range servers {
			got, err := cluster.Metric(metricsAddr(&pod), fastSockets)
			if err != nil {
				return err
			}
			if got != n {
				return fmt.Errorf("the fast path of %s has %v sockets, want %v", pod.Name, got, n)
			}
		}
		return nil
	})
	t.Logf("every server had %v sockets of the fast path after %.1fs", n, time.Since(begin).Seconds())
}

// fastAnswers returns the number of answers of the fast path, by server.
func fastAnswers(t *testing.T, servers []corev1.Pod) []float64 {
	t.Helper()
	var out []float64
	for _, pod := range servers {
		n, err := cluster.Metric(metricsAddr(&pod), fastTotal)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}
