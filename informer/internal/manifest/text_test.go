package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/selection"
)

// listOf returns a list of pods as kubectl prints it, with a text before each.
func listOf(n int, before string) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nitems:\n")
	for i := range n {
		b.WriteString(before)
		fmt.Fprintf(&b, `- apiVersion: v1
  kind: Pod
  metadata:
    annotations:
      text: |
        - apiVersion: v1
        items:

        kind: List
    labels:
      app: nginx
    name: web-%d
    namespace: default
  spec:
    containers:
    - env:
      - name: A
        value: "%[1]d"
      image: nginx
      name: nginx
    hostname: web-%[1]d
    subdomain: nginx
  status:
    conditions:
    - status: "True"
      type: Ready
    podIPs:
    - ip: 10.%[2]d.%[3]d.%[4]d
`, i, i/40_000, i/200%200, i%200)
	}
	b.WriteString("kind: List\nmetadata:\n  resourceVersion: \"\"\n")
	return b.String()
}

// TestSplitList checks that the parts of a list make up the list.
func TestSplitList(t *testing.T) {
	long := listOf(3, "")
	indented := strings.ReplaceAll(strings.ReplaceAll(listOf(2, ""), "\n", "\n    "), "\n    kind: List\n    metadata:\n    ", "\nkind: List\nmetadata:\n")
	indented = strings.Replace(indented, "\n    items:", "\nitems:", 1)
	for _, test := range []struct {
		what, text string
		items      int // none if it is not split
	}{
		{"as kubectl prints it", long, 3},
		{"with its items indented", indented, 2},
		{"one item", listOf(1, ""), 1},
		{"comments and blank lines", listOf(2, "\n# a comment\n  # another\n\n"), 2},
		{"a marker and a comment", "---\n# c\n" + strings.Replace(long, "items:", "items: # here", 1), 3},
		{"kind first", "kind: List\nitems:\n- a: 1\n- \n- - 1\n  - 2\n-\n  b: 2\n", 4},
		{"CR and LF", strings.ReplaceAll(long, "\n", "\r\n"), 3},
		{"scalars", "items:\n- 1\n- a\n- \"- b\"\n- '\n  - c'\n", 4},
		{"no line break at the end", strings.TrimSpace("items:\n- a: 1"), 1},
		{"no items", "apiVersion: v1\nkind: List\n", 0},
		{"empty", "kind: List\nitems: []\n", 0},
		{"none", "kind: List\nitems:\nmetadata: {}\n", 0},
		{"nothing at all", "items:", 0},
		{"another key", "items:# c:\n- a: 1\n", 0},
		{"items elsewhere", "metadata:\n  items:\n  - a: 1\n", 0},
		{"of another form", "items:\n  {a: 1}\n", 0},
		{"with an anchor", "items: &a\n- a: 1\n", 0},
		{"indented less", "items:\n    - a: 1\n  - b: 2\n", 0},
	} {
		rest, items, ok := splitList([]byte(test.text))
		if ok != (test.items > 0) || ok && len(items) != test.items+1 {
			t.Errorf("%s: %d items, %v; want %d", test.what, len(items)-1, ok, test.items)
		}
		if ok {
			if differs := compareSplit(test.text, rest, items); differs != "" {
				t.Errorf("%s: %s", test.what, differs)
			}
		}
	}
}

// compareSplit compares the parts of a list with the whole. It returns the difference.
func compareSplit(text string, rest []byte, items []int) string {
	convert := func(text string) any {
		raw, err := yamlToJSON([]byte(text), 0, len(text))
		if err != nil {
			return err
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		return v
	}
	parts, ok := convert(string(rest)).(map[string]any)
	if !ok {
		return "" // parsing fails
	}
	var list []any
	for i := range len(items) - 1 {
		one, ok := convert(text[items[i]:items[i+1]]).([]any)
		if !ok || len(one) != 1 {
			return ""
		}
		list = append(list, one[0])
	}
	parts["items"] = list
	if got, want := fmt.Sprint(parts), fmt.Sprint(convert(text)); got != want {
		return fmt.Sprintf("the parts are %s, the whole is %s", got, want)
	}
	return ""
}

// TestDocuments compares the documents of a text with those that the YAML library finds.
func TestDocuments(t *testing.T) {
	for _, text := range []string{
		"", "\n", "a: 1", "---\n", "...\n", "--- \n...\n", "a: 1\n---\nb: 2\n...\nc: 3\n", "# c\n--- # d\n---\na: 1\n",
		"a: 1\r---\rb: 2\r\n---\r\nc: 3", "a: 1\u0085---\u2028b: 2\u2029---\u0085c: 3", "\ufeffa: 1\n", "a: |\n  ---\n  ...\n---\nb: ---\n",
		"a: '\n  --- b'\n", "---a: 1\n", "a: 1\n...\n%YAML 1.1\n---\nb: 2\n", "--- a\n--- b\n", "---\ta\n...\t\n---\n- b\n", "- ---\n-  ...\n",
	} {
		if got, want := countDocuments(text), countByLibrary(text); got != want && want >= 0 {
			t.Errorf("%q: there are %d documents, want %d", text, got, want)
		}
	}
}

// countDocuments counts the documents of a text that are not empty.
func countDocuments(text string) int {
	n := 0
	for at := skipBlank([]byte(text)); at < len(text); at += skipBlank([]byte(text[at:])) {
		at += documentEnd([]byte(text[at:]))
		n++
	}
	return n
}

// countByLibrary counts them as the YAML library finds them. It returns -1 on an error:
// the library accepts no document without a marker after an end marker.
func countByLibrary(text string) int {
	n := 0
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var v any
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return n
		case err != nil:
			return -1
		case v != nil:
			n++
		}
	}
}

// TestLimits parses texts that are too large to be decoded as a whole.
func TestLimits(t *testing.T) {
	sel, err := selection.New(selection.Config{})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", maxYAML)
	for _, test := range []struct{ what, text, want string }{
		{"an object", "kind: ConfigMap\ndata: {a: " + long + "}", "document 1: line 1: YAML of 2097179 bytes"},
		{"an item", fixture.NginxManifest + "---\nkind: List\nitems:\n- kind: ConfigMap\n- kind: ConfigMap\n  data: {a: " + long + "}", "document 2: items[1]: line 10: YAML of"},
		{"what looks like JSON", `{"kind": "ConfigMap", a: ` + long + "}", "line 1: is not JSON"},
		{"a list of another kind", "kind: Box\nitems:\n- a: " + long[1000:] + "\n- b: " + long[1000:] + "\n", ""},
		{"JSON", `{"kind": "ConfigMap", "a": "` + long + `"}`, ""},
	} {
		_, err := parse([]byte(test.text), sel)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the error is %v, want %q", test.what, err, test.want)
		}
	}
}
