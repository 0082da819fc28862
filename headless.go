// Package headless is a CoreDNS plugin that serves DNS for the headless services of
// Kubernetes.
//
// # Queries
//
// The server calls [Headless.ServeDNS] for each query. It matches the zone, looks up the name
// in a trie of package records, and writes the reply or calls the next plugin. A query takes
// no lock. It reads one immutable snapshot of one service.
//
// # Changes
//
// A source is a trie with the informer that keeps it up to date. The informer, of package
// informer, watches the API server or reads manifest files. Stanzas with equal settings share
// a source.
//
// # Reloads
//
// CoreDNS sets up every stanza of the new Corefile, then shuts down the plugins of the old
// one. The plugins of one Corefile form a lifetime, which starts and stops them together. A
// source runs while a plugin uses it, so a reload that keeps its settings causes no relist.
//
// # Files
//
//	headless.go       the plugin
//	setup.go          the plugin's setup, start and stop; the parser of its stanza
//	stanza.go         the directives of a stanza
//	copied.go         options of the kubernetes plugin, in a stanza copied from it
//	check.go          errors and warnings about a stanza
//
//	handler.go        ServeDNS, and the reply to each outcome of a lookup
//	reply.go          replies and their SOA records
//	explain.go        why an answer is negative, as an extended DNS error
//	why.go            TXT records that explain a name
//	metadata.go       metadata for other plugins
//	client.go         the pod or node that sends a query: metadata, and the search path for autopath
//	size.go           how large a reply may be
//	fastpath.go       which server blocks may have the fast path
//	fastsocket.go     the sockets of the fast path, from the start of a server to its end
//	fastreply.go      its replies, in wire format
//	fastmetrics.go    what it adds to the metrics of the prometheus plugin
//	authority.go      the other names of a zone that the plugin is authoritative for
//	nameserver.go     the name server of a zone, and its addresses
//	transfer.go       zone transfers
//	notifier.go       NOTIFY to secondaries
//
//	lifetime.go       the plugins of one Corefile, and what ends them
//	reload.go         one reload at a time; what a failed reload leaves behind
//	source.go         tries with their informers, and who uses them
//	snapshotfile.go   which source writes a snapshot file
//
//	ready.go          readiness
//	metrics.go        the metrics
//	sourcemetrics.go  what a source adds to the metrics
//	collector.go      metrics about the progress of sources
//	log.go            log lines, escaped
//	version.go        the version, in the log, the user agent and a metric
package headless

import (
	"net/netip"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"golang.org/x/time/rate"

	"github.com/headless-dns/headless/records"
)

const pluginName = "headless"

// Headless answers for headless services. It owns a name if the name is a headless service, is
// below one, or is the PTR name of one of its endpoints. With authoritative it owns every name
// of its zones, and it always does of the external ones. Queries for other names go to the next plugin.
type Headless struct {
	Next plugin.Handler
	Fall fall.F

	zones    records.Zones
	soaNames []string // of each zone; see the function
	ptrZone  string   // zone that PTR records point into
	ttl      uint32   // seconds
	denial   denialOptions

	authoritative bool         // answer for the whole zone, not only for headless services; see owns
	serverAddrs   []netip.Addr // of the zones' name server; nil unless authoritative for one
	transfers     bool         // a transfer plugin is in the server block; false unless authoritative for a zone
	notifier      *notifier    // nil without transfers

	randomStart func() uint64 // records.Query.Start

	trie    *records.Trie // of all zones but those of the clusterset
	imports *records.Trie // of the zones of the clusterset; nil without "multicluster"
	source  *source
	release func() // releases source; further calls do nothing

	zonal      bool // the stanza has "zonal"
	explain    bool // negative answers say why (RFC 8914), as do TXT records below whyLabel
	whyLimiter *rate.Limiter
	metadata   bool // the metadata plugin is in the server block

	releaseClients func()   // ends the index of clients; nil unless a plugin of the server block asks for them
	search         []string // that of the server's host, for autopath

	fastPath  bool       // the stanza has "fastpath"
	fastBlock *fastBlock // nil without the fast path, and before the start

	// delegate sends queries to the next plugin until the first sync: a kubernetes plugin in
	// the same server block answers them.
	delegate bool
}

// Name implements the plugin.Handler interface.
func (h *Headless) Name() string { return pluginName }
