package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// corpusPassed is the rcode of the next plugin.
const corpusPassed = dns.RcodeNotZone

// corefile returns the Corefile for a group. For queries before the first sync its API
// server does not exist.
func (g *corpusGroup) corefile(objects string, authoritative bool) string {
	options := slices.Clone(g.Options)
	if g.Unsynced {
		options = append(options, "endpoint http://127.0.0.1:1", "startup_timeout 0s")
	} else {
		options = append(options, "manifests "+objects)
	}
	if authoritative {
		options = append(options, "authoritative")
	}
	return fmt.Sprintf(`.:0 {
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
`, strings.Join(g.Zones, " "), strings.Join(options, "\n        "), dns.RcodeToString[corpusPassed])
}
