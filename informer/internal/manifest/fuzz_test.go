package manifest

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/headless-dns/headless/informer/internal/selection"
)

// laterMark is a byte order mark at the start of a line that is not the first.
var laterMark = regexp.MustCompile("([\n\r\u0085\u2028\u2029])" + byteOrderMark)

// FuzzText parses any bytes. The parts of a split list make up the list, errors name the
// document, and no document is lost.
func FuzzText(f *testing.F) {
	samples, err := filepath.Glob("../../../testdata/run/*.yaml")
	if err != nil || len(samples) == 0 {
		f.Fatalf("no samples: %v", err)
	}
	for _, sample := range append(samples, "../../../testdata/handler.yaml") {
		data, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		for document := range strings.SplitSeq(string(data), "\n---\n") {
			f.Add([]byte(document))
		}
	}
	f.Add([]byte(`{"kind": "List", "apiVersion": "v1", "items": [{"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "x"}}]}]}`))
	f.Add([]byte("\xff\xfea\x00:\x00 \x00b\x00"))
	f.Add([]byte("\ufeffa: b\r--- # c\r...\r%YAML 1.1\r---\r{\"kind\": \"Pod\", \"kind\": 7}"))
	f.Add([]byte(`{"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "x"}, "subsets": [{"addresses": [{"ip": "192.0.2.1", "hostname": "a"}], "notReadyAddresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 1}]}]}`))
	f.Add([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {clusterIp: None, topologyKeys: [a]}"))
	f.Add([]byte("apiVersion: multicluster.x-k8s.io/v1beta1\nkind: ServiceImport\nmetadata: {name: x}\nspec: {type: Headless, ports: [{port: 80}]}"))
	f.Add([]byte("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x, labels: {multicluster.kubernetes.io/service-name: x, multicluster.kubernetes.io/source-cluster: c1}}"))
	f.Add([]byte(listOf(2, "# c\n\n")))
	s, err := selection.New(selection.Config{MultiCluster: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if rest, items, ok := splitList(data); ok {
			if differs := compareSplit(string(data), rest, items); differs != "" {
				t.Errorf("a list is split: %s", differs)
			}
		}
		m, err := parse(data, s)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "document ") {
				t.Errorf("%q does not say where", err)
			}
			return
		}
		for _, b := range m.bad {
			if !strings.HasPrefix(b.err.Error(), "document ") || b.Name == "" {
				t.Errorf("%q does not say where", b.err)
			}
		}
		// The library may find fewer documents: it accepts none without a marker after an end
		// marker. It takes a byte order mark at the start of a later line for content.
		if text, err := decodeText(data); err == nil && !bytes.Contains(text, []byte("{")) {
			if got, want := countDocuments(string(text)), countByLibrary(laterMark.ReplaceAllString(string(text), "$1")); got < want {
				t.Errorf("there are %d documents, want %d", got, want)
			}
		}
	})
}
