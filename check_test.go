package headless

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
)

// TestUnknownDirective checks that a directive that is misspelt is found, and that
// nothing is offered for one that is none of ours.
func TestUnknownDirective(t *testing.T) {
	for directive, want := range map[string]string{
		"namespace": "namespaces", "namspaces": "namespaces", "fallthough": "fallthrough", "endpoint_pod_name": "endpoint_pod_names",
		"label": "labels", "TTL": "", "tttl": "ttl", "manifest": "manifests", "kubconfig": "kubeconfig", "authorative": "authoritative",
		"startup-timeout": "startup_timeout", "pods": "", "noendpoints": "endpoints", "upstream": "", "x": "", "": "",
	} {
		text := "unknown directive"
		if want != "" {
			text += fmt.Sprintf(", did you mean %q?", want)
		}
		if err := unknownDirective(directive); err.Error() != text {
			t.Errorf("%q: the error is %q, want %q", directive, err, text)
		}
	}
	_, err := parse(caddy.NewTestController("dns", "headless cluster.local {\nttl 5\nfallthru\n}"))
	if want := `Testfile:3: fallthru: unknown directive`; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %q", err, want)
	}
}

// TestCheckChain checks the warnings of a plugin that freeNext is behind.
func TestCheckChain(t *testing.T) {
	for _, tc := range []struct {
		directives string
		next       plugin.Handler
		want       []string
	}{
		{"ttl 5", nil, []string{"Testfile:1: headless: no plugin is behind"}},
		{"ttl 5\nfallthrough", nil, []string{"Testfile:1: headless: no plugin is behind", "Testfile:4: fallthrough: no plugin is behind"}},
		{"authoritative", nil, nil},
		{"authoritative\nfallthrough", nil, []string{"Testfile:4: fallthrough: no plugin is behind"}},
		{"ttl 5\nfallthrough", freeNext, nil},
	} {
		c := caddy.NewTestController("dns", "headless cluster.local {\nmanifests testdata/handler.yaml\n"+tc.directives+"\n}")
		s, err := parse(c)
		if err != nil {
			t.Fatal(err)
		}
		h := &Headless{Next: tc.next, Fall: s.fall, authoritative: s.authoritative}
		lines := strings.SplitAfter(logged(t, func() { h.checkChain(s, dnsserver.GetConfig(c)) }), "\n")
		lines = lines[:len(lines)-1]
		if len(lines) != len(tc.want) {
			t.Errorf("%q: the log is %q, want %q", tc.directives, lines, tc.want)
			continue
		}
		for i, line := range lines {
			if checkLine(t, line, "WARNING"); !strings.Contains(line, tc.want[i]) {
				t.Errorf("%q: line %d of the log is %q, want %q", tc.directives, i, line, tc.want[i])
			}
		}
	}
}

// named is another plugin of the chain.
type named struct {
	plugin.Handler
	name string
}

func (n named) Name() string { return n.name }

// TestCheckOrder checks the warnings of plugins that are before this one: they depend on
// the order of the build, and on what is in the server block.
func TestCheckOrder(t *testing.T) {
	const (
		kubernetes = `Testfile:1: headless: "kubernetes" is before it in this build, and answers first`
		cache      = `Testfile:1: headless: "cache" is before it in this build, so that a name which was queried too early stays NXDOMAIN`
	)
	was := dnsserver.Directives
	defer func() { dnsserver.Directives = was }()
	for _, tc := range []struct {
		build, block string // plugins in the order of plugin.cfg, and those of the server block
		want         []string
	}{
		{"errors kubernetes headless forward", "kubernetes", []string{kubernetes}},
		{"kubernetes headless", "errors kubernetes", []string{kubernetes}},
		{"errors headless kubernetes forward", "kubernetes", nil},
		{"headless kubernetes", "kubernetes", nil},
		{"kubernetes headless", "forward", nil},
		{"errors headless", "kubernetes", nil}, // which this build does not have
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
			config.AddPlugin(func(next plugin.Handler) plugin.Handler { return named{next, name} })
		}
		if _, err := dnsserver.NewServer("dns://:53", []*dnsserver.Config{config}); err != nil { // it makes the chain
			t.Fatal(err)
		}
		text := logged(t, func() { (&Headless{Next: freeNext}).checkChain(s, config) })
		lines := strings.SplitAfter(text, "\n")
		lines = lines[:len(lines)-1]
		if len(lines) != len(tc.want) {
			t.Errorf("%q with %q: the log is %q, want %q", tc.build, tc.block, lines, tc.want)
			continue
		}
		for i, line := range lines {
			if checkLine(t, line, "WARNING"); !strings.Contains(line, tc.want[i]) {
				t.Errorf("%q with %q: line %d of the log is %q, want %q", tc.build, tc.block, i, line, tc.want[i])
			}
		}
	}
}
