// Coredns is CoreDNS with every standard plugin and headless.
package main

import (
	"fmt"
	"slices"

	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/core/plugin" // every standard plugin
	"github.com/coredns/coredns/coremain"

	_ "github.com/headless-dns/headless"
)

// anchor is the directive that follows headless. The trie is faster than the cache and
// always fresh. After the cache, a cached NXDOMAIN would hide a name created since.
const anchor = "cache"

func init() {
	at := slices.Index(dnsserver.Directives, anchor)
	if at < 0 {
		panic(fmt.Sprintf("insert directive %q: CoreDNS has no directive %q to insert it before", "headless", anchor))
	}
	dnsserver.Directives = slices.Insert(dnsserver.Directives, at, "headless")
}

func main() { coremain.Run() }
