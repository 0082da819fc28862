package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// corpusPassed is what the plugin behind headless answers.
const corpusPassed = dns.RcodeNotZone

// corefile is the Corefile for a group. To be asked before the first sync, it has
// an API server that does not exist.
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
