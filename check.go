package headless

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/informer"
)

// quoteArgs formats arguments for an error.
func quoteArgs(args []string) string {
	if len(args) == 0 {
		return "none"
	}
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = fmt.Sprintf("%q", arg)
	}
	return strings.Join(out, " ")
}

// unknownDirective returns an error that suggests the most similar directive, if one is similar
// enough.
func unknownDirective(directive string) error {
	nearest, least := "", 1+min(2, len(directive)/3)
	for known := range directives {
		if d := editDistance(directive, known); d < least || d == least && known < nearest {
			nearest, least = known, d
		}
	}
	if nearest == "" {
		return errors.New("unknown directive")
	}
	return fmt.Errorf("unknown directive, did you mean %q?", nearest)
}

// editDistance returns how many bytes must be inserted, deleted or substituted to turn a into b
// (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1) // distances of a[:i] to each b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// checkEndpoint returns an error unless the endpoint is the URL of an HTTP server, or a host
// with or without a port, which client-go also takes.
func checkEndpoint(endpoint string) error {
	text := endpoint
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	var cause *url.Error
	switch {
	case errors.As(err, &cause):
		return fmt.Errorf("%q: not a URL: %w", endpoint, cause.Err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("%q: not the URL of an API server, such as https://10.0.0.1:6443", endpoint)
	}
	return nil
}

// checkCombination returns an error if two directives exclude each other, or if one lacks
// another that it needs.
func (s *stanza) checkCombination() error {
	has := func(directive string) bool { return s.places[directive] != "" }
	for _, pair := range [][2]string{
		{"manifests", "endpoint"}, {"manifests", "tls"}, {"manifests", "kubeconfig"}, {"manifests", "snapshot"},
		{"namespaces", "namespace_labels"},
	} {
		if has(pair[0]) && has(pair[1]) {
			return s.errorAt(pair[0], fmt.Errorf("can't be combined with %q at %s", pair[1], s.places[pair[1]]))
		}
	}
	if has("tls") && !has("endpoint") {
		return s.errorAt("tls", errors.New("needs \"endpoint\""))
	}
	if has("kubeconfig") && has("endpoint") {
		s.warn("endpoint", "ignored, as \"kubeconfig\" at %s says which API server is watched", s.places["kubeconfig"])
	}
	return nil
}

// warn logs a mistake in a directive that may be intended.
func (s *stanza) warn(directive, format string, args ...any) {
	warnf("%s: %s: %s", s.places[directive], directive, fmt.Sprintf(format, args...))
}

// warnUnreachable warns about zones that no query can reach.
func (s *stanza) warnUnreachable(c *caddy.Controller) {
	block := plugin.OriginsFromArgsOrServerBlock(nil, c.ServerBlockKeys)
	reached := func(zone string) bool { return overlaps(zone, block) }
	// A server block may be there for external and clusterset zones alone.
	away := slices.ContainsFunc(slices.Concat(s.external, s.clusterset), reached)
	alone := away && !slices.ContainsFunc(s.zones, reached)
	s.externalOnly = alone && !slices.ContainsFunc(s.clusterset, reached)
	warn := func(directive string, zones []string) {
		for _, zone := range zones {
			if !reached(zone) {
				s.warn(directive, "zone %q is outside of the server block, where no query for it arrives", zone)
			}
		}
	}
	if len(block) > 0 {
		if !alone {
			warn(pluginName, s.zones)
		}
		warn("external", s.external)
		warn("multicluster", s.clusterset)
	}
	for _, zone := range s.fall.Zones {
		if !overlaps(zone, slices.Concat(s.zones, s.external, s.clusterset)) {
			s.warn("fallthrough", "zone %q is outside of the plugin's zones, so that no name in it falls through", zone)
		}
	}
}

// overlaps reports whether the zone is in one of the others or contains one.
func overlaps(zone string, others []string) bool {
	return slices.ContainsFunc(others, func(other string) bool {
		return dns.IsSubDomain(zone, other) || dns.IsSubDomain(other, zone)
	})
}

// sourceError adds to an error the directive that chose the source.
func (s *stanza) sourceError(err error) error {
	if errors.Is(err, informer.ErrNotInPod) {
		err = fmt.Errorf("%w: set \"endpoint\", \"kubeconfig\" or \"manifests\"", err)
	}
	for _, directive := range []string{"manifests", "kubeconfig", "tls", "endpoint"} {
		if s.places[directive] != "" {
			return s.errorAt(directive, err)
		}
	}
	return s.errorAt(pluginName, err)
}

// warnChain warns about a chain of plugins that hides this one's names or leaves others
// unanswered.
func (h *Headless) warnChain(s *stanza, config *dnsserver.Config) {
	if h.Next == nil && !h.authoritative && !s.externalOnly {
		s.warn(pluginName, "no plugin comes after it, so queries for other names than those of headless services get REFUSED; add one, such as \"forward\", or set \"authoritative\"")
	}
	if h.Next == nil && len(h.Fall.Zones) > 0 {
		s.warn("fallthrough", "no plugin comes after headless, so no name falls through")
	}
	if h.denial.bare && config.Handler("dnssec") != nil {
		s.warn("denial", "\"dnssec\" does not sign an NXDOMAIN without SOA, so a client that validates takes it for a fault; leave out \"bare\"")
	}
	before := func(directive string) bool {
		at := slices.Index(dnsserver.Directives, directive)
		return config.Handler(directive) != nil && 0 <= at && at < slices.Index(dnsserver.Directives, pluginName)
	}
	if before("cache") {
		s.warn(pluginName, "\"cache\" comes before it in this build, so a name that is queried too early stays NXDOMAIN until the TTL expires")
	}
	if before("kubernetes") {
		s.warn(pluginName, "\"kubernetes\" comes before it in this build, and answers first")
	}
}
