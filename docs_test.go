package headless

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/prometheus/client_golang/prometheus"
)

// readPage returns the text of a page.
func readPage(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pages returns the texts of README.md and docs/ by their paths.
func pages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("docs/*.md")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no pages in docs: %v", err)
	}
	out := map[string]string{}
	for _, path := range append(paths, "README.md") {
		out[path] = readPage(t, path)
	}
	return out
}

// TestCorefiles checks that the plugin accepts every stanza of README.md and docs/ without a
// warning, and that each has a next plugin or is authoritative. Corefiles without a stanza are
// for other servers: the tests of plugin/deploy run them.
func TestCorefiles(t *testing.T) {
	withoutStanza := map[string]int{}
	for path, text := range pages(t) {
		blocks := strings.Split(text, "\n~~~ corefile\n")[1:]
		if least := map[string]int{"README.md": 1, "docs/install.md": 3, "docs/options.md": 4}[path]; len(blocks) < least {
			t.Errorf("%s: got %d Corefiles, want at least %d", path, len(blocks), least)
		}
		for _, block := range blocks {
			corefile, _, closed := strings.Cut(block, "\n~~~\n")
			if !closed {
				t.Fatalf("%s: a Corefile has no closing fence", path)
			}
			if checkStanzas(t, path, corefile) == 0 {
				withoutStanza[path]++
			}
		}
	}
	if want := map[string]int{"docs/install.md": 2}; !maps.Equal(withoutStanza, want) {
		t.Errorf("Corefiles without a stanza: got %v, want %v", withoutStanza, want)
	}
}

// checkStanzas checks the stanzas of a Corefile, and returns how many it has.
func checkStanzas(t *testing.T, path, corefile string) (stanzas int) {
	t.Helper()
	parsed, err := caddyfile.Parse("Corefile", strings.NewReader(corefile), nil)
	if err != nil {
		t.Fatalf("%s: %v in\n%s", path, err, corefile)
	}
	for _, b := range parsed {
		tokens, ok := b.Tokens[pluginName]
		if !ok {
			continue
		}
		stanzas++
		c := caddy.NewTestController("dns", "")
		c.Dispenser, c.ServerBlockKeys = caddyfile.NewDispenserTokens("Corefile", tokens), b.Keys
		var s *stanza
		text := logged(t, func() { s, err = parse(c) })
		if err != nil || text != "" {
			t.Errorf("%s: got error %v and log %q, want neither, for\n%s", path, err, text, corefile)
			continue
		}
		behind := false
		for _, directive := range []string{"kubernetes", "forward"} {
			_, ok := b.Tokens[directive]
			behind = behind || ok
		}
		if !behind && !s.authoritative && !s.externalOnly {
			t.Errorf("%s: other names are REFUSED with\n%s", path, corefile)
		}
	}
	return stanzas
}

// TestSyntax checks that README.md lists every directive, and that docs/options.md describes it.
func TestSyntax(t *testing.T) {
	_, syntax, _ := strings.Cut(readPage(t, "README.md"), "\n## Syntax\n")
	syntax, _, _ = strings.Cut(syntax, "\n## ")
	options := readPage(t, "docs/options.md")
	for directive := range directives {
		if !strings.Contains(syntax, "\n    "+directive+" ") {
			t.Errorf("README.md does not list %s", directive)
		}
		if !strings.Contains(options, "\n### "+directive+"\n\n`"+directive+"`") {
			t.Errorf("docs/options.md does not describe %s", directive)
		}
	}
}

// TestMetricNames checks that docs/metrics.md describes every exported metric, and that no page
// names one that does not exist.
func TestMetricNames(t *testing.T) {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		prometheus.DefaultRegisterer.(*prometheus.Registry).Describe(descs)
	}()
	exported := map[string]bool{}
	pattern := regexp.MustCompile(`\bcoredns_headless_\w+`)
	for desc := range descs {
		if name := pattern.FindString(desc.String()); name != "" {
			exported[name] = true
		}
	}
	described := map[string]bool{}
	for path, text := range pages(t) {
		for _, name := range pattern.FindAllString(text, -1) {
			if !exported[name] {
				t.Errorf("%s names %s, which is not exported", path, name)
			}
			described[name] = described[name] || path == "docs/metrics.md"
		}
	}
	for name := range exported {
		if !described[name] {
			t.Errorf("docs/metrics.md does not describe %s", name)
		}
	}
}

// anchors returns the anchors that GitHub gives to the headings of a page.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	punctuation := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		out[strings.ReplaceAll(punctuation.ReplaceAllString(strings.ToLower(heading[1]), ""), " ", "-")] = true
	}
	return out
}

// TestLinks checks that every link between the pages leads to a file, and to a heading of it.
func TestLinks(t *testing.T) {
	texts := pages(t)
	for _, path := range []string{"SECURITY.md", "plugin/deploy/README.md", "testdata/corpus/README.md"} {
		texts[path] = readPage(t, path)
	}
	link := regexp.MustCompile(`\]\(([^)\s]*)\)|<img src="([^"]*)"`)
	for path, text := range texts {
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			target := l[1] + l[2]
			if strings.HasPrefix(target, "https://") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			to := path
			if file != "" {
				to = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: link to %s: %v", path, target, err)
			} else if anchor != "" && !anchors(readPage(t, to))[anchor] {
				t.Errorf("%s: link to %s: no such heading", path, target)
			}
		}
	}
}
