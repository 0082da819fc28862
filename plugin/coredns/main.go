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

// anchor is the directive that headless stands before. The trie is faster than
// the cache and always fresh: behind the cache, an early NXDOMAIN would stay in
// front of a name that came since.
const anchor = "cache"

func init() {
	at := slices.Index(dnsserver.Directives, anchor)
	if at < 0 {
		panic(fmt.Sprintf("insert directive %q: there is no directive %q to insert it before", "headless", anchor))
	}
	dnsserver.Directives = slices.Insert(dnsserver.Directives, at, "headless")
}

func main() { coremain.Run() }
