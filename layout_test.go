package headless

import (
	"errors"
	"go/build"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = modulePath

// TestImports keeps the dependencies between packages pointing one way. Each package of
// this module may import the listed ones and nothing with a forbidden prefix: the trie
// depends neither on the source of its data nor on a DNS server, the informer on no DNS
// server, and the packages for slim objects and files on no client of an API server.
func TestImports(t *testing.T) {
	const (
		kubernetes = "k8s.io/"
		client     = "k8s.io/client-go/"
		coredns    = "github.com/coredns/"
		prometheus = "github.com/prometheus/"
		below      = "informer/internal/"
	)
	rules := map[string]struct{ allowed, forbidden []string }{
		".":                  {[]string{"records", "informer", "internal/fastudp"}, []string{kubernetes}},
		"records":            {nil, []string{kubernetes, "sigs.k8s.io/", coredns, prometheus}},
		"informer":           {[]string{"records", below + "object", below + "selection", below + "manifest", below + "snapshot"}, []string{coredns, prometheus}},
		below + "manifest":   {[]string{below + "object", below + "selection"}, []string{client, coredns, prometheus}},
		below + "snapshot":   {[]string{below + "object"}, []string{client, coredns, prometheus}},
		below + "selection":  {[]string{below + "object"}, []string{client, coredns, prometheus}},
		below + "object":     {[]string{"records"}, []string{client, coredns, prometheus}},
		below + "fixture":    {nil, []string{coredns, prometheus}},
		"internal/apiserver": {nil, []string{coredns, prometheus}},
		"internal/cluster":   {nil, []string{coredns, prometheus}},
		"internal/fastudp":   {nil, []string{kubernetes, prometheus}},
		"internal/dnsperf":   {nil, []string{kubernetes, coredns, prometheus}},
		"plugin/bench":       {nil, []string{kubernetes, coredns}},
		"plugin/coredns":     {[]string{"."}, []string{kubernetes}},
	}
	for dir, imports := range packages(t) {
		rule, ok := rules[dir]
		if !ok && !strings.HasPrefix(dir, "plugin/") {
			t.Errorf("package %s has no rule for its imports", dir)
		}
		for _, imported := range imports {
			if rest, ours := strings.CutPrefix(imported, module); ours && !slices.Contains(rule.allowed, path.Join(".", rest)) {
				t.Errorf("package %s imports %s", dir, imported)
			}
			for _, prefix := range rule.forbidden {
				if strings.HasPrefix(imported, prefix) {
					t.Errorf("package %s imports %s", dir, imported)
				}
			}
		}
		delete(rules, dir)
	}
	for dir := range rules {
		t.Errorf("there is no package %s", dir)
	}
}

// packages returns the imports of each package in this folder and below, without those
// of its tests.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	out := make(map[string][]string)
	err := filepath.WalkDir(".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if d.Name() == "testdata" || dir != "." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		p, err := build.ImportDir(dir, 0)
		var none *build.NoGoError
		if errors.As(err, &none) {
			return nil
		}
		out[filepath.ToSlash(dir)] = p.Imports
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
