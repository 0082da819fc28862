package manifest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/selection"
)

// sliceManifest returns an EndpointSlice with some lines at its end.
func sliceManifest(rest string) string {
	return "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\n" + rest
}

// TestErrors checks that errors name the file, the document and the field,
// without Go types.
func TestErrors(t *testing.T) {
	service := func(old, replacement string) string {
		return strings.Replace(fixture.NginxManifest, old, replacement, 1)
	}
	pod := func(old, replacement string) string {
		return strings.Replace(fixture.Web0Manifest, old, replacement, 1)
	}
	for _, test := range []struct{ content, want string }{
		{"a: [", `document 1: is not YAML: line 1: did not find expected node content`},
		{"a: b", `document 1: not a Kubernetes object: field "kind" is missing`},
		{"... a", "document 1: is not YAML: did not find expected node content"},
		{"\ufeff... a", "document 1: is not YAML: did not find expected node content"},
		{fixture.NginxManifest + "... a", "document 2: is not YAML: did not find expected node content"},
		{"resources: [a.yaml]\n", `field "kind" is missing`},
		{"[]", "document 1: must be an object, not a list"},
		{"[{}]", "document 1: must be an object, not a list"},
		{"words", "document 1: must be an object, not a string"},
		{"7", "must be an object, not a number"},
		{"yes", "must be an object, not true or false"},
		{`{"kind": "Pod", "metadata": {`, "document 1: JSON is cut off"},
		{`{"kind": "Pod", "metadata": nothing}`, `field "apiVersion" is missing`}, // which is YAML
		{fixture.NginxManifest + "---\nname: {{ .Values.name }}\n", `document 2: is not YAML, but has "{{" as a template, which must be rendered first`},
		{"a\x00", "byte 1 is zero, so this is not text"},
		{"? [a]\n: b", "a key must be a string"},
		{"a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n" +
			"d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]\n" +
			"g: [*f, *f, *f, *f, *f, *f, *f, *f, *f, *f]\n", "document contains excessive aliasing"},
		{strings.Repeat(`{"kind": "List", "items": [`, maxLists+1) + strings.Repeat("]}", maxLists+1), "more than 4 lists are nested"},
		{strings.Repeat(`{"a": [`, 20_000) + strings.Repeat("]}", 20_000), "is not YAML"},
		{"a: .nan", "is not YAML: unsupported value: NaN"},
		{"a: *b", "unknown anchor 'b' referenced"},

		{fixture.NginxManifest + "---\nkind: Pod\napiVersion: v1\nkind: Pod\n", `document 2: is not YAML: line 9: key "kind" is given twice`},
		{fixture.NginxManifest + "---\n\n\napiVersion: v1\nkind: Pod\nspec: 1\nspec: 2\n", `document 2: is not YAML: line 12: key "spec" is given twice`},
		{`{"kind": "Pod", "apiVersion": "v1", "kind": "Pod"}`, `field "kind" is given twice`},
		{`{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {"hostname": "a", "hostname": "b"}}`,
			`document 1: pods "default/a": field "spec.hostname" is given twice`},
		{`{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "labels": {"a": "1", "a": "2"}}}`,
			`document 1: pods "default/a": field "metadata.labels.a" is given twice`},

		{service("kind: Service", "kind: service"), `document 1: kind "service" must be "Service"`},
		{service("kind: Service", "kind: Services"), `kind "Services" must be "Service"`},
		{service("kind: Service", "kind: 7"), `field "kind" must be a string, not a number`},
		{service("kind: Service", "kind: [Service]"), `field "kind" must be a string, not a list`},
		{service("apiVersion: v1", "apiVersion: v2"), `apiVersion "v2" must be "v1" for the kind Service`},
		{service("apiVersion: v1", "apiVersion: core/v1"), `apiVersion "core/v1" must be "v1" for the kind Service`},
		{service("apiVersion: v1", ""), `field "apiVersion" is missing, must be "v1" for the kind Service`},
		{"apiVersion: v1\nkind: EndpointSlice\nmetadata: {name: a}", `apiVersion "v1" must be "discovery.k8s.io/v1" for the kind EndpointSlice`},
		{"apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: a}", `"discovery.k8s.io/v1beta1" must be "discovery.k8s.io/v1"`},
		{"apiVersion: v1\nkind: list\nitems: []", `kind "list" must be "List"`},
		{"apiVersion: v1\nkind: List\nitems: [{metadata: {name: a}}]", `items[0]: not a Kubernetes object: field "kind" is missing`},
		{"apiVersion: v1\nkind: List\nitems: [7]", `items[0]: must be an object, not a number`},

		{fixture.NginxManifest + "---\n" + pod("subdomain:", "subdomian:"), `document 2: pods "default/web-0": unknown field "spec.subdomian", did you mean "subdomain"?`},
		{service("clusterIP:", "clusterIp:"), `unknown field "spec.clusterIp", did you mean "clusterIP"?`},
		{pod("hostname:", "hostName:"), `unknown field "spec.hostName", did you mean "hostname"?`},
		{pod("podIP: 10.244.0.1", "podIps: [{ip: 10.244.0.1}]"), `unknown field "status.podIps", did you mean`},
		{service("selector:", "publishNotReadyAddress: true, selector:"), `did you mean "publishNotReadyAddresses"?`},
		{pod("name: web-0,", "nam: web-0, name: web-0,"), `unknown field "metadata.nam", did you mean "name"?`},
		{pod("hostname: web-0, ", "") + "hostname: web-0\n", `unknown field "hostname", did you mean "hostname"?`},
		{service("spec:", "spce:"), `unknown field "spce", did you mean "spec"?`},

		{service("port: 80", "port: http"), `document 1: services "default/nginx": field "spec.ports.port" must be a whole number of at most 32 bits, not a string`},
		{service("port: 80", "port: 8000000000000"), `field "spec.ports.port" must be a whole number of at most 32 bits, not 8000000000000`},
		{service("port: 80", "port: 1.5"), `field "spec.ports.port" must be a whole number of at most 32 bits, not 1.5`},
		{service("port: 80", "port: 80, targetPort: {a: b}"), `field "spec.ports.targetPort" must be a whole number of at most 32 bits, not an object`},
		{service("selector: {app: nginx}", "publishNotReadyAddresses: maybe"), `field "spec.publishNotReadyAddresses" must be true or false, not a string`},
		{service("selector: {app: nginx}", "selector: nginx"), `field "spec.selector" must be an object, not a string`},
		{service("selector: {app: nginx}", "selector: {app: 1}"), `must be a string, not a number`},
		{service("selector: {app: nginx}", "selector: {app: on}"), `must be a string, not true or false`},
		{service("spec: {", "spec: 1\nstatus: {"), `field "spec" must be an object, not a number`},
		{service("ports: [{name: web, port: 80}]", "ports: {web: 80}"), `field "spec.ports" must be a list, not an object`},
		{service("namespace: default", "namespace: default, deletionTimestamp: today"), `"today" is not a time such as "2006-01-02T15:04:05Z"`},
		{pod("{name: nginx}", "{name: nginx, resources: {limits: {cpu: much}}}"), `pods "default/web-0": quantities must match`},

		{service("port: 80", "port: 70000"), `services "default/nginx": spec.ports[0].port: Invalid value: 70000`},
		{service("port: 80", "port: 80, protocol: tcp.x"), `spec.ports[0].protocol: Unsupported value: "tcp.x": supported values: "TCP", "UDP", "SCTP"`},
		{service("name: web", "name: Web Port"), `spec.ports[0].name: Invalid value: "Web Port"`},
		{service("name: nginx", "name: Nginx"), `services "default/Nginx": metadata.name: Invalid value: "Nginx"`},
		{service("namespace: default", "namespace: a.b"), `metadata.namespace: Invalid value: "a.b"`},
		{service("{name: nginx, ", "{"), `metadata.name: Invalid value: ""`},
		{pod("hostname: web-0", "hostname: web.0"), `spec.hostname: Invalid value: "web.0"`},
		{pod("10.244.0.1", "10.244.0.256"), `status.podIP: Invalid value: "10.244.0.256": must be an IP address`},
		{pod("podIP: 10.244.0.1", "podIPs: [{ip: here}]"), `status.podIPs[0].ip: Invalid value: "here"`},
		{sliceManifest("endpoints: [{addresses: [10.0.0.1, x]}]"), `endpointslices "default/a": endpoints[0].addresses[1]: Invalid value: "x"`},
		{sliceManifest("endpoints: [{adresses: [10.0.0.1]}]"), `unknown field "endpoints[0].adresses", did you mean "addresses"?`},
		{"apiVersion: v1\nkind: Endpoints\nmetadata: {name: a}\nsubsets: [{addresses: [{ip: 10.0.0.1}, {ip: x}]}]",
			`endpoints "default/a": subsets[0].addresses[1].ip: Invalid value: "x"`},
		{"apiVersion: v1\nkind: Endpoints\nmetadata: {name: a}\nsubsets: [{notReadyAddresses: [{ip: 10.0.0.1, hostname: a.b}], ports: [{name: A, port: 0, protocol: X}]}]",
			`subsets[0].notReadyAddresses[0].hostname: Invalid value: "a.b"`},
		{fixture.NginxManifest + "---" + fixture.NginxManifest, `document 2: services "default/nginx" is also in document 1 of`},
		{"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [" + manyUnknown(101) + "]", "there are 100 unknown fields or more"},
	} {
		dir := fixture.Files(t, map[string]string{"a.yaml": test.content})
		_, err := newRig(dir)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), filepath.Join(dir, "a.yaml")) {
			t.Errorf("%q: the error is %v, want the file and %q", test.content, err, test.want)
			continue
		}
		text := strings.ReplaceAll(strings.ReplaceAll(err.Error(), dir, ""), fmt.Sprintf("%q", "v1"), "")
		for _, word := range []string{"Go ", "struct", "unmarshal", "v1.", "interface", "json:", "yaml:", "map[", "\n"} {
			if strings.Contains(text, word) {
				t.Errorf("%q: the error has %q in it: %v", test.content, word, err)
			}
		}
	}
}

// manyUnknown returns containers with unknown fields.
func manyUnknown(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{name: c%d, fromTheFuture: 1},", i)
	}
	return b.String()
}

// TestOtherVersions reads objects with fields that DNS does not use.
func TestOtherVersions(t *testing.T) {
	pod := strings.NewReplacer(
		"spec: {", "spec: {workloadRef: {name: a}, resourceClaims: [{name: a, source: {resourceClaimName: b}}, {name: b, source: {}}], ",
		"{name: nginx}]", "{name: nginx, fromTheFuture: [1]}]").Replace(fixture.Web0Manifest)
	service := strings.Replace(fixture.NginxManifest, "spec: {", "spec: {topologyKeys: [a], ipFamily: IPv4, ", 1)
	path := filepath.Join(fixture.Files(t, map[string]string{"a.yaml": service + "---" + pod}), "a.yaml")
	p := lookAt(t, path)
	p.expect(t, "with unknown fields", first, first)
	warnings := slices.DeleteFunc(slices.Clone(p.logged), func(line string) bool { return !strings.Contains(line, messageUnknown) })
	want := `"fields"="spec.containers[].fromTheFuture, spec.ipFamily, spec.resourceClaims[].source, spec.topologyKeys, spec.workloadRef"`
	if len(warnings) != 1 || !strings.Contains(warnings[0], want) || !strings.Contains(warnings[0], path) {
		t.Errorf("the warnings are %q, want one with %s", warnings, want)
	}
	fixture.WriteFile(t, path, service+"---"+strings.Replace(pod, "spec: {", "spec: {a1: 1, a2: 1, ", 1))
	p.expect(t, "with more of them", first, first)
	if !p.hasLogged("spec.a1, spec.a2, spec.containers[].fromTheFuture, spec.ipFamily, spec.resourceClaims[].source, and others") {
		t.Errorf("the log is %q, want some fields and others", p.logged)
	}
}

// TestOtherGroups skips kinds of other API groups.
func TestOtherGroups(t *testing.T) {
	sel, err := selection.New(selection.Config{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := parse([]byte(`
{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: a}}
---
{apiVersion: serving.knative.dev/v1, kind: service, metadata: {name: a}}
---
{apiVersion: example.org/v1, kind: AllowList, metadata: {name: a}, items: {a: {b: [c]}}}
---
{apiVersion: example.org/v1, kind: Box, metadata: {name: a}, items: [1]}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}
---
{apiVersion: serving.knative.dev/v1, kind: ServiceList, items: [{metadata: {name: b}}]}
---
{apiVersion: v1, kind: List, metadata: {}}
---
{apiVersion: v1, kind: List, items: null}
---
{apiVersion: kustomize.config.k8s.io/v1beta1, kind: Kustomization}
`), sel)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := countKinds(m.skipped), "1 AllowList, 1 Box, 1 Kustomization, 2 Service, 1 ServiceAccount, 1 service"; got != want {
		t.Errorf("skipped are %s, want %s", got, want)
	}
}

// TestNodes reads nodes if zones have names, and else skips them whatever they are.
func TestNodes(t *testing.T) {
	for text, want := range map[string]string{
		`{apiVersion: v1, kind: Node, metadata: {name: node-1.example.org, namespace: a}}`:      "{ node-1.example.org}",
		`{apiVersion: v1, kind: NodeList, items: [{metadata: {name: a}}]}`:                      "{ a}",
		`{apiVersion: v1, kind: node, metadata: {name: a}}`:                                     `kind "node" must be "Node"`,
		`{kind: Node, metadata: {name: a}}`:                                                     `field "apiVersion" is missing`,
		`{apiVersion: v1, kind: Node, metadata: {name: a_b}}`:                                   "metadata.name: Invalid value",
		`{apiVersion: v1, kind: Node, metadata: {name: a, label: {}}}`:                          `did you mean "labels"?`,
		`{apiVersion: example.org/v1, kind: Node, metadata: {name: a}}`:                         "skipped",
		`{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [], nodename: a}}`: `did you mean "nodeName"?`,
	} {
		zonal, err := selection.New(selection.Config{Zonal: true})
		if err != nil {
			t.Fatal(err)
		}
		m, err := parse([]byte(text), zonal)
		got := fmt.Sprint(err)
		switch {
		case len(m.bad) > 0:
			got = m.bad[0].err.Error()
		case len(m.entries) > 0:
			got = fmt.Sprintf("%+v", struct{ Namespace, Name string }(m.entries[0].objects[0].ID()))
			got = strings.NewReplacer("Namespace:", "", "Name:", "").Replace(got)
			if id := m.entries[0].identity; id.Namespace != "" {
				t.Errorf("%s: the node is in namespace %q", text, id.Namespace)
			}
		case err == nil:
			got = "skipped"
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
		for _, c := range []selection.Config{{}, {Zonal: true, Slices: true}} {
			without, err := selection.New(c)
			if err != nil {
				t.Fatal(err)
			}
			m, err := parse([]byte(text), without)
			if strings.Contains(text, "ode, ") && strings.HasPrefix(text, "{apiVersion") && (err != nil || len(m.entries)+len(m.bad) > 0 || len(m.skipped) != 1) {
				t.Errorf("%s: without zones it is %+v, %v", text, m.entries, err)
			}
		}
	}
}

// TestImports reads ServiceImports and imported slices if there are multi-cluster services. Else it
// skips ServiceImports whatever they are, and takes no imported slice for an ordinary one.
func TestImports(t *testing.T) {
	slice := func(labels string) string {
		return "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a, labels: {" + labels + "}}, addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}]}"
	}
	const name, cluster, service = "multicluster.kubernetes.io/service-name: nginx", "multicluster.kubernetes.io/source-cluster: ", "kubernetes.io/service-name: derived-1a2b"
	// An import is "headless" or "not headless"; a slice is that of a name, from a cluster.
	for text, want := range map[string]string{
		`{apiVersion: multicluster.x-k8s.io/v1beta1, kind: ServiceImport, metadata: {name: a, namespace: b}, spec: {type: Headless, ports: []}}`: "b/a headless",
		`{apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceImport, metadata: {name: a}, spec: {type: Headless, ports: [{port: 80}]}}`:    "default/a headless",
		`{apiVersion: multicluster.x-k8s.io/v1beta1, kind: ServiceImport, metadata: {name: a}, spec: {type: ClusterSetIP, ips: [10.0.0.1]}}`:     "default/a not headless",
		`{apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceImportList, items: [{metadata: {name: a}, spec: {type: Headless}}]}`:          "default/a headless",
		`{apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceImport, metadata: {name: a}, spec: {type: headless}}`:                         `serviceimports "default/a": spec.type: Unsupported value: "headless": supported values: "ClusterSetIP", "Headless"`,
		`{apiVersion: multicluster.x-k8s.io/v1beta1, kind: ServiceImport, metadata: {name: a}}`:                                                  `spec.type: Unsupported value: ""`,
		`{apiVersion: multicluster.x-k8s.io/v1beta1, kind: ServiceImport, metadata: {name: a.b}, spec: {type: Headless}}`:                        `metadata.name: Invalid value: "a.b"`,
		`{apiVersion: multicluster.x-k8s.io/v1beta1, kind: ServiceImport, metadata: {name: a}, spec: {tpye: Headless}}`:                          `unknown field "spec.tpye", did you mean "type"?`,
		`{apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceImport, metadata: {name: a}, spce: {type: Headless}}`:                         `did you mean "spec"?`,
		`{apiVersion: multicluster.x-k8s.io/v1beta1, kind: ServiceImport, metadata: {name: a}, spec: {type: 7}}`:                                 `field "spec.type" must be a string, not a number`,
		`{apiVersion: multicluster.x-k8s.io/v1, kind: ServiceImport, metadata: {name: a}, spec: {type: Headless}}`:                               `apiVersion "multicluster.x-k8s.io/v1" must be "multicluster.x-k8s.io/v1beta1" for the kind ServiceImport`,
		`{kind: ServiceImport, metadata: {name: a}, spec: {type: Headless}}`:                                                                     `field "apiVersion" is missing`,
		`{apiVersion: multicluster.x-k8s.io/v1beta1, kind: serviceimport, metadata: {name: a}, spec: {type: Headless}}`:                          `kind "serviceimport" must be "ServiceImport"`,
		`{apiVersion: lighthouse.submariner.io/v2alpha1, kind: ServiceImport, metadata: {name: a}, spec: {type: Headless}}`:                      "skipped",
		`{apiVersion: multicluster.x-k8s.io/v1beta1, kind: ServiceExport, metadata: {name: a}}`:                                                  "skipped",
		slice(name + ", " + cluster + "EU.c1"):          "default/a of nginx from eu.c1",
		slice(name + ", " + cluster + "c1, " + service): "default/a of nginx from c1",
		slice(cluster + "c1, " + service):               "default/a of derived-1a2b",
		slice(name):                                     `metadata.labels[multicluster.kubernetes.io/source-cluster]: Invalid value: ""`,
		slice(name + ", " + cluster + "a_b"):            `metadata.labels[multicluster.kubernetes.io/source-cluster]: Invalid value: "a_b"`,
		slice(cluster + "a_b, " + service):              "default/a of derived-1a2b",
		slice("multicluster.kubernetes.io/service-name: '', " + cluster + "c1, " + service): "default/a of  from c1",
		// The slice that a cluster makes of these has their labels.
		"{apiVersion: v1, kind: Endpoints, metadata: {name: a, labels: {" + name + "}}, subsets: [{addresses: [{ip: 10.0.0.1}]}]}": "skipped",
	} {
		found := func(c selection.Config) (out string, kind object.Kind) {
			s, err := selection.New(c)
			if err != nil {
				t.Fatal(err)
			}
			m, err := parse([]byte(text), s)
			switch {
			case err != nil:
				return err.Error(), 0
			case len(m.bad) > 0:
				return m.bad[0].err.Error(), 0
			case len(m.entries) == 0:
				return "skipped", 0
			}
			switch o := m.entries[0].objects[0].(type) {
			case *object.ServiceImport:
				out = o.String() + " not headless"
				if o.Headless {
					out = o.String() + " headless"
				}
			case *object.EndpointSlice:
				out = fmt.Sprintf("%s of %s", o.String(), o.Service)
				if o.Imported {
					out += " from " + o.Cluster
				}
			}
			return out, m.entries[0].kind
		}
		got, kind := found(selection.Config{MultiCluster: true})
		if !strings.Contains(got, want) {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
		wantKind := object.ServiceImports
		switch {
		case strings.Contains(want, " from "):
			wantKind = object.ImportedSlices
		case strings.Contains(want, " of "):
			wantKind = object.EndpointSlices
		}
		if strings.HasPrefix(want, "default/") && kind != wantKind {
			t.Errorf("%s is one of the %v, want %v", text, kind, wantKind)
		}
		without, _ := found(selection.Config{Zonal: true})
		if want, ok := strings.CutSuffix(want, "of derived-1a2b"); ok {
			if !strings.HasPrefix(without, want) {
				t.Errorf("%s: without imports it is %s", text, without)
			}
		} else if strings.Contains(text, "apiVersion") && without != "skipped" {
			t.Errorf("%s: without imports it is %s", text, without)
		}
	}
}

// TestBadObject reads one invalid object among others.
func TestBadObject(t *testing.T) {
	item := func(manifest string) string {
		return "- " + strings.ReplaceAll(strings.TrimSpace(manifest), "\n", "\n  ") + "\n"
	}
	list := func(manifests ...string) string {
		var b strings.Builder
		b.WriteString("apiVersion: v1\nitems:\n")
		for _, m := range manifests {
			b.WriteString(item(m))
		}
		b.WriteString("kind: List\n")
		return b.String()
	}
	web1 := strings.NewReplacer("web-0", "web-1", first, "10.244.0.9").Replace(fixture.Web0Manifest)
	bad := strings.Replace(fixture.Web0Manifest, first, "10.244.0", 1)
	path := filepath.Join(fixture.Files(t, map[string]string{"a.yaml": list(fixture.NginxManifest, web1, bad)}), "a.yaml")
	p := lookAt(t, path)
	p.expect(t, "bad at the start", "missing")
	if len(p.rejections) != 1 || p.lastBad() != 1 || !strings.Contains(p.rejections[0].Error(), `pods "default/web-0": status.podIP: Invalid value`) {
		t.Errorf("the errors are %q", p.rejections)
	}
	check := func(what, want string) {
		t.Helper()
		if got := p.answer(""); got != want {
			t.Errorf("%s: the service has %q, want %q", what, got, want)
		}
	}
	check("bad at the start", "10.244.0.9")

	fixture.WriteFile(t, path, list(fixture.NginxManifest, web1, fixture.Web0Manifest))
	p.expect(t, "good", "missing", first)
	if p.lastBad() != 0 {
		t.Error("it is bad when all are good")
	}
	fixture.WriteFile(t, path, list(fixture.NginxManifest, bad, strings.ReplaceAll(web1, ".9", ".8")))
	p.expect(t, "bad again", first, first)
	check("bad again", "10.244.0.1, 10.244.0.8")
	fixture.WriteFile(t, path, fixture.NginxManifest+"---"+bad+"---"+web1)
	p.expect(t, "bad in a document of its own", first, first)
	check("bad in a document of its own", "10.244.0.1, 10.244.0.9")
	fixture.WriteFile(t, path, fixture.NginxManifest+"---"+bad+"---"+web1+"---"+fixture.Web0Manifest)
	p.expect(t, "both good and bad", first, first)
	check("both good and bad", "10.244.0.1, 10.244.0.9")
	fixture.WriteFile(t, path, fixture.NginxManifest+"---"+web1)
	p.expect(t, "gone", first, "missing")

	many := []string{fixture.NginxManifest}
	for i := range 10 {
		many = append(many, strings.ReplaceAll(bad, "web-0", fmt.Sprint("web-", i)))
	}
	fixture.WriteFile(t, path, list(many...))
	p.expect(t, "many", "missing", "missing")
	if last := p.rejections[len(p.rejections)-1].Error(); !strings.Contains(last, `"default/web-4"`) || strings.Contains(last, `"default/web-5"`) || !strings.HasSuffix(last, "5 more objects") {
		t.Errorf("the error of many is %q", last)
	}
}
