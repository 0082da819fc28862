package manifest

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf16"

	"sigs.k8s.io/yaml"

	"github.com/headless-dns/headless/informer/internal/fixture"
)

// TestForms reads manifests in each form that they may have.
func TestForms(t *testing.T) {
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
	service, pod := typed("Service", fixture.Nginx()), typed("Pod", fixture.Web(0))
	list := map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{service, pod}}
	both := fixture.NginxManifest + "---" + fixture.Web0Manifest
	listYAML, err := yaml.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	// A list that is too long to be decoded as a whole.
	filler := "- apiVersion: v1\n  kind: ConfigMap\n  data:\n    a: |\n" + strings.Repeat("      - a: line\n\n", 1000)
	longYAML := strings.Replace(string(listYAML), "kind: List\n", strings.Repeat(filler, 1+maxYAML/len(filler))+"kind: List\n", 1)
	for what, contents := range map[string]map[string]string{
		"documents":                {"a.yaml": fixture.NginxManifest + "---" + fixture.Web0Manifest},
		"empty documents":          {"a.yaml": "---\n# nothing\n---" + fixture.NginxManifest + "---\n---" + fixture.Web0Manifest + "---\n"},
		"a folder":                 {"a.yaml": fixture.NginxManifest, "b.yml": fixture.Web0Manifest, "c.txt": "no: manifest: at all", ".d.yaml": ":"},
		"JSON":                     {"a.json": asJSON(service), "b.json": asJSON(pod)},
		"JSON, one behind another": {"a.json": asJSON(service) + "\n" + asJSON(pod)},
		"a list in YAML":           {"a.yaml": string(listYAML)},
		"a list in JSON":           {"a.json": asJSON(list)},
		"the lists of the API server, whose items have no kind": {
			"a.json": asJSON(map[string]any{"apiVersion": "v1", "kind": "ServiceList", "items": []any{typed("", fixture.Nginx())}}),
			"b.json": asJSON(map[string]any{"apiVersion": "v1", "kind": "PodList", "items": []any{typed("", fixture.Web(0))}}),
		},
		"a list in YAML, split":                    {"a.yaml": longYAML},
		"UTF-8 with a mark":                        {"a.yaml": "\ufeff" + both},
		"UTF-8 with two marks":                     {"a.yaml": "\ufeff" + fixture.NginxManifest + "\ufeff---" + fixture.Web0Manifest},
		"UTF-8 with two marks, JSON":               {"a.json": "\ufeff" + asJSON(service) + "\n\ufeff" + asJSON(pod)},
		"UTF-16, little endian":                    {"a.yaml": "\xff\xfe" + utf16Text(binary.LittleEndian, both)},
		"UTF-16, big endian":                       {"a.yaml": "\xfe\xff" + utf16Text(binary.BigEndian, both)},
		"UTF-16, JSON":                             {"a.json": "\xff\xfe" + utf16Text(binary.LittleEndian, asJSON(list))},
		"lines that end in CR and LF":              {"a.yaml": strings.ReplaceAll(both, "\n", "\r\n")},
		"lines that end in CR":                     {"a.yaml": strings.ReplaceAll(both, "\n", "\r")},
		"lines that end in NEL":                    {"a.yaml": strings.ReplaceAll(both, "\n", "\u0085")},
		"lines that end in LS":                     {"a.yaml": strings.ReplaceAll(both, "\n", "\u2028")},
		"a list with lines that end in CR, split":  {"a.yaml": strings.ReplaceAll(longYAML, "\n", "\r")},
		"a bare document behind an end":            {"a.yaml": fixture.NginxManifest + "..." + fixture.Web0Manifest},
		"ends and starts":                          {"a.yaml": "---\n" + fixture.NginxManifest + "...\n---\n" + fixture.Web0Manifest + "...\n...\n"},
		"directives":                               {"a.yaml": "%YAML 1.1\n---" + fixture.NginxManifest + "...\n# more\n%YAML 1.1\n---" + fixture.Web0Manifest},
		"comments behind markers":                  {"a.yaml": "--- # one" + fixture.NginxManifest + "---\t# two" + fixture.Web0Manifest},
		"content behind a marker":                  {"a.yaml": "--- " + asJSON(service) + "\n--- " + asJSON(pod)},
		"JSON behind comments and markers":         {"a.yaml": "# one\n---\n" + asJSON(service) + "\n---\n# two\n" + asJSON(pod) + "\n---\n"},
		"JSON and YAML":                            {"a.yaml": asJSON(service) + "\n---" + fixture.Web0Manifest},
		"YAML and JSON":                            {"a.yaml": fixture.NginxManifest + "---\n" + asJSON(pod)},
		"YAML in braces":                           {"a.yaml": "{apiVersion: v1, kind: List, items: [" + asJSON(service) + "," + asJSON(pod) + ",],}"},
		"JSON behind YAML in braces":               {"a.yaml": "{apiVersion: v1, kind: ConfigMap, a: '{\"'}\n---\n" + asJSON(service) + asJSON(pod) + "\n---\n{kind: '\"', apiVersion: v1}\n"},
		"a marker in JSON behind a line separator": {"a.json": `{"apiVersion": "v1", "kind": "List", "metadata": {"annotations": {"a": "` + "\u2028--- \u2028... " + `"}}, "items": [` + asJSON(service) + "," + asJSON(pod) + "]}"},
		"what looks like a marker":                 {"a.yaml": strings.Replace(fixture.NginxManifest, "namespace: default}", "namespace: default}\n....: 1\n---a: |\n  ---\n  ...", 1) + "---" + fixture.Web0Manifest},
		"a kind behind its list":                   {"a.json": `{"apiVersion": "v1", "items": [` + asJSON(typed("", fixture.Nginx())) + `], "kind": "ServiceList"}` + asJSON(pod)},
		"lists in lists":                           {"a.json": asJSON(map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{list, nil}})},
		"anchors":                                  {"a.yaml": strings.Replace(fixture.NginxManifest, "selector: {", "selector: &a {", 1) + "---" + strings.Replace(fixture.Web0Manifest, "labels: {", "labels: &a {<<: {b: c}, ", 1)},
		"other kinds between":                      {"a.yaml": fixture.NginxManifest + "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web}\nspec: {anything: 1}\n---" + fixture.Web0Manifest},
	} {
		t.Run(what, func(t *testing.T) {
			lookAt(t, fixture.Files(t, contents)).expect(t, "at the start", first)
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
