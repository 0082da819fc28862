package informer

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/miekg/dns"
	"sigs.k8s.io/yaml"
)

const nginxManifest = `
apiVersion: v1
kind: Service
metadata: {name: nginx, namespace: default}
spec: {clusterIP: None, selector: {app: nginx}, ports: [{name: web, port: 80}]}
`

const web0Manifest = `
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: nginx}}
spec: {hostname: web-0, subdomain: nginx, containers: [{name: nginx}]}
status: {podIP: 10.244.0.1, conditions: [{type: Ready, status: "True"}]}
`

// files writes files into a new folder and returns its path.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range contents {
		writeFile(t, filepath.Join(dir, name), content)
	}
	return dir
}

// writeFile replaces a file as an editor does, so that it is never seen half
// written, and never with the stamp that it had.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	temporary := path + ".tmp"
	if err := os.WriteFile(temporary, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	stamps++
	modified := time.Unix(1_000_000_000+stamps, 0)
	if err := os.Chtimes(temporary, modified, modified); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
}

var stamps int64

func readFiles(t *testing.T, c Config) *probe {
	t.Helper()
	p, err := newProbe(c)
	if err != nil {
		t.Fatal(err)
	}
	p.source.(*manifests).interval = time.Millisecond
	p.start(t)
	return p
}

// TestManifestForms reads the forms that manifests come in.
func TestManifestForms(t *testing.T) {
	asJSON := func(o any) string {
		b, err := json.MarshalIndent(o, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	typed := func(kind string, o any) map[string]any {
		var out map[string]any
		if err := json.Unmarshal([]byte(asJSON(o)), &out); err != nil {
			t.Fatal(err)
		}
		if kind != "" {
			out["apiVersion"], out["kind"] = "v1", kind
		}
		return out
	}
	service, pod := typed("Service", newNginx()), typed("Pod", newWeb(0))
	list := map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{service, pod}}
	both := nginxManifest + "---" + web0Manifest
	listYAML, err := yaml.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	// A list that is too long to be decoded as one.
	filler := "- apiVersion: v1\n  kind: ConfigMap\n  data:\n    a: |\n" + strings.Repeat("      - a: line\n\n", 1000)
	longYAML := strings.Replace(string(listYAML), "kind: List\n", strings.Repeat(filler, 1+maxYAML/len(filler))+"kind: List\n", 1)
	for what, contents := range map[string]map[string]string{
		"documents":                {"a.yaml": nginxManifest + "---" + web0Manifest},
		"empty documents":          {"a.yaml": "---\n# nothing\n---" + nginxManifest + "---\n---" + web0Manifest + "---\n"},
		"a folder":                 {"a.yaml": nginxManifest, "b.yml": web0Manifest, "c.txt": "no: manifest: at all", ".d.yaml": ":"},
		"JSON":                     {"a.json": asJSON(service), "b.json": asJSON(pod)},
		"JSON, one behind another": {"a.json": asJSON(service) + "\n" + asJSON(pod)},
		"a list in YAML":           {"a.yaml": string(listYAML)},
		"a list in JSON":           {"a.json": asJSON(list)},
		"the lists of the API server, whose items have no kind": {
			"a.json": asJSON(map[string]any{"apiVersion": "v1", "kind": "ServiceList", "items": []any{typed("", newNginx())}}),
			"b.json": asJSON(map[string]any{"apiVersion": "v1", "kind": "PodList", "items": []any{typed("", newWeb(0))}}),
		},
		"a list in YAML, split":                    {"a.yaml": longYAML},
		"UTF-8 with a mark":                        {"a.yaml": "\ufeff" + both},
		"UTF-8 with two marks":                     {"a.yaml": "\ufeff" + nginxManifest + "\ufeff---" + web0Manifest},
		"UTF-8 with two marks, JSON":               {"a.json": "\ufeff" + asJSON(service) + "\n\ufeff" + asJSON(pod)},
		"UTF-16, little endian":                    {"a.yaml": "\xff\xfe" + utf16Text(binary.LittleEndian, both)},
		"UTF-16, big endian":                       {"a.yaml": "\xfe\xff" + utf16Text(binary.BigEndian, both)},
		"UTF-16, JSON":                             {"a.json": "\xff\xfe" + utf16Text(binary.LittleEndian, asJSON(list))},
		"lines that end in CR and LF":              {"a.yaml": strings.ReplaceAll(both, "\n", "\r\n")},
		"lines that end in CR":                     {"a.yaml": strings.ReplaceAll(both, "\n", "\r")},
		"lines that end in NEL":                    {"a.yaml": strings.ReplaceAll(both, "\n", "\u0085")},
		"lines that end in LS":                     {"a.yaml": strings.ReplaceAll(both, "\n", "\u2028")},
		"a list with lines that end in CR, split":  {"a.yaml": strings.ReplaceAll(longYAML, "\n", "\r")},
		"a bare document behind an end":            {"a.yaml": nginxManifest + "..." + web0Manifest},
		"ends and starts":                          {"a.yaml": "---\n" + nginxManifest + "...\n---\n" + web0Manifest + "...\n...\n"},
		"directives":                               {"a.yaml": "%YAML 1.1\n---" + nginxManifest + "...\n# more\n%YAML 1.1\n---" + web0Manifest},
		"comments behind markers":                  {"a.yaml": "--- # one" + nginxManifest + "---\t# two" + web0Manifest},
		"content behind a marker":                  {"a.yaml": "--- " + asJSON(service) + "\n--- " + asJSON(pod)},
		"JSON behind comments and markers":         {"a.yaml": "# one\n---\n" + asJSON(service) + "\n---\n# two\n" + asJSON(pod) + "\n---\n"},
		"JSON and YAML":                            {"a.yaml": asJSON(service) + "\n---" + web0Manifest},
		"YAML and JSON":                            {"a.yaml": nginxManifest + "---\n" + asJSON(pod)},
		"YAML in braces":                           {"a.yaml": "{apiVersion: v1, kind: List, items: [" + asJSON(service) + "," + asJSON(pod) + ",],}"},
		"JSON behind YAML in braces":               {"a.yaml": "{apiVersion: v1, kind: ConfigMap, a: '{\"'}\n---\n" + asJSON(service) + asJSON(pod) + "\n---\n{kind: '\"', apiVersion: v1}\n"},
		"a marker in JSON behind a line separator": {"a.json": `{"apiVersion": "v1", "kind": "List", "metadata": {"annotations": {"a": "` + "\u2028--- \u2028... " + `"}}, "items": [` + asJSON(service) + "," + asJSON(pod) + "]}"},
		"what looks like a marker":                 {"a.yaml": strings.Replace(nginxManifest, "namespace: default}", "namespace: default}\n....: 1\n---a: |\n  ---\n  ...", 1) + "---" + web0Manifest},
		"a kind behind its list":                   {"a.json": `{"apiVersion": "v1", "items": [` + asJSON(typed("", newNginx())) + `], "kind": "ServiceList"}` + asJSON(pod)},
		"lists in lists":                           {"a.json": asJSON(map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{list, nil}})},
		"anchors":                                  {"a.yaml": strings.Replace(nginxManifest, "selector: {", "selector: &a {", 1) + "---" + strings.Replace(web0Manifest, "labels: {", "labels: &a {<<: {b: c}, ", 1)},
		"other kinds between":                      {"a.yaml": nginxManifest + "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web}\nspec: {anything: 1}\n---" + web0Manifest},
	} {
		t.Run(what, func(t *testing.T) {
			p := readFiles(t, Config{Manifests: []string{files(t, contents)}})
			p.await(t, "web-0."+nginxName, dns.TypeA, "10.244.0.1")
		})
	}
}

// utf16Text returns a text as UTF-16.
func utf16Text(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

// TestManifestsSelect applies the options that an API server would apply.
func TestManifestsSelect(t *testing.T) {
	dir := files(t, map[string]string{"a.yaml": nginxManifest + "---" + web0Manifest + `
---
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {dns: headless}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: by-hand, labels: {kubernetes.io/service-name: nginx}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.1]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: by-controller, labels: {kubernetes.io/service-name: nginx, endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.2]}]
`})
	for _, test := range []struct {
		what   string
		config Config
		want   string
	}{
		{"all", Config{}, "10.244.0.1, 192.0.2.1"},
		{"its namespace", Config{Namespaces: []string{"default"}}, "10.244.0.1, 192.0.2.1"},
		{"another namespace", Config{Namespaces: []string{"prod"}}, "outside"},
		{"a label of the namespace", Config{NamespaceLabels: "dns=headless"}, "10.244.0.1, 192.0.2.1"},
		{"another label of the namespace", Config{NamespaceLabels: "dns=none"}, "outside"},
		{"a label that the service has not", Config{Labels: "app"}, "outside"},
		{"a label that neither it nor the slice has", Config{Labels: "!app"}, "10.244.0.1, 192.0.2.1"},
	} {
		test.config.Manifests = []string{dir}
		p := readFiles(t, test.config)
		if got := answer(p.trie, nginxName, dns.TypeA); got != test.want {
			t.Errorf("%s: the service has %q, want %q", test.what, got, test.want)
		}
	}
}

// TestManifestsSlices takes the endpoints from slices alone.
func TestManifestsSlices(t *testing.T) {
	dir := files(t, map[string]string{"nginx.yaml": nginxManifest + "---" + web0Manifest + "---" + `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: nginx-abc, labels: {kubernetes.io/service-name: nginx, endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}}
addressType: IPv4
endpoints:
- {addresses: [10.244.0.2], targetRef: {kind: Pod, name: web-x7k2p}}
`})
	for slices, want := range map[bool]string{false: "10.244.0.1", true: "10.244.0.2"} {
		p := readFiles(t, Config{Manifests: []string{dir}, Slices: slices, PodNames: true})
		p.await(t, nginxName, dns.TypeA, want)
		if slices {
			p.await(t, "web-x7k2p."+nginxName, dns.TypeA, want)
		}
	}
}

// TestManifestsChange changes files under a running informer.
func TestManifestsChange(t *testing.T) {
	dir := files(t, map[string]string{"nginx.yaml": nginxManifest, "web-0.yaml": web0Manifest})
	web0 := filepath.Join(dir, "web-0.yaml")
	p := readFiles(t, Config{Manifests: []string{dir}})
	p.await(t, nginxName, dns.TypeA, "10.244.0.1")

	moved := strings.ReplaceAll(web0Manifest, "10.244.0.1", "10.244.0.7")
	writeFile(t, web0, moved)
	p.await(t, nginxName, dns.TypeA, "10.244.0.7")

	// A file that can't be read goes on to be served as it was; others change.
	writeFile(t, web0, moved+"bad: [\n")
	p.awaitRejected(t, 1, "is no YAML")
	writeFile(t, filepath.Join(dir, "web-1.yaml"), strings.NewReplacer("web-0", "web-1", "10.244.0.1", "10.244.0.2").Replace(web0Manifest))
	p.await(t, nginxName, dns.TypeA, "10.244.0.2, 10.244.0.7")

	// Two files with one object: neither is taken up, and it is an error once.
	writeFile(t, filepath.Join(dir, "copy.yaml"), nginxManifest)
	p.awaitRejected(t, 2, `services "default/nginx" stands also in`)
	// It goes, which is taken up; the file that can't be read is no news.
	if err := os.Remove(filepath.Join(dir, "copy.yaml")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "web-2.yaml"), strings.NewReplacer("web-0", "web-2", "10.244.0.1", "10.244.0.3").Replace(web0Manifest))
	p.await(t, nginxName, dns.TypeA, "10.244.0.2, 10.244.0.3, 10.244.0.7")
	if err := os.Remove(filepath.Join(dir, "web-2.yaml")); err != nil {
		t.Fatal(err)
	}

	// The file is mended, and another goes.
	writeFile(t, web0, web0Manifest)
	p.await(t, nginxName, dns.TypeA, "10.244.0.1, 10.244.0.2")
	if err := os.Remove(web0); err != nil {
		t.Fatal(err)
	}
	p.await(t, nginxName, dns.TypeA, "10.244.0.2")

	// The folder is gone for a while, as a volume may be.
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	p.awaitRejected(t, 3, "no such file or directory")
	if got := answer(p.trie, nginxName, dns.TypeA); got != "10.244.0.2" {
		t.Errorf("without its folder, the service has %q", got)
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "nginx.yaml")); err != nil {
		t.Fatal(err)
	}
	p.await(t, nginxName, dns.TypeA, "outside")
}

// awaitRejected waits for the n-th error, which has some text in it. Each is told once, however often the
// files are looked at meanwhile.
func (p *probe) awaitRejected(t *testing.T, n int, want string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.rejected) < n {
		p.changed.Wait()
	}
	if len(p.rejected) > n {
		t.Fatalf("there are %d errors, want %d: %v", len(p.rejected), n, p.rejected)
	}
	if err := p.rejected[n-1]; !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want one with %q", err, want)
	}
}

// TestConfigMap changes a folder as a kubelet changes the mount of a ConfigMap:
// the files are links through a link that is replaced.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(name, pod string) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name, "all.yaml"), nginxManifest+"---"+pod)
		if err := os.Symlink(name, filepath.Join(dir, "..new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", web0Manifest)
	if err := os.Symlink("..data/all.yaml", filepath.Join(dir, "all.yaml")); err != nil {
		t.Fatal(err)
	}
	p := readFiles(t, Config{Manifests: []string{dir}})
	p.await(t, nginxName, dns.TypeA, "10.244.0.1")
	version("..2", strings.ReplaceAll(web0Manifest, "10.244.0.1", "10.244.0.2"))
	p.await(t, nginxName, dns.TypeA, "10.244.0.2")
}

// TestManifestsCount checks what the one log line says of the files.
func TestManifestsCount(t *testing.T) {
	for _, test := range []struct {
		kinds map[string]int
		want  string
	}{{nil, "none"}, {map[string]int{"StatefulSet": 1, "ConfigMap": 2}, "2 ConfigMap, 1 StatefulSet"}} {
		if got := countKinds(test.kinds); got != test.want {
			t.Errorf("%v is written %q, want %q", test.kinds, got, test.want)
		}
	}
}
