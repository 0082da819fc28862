//go:build cluster

// The rendezvous: N pods of a StatefulSet start together and look each other up, each from the
// moment at which it has an address. They are simulated by kwok on a real control plane, and are
// ready three seconds after they have their address (stages.yaml). The benchmark measures how many
// of the first lookups succeed, and how long it takes until all pods have found each other.
//
//	make rendezvous
package rendezvous_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// nodes is enough for a thousand pods: a node has addresses for 254.
const nodes = 8

// servers are the measured ones, with the directives of headless, if the server has it.
var servers = []struct {
	name       string
	headless   bool
	directives string
	publish    bool // the service has publishNotReadyAddresses
}{
	{"addressed", true, "hosts addressed\ndenial 0 bare", false},
	{"headless", true, "", false},
	{"kubernetes", false, "", false},
	{"publish", false, "", true},
}

// corefile returns the Corefile of a server as kubeadm has it, with headless in front. Outside of
// the cluster there are no names.
func corefile(port, kubeconfig, directives string, headless bool) string {
	plugin := ""
	if headless {
		plugin = fmt.Sprintf("headless cluster.local {\nkubeconfig %s\n%s\n}\n", kubeconfig, directives)
	}
	return fmt.Sprintf(`cluster.local:%[1]s {
bind 127.0.0.1
errors
%[2]skubernetes cluster.local {
kubeconfig %[3]s
pods insecure
ttl 30
}
cache 30 {
disable success cluster.local
disable denial cluster.local
}
loadbalance
}
.:%[1]s {
bind 127.0.0.1
template ANY ANY {
rcode NXDOMAIN
authority ". 60 IN SOA ns. hostmaster. 1 60 60 60 60"
}
}
`, port, plugin, kubeconfig)
}

// nodeLocal returns the Corefile of NodeLocal DNSCache, with its defaults for the cluster's zone.
func nodeLocal(port, upstream string) string {
	return fmt.Sprintf(`cluster.local:%s {
bind 127.0.0.1
errors
cache {
success 9984 30
denial 9984 5
}
forward . 127.0.0.1:%s {
force_tcp
}
}
.:%[1]s {
bind 127.0.0.1
errors
cache 30
forward . 127.0.0.1:%[2]s
}
`, port, upstream)
}

func BenchmarkRendezvous(b *testing.B) {
	stages, err := filepath.Abs("stages.yaml")
	if err != nil {
		b.Fatal(err)
	}
	b.Setenv("CLUSTER_STAGES", stages)
	bin, err := cluster.Build()
	if err != nil {
		b.Fatal(err)
	}
	program, err := cluster.BuildServer(bin)
	if err != nil {
		b.Fatal(err)
	}
	k, api := cluster.MustStart(b, bin, nodes)
	kubeconfig, err := k.Kubeconfig("coredns")
	if err != nil {
		b.Fatal(err)
	}
	round := 0
	for _, n := range sizes(b) {
		for _, s := range servers {
			for _, cached := range []bool{false, true} {
				b.Run(fmt.Sprintf("n=%d/server=%s/cache=%v", n, s.name, cached), func(b *testing.B) {
					round++
					name := fmt.Sprint("coredns-", round)
					direct := cluster.MustFreePort(b)
					start(b, k, name, program, corefile(direct, kubeconfig, s.directives, s.headless))
					awaitServer(b, k, name, direct)
					port := direct
					if cached {
						port = cluster.MustFreePort(b)
						start(b, k, name+"-cache", program, nodeLocal(port, direct))
						awaitServer(b, k, name+"-cache", port)
					}
					m := &meeting{
						api: api, namespace: fmt.Sprint("meeting-", round), addressed: make([]atomic.Int64, n), pause: pause(n),
						resolvers: []resolver{libcResolver{port, false}, libcResolver{port, true}, newGoResolver(port)},
					}
					ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
					defer cancel()
					for b.Loop() { // once
						o, err := m.meet(ctx, s.publish)
						if err != nil {
							b.Fatalf("%v\n%s", err, k.Log(name))
						}
						b.ReportMetric(100*float64(o.succeeded)/float64(o.first), "first-%")
						b.ReportMetric(float64(o.known), "known")
						b.ReportMetric(float64(o.failed), "failed")
						if b.ReportMetric(float64(o.errors), "errors"); o.errors > 0 {
							b.Logf("%d lookups failed, such as %v", o.errors, o.lastError)
						}
						b.ReportMetric(float64(o.oldest.Milliseconds()), "oldest-ms")
						b.ReportMetric(float64(o.slowest.Milliseconds()), "all-ms")
					}
					if err := m.remove(ctx); err != nil {
						b.Fatal(err)
					}
				})
			}
		}
	}
}

// pause returns how long a pod of n waits before it looks up another again: so long that the
// lookups leave the machine to the servers.
func pause(n int) time.Duration {
	return max(20*time.Millisecond, time.Duration(n*n)*time.Millisecond/2000)
}

// sizes returns the numbers of pods: RENDEZVOUS_PODS, or by default three.
func sizes(b *testing.B) []int {
	b.Helper()
	text := os.Getenv("RENDEZVOUS_PODS")
	if text == "" {
		text = "10 100 1000"
	}
	var out []int
	for _, field := range strings.Fields(text) {
		n, err := strconv.Atoi(field)
		if err != nil || n < 2 || n > 1000 {
			b.Fatalf("RENDEZVOUS_PODS=%q: not numbers from 2 to 1000", text)
		}
		out = append(out, n)
	}
	return out
}

// start starts a server with a Corefile until the benchmark ends.
func start(b *testing.B, k *cluster.Cluster, name, program, corefile string) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "Corefile")
	if err := os.WriteFile(path, []byte(corefile), 0o600); err != nil {
		b.Fatal(err)
	}
	k.MustLaunch(b, name, exec.Command(program, "-conf", path))
}

// awaitServer waits until a server answers for a name of the cluster.
func awaitServer(b *testing.B, k *cluster.Cluster, name, port string) {
	b.Helper()
	cluster.Eventually(b, 30*time.Second, func() error {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion("kubernetes.default.svc.cluster.local.", dns.TypeA), "127.0.0.1:"+port)
		if err != nil || len(m.Answer) == 0 {
			return fmt.Errorf("%s does not answer: %v %w\n%s", name, m, err, k.Log(name))
		}
		return nil
	})
}
