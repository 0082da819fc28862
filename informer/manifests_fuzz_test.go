package informer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/informer/internal/manifest"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/selection"
	"github.com/headless-dns/headless/records"
)

// FuzzManifest serves any file. All records can be sent, the order of the objects does
// not matter, and the trie is empty after the objects are deleted.
func FuzzManifest(f *testing.F) {
	samples, err := filepath.Glob("../testdata/run/*.yaml")
	if err != nil || len(samples) == 0 {
		f.Fatalf("no samples: %v", err)
	}
	for _, sample := range append(samples, "../testdata/handler.yaml") {
		data, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, false)
		for document := range strings.SplitSeq(string(data), "\n---\n") {
			f.Add([]byte(document), true)
		}
	}
	f.Add([]byte(`{"kind": "List", "apiVersion": "v1", "items": [{"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "x"}}]}]}`), false)
	f.Add([]byte("\xff\xfea\x00:\x00 \x00b\x00"), false)
	f.Add([]byte("\ufeffa: b\r--- # c\r...\r%YAML 1.1\r---\r{\"kind\": \"Pod\", \"kind\": 7}"), false)
	f.Add([]byte(`{"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "x"}, "subsets": [{"addresses": [{"ip": "192.0.2.1", "hostname": "a"}], "notReadyAddresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 1}]}]}`), true)
	f.Add([]byte(`{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "x", "labels": {"topology.kubernetes.io/zone": "a"}}}`), true)
	f.Add([]byte(`{"kind": "List", "apiVersion": "v1", "items": [{"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport", "metadata": {"name": "x"}, "spec": {"type": "Headless"}}, `+
		`{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "x", "labels": {"multicluster.kubernetes.io/service-name": "x", "multicluster.kubernetes.io/source-cluster": "a.b"}}, `+
		`"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"], "hostname": "a"}, {"addresses": ["192.0.2.2"], "conditions": {"ready": false}}], "ports": [{"port": 1, "name": "a"}]}]}`), true)
	f.Add([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {clusterIp: None, topologyKeys: [a]}"), false)
	sel, err := selection.New(selection.Config{Zonal: true, MultiCluster: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, podNames bool) {
		objects, err := manifest.Parse(data, sel)
		if err != nil {
			return
		}
		type name struct {
			object.Kind
			object.Key
		}
		var come, last, gone []event
		seen := map[name]bool{}
		for _, o := range slices.Backward(objects) {
			come = append(come, eventOf(o))
			// Namespaces are not stored without a selector for them.
			kind := object.KindOf(o)
			if n := (name{kind, o.ID()}); kind != object.Namespaces && !seen[n] {
				seen[n] = true
				last = append(last, eventOf(o))
				gone = append(gone, event{Origin: object.Origin{Kind: kind}, key: o.ID()})
			}
		}
		slices.Reverse(come)
		serving := func(batch []event) *Informer {
			i := newImporting(false)
			i.joiner.naming.podNames = podNames
			i.apply(batch)
			return i
		}
		inOrder, reversed := serving(come), serving(last)
		if got := len(inOrder.joiner.objects()); got != len(seen) {
			t.Errorf("%d objects are stored, want %d", got, len(seen))
		}
		for _, of := range []func(*joiner) *records.Trie{func(j *joiner) *records.Trie { return j.trie }, func(j *joiner) *records.Trie { return j.imports.trie }} {
			got, want := published(t, of(inOrder.joiner)), published(t, of(reversed.joiner))
			if !slices.Equal(got, want) {
				t.Errorf("the records are %q, and %q in another order of the objects", got, want)
			}
		}
		inOrder.apply(gone)
		if s := inOrder.joiner.stats(); s != (records.Stats{}) || len(published(t, inOrder.joiner.trie))+len(published(t, inOrder.joiner.imports.trie)) > 0 {
			t.Errorf("without objects, there are %+v", s)
		}
	})
}

// published returns all records of a trie. It fails if one can't be packed.
func published(t *testing.T, trie *records.Trie) []string {
	t.Helper()
	const zone = "cluster.local."
	var out []string
	buffer := make([]byte, dns.MaxMsgSize)
	add := func(node records.Node, name string, types ...uint16) {
		n := 0
		for _, rrtype := range types {
			for _, rr := range node.Answer(&records.Query{Name: name, Type: rrtype, Zone: zone, Size: 1 << 30}).Records {
				if _, err := dns.PackRR(rr, buffer, 0, nil, false); err != nil {
					t.Errorf("%v: %v", rr, err)
				}
				out = append(out, rr.String())
				n++
			}
		}
		if n == 0 {
			t.Errorf("%s has no records", name)
		}
	}
	image := trie.Image()
	for name, node := range image.Names(&testZones[0]) {
		add(node, name, records.Types[:]...)
	}
	for addr, node := range image.Addrs() {
		name, err := dns.ReverseAddr(addr.String())
		if err != nil {
			t.Error(err)
		}
		add(node, name, dns.TypePTR)
	}
	slices.Sort(out)
	return out
}
