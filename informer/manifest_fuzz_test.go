package informer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/headless-dns/headless/records"
)

// FuzzManifest reads whatever may stand in a file, and serves what it is.
func FuzzManifest(f *testing.F) {
	samples, err := filepath.Glob("../testdata/run/*.yaml")
	if err != nil || len(samples) == 0 {
		f.Fatalf("no samples: %v", err)
	}
	for _, sample := range samples {
		data, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"kind": "List", "apiVersion": "v1", "items": [{"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "x"}}]}]}`))
	sel, err := newSelection(&Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data, sel)
		if err != nil {
			return
		}
		i := &Informer{join: newJoin(records.New(), false, false), hooks: quietHooks(), synced: make(chan struct{})}
		var batch []event
		for _, o := range m.objects {
			batch = append(batch, event{object: o.object})
		}
		i.apply(batch)
		held := map[Kind]map[key]bool{}
		for _, o := range m.objects {
			if o.kind != Namespaces { // not kept without a selector
				if held[o.kind] == nil {
					held[o.kind] = map[key]bool{}
				}
				held[o.kind][o.id()] = true
			}
		}
		n := 0
		for _, keys := range held {
			n += len(keys)
		}
		if got := len(i.join.objects()); got != n {
			t.Errorf("%d objects are held, want %d", got, n)
		}
	})
}
