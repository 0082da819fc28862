package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/headless-dns/headless/internal/cluster"
)

// corpusPassed is the rcode of the next plugin.
const corpusPassed = dns.RcodeNotZone

// corpusServers are two servers with the same Corefile, except for the fast path.
type corpusServers struct{ ordinary, fast *served }

// serve runs the servers for a group until the test ends.
func (g *corpusGroup) serve(t *testing.T, objects string, authoritative bool) *corpusServers {
	t.Helper()
	return &corpusServers{
		ordinary: serve(t, g.corefile("0", objects, authoritative)),
		fast:     serveFast(t, g.corefile(cluster.MustFreePort(t), objects, authoritative, "fastpath")),
	}
}

// corefile returns the Corefile for a group. For queries before the first sync its API
// server does not exist.
func (g *corpusGroup) corefile(port, objects string, authoritative bool, more ...string) string {
	options := slices.Concat(g.Options, more)
	if g.Unsynced {
		options = append(options, "endpoint http://127.0.0.1:1", "startup_timeout 0s")
	} else {
		options = append(options, "manifests "+objects)
	}
	if authoritative {
		options = append(options, "authoritative")
	}
	return fmt.Sprintf(`.:%s {
    bind 127.0.0.1
    errors
    headless %s {
        %s
    }
    cache
    template ANY ANY {
        rcode %s
    }
}
`, port, strings.Join(g.Zones, " "), strings.Join(options, "\n        "), dns.RcodeToString[corpusPassed])
}
