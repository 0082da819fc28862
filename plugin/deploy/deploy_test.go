//go:build cluster

package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// block is the n-th block of a language in a section of the README.
func block(t *testing.T, section, language string, n int) string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(readme), "\n## "+section+"\n")
	if !found {
		t.Fatalf("no section %q in the README", section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	blocks := strings.Split(text, "\n~~~ "+language+"\n")
	if len(blocks) <= n+1 {
		t.Fatalf("section %q of the README has %d blocks of %s", section, len(blocks)-1, language)
	}
	out, _, _ := strings.Cut(blocks[n+1], "\n~~~\n")
	return out + "\n"
}

// runbook is a folder where the commands of the README can be run.
type runbook struct{ folder, section string }

func newRunbook(t *testing.T, section string) *runbook {
	t.Helper()
	r := &runbook{t.TempDir(), section}
	if err := os.CopyFS(filepath.Join(r.folder, "plugin", "deploy"), os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs the n-th block of commands and returns what they print.
func (r *runbook) run(t *testing.T, n int) string {
	t.Helper()
	out, err := commandIn(r.folder, "", "sh", "-e", "-c", block(t, r.section, "sh", n))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// create creates the objects of a file, for the time of the test.
func create(t *testing.T, file string) {
	t.Helper()
	t.Cleanup(func() { kubectl(t, "delete", "-f", file, "--ignore-not-found") })
	kubectl(t, "create", "-f", file)
}

// strict has the API server check a folder without keeping anything: a field that
// it does not know is an error.
func strict(t *testing.T, folder string) {
	t.Helper()
	kubectl(t, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-k", folder)
}

// get is an object of kube-system.
func get(t *testing.T, kind, name string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(kubectl(t, "-n", "kube-system", "get", kind, name, "-o", "json")), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// at is what is below an object at a path of keys and indices.
func at(t *testing.T, object any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch o := object.(type) {
		case map[string]any:
			object = o[step.(string)]
		case []any:
			object = o[step.(int)]
		default:
			t.Fatalf("no %v in %v", step, object)
		}
	}
	return object
}

// corefile is the Corefile that a workload has mounted.
func corefile(t *testing.T, kind, name string) string {
	t.Helper()
	config := at(t, get(t, kind, name), "spec", "template", "spec", "volumes", 0, "configMap", "name")
	return at(t, get(t, "configmap", config.(string)), "data", "Corefile").(string)
}

// listens wants the container to name the ports that the Services and probes go by.
func listens(t *testing.T, kind, name string) {
	t.Helper()
	got := map[string]string{}
	container := at(t, get(t, kind, name), "spec", "template", "spec", "containers", 0)
	for _, port := range at(t, container, "ports").([]any) {
		got[at(t, port, "name").(string)] = fmt.Sprintf("%v/%v", at(t, port, "containerPort"), at(t, port, "protocol"))
	}
	want := map[string]string{"dns": "53/UDP", "dns-tcp": "53/TCP", "metrics": "9153/TCP",
		"liveness-probe": "8080/TCP", "readiness-probe": "8181/TCP"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the ports of %s are %v and not %v", name, got, want)
	}
	for _, probe := range []string{"liveness", "readiness"} {
		if got := at(t, container, probe+"Probe", "httpGet", "port"); got != probe+"-probe" {
			t.Errorf("the %s probe of %s asks port %v", probe, name, got)
		}
	}
}

// drains wants a server that ends to answer until its readiness probe has failed,
// when kube-proxy forgets the UDP flows to it, and for as long again, so that it has
// heard of that; and then to have the time to end.
func drains(t *testing.T, kind, name string) {
	t.Helper()
	text := corefile(t, kind, name)
	_, after, _ := strings.Cut(text, "lameduck ")
	lameduck, err := time.ParseDuration(strings.SplitN(after, "\n", 2)[0])
	if err != nil {
		t.Fatalf("the lameduck of %s: %v:\n%s", name, err, text)
	}
	pod := at(t, get(t, kind, name), "spec", "template", "spec")
	number := func(object any, key string) time.Duration { return time.Duration(at(t, object, key).(float64)) }
	probe := at(t, pod, "containers", 0, "readinessProbe")
	unready := number(probe, "periodSeconds") * number(probe, "failureThreshold") * time.Second
	if lameduck < 2*unready {
		t.Errorf("%s answers for %v, and is unready after %v", name, lameduck, unready)
	}
	if killed := number(pod, "terminationGracePeriodSeconds") * time.Second; lameduck+10*time.Second > killed {
		t.Errorf("%s answers for %v, and is killed after %v", name, lameduck, killed)
	}
}

// nginx makes a headless service for the time of the test, and returns the
// address of its first pod.
func nginx(t *testing.T) string {
	t.Helper()
	create(t, "testdata/nginx.yaml")
	kubectl(t, "rollout", "status", "statefulset", "web")
	return kubectl(t, "get", "pod", "web-0", "-o", "jsonpath={.status.podIP}")
}

// without removes the one element of a list that has this value.
func without(t *testing.T, object map[string]any, list, key, value string) {
	t.Helper()
	old := object[list].([]any)
	object[list] = slices.DeleteFunc(slices.Clone(old), func(e any) bool { return e.(map[string]any)[key] == value })
	if len(object[list].([]any)) != len(old)-1 {
		t.Errorf("%d of %v have the %s %s", len(old)-len(object[list].([]any)), old, key, value)
	}
}

// TestKubeadm puts headless into a cluster of kubeadm and takes it out again.
func TestKubeadm(t *testing.T) {
	create(t, "testdata/kubeadm.yaml")
	ip := nginx(t)
	objects := [][2]string{{"configmap", "coredns"}, {"service", "kube-dns"}, {"clusterrole", "system:coredns"},
		{"clusterrolebinding", "system:coredns"}, {"serviceaccount", "coredns"}}
	before := map[[2]string]any{}
	for _, o := range objects {
		before[o] = get(t, o[0], o[1])
	}
	deployment := get(t, "deployment", "coredns")["spec"]

	strict(t, "kubeadm")
	r := newRunbook(t, "In a cluster of kubeadm")
	r.run(t, 0)

	drains(t, "deployment", "coredns")
	spec := get(t, "deployment", "coredns")["spec"]
	config := at(t, spec, "template", "spec", "volumes", 0, "configMap").(map[string]any)
	if name := config["name"].(string); !strings.HasPrefix(name, "headless-") {
		t.Errorf("the server has the Corefile of %s", name)
	}
	config["name"] = "coredns"
	container := at(t, spec, "template", "spec", "containers", 0).(map[string]any)
	if container["image"] != "headless" {
		t.Errorf("the image is %v", container["image"])
	}
	container["image"] = "coredns:v1.14.2"
	readiness := at(t, container, "readinessProbe").(map[string]any)
	if readiness["periodSeconds"] != 2.0 {
		t.Errorf("the readiness probe asks every %v seconds", readiness["periodSeconds"])
	}
	readiness["periodSeconds"] = 10.0 // the default
	without(t, container, "volumeMounts", "mountPath", "/var/lib/headless")
	without(t, at(t, spec, "template", "spec").(map[string]any), "volumes", "name", "snapshot")
	if !reflect.DeepEqual(spec, deployment) {
		t.Errorf("more than image, ConfigMap, probe and the volume of the snapshot has changed:\n%v\nit was\n%v", spec, deployment)
	}
	for _, o := range objects {
		if after := get(t, o[0], o[1]); !reflect.DeepEqual(after, before[o]) {
			t.Errorf("%v has changed:\n%v\nit was\n%v", o, after, before[o])
		}
	}

	ours := corefile(t, "deployment", "coredns")
	t.Run("Corefile", func(t *testing.T) {
		theirs := at(t, before[objects[0]], "data", "Corefile").(string)
		var rest []string
		stanza := false
		for _, line := range strings.Split(ours, "\n") {
			switch trimmed := strings.TrimSpace(line); {
			case strings.HasPrefix(trimmed, "headless "):
				stanza = true
			case !stanza:
				rest = append(rest, line)
			case trimmed == "}":
				stanza = false
			}
		}
		text := strings.Replace(strings.Join(rest, "\n"), "lameduck 15s", "lameduck 5s", 1)
		if !reflect.DeepEqual(strings.Fields(text), strings.Fields(theirs)) {
			t.Errorf("without headless, and with its lameduck, it is\n%s\nand that of kubeadm\n%s", text, theirs)
		}
		s := start(t, ours, "coredns")
		s.await(t)
		eventually(t, func() error { return s.hasA("web-0.nginx.default.svc.cluster.local", ip) })
		eventually(t, func() error { return s.hasA("kube-dns.kube-system.svc.cluster.local", "10.96.0.10") })
	})

	r.run(t, 1)
	if undone := get(t, "deployment", "coredns")["spec"]; !reflect.DeepEqual(undone, deployment) {
		t.Errorf("going back left:\n%v\nit was\n%v", undone, deployment)
	}

	// Kubeadm writes its objects anew when it upgrades.
	r.run(t, 0)
	kubectl(t, "replace", "-f", "testdata/kubeadm.yaml")
	if upgraded := get(t, "deployment", "coredns")["spec"]; !reflect.DeepEqual(upgraded, deployment) {
		t.Errorf("an upgrade by kubeadm left:\n%v\nit was\n%v", upgraded, deployment)
	}
}

// endpoints waits until the Service has n endpoints, and all those are as f says.
func endpoints(t *testing.T, service string, n int, f func(endpoint any) error) {
	t.Helper()
	eventually(t, func() error {
		var list map[string]any
		out := kubectl(t, "-n", "kube-system", "get", "endpointslice", "-l", "kubernetes.io/service-name="+service, "-o", "json")
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return err
		}
		found := 0
		for _, slice := range list["items"].([]any) {
			eps, _ := slice.(map[string]any)["endpoints"].([]any)
			if slice.(map[string]any)["addressType"] != "IPv4" {
				continue
			}
			for _, e := range eps {
				found++
				if err := f(e); err != nil {
					return err
				}
			}
		}
		if found != n {
			return fmt.Errorf("Service %s has %d endpoints and not %d:\n%s", service, found, n, out)
		}
		return nil
	})
}

func anywhere(any) error { return nil }

// TestBase has the base be the DNS of a cluster.
func TestBase(t *testing.T) {
	strict(t, "base")
	r := newRunbook(t, "In a cluster without a DNS server")
	r.run(t, 0)
	t.Cleanup(func() { r.run(t, 1) })

	service := get(t, "service", "kube-dns")
	if ip := at(t, service, "spec", "clusterIP"); ip != "10.96.0.10" {
		t.Errorf("the clusterIP is %v", ip)
	}
	for i, want := range []string{"53/UDP", "53/TCP", "9153/TCP"} {
		if got := fmt.Sprintf("%v/%v", at(t, service, "spec", "ports", i, "port"), at(t, service, "spec", "ports", i, "protocol")); got != want {
			t.Errorf("port %d is %s and not %s", i, got, want)
		}
	}
	listens(t, "deployment", "headless")
	drains(t, "deployment", "headless")
	endpoints(t, "kube-dns", 2, anywhere)
	ip := nginx(t)
	s := start(t, corefile(t, "deployment", "headless"), "headless")
	s.await(t)
	eventually(t, func() error { return s.hasA("web-0.nginx.default.svc.cluster.local", ip) })
	eventually(t, func() error { return s.hasA("kube-dns.kube-system.svc.cluster.local", "10.96.0.10") })
	if log := logOf(s.name); strings.Contains(log, "forbidden") {
		t.Errorf("a request was refused:\n%s", log)
	}
	t.Run("rights", func(t *testing.T) {
		rights(t, corefile(t, "deployment", "headless"), "headless", "headless-namespaces")
	})
}

// rights takes one right at a time from the roles of a server, which must then
// miss it. A list needs no right to list where the API server can stream it, so
// this is as with one that can't.
func rights(t *testing.T, corefile string, roles ...string) {
	for _, role := range roles {
		rules := get(t, "clusterrole", role)["rules"].([]any)
		for i := range rules {
			for _, resource := range at(t, rules, i, "resources").([]any) {
				for _, verb := range at(t, rules, i, "verbs").([]any) {
					t.Run(fmt.Sprintf("%v-%v", verb, resource), func(t *testing.T) {
						account := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
						kubectl(t, "-n", "kube-system", "create", "serviceaccount", account)
						for _, r := range roles {
							bind(t, account, r, resource.(string), verb.(string))
						}
						s := start(t, corefile, account, "KUBE_FEATURE_WatchListClient=false")
						eventually(t, func() error {
							refused := fmt.Sprintf("cannot %v resource \"%v\"", verb, resource)
							if log := logOf(s.name); !strings.Contains(log, refused) {
								return fmt.Errorf("nothing was refused:\n%s", log)
							}
							return nil
						})
					})
				}
			}
		}
	}
}

// bind gives the account a copy of the role, without a right.
func bind(t *testing.T, account, role, resource, verb string) {
	t.Helper()
	name := account + "-" + role
	var rules []any
	for _, rule := range get(t, "clusterrole", role)["rules"].([]any) {
		for _, r := range at(t, rule, "resources").([]any) {
			verbs := []any{}
			for _, v := range at(t, rule, "verbs").([]any) {
				if r != resource || v != verb {
					verbs = append(verbs, v)
				}
			}
			rules = append(rules, map[string]any{"apiGroups": at(t, rule, "apiGroups"), "resources": []any{r}, "verbs": verbs})
		}
	}
	copied, err := json.Marshal(map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
		"metadata": map[string]any{"name": name}, "rules": rules})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := commandIn("", string(copied), "kubectl", "create", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "create", "clusterrolebinding", name, "--clusterrole="+name, "--serviceaccount=kube-system:"+account)
}

// TestNodelocal puts a server on each node, behind NodeLocal DNSCache.
func TestNodelocal(t *testing.T) {
	create(t, "testdata/kubeadm.yaml")
	create(t, "testdata/nodelocal.yaml")
	kubectl(t, "-n", "kube-system", "rollout", "status", "deployment", "coredns")
	strict(t, "nodelocal")
	r := newRunbook(t, "On every node")
	r.run(t, 0)
	// On two nodes there are the two servers of kubeadm, and ours.
	endpoints(t, "kube-dns-upstream", 4, func(e any) error {
		want := map[string]any{"forNodes": []any{map[string]any{"name": at(t, e, "nodeName")}}}
		if got := at(t, e, "hints"); !reflect.DeepEqual(got, want) {
			return fmt.Errorf("the hints are %v and not %v", got, want)
		}
		return nil
	})
	listens(t, "daemonset", "headless-node")
	drains(t, "daemonset", "headless-node")
	s := start(t, corefile(t, "daemonset", "headless-node"), "headless-node")
	s.await(t)
	t.Run("cache", func(t *testing.T) { nodeLocalCache(t, s) })

	r.run(t, 1)
	endpoints(t, "kube-dns-upstream", 2, func(e any) error {
		if hints := at(t, e, "hints"); hints != nil {
			return fmt.Errorf("the endpoint still has hints: %v", hints)
		}
		return nil
	})
}

// nodeLocalCache shows that a name is there at once with what the README says for
// NodeLocal DNSCache, though it was asked for too early.
func nodeLocalCache(t *testing.T, s *server) {
	cache := newServer(t)
	cache.run(t, "cluster.local:"+cache.port+" {\nbind 127.0.0.1\nerrors\nready 127.0.0.1:"+cache.ready+"\nhealth 127.0.0.1:"+cache.health+
		"\n"+block(t, "On every node", "corefile", 0)+"forward . 127.0.0.1:"+s.port+" {\nforce_tcp\n}\n}\n")
	const host = "web-0.nginx.default.svc.cluster.local"
	cache.await(t)
	for range 2 {
		if r, err := cache.ask(host, dns.TypeA); err != nil || r.Rcode != dns.RcodeNameError {
			t.Fatalf("want NXDOMAIN, got %v: %v", err, r)
		}
	}
	ip := nginx(t)
	eventually(t, func() error { return s.hasA(host, ip) })
	if err := cache.hasA(host, ip); err != nil {
		t.Error(err)
	}
}

// TestStandalone has servers own a zone beside those of the cluster.
func TestStandalone(t *testing.T) {
	create(t, "testdata/kubeadm.yaml")
	kubectl(t, "-n", "kube-system", "rollout", "status", "deployment", "coredns")
	strict(t, "standalone")
	r := newRunbook(t, "A zone of its own")
	printed := strings.Split(r.run(t, 0), "\n")
	address := printed[len(printed)-1]
	t.Cleanup(func() { r.run(t, 1) })
	if want := at(t, get(t, "service", "headless-standalone"), "spec", "clusterIP"); address != want {
		t.Errorf("the last command printed %q and not %v", address, want)
	}
	listens(t, "deployment", "headless-standalone")
	drains(t, "deployment", "headless-standalone")
	endpoints(t, "headless-standalone", 2, anywhere)
	endpoints(t, "kube-dns", 2, anywhere)

	ip := nginx(t)
	text := corefile(t, "deployment", "headless-standalone")
	s := start(t, text, "headless-standalone")
	s.await(t)
	eventually(t, func() error { return s.hasA("web-0.nginx.default.svc.headless.internal", ip) })
	if reply, err := s.ask("headless.internal", dns.TypeSOA); err != nil || len(reply.Answer) != 1 || !reply.Authoritative {
		t.Errorf("want the SOA of the zone, got %v: %v", err, reply)
	}
	t.Run("forwarded", func(t *testing.T) {
		stub := newServer(t)
		zone := strings.Replace(block(t, "A zone of its own", "corefile", 0), ":53 {", ":"+stub.port+" {\nbind 127.0.0.1\nready 127.0.0.1:"+stub.ready+
			"\nhealth 127.0.0.1:"+stub.health, 1)
		stub.run(t, strings.Replace(zone, "forward . 10.96.0.20", "forward . 127.0.0.1:"+s.port, 1))
		stub.await(t)
		eventually(t, func() error { return stub.hasA("web-0.nginx.default.svc.headless.internal", ip) })
	})
	t.Run("rights", func(t *testing.T) { rights(t, text, "headless-standalone") })
}
