//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/headless-dns/headless/internal/cluster"
)

// TestZones checks who gets which addresses under the rule of docs/options.md that answers clients
// from their own topology zone, and the names that autopath completes. The view plugin sends the
// pod "completed" to autopath by its label.
func TestZones(t *testing.T) {
	options, err := os.ReadFile("../../docs/options.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := func(pattern string, n int) []string {
		t.Helper()
		out := regexp.MustCompile(`(?m)^ *(`+pattern+`.*)$`).FindAllString(string(options), -1)
		if len(out) != n {
			t.Fatalf("docs/options.md: got %d lines %s, want %d", len(out), pattern, n)
		}
		return out
	}
	for _, line := range documented("kubectl create clusterrole(?:binding)? headless-nodes", 2) {
		args := strings.Fields(line)[1:]
		kubectl(t, args...)
		t.Cleanup(func() { kubectl(t, "delete", args[1], args[2]) })
	}
	const common = `
    errors
    ready
    prometheus :9153
    metadata
    headless cluster.local {
        zonal
    }
    kubernetes cluster.local
    forward . /etc/resolv.conf
`
	runServer(t, "zones", ".:53 {\n    view completed {\n        expr metadata('headless/client-label/names') == 'short'\n    }\n"+
		"    autopath @headless"+common+"}\n.:53 {\n"+documented("rewrite stop name regex", 1)[0]+common+"}\n")
	server := podsWith(t, "kube-system", "app=zones", 1, func(pod *corev1.Pod) error {
		if addr(pod, 4) == "" {
			return fmt.Errorf("%s has no address", pod.Name)
		}
		return nil
	})[0]
	manifest, err := os.ReadFile("testdata/zones.yaml")
	if err != nil {
		t.Fatal(err)
	}
	apply(t, strings.ReplaceAll(string(manifest), "$SERVER", addr(&server, 4)))

	// A cache on the node, as NodeLocal DNSCache.
	const local, unknown = "169.254.20.10", "10.207.0.2"
	addToNode(t, "address", local+"/32", "dev", "lo")
	addToNode(t, "address", unknown+"/32", "dev", "lo")
	runServer(t, "zones-cache", ".:53 {\n    bind "+local+"\n    errors\n    ready :1056\n    cache 30\n    forward . "+addr(&server, 4)+
		" {\n        force_tcp\n    }\n}\n", hostNetwork(1056))

	caches := pods(t, "prod", "app=cache", 3)
	pods(t, "prod", "app=client", 5)
	// From now on, Kubernetes would label new pods with the zone of the node.
	kubectl(t, "label", "node", "node", corev1.LabelTopologyZone+"=eu-1b")
	t.Cleanup(func() { kubectl(t, "label", "node", "node", corev1.LabelTopologyZone+"-") })
	pods(t, "kube-system", "app in (zones, zones-cache)", 2)
	eventually(t, func() error { // the pods of nginx have no label
		out, err := command("dig", "+short", "@"+addr(&server, 4), "eu-1b.pin._zone."+nginx)
		if err == nil && len(strings.Fields(out)) != 3 {
			err = fmt.Errorf("nginx has %q in the zone of the node, want the addresses of all pods", out)
		}
		return err
	})

	const name = "cache.prod.svc.cluster.local"
	gets := func(i int) string {
		return fmt.Sprintf(`Name: cache\.prod\.svc\.cluster\.local Address: $A%d Server.* Address: $B%[1]d( |$)`, i)
	}
	at4, at6 := " @"+addr(&server, 4)+" ", " @"+addr(&server, 6)+" "
	ask(t, "prod", caches, []question{
		{"client-a", "nslookup -type=a " + name + "; nslookup -type=aaaa " + name, gets(0)},
		{"client-b", "nslookup -type=a " + name + "; nslookup -type=aaaa " + name, gets(1)},
		{"client-c", "ping -4 -c 1 cache", `PING cache \($A2\)`},
		{"client-a", "nslookup -type=a " + name + " " + local + "; nslookup -type=aaaa " + name + " " + local, gets(1)}, // the zone of the node
		{"host", "dig +short" + at4 + name + "; dig +short" + at6 + name + " AAAA", `^$A1 $B1$`},
		{"host", "dig +short -b " + unknown + at4 + name + " | grep -Fxc -e $A0 -e $A1 -e $A2", `^3$`},
	})

	// Each name of autopath is one query.
	before := completed(t, &server)
	ask(t, "prod", pods(t, "default", "app=nginx", 3), []question{
		{"completed", "nslookup -type=a example.org.prod.svc.cluster.local; ping -4 -c 1 web-1.nginx.default",
			`example\.org\.prod\.svc\.cluster\.local canonical name = example\.org Name: example\.org Address: 192\.0\.2\.1 PING web-1\.nginx\.default \($A1\)`},
	})
	if n := completed(t, &server) - before; n != 2 {
		t.Errorf("two names with autopath took %v queries", n)
	}

	kubectl(t, "-n", "prod", "delete", "pod", "cache-c", "--grace-period=0", "--force") // the zone is drained
	eventually(t, func() error {
		out, err := command("kubectl", "-n", "prod", "exec", "client-c", "--", "nslookup", "-type=a", name)
		if err != nil {
			return err
		}
		for i := range caches {
			if has, want := strings.Contains(out, "Address: "+addr(&caches[i], 4)+"\n"), i < 2; has != want {
				return fmt.Errorf("client-c gets the address of %s: %v, want %v\n%s", caches[i].Name, has, want, out)
			}
		}
		return nil
	})
}

// completed returns how many queries for A records the server block with autopath has got.
func completed(t *testing.T, server *corev1.Pod) float64 {
	t.Helper()
	all, err := cluster.Metrics(metricsAddr(server))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for series, n := range all {
		if strings.HasPrefix(series, "coredns_dns_requests_total{") && strings.Contains(series, `type="A",view="completed"`) {
			sum += n
		}
	}
	return sum
}
