//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A question is a command in a pod and a regular expression for its output, with the
// lines joined by spaces. In both, $A0 and so on stand for the IPv4 addresses of the
// queried pods, $B0 and so on for the IPv6 ones, and $D for the domain of their
// namespace.
type question struct{ pod, ask, want string }

// ask runs each question as a test, in a pod of the namespace from.
func ask(t *testing.T, from string, about []corev1.Pod, questions []question) {
	t.Helper()
	variable := func(name string) string {
		if name == "D" {
			return about[0].Namespace + ".svc.cluster.local"
		}
		i, err := strconv.Atoi(name[1:])
		if err != nil {
			t.Fatal(err)
		}
		return addr(&about[i], map[byte]int{'A': 4, 'B': 6}[name[0]])
	}
	for _, q := range questions {
		t.Run(q.ask, func(t *testing.T) {
			out := execute(t, from, q.pod, os.Expand(q.ask, variable))
			out = strings.Join(strings.Fields(out), " ")
			want := os.Expand(q.want, func(name string) string { return regexp.QuoteMeta(variable(name)) })
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("%q does not match %q", out, want)
			}
		})
	}
}

// TestStatefulSet queries three web servers with addresses of both families.
func TestStatefulSet(t *testing.T) {
	ask(t, "default", pods(t, "default", "app=nginx", 3), []question{
		{"busybox", "cat /etc/resolv.conf", `nameserver 10\.96\.0\.10 `},
		{"busybox", "nslookup web-0.nginx.$D", `Server: 10\.96\.0\.10 .*Address: ($A0|$B0) .*Address: ($A0|$B0)$`},
		{"busybox", "nslookup -type=srv _web._tcp.nginx.$D", `0 \d+ 80 web-0\.nginx\.$D`},
		{"busybox", "nslookup $A1", `name = web-1\.nginx\.$D`},
		{"busybox", "ping -4 -c 1 web-0.nginx", `PING web-0\.nginx \($A0\).* 1 packets received`},
		{"busybox", "ping -6 -c 1 web-1.nginx", `PING web-1\.nginx \($B1\).* 1 packets received`},
		{"busybox", "wget -qO- http://web-2.nginx/", `^web-2$`},
		{"busybox", "! nslookup web-9.nginx.$D", `NXDOMAIN`},
		{"dnsutils", "dig web-0.nginx.$D A", `status: NOERROR.* flags: qr aa rd; .*web-0\.nginx\.$D\. 5 IN A $A0 .*SERVER: 10\.96\.0\.10#53`},
		{"dnsutils", "dig web-0.nginx.$D AAAA", `status: NOERROR.* flags: qr aa rd; .*web-0\.nginx\.$D\. 5 IN AAAA $B0 `},
		{"dnsutils", "dig _web._tcp.nginx.$D SRV", `ANSWER: 3, .*5 IN SRV 0 \d+ 80 web-\d\.nginx\.$D\. .*ADDITIONAL SECTION: .* IN (A|AAAA) `},
		{"dnsutils", "dig -x $A0", `in-addr\.arpa\. 5 IN PTR web-0\.nginx\.$D\. `},
		{"dnsutils", "dig -x $B2", `ip6\.arpa\. 5 IN PTR web-2\.nginx\.$D\. `},
		{"dnsutils", "dig web-9.nginx.$D A", `status: NXDOMAIN.* flags: qr aa rd; .*ANSWER: 0, AUTHORITY: 0, .*\(no pod with hostname web-9\)`}, // the Corefile has "denial 5 bare"
		{"dnsutils", "dig _no._tcp.nginx.$D SRV", `status: NXDOMAIN.* flags: qr aa rd; .*ANSWER: 0, AUTHORITY: 1, .* IN SOA `},
		{"dnsutils", "dig web-0.nginx.$D MX", `status: NOERROR.*ANSWER: 0, .* IN SOA `},
		{"dnsutils", "dig +short +tcp nginx.$D A | grep -Fxc -e $A0 -e $A1 -e $A2", `^3$`},
		{"dnsutils", "dig +short nginx.$D AAAA | grep -Fxc -e $B0 -e $B1 -e $B2", `^3$`},
		{"dnsutils", "dig +short +search web-1.nginx A", `^$A1$`},
		{"dnsutils", "dig +short kubernetes.default.svc.cluster.local A", `^10\.96\.0\.1$`},
		{"dnsutils", "dig +short example.org A", `^192\.0\.2\.1$`}, // from the node's name server
		{"dnsutils", "getent ahostsv4 web-0.nginx", `^$A0 STREAM web-0\.nginx\.$D `},
		{"dnsutils", "getent hosts web-0.nginx.$D", `^$B0 web-0\.nginx\.$D$`},
		{"dnsutils", "getent hosts $A2", `^$A2 web-2\.nginx\.$D$`},
	})
}

// TestDatabase queries a service with one family and an unnamed port.
func TestDatabase(t *testing.T) {
	ask(t, "default", pods(t, "default", "app=mariadb", 3), []question{
		{"busybox", "nslookup mariadb-0.mariadb.$D", `Address: $A0( |$)`},
		{"busybox", "ping -c 1 mariadb-2.mariadb", `PING mariadb-2\.mariadb \($A2\).* 1 packets received`},
		{"busybox", "nc mariadb-1.mariadb 3306", `^mariadb-1$`},
		{"dnsutils", "dig mariadb-1.mariadb.$D A", `status: NOERROR.*mariadb-1\.mariadb\.$D\. 5 IN A $A1 `},
		{"dnsutils", "dig mariadb-1.mariadb.$D AAAA", `status: NOERROR.*ANSWER: 0, .* IN SOA `},
		{"dnsutils", "dig mariadb.$D SRV", `ANSWER: 3, .*5 IN SRV 0 \d+ 3306 mariadb-\d\.mariadb\.$D\. `},
		{"dnsutils", "dig -x $A1", `5 IN PTR mariadb-1\.mariadb\.$D\. `},
		{"dnsutils", "getent hosts mariadb-2.mariadb", `^$A2 mariadb-2\.mariadb\.$D$`},
	})
}

// TestNamespaces queries services with the same name in two namespaces.
func TestNamespaces(t *testing.T) {
	staging := pods(t, "staging", "app=nginx", 3)
	ask(t, "staging", staging, []question{
		{"busybox", "nslookup web-0.nginx.$D", `Address: ($A0|$B0) .*Address: ($A0|$B0)$`},
		{"busybox", "ping -4 -c 1 web-0.nginx", `PING web-0\.nginx \($A0\).* 1 packets received`},
		{"dnsutils", "getent ahostsv4 web-1.nginx", `^$A1 `},
		{"dnsutils", "dig -x $A1", `5 IN PTR web-1\.nginx\.$D\. `},
	})
	ask(t, "default", staging, []question{
		{"dnsutils", "dig web-2.nginx.$D A", `5 IN A $A2 `},
		{"dnsutils", "getent ahostsv4 web-2.nginx.staging", `^$A2 `},
	})
	ask(t, "staging", pods(t, "default", "app=nginx", 3), []question{
		{"dnsutils", "getent ahostsv4 web-2.nginx.default", `^$A2 `},
	})
}

// TestWhy asks for missing names with testdata/why.yaml, and why they are missing, from pods. Each
// cause has a question with busybox and one with dig. $A0 is the address of db-0, $A1 that of db-2,
// $A2 that of db-3-x7k2p, and so on.
func TestWhy(t *testing.T) {
	kubectl(t, "apply", "-f", "testdata/why.yaml")
	t.Cleanup(func() { kubectl(t, "delete", "--wait=false", "-f", "testdata/why.yaml") })
	ready := pods(t, "why", "state=ready", 6)
	eventually(t, func() error {
		phase, err := command("kubectl", "-n", "why", "get", "pod", "db-1", "-o", "jsonpath={.status.phase}")
		if err == nil && phase != "Running" {
			err = fmt.Errorf("db-1 is %s", phase)
		}
		return err
	})
	const since = `, ready since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ, from pods of the API server`
	var questions []question
	for _, cause := range []struct{ name, rrtype, why, answer string }{
		{"db-1.db", "A", `pod db-1: not ready; `, `NXDOMAIN.*EDE: 0 \(Other\): \(pod db-1: not ready\)`},
		{"db-6.db", "A", `pod db-6: no address yet; `, `NXDOMAIN.*EDE: 0 \(Other\): \(pod db-6: no address yet\)`},
		{"db-0.db", "A", `pod db-0: db-0\.db has $A0` + since, `NOERROR.* IN A $A0 `}, // a cached denial
		{"db-2.db", "A", `pod db-2: its subdomain is "postgres", not "db", so its name is [\d-]+\.db; set its subdomain`, `NXDOMAIN.*EDE: 0 \(Other\): \(pod db-2: subdomain is "postgres", not "db"\)`},
		{"db-0.vip", "A", `why/vip: no headless service that this server watches; create it with clusterIP: None`, `NXDOMAIN`},
		{"typo", "A", `service typo: its selector app=bd matches no pod in namespace why`, `NXDOMAIN.*EDE: 0 \(Other\): \(service typo: no endpoints\)`},
		{"web-0.db", "A", `pod web-0: service db does not select it: its label app is "web", but the selector wants "db"`, `NXDOMAIN.*EDE: 0 \(Other\): \(no pod with hostname web-0\)`},
		{"db-3-x7k2p.db", "A", `pod db-3-x7k2p: it has no hostname, so its name is [\d-]+\.db; set hostname`, `NXDOMAIN.*EDE: 0 \(Other\): \(no pod with hostname db-3-x7k2p\)`},
		{"db-0.peers", "A", `pod db-0: its subdomain is "db", not "peers"`, `NXDOMAIN.*EDE: 0 \(Other\): \(pod db-0: subdomain is "db", not "peers"\)`},
		{"shared.db", "A", `pod db-4: shared\.db has $A3` + since + `.*pod db-5: shared\.db has $A4` + since, `ANSWER: 2, .* IN A `},
		{"_sql._tcp.db", "SRV", `service db: port 5432/tcp has no name`, `NXDOMAIN.*EDE: 0 \(Other\): \(service db: its tcp port has no name\)`},
		{"_sql._tcp.peers", "SRV", `service peers: targetPort "sql" of port sql is no tcp port of the containers of \d of \d pods`, `NXDOMAIN.*EDE: 0 \(Other\): \(service peers: no tcp port named sql\)`},
	} {
		questions = append(questions,
			question{"busybox", "nslookup -type=txt _why." + cause.name + ".$D", cause.why},
			question{"dnsutils", "dig +short TXT _why." + cause.name + ".$D", strings.ReplaceAll(cause.why, `"`, `\\"`)},
			question{"dnsutils", "dig " + cause.name + ".$D " + cause.rrtype, cause.answer})
	}
	ask(t, "default", ready, questions)
}

// TestEarly queries the names of pods that have addresses and are not ready, from each of them and
// from another pod. The service itself has only those that are ready.
func TestEarly(t *testing.T) {
	kubectl(t, "apply", "-f", "testdata/early.yaml")
	t.Cleanup(func() { kubectl(t, "delete", "--wait=false", "-f", "testdata/early.yaml") })
	peers := podsWith(t, "early", "app=peer", 3, func(pod *corev1.Pod) error {
		if addr(pod, 4) == "" || pod.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("%s is %s with the addresses %v", pod.Name, pod.Status.Phase, pod.Status.PodIPs)
		}
		return nil
	})
	for _, pod := range peers {
		if ready(&pod) {
			t.Fatalf("%s is ready", pod.Name)
		}
	}
	for _, from := range []string{"peer-0", "peer-1", "peer-2"} {
		ask(t, "early", peers, []question{
			{from, "nslookup -type=a peer-0.peers.$D; nslookup -type=a peer-1.peers.$D; nslookup -type=a peer-2.peers.$D", `Address: $A0 .*Address: $A1 .*Address: $A2$`},
			{from, "ping -4 -c 1 peer-1.peers", `PING peer-1\.peers \($A1\).* 1 packets received`},
		})
	}
	ask(t, "default", peers, []question{
		{"dnsutils", "dig peer-0.peers.$D A", `status: NOERROR.* flags: qr aa rd; .*peer-0\.peers\.$D\. 5 IN A $A0 `},
		{"dnsutils", "dig peer-0.peers.$D SRV", `status: NOERROR.*EDE: 0 \(Other\): \(pod peer-0: not ready\).*ANSWER: 0|ANSWER: 0.*EDE: 0 \(Other\): \(pod peer-0: not ready\)`},
		{"dnsutils", "dig -x $A2", `5 IN PTR peer-2\.peers\.$D\. `},
		{"dnsutils", "dig peers.$D A", `status: NOERROR.*ANSWER: 0, .*service peers: 0 of 3 endpoints ready`},
		{"dnsutils", "dig _peer._tcp.peers.$D SRV", `status: NXDOMAIN`},
		{"busybox", "nslookup -type=txt _why.peer-1.peers.$D", `pod peer-1: not ready; peer-1\.peers has $A1 all the same while no ready pod has that name`},
	})
	execute(t, "early", "peer-1", "touch /tmp/ready")
	eventually(t, func() error {
		out, err := command("kubectl", "exec", "dnsutils", "--", "dig", "+short", "peers.early.svc.cluster.local")
		if err == nil && strings.TrimSpace(out) != addr(&peers[1], 4) {
			err = fmt.Errorf("the service has the addresses %q, want that of peer-1", out)
		}
		return err
	})
	ask(t, "default", peers, []question{
		{"dnsutils", "dig +short peer-1.peers.$D", `^$A1$`},
		{"dnsutils", "dig +short peer-2.peers.$D", `^$A2$`},
		{"dnsutils", "dig +short _peer._tcp.peers.$D SRV", `^0 100 7000 peer-1\.peers\.$D\.$`},
	})
}

// TestMeeting checks that pods find each other that are ready only when they have found all. It logs
// how many names each found at its first try, and after how many seconds it had found all.
func TestMeeting(t *testing.T) {
	kubectl(t, "-n", "staging", "apply", "-f", "testdata/meeting.yaml")
	t.Cleanup(func() { kubectl(t, "-n", "staging", "delete", "--wait=false", "-f", "testdata/meeting.yaml") })
	members := pods(t, "staging", "app=member", 10)
	var first, last float64
	total := 0
	for _, pod := range members {
		var begin, end float64
		var found int
		out := kubectl(t, "-n", "staging", "logs", pod.Name)
		if _, err := fmt.Sscan(out, &begin, &end, &found); err != nil {
			t.Fatalf("%s prints %q: %v", pod.Name, out, err)
		}
		t.Logf("%s found %d of 10 names at its first try, and all after %.2f s", pod.Name, found, end-begin)
		first, last, total = max(first, begin), max(last, end), total+found
	}
	t.Logf("of 100 first lookups %d succeeded, and %.2f s after the start of the last pod all had succeeded", total, last-first)
}

// TestMPI runs testdata/mpi.yaml, whose launcher reaches each host of its file by name before the
// host is ready.
func TestMPI(t *testing.T) {
	kubectl(t, "-n", "staging", "apply", "-f", "testdata/mpi.yaml")
	t.Cleanup(func() { kubectl(t, "-n", "staging", "delete", "--wait=false", "-f", "testdata/mpi.yaml") })
	kubectl(t, "-n", "staging", "wait", "job/launcher", "--for=condition=Complete", "--timeout=240s")
	out := kubectl(t, "-n", "staging", "logs", "job/launcher")
	for i := range 3 {
		if want := fmt.Sprintf("worker-%d.mpi ran on worker-%d", i, i); !strings.Contains(out, want) {
			t.Errorf("the launcher prints %q, want %q", out, want)
		}
	}
}

// TestIndexedJob runs testdata/job.yaml, whose workers look each other up by name.
func TestIndexedJob(t *testing.T) {
	kubectl(t, "-n", "staging", "apply", "-f", "testdata/job.yaml")
	// After an outage, it may take minutes until kube-controller-manager sees the Job.
	kubectl(t, "-n", "staging", "wait", "job/train", "--for=condition=Complete", "--timeout=240s")
	for i, want := range []string{"train-0 finds no other name", "train-1 asked train-2, which is train-2", "train-2 asked train-0, which is train-0"} {
		out := kubectl(t, "-n", "staging", "logs", "-l", "batch.kubernetes.io/job-completion-index="+strconv.Itoa(i))
		t.Log(out)
		if !strings.Contains(out, want) {
			t.Errorf("worker %d does not print %q", i, want)
		}
	}
}
