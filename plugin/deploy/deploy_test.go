//go:build cluster

package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// block is the n-th block of a language in a section of a file.
func block(t *testing.T, file, section, language string, n int) string {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "\n## "+section+"\n")
	if !found {
		t.Fatalf("no section %q in %s", section, file)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	blocks := strings.Split(text, "\n~~~ "+language+"\n")
	if len(blocks) <= n+1 {
		t.Fatalf("section %q of %s has %d blocks of %s", section, file, len(blocks)-1, language)
	}
	out, _, _ := strings.Cut(blocks[n+1], "\n~~~\n")
	return out + "\n"
}

const (
	readme = "../../README.md"
	guide  = "../../docs/install.md"

	image = "registry.example.org/headless:1" // of both
)

// runbook is a folder where the commands of a page can be run.
type runbook struct{ folder string }

func newRunbook(t *testing.T) *runbook {
	t.Helper()
	r := &runbook{t.TempDir()}
	if err := os.CopyFS(filepath.Join(r.folder, "plugin", "deploy"), os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs the n-th block of commands of a section of the guide, and returns what they print.
func (r *runbook) run(t *testing.T, section string, n int) string {
	t.Helper()
	out, err := commandIn(r.folder, "", "sh", "-e", "-c", block(t, guide, section, "sh", n))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// change changes the Corefile of a folder.
func (r *runbook) change(t *testing.T, folder string) {
	t.Helper()
	path := filepath.Join(r.folder, "plugin", "deploy", folder, "Corefile")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, "# changed\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// configMaps wants kube-system to have n ConfigMaps of the folders, one for each Corefile.
func configMaps(t *testing.T, n int) {
	t.Helper()
	names := strings.Fields(kubectl(t, "-n", "kube-system", "get", "configmap", "-o", "name"))
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "configmap/headless") })
	if len(names) != n {
		t.Errorf("want %d ConfigMaps, got %v", n, names)
	}
}

// removed wants nothing to be left of what the folders make.
func removed(t *testing.T) {
	t.Helper()
	configMaps(t, 0)
	const kinds = "services,serviceaccounts,deployments,daemonsets,poddisruptionbudgets,clusterroles,clusterrolebindings"
	if left := kubectl(t, "-n", "kube-system", "get", kinds, "-o", "name"); strings.Contains(left, "/headless") {
		t.Errorf("objects are left:\n%s", left)
	}
}

// create creates the objects of a file, for the time of the test.
func create(t *testing.T, file string) {
	t.Helper()
	t.Cleanup(func() { kubectl(t, "delete", "-f", file, "--ignore-not-found") })
	kubectl(t, "create", "-f", file)
}

// strict has the API server check a folder without keeping anything: a field that
// it does not know is an error. A folder of ours alone must not make it warn either,
// not even of what the restricted standard of pod security forbids. Without an image,
// it refuses the servers.
func (r *runbook) strict(t *testing.T, folder string, more ...string) {
	t.Helper()
	args := append([]string{"apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"}, more...)
	if out, err := command("kubectl", append(args, "-k", folder)...); err == nil || !strings.Contains(err.Error(), "image: Required value") {
		t.Errorf("the API server takes servers of %s without an image: %v\n%s", folder, err, out)
	}
	overlay := filepath.Join(r.folder, "strict")
	if err := os.Mkdir(overlay, 0o700); err != nil {
		t.Fatal(err)
	}
	text := "resources: [../plugin/deploy/" + folder + "]\nimages: [{newName: headless}]\n"
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, append(args, "-k", overlay)...)
}

// refused wants a folder without an image to change nothing of a workload.
func refused(t *testing.T, folder, kind, name string) {
	t.Helper()
	before := get(t, kind, name)["spec"]
	if _, err := command("kubectl", "apply", "--server-side", "--force-conflicts", "-k", folder); err == nil {
		t.Errorf("%s was applied without an image", folder)
	}
	if after := get(t, kind, name)["spec"]; !reflect.DeepEqual(after, before) {
		t.Errorf("%s without an image has changed %s:\n%v\nit was\n%v", folder, name, after, before)
	}
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

// platforms wants a server to be put only on nodes whose platform the image has: those
// that the Makefile builds for.
func platforms(t *testing.T, kind, name string) {
	t.Helper()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(makefile), "\nplatforms = ")
	var values []any
	for _, platform := range strings.Fields(strings.SplitN(after, "\n", 2)[0]) {
		values = append(values, platform)
	}
	want := map[string]any{"nodeSelectorTerms": []any{map[string]any{"matchExpressions": []any{
		map[string]any{"key": "kubernetes.io/arch", "operator": "In", "values": values},
	}}}}
	affinity := at(t, get(t, kind, name), "spec", "template", "spec", "affinity", "nodeAffinity")
	if got := at(t, affinity, "requiredDuringSchedulingIgnoredDuringExecution"); !reflect.DeepEqual(got, want) {
		t.Errorf("%s runs on nodes with %v and not %v", name, got, want)
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

	r := newRunbook(t)
	r.strict(t, "kubeadm")
	refused(t, "kubeadm", "deployment", "coredns")
	const section = "kubeadm"
	r.run(t, section, 0)

	drains(t, "deployment", "coredns")
	platforms(t, "deployment", "coredns")
	spec := get(t, "deployment", "coredns")["spec"]
	config := at(t, spec, "template", "spec", "volumes", 0, "configMap").(map[string]any)
	if name := config["name"].(string); !strings.HasPrefix(name, "headless-") {
		t.Errorf("the server has the Corefile of %s", name)
	}
	config["name"] = "coredns"
	container := at(t, spec, "template", "spec", "containers", 0).(map[string]any)
	if container["image"] != image {
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
	delete(at(t, spec, "template", "spec", "affinity").(map[string]any), "nodeAffinity") // as platforms wants it
	if !reflect.DeepEqual(spec, deployment) {
		t.Errorf("more than image, ConfigMap, probe, platforms and the volume of the snapshot has changed:\n%v\nit was\n%v", spec, deployment)
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
		text := strings.NewReplacer("lameduck 15s", "lameduck 5s", "bufsize 1232", "").Replace(strings.Join(rest, "\n"))
		if !reflect.DeepEqual(strings.Fields(text), strings.Fields(theirs)) {
			t.Errorf("without headless and bufsize, and with its lameduck, it is\n%s\nand that of kubeadm\n%s", text, theirs)
		}
		example := strings.Replace(ours, " {\n        snapshot /var/lib/headless/snapshot\n    }", "", 1)
		if got := block(t, guide, section, "corefile", 0); got != example {
			t.Errorf("the Corefile of the guide is\n%s\nand the Corefile, without the snapshot\n%s", got, example)
		}
		s := start(t, ours, "coredns")
		s.await(t)
		s.limits(t, "web-0.nginx.default.svc.cluster.local")
		eventually(t, func() error { return s.hasA("web-0.nginx.default.svc.cluster.local", ip) })
		eventually(t, func() error { return s.hasA("kube-dns.kube-system.svc.cluster.local", "10.96.0.10") })
	})

	r.run(t, section, 1)
	if undone := get(t, "deployment", "coredns")["spec"]; !reflect.DeepEqual(undone, deployment) {
		t.Errorf("going back left:\n%v\nit was\n%v", undone, deployment)
	}

	configMaps(t, 1)
	r.run(t, section, 2)
	removed(t)

	// Kubeadm writes its objects anew when it upgrades.
	r.run(t, section, 0)
	configMaps(t, 1)
	kubectl(t, "replace", "-f", "testdata/kubeadm.yaml")
	if upgraded := get(t, "deployment", "coredns")["spec"]; !reflect.DeepEqual(upgraded, deployment) {
		t.Errorf("an upgrade by kubeadm left:\n%v\nit was\n%v", upgraded, deployment)
	}
	r.run(t, section, 2)
	removed(t)
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

// ready wants the endpoint to be ready.
func ready(e any) error {
	if r := e.(map[string]any)["conditions"].(map[string]any)["ready"]; r != true {
		return fmt.Errorf("the endpoint is not ready: %v", e)
	}
	return nil
}

// TestBase has the base be the DNS of a cluster.
func TestBase(t *testing.T) {
	r := newRunbook(t)
	r.strict(t, "base", "--warnings-as-errors")
	const section = "A cluster without DNS"
	r.run(t, section, 0)
	t.Cleanup(func() {
		r.change(t, "corefile")
		r.run(t, section, 0)
		configMaps(t, 2)
		r.run(t, section, 1)
		removed(t)
	})

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
	platforms(t, "deployment", "headless")
	endpoints(t, "kube-dns", 2, anywhere)
	ip := nginx(t)
	s := start(t, corefile(t, "deployment", "headless"), "headless")
	s.await(t)
	s.limits(t, "web-0.nginx.default.svc.cluster.local")
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

// TestK3s has the base take the place of the server of k3s, and go again. What k3s
// makes has the names and labels of what kubeadm makes.
func TestK3s(t *testing.T) {
	create(t, "testdata/kubeadm.yaml")
	kubectl(t, "-n", "kube-system", "rollout", "status", "deployment", "coredns")
	endpoints(t, "kube-dns", 2, ready)
	service := get(t, "service", "kube-dns")["spec"]
	watch := watchServed(t, "kube-dns")

	r := newRunbook(t)
	const section = "k3s"
	r.run(t, section, 1)
	r.run(t, section, 1) // as an upgrade does
	endpoints(t, "kube-dns", 2, func(e any) error {
		if name := at(t, e, "targetRef", "name").(string); !strings.HasPrefix(name, "headless-") {
			return fmt.Errorf("%s is still there", name)
		}
		return nil
	})
	if got := at(t, get(t, "deployment", "headless"), "spec", "template", "spec", "containers", 0, "image"); got != "headless:1" {
		t.Errorf("the image is %v", got)
	}

	kubectl(t, "apply", "-f", "testdata/kubeadm.yaml") // as k3s does when it starts
	r.run(t, section, 4)
	removed(t)
	if after := get(t, "service", "kube-dns")["spec"]; !reflect.DeepEqual(after, service) {
		t.Errorf("the Service has changed:\n%v\nit was\n%v", after, service)
	}
	watch.await(t, "coredns-")
}

// served is a watch of the endpoints of a Service.
type served struct{ log string }

func watchServed(t *testing.T, service string) *served {
	t.Helper()
	s := &served{t.Name() + "-" + service}
	process(t, s.log, nil, bin+"/kubectl", "-n", "kube-system", "get", "endpointslices", "-l", "kubernetes.io/service-name="+service,
		"--watch", "--output-watch-events", "-o", "json")
	eventually(t, func() error {
		if logOf(s.log) == "" {
			return errors.New("nothing to watch yet")
		}
		return nil
	})
	return s
}

// await waits until only pods of this name are left, and wants some server to have
// been ready at any time until then.
func (s *served) await(t *testing.T, pods string) {
	t.Helper()
	eventually(t, func() error {
		servers := map[string]bool{} // that are ready
		for events := json.NewDecoder(strings.NewReader(logOf(s.log))); ; {
			var event struct {
				Type   string
				Object discoveryv1.EndpointSlice
			}
			// The last event may not be whole yet.
			if err := events.Decode(&event); err != nil {
				break
			}
			clear(servers)
			for _, e := range event.Object.Endpoints {
				if *e.Conditions.Ready {
					servers[e.TargetRef.Name] = true
				}
			}
			if event.Type == "DELETED" || len(servers) == 0 {
				t.Fatalf("there was a moment without a server:\n%s", logOf(s.log))
			}
		}
		for name := range servers {
			if !strings.HasPrefix(name, pods) {
				return fmt.Errorf("%s is still there", name)
			}
		}
		return nil
	})
}

// TestNodelocal puts a server on each node, behind NodeLocal DNSCache.
func TestNodelocal(t *testing.T) {
	create(t, "testdata/kubeadm.yaml")
	create(t, "testdata/nodelocal.yaml")
	kubectl(t, "-n", "kube-system", "rollout", "status", "deployment", "coredns")
	r := newRunbook(t)
	r.strict(t, "nodelocal", "--warnings-as-errors")
	const section = "On every node"
	r.run(t, section, 0)
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
	platforms(t, "daemonset", "headless-node")
	s := start(t, corefile(t, "daemonset", "headless-node"), "headless-node")
	s.await(t)
	t.Run("cache", func(t *testing.T) { nodeLocalCache(t, s) })

	r.change(t, "corefile")
	r.run(t, section, 0)
	configMaps(t, 2)
	r.run(t, section, 1)
	removed(t)
	endpoints(t, "kube-dns-upstream", 2, func(e any) error {
		if hints := at(t, e, "hints"); hints != nil {
			return fmt.Errorf("the endpoint still has hints: %v", hints)
		}
		return nil
	})
}

// nodeLocalCache shows that a name is there at once with what the guide says for
// NodeLocal DNSCache, though it was asked for too early.
func nodeLocalCache(t *testing.T, s *server) {
	cache := newServer(t)
	cache.run(t, "cluster.local:"+cache.port+" {\nbind 127.0.0.1\nerrors\nready 127.0.0.1:"+cache.ready+"\nhealth 127.0.0.1:"+cache.health+
		"\n"+block(t, guide, "On every node", "corefile", 0)+"forward . 127.0.0.1:"+s.port+" {\nforce_tcp\n}\n}\n")
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
	r := newRunbook(t)
	r.strict(t, "standalone", "--warnings-as-errors")
	const section = "A zone of its own"
	printed := strings.Split(r.run(t, section, 0), "\n")
	address := printed[len(printed)-1]
	t.Cleanup(func() {
		r.change(t, "standalone")
		r.run(t, section, 0)
		configMaps(t, 2)
		r.run(t, section, 1)
		removed(t)
	})
	if want := at(t, get(t, "service", "headless-standalone"), "spec", "clusterIP"); address != want {
		t.Errorf("the last command printed %q and not %v", address, want)
	}
	listens(t, "deployment", "headless-standalone")
	drains(t, "deployment", "headless-standalone")
	platforms(t, "deployment", "headless-standalone")
	endpoints(t, "headless-standalone", 2, anywhere)
	endpoints(t, "kube-dns", 2, anywhere)

	ip := nginx(t)
	text := corefile(t, "deployment", "headless-standalone")
	s := start(t, text, "headless-standalone")
	s.await(t)
	eventually(t, func() error { return s.hasA("web-0.nginx.default.svc.headless.internal", ip) })
	s.limits(t, "web-0.nginx.default.svc.headless.internal")
	if reply, err := s.ask("headless.internal", dns.TypeSOA); err != nil || len(reply.Answer) != 1 || !reply.Authoritative {
		t.Errorf("want the SOA of the zone, got %v: %v", err, reply)
	}
	t.Run("forwarded", func(t *testing.T) {
		stub := newServer(t)
		zone := strings.Replace(block(t, guide, section, "corefile", 0), ":53 {", ":"+stub.port+" {\nbind 127.0.0.1\nready 127.0.0.1:"+stub.ready+
			"\nhealth 127.0.0.1:"+stub.health, 1)
		stub.run(t, strings.Replace(zone, "forward . 10.96.0.20", "forward . 127.0.0.1:"+s.port, 1))
		stub.await(t)
		eventually(t, func() error { return stub.hasA("web-0.nginx.default.svc.headless.internal", ip) })
	})
	t.Run("rights", func(t *testing.T) { rights(t, text, "headless-standalone") })
}

// TestRendered has other versions of kustomize render the folders as the kubectl of
// the cluster does: one that is older than that of kubectl 1.30, and that of 1.32.
func TestRendered(t *testing.T) {
	for _, folder := range []string{"base", "corefile", "kubeadm", "nodelocal", "rbac", "standalone", "testdata/monitored"} {
		want := objectsOf(t, kubectl(t, "kustomize", folder))
		if len(want) == 0 {
			t.Errorf("%s makes nothing", folder)
		}
		for _, version := range []string{"v5.0.3", "v5.5.0"} {
			out, err := command("go", "run", "sigs.k8s.io/kustomize/kustomize/v5@"+version, "build", folder)
			if err != nil {
				t.Errorf("kustomize %s of %s: %v", version, folder, err)
				continue
			}
			if got := objectsOf(t, out); !reflect.DeepEqual(got, want) {
				t.Errorf("kustomize %s makes of %s\n%v\nand kubectl\n%v", version, folder, got, want)
			}
		}
	}
}

// TestImage has the commands for a first try put their image into what kustomize makes.
func TestImage(t *testing.T) {
	r := newRunbook(t)
	for _, test := range []struct{ file, section, image string }{
		{readme, "Install", image},
		{guide, "kind", "headless:1"},
	} {
		var rendered string
		for line := range strings.Lines(block(t, test.file, test.section, "sh", 0)) {
			if command, _, found := strings.Cut(line, "| kubectl apply"); found {
				out, err := commandIn(r.folder, "", "sh", "-e", "-c", command)
				if err != nil {
					t.Fatal(err)
				}
				rendered += out
			}
		}
		objects := objectsOf(t, rendered)
		got := at(t, objects[len(objects)-1], "spec", "template", "spec", "containers", 0, "image")
		if got != test.image {
			t.Errorf("the image of %s, %s, is %v and not %s", test.file, test.section, got, test.image)
		}
	}
}

// objectsOf are the objects of documents.
func objectsOf(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for documents := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		var object map[string]any
		if err := documents.Decode(&object); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, object)
	}
}
