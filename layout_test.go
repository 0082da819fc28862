package headless

import (
	"errors"
	"go/build"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/headless-dns/headless"

// TestImports keeps the dependencies between the packages pointing one way: the
// trie knows neither where its data comes from nor who asks, and what watches
// Kubernetes knows nothing of the server.
func TestImports(t *testing.T) {
	for dir, forbidden := range map[string][]string{
		".":                  {"k8s.io/", module + "/plugin"},
		"records":            {"k8s.io/", "sigs.k8s.io/", "github.com/coredns/", "github.com/prometheus/", module},
		"informer":           {"github.com/coredns/", "github.com/prometheus/", module + "/plugin"},
		"internal/apiserver": {"github.com/coredns/", "github.com/prometheus/", module},
		"plugin/bench":       {"k8s.io/", "github.com/coredns/", module},
		"plugin/coredns":     {"k8s.io/", module + "/records", module + "/informer", module + "/plugin"},
	} {
		for _, p := range packages(t, dir) {
			for _, imported := range p.Imports {
				for _, f := range forbidden {
					if imported == f || strings.HasPrefix(imported, strings.TrimSuffix(f, "/")+"/") {
						t.Errorf("package %s imports %s", p.Dir, imported)
					}
				}
			}
		}
	}
	for _, p := range packages(t, "informer") {
		for _, imported := range p.Imports {
			if imported == module {
				t.Errorf("package %s imports the plugin", p.Dir)
			}
		}
	}
}

// packages returns the packages of a folder; of the top level that one alone.
func packages(t *testing.T, dir string) []*build.Package {
	t.Helper()
	var out []*build.Package
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if dir == "." && path != "." || d.Name() == "testdata" {
			return fs.SkipDir
		}
		p, err := build.ImportDir(path, 0)
		var none *build.NoGoError
		if errors.As(err, &none) {
			return nil
		}
		out = append(out, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("no packages in %s", dir)
	}
	return out
}
