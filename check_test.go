package headless

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
)

// TestUnknownDirective checks that the error suggests a directive for a misspelt one, and none
// for a word that resembles no directive.
func TestUnknownDirective(t *testing.T) {
	for directive, want := range map[string]string{
		"namespace": "namespaces", "namspaces": "namespaces", "fallthough": "fallthrough", "endpoint_pod_name": "endpoint_pod_names",
		"label": "labels", "TTL": "", "tttl": "ttl", "manifest": "manifests", "kubconfig": "kubeconfig", "authorative": "authoritative",
		"startup-timeout": "startup_timeout", "pod": "", "myendpoints": "endpoints", "upstream": "", "x": "", "": "",
	} {
		text := "unknown directive"
		if want != "" {
			text += fmt.Sprintf(", did you mean %q?", want)
		}
		if err := unknownDirective(directive); err.Error() != text {
			t.Errorf("%q: got error %q, want %q", directive, err, text)
		}
	}
	_, err := parse(caddy.NewTestController("dns", "headless cluster.local {\nttl 5\nfallthru\n}"))
	if want := `Testfile:3: fallthru: unknown directive`; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %q", err, want)
	}
}

// checkWarnings checks that the log has these warnings, one a line and in this order.
func checkWarnings(t *testing.T, what, text string, want []string) {
	t.Helper()
	lines := strings.SplitAfter(text, "\n")
	lines = lines[:len(lines)-1]
	if len(lines) != len(want) {
		t.Errorf("%s: got log %q, want %q", what, lines, want)
		return
	}
	for i, line := range lines {
		if checkLine(t, line, "WARNING"); !strings.Contains(line, want[i]) {
			t.Errorf("%s: got line %d %q, want %q", what, i, line, want[i])
		}
	}
}

// TestWarnNoNext checks the warnings if there is no next plugin.
func TestWarnNoNext(t *testing.T) {
	for _, tc := range []struct {
		directives string
		next       plugin.Handler
		want       []string
	}{
		{"ttl 5", nil, []string{"Testfile:1: headless: no plugin comes after it"}},
		{"ttl 5\nfallthrough", nil, []string{"Testfile:1: headless: no plugin comes after it", "Testfile:4: fallthrough: no plugin comes after headless"}},
		{"authoritative", nil, nil},
		{"authoritative\nfallthrough", nil, []string{"Testfile:4: fallthrough: no plugin comes after headless"}},
		{"ttl 5\nfallthrough", freeNext, nil},
		{"external example.org", nil, nil}, // no query for another zone arrives
	} {
		c := caddy.NewTestController("dns", "headless cluster.local {\nmanifests testdata/handler.yaml\n"+tc.directives+"\n}")
		if strings.HasPrefix(tc.directives, "external") {
			c.ServerBlockKeys = []string{"dns://example.org.:53"}
		}
		s, err := parse(c)
		if err != nil {
			t.Fatal(err)
		}
		h := &Headless{Next: tc.next, Fall: s.fall, authoritative: s.authoritative}
		text := logged(t, func() { h.warnChain(s, dnsserver.GetConfig(c)) })
		checkWarnings(t, fmt.Sprintf("%q", tc.directives), text, tc.want)
	}
}

// namedPlugin is another plugin of the chain.
type namedPlugin struct {
	plugin.Handler
	name string
}

func (p namedPlugin) Name() string { return p.name }

// TestWarnPluginsBefore checks the warnings about plugins before this one. They depend on the
// order in the build and on the plugins of the server block.
func TestWarnPluginsBefore(t *testing.T) {
	const (
		kubernetes = `Testfile:1: headless: "kubernetes" comes before it in this build, and answers first`
		cache      = `Testfile:1: headless: "cache" comes before it in this build, so a name that is queried too early stays NXDOMAIN`
	)
	saved := dnsserver.Directives
	defer func() { dnsserver.Directives = saved }()
	for _, tc := range []struct {
		build, block string // plugins in the order of plugin.cfg, and in the server block
		want         []string
	}{
		{"errors kubernetes headless forward", "kubernetes", []string{kubernetes}},
		{"kubernetes headless", "errors kubernetes", []string{kubernetes}},
		{"errors headless kubernetes forward", "kubernetes", nil},
		{"headless kubernetes", "kubernetes", nil},
		{"kubernetes headless", "forward", nil},
		{"errors headless", "kubernetes", nil}, // this build lacks it
		{"cache errors headless", "cache", []string{cache}},
		{"headless cache", "cache", nil},
		{"cache headless kubernetes", "cache kubernetes", []string{cache}},
		{"headless cache kubernetes", "cache kubernetes", nil},
		{"cache kubernetes headless", "cache kubernetes", []string{cache, kubernetes}},
	} {
		dnsserver.Directives = strings.Fields(tc.build)
		c := caddy.NewTestController("dns", "headless cluster.local {\nmanifests testdata/handler.yaml\n}")
		s, err := parse(c)
		if err != nil {
			t.Fatal(err)
		}
		config := dnsserver.GetConfig(c)
		for _, name := range strings.Fields(tc.block) {
			config.AddPlugin(func(next plugin.Handler) plugin.Handler { return namedPlugin{next, name} })
		}
		if _, err := dnsserver.NewServer("dns://:53", []*dnsserver.Config{config}); err != nil { // NewServer chains the plugins
			t.Fatal(err)
		}
		text := logged(t, func() { (&Headless{Next: freeNext}).warnChain(s, config) })
		checkWarnings(t, fmt.Sprintf("%q with %q", tc.build, tc.block), text, tc.want)
	}
}

// TestWarnBare checks the warning about denials without SOA in a block that signs them.
func TestWarnBare(t *testing.T) {
	const want = `Testfile:3: denial: "dnssec" does not sign an NXDOMAIN without SOA`
	for _, tc := range []struct {
		arguments, block string
		want             []string
	}{
		{"5 bare", "dnssec", []string{want}},
		{"5", "dnssec", nil},
		{"5 bare", "errors", nil},
	} {
		c := caddy.NewTestController("dns", "headless cluster.local {\nmanifests testdata/handler.yaml\ndenial "+tc.arguments+"\n}")
		s, err := parse(c)
		if err != nil {
			t.Fatal(err)
		}
		config := dnsserver.GetConfig(c)
		config.AddPlugin(func(next plugin.Handler) plugin.Handler { return namedPlugin{next, tc.block} })
		if _, err := dnsserver.NewServer("dns://:53", []*dnsserver.Config{config}); err != nil { // NewServer chains the plugins
			t.Fatal(err)
		}
		text := logged(t, func() { (&Headless{Next: freeNext, denial: s.denial}).warnChain(s, config) })
		checkWarnings(t, tc.arguments+" "+tc.block, text, tc.want)
	}
}
