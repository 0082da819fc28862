// Package records stores the names of Kubernetes headless services and makes the
// DNS records of a reply.
//
// A [Trie] is walked label by label from a zone's apex down: the label "svc", the
// namespace, the service, then a host, or a protocol and a port. A lookup returns a
// [Node], and [Node.Answer] makes its records. The writer collects changes in an
// [Update] and publishes them with [Update.Commit].
//
// The package imports neither Kubernetes nor CoreDNS.
//
// # Concurrency
//
// A published snapshot is never written. Each service has one immutable snapshot
// behind one atomic pointer. A change makes a new snapshot, which shares with the
// old one what did not change. Tables, sets and shards of the reverse index follow
// the same rule.
//
// Any number of goroutines may look up names; they take no lock and never wait.
// One goroutine, the writer, uses the updates. Only a commit and an [Image] wait for
// each other. The rules in full stand in ownership.go.
//
// # Invariants
//
//   - A reply reads one snapshot, so it never mixes two states of a service.
//   - A host exists while it has an address. A service without a ready endpoint has
//     no names at or below it.
//   - Endpoints are counted: one that was added twice stays until it is removed twice.
//   - An address leaves its old names before it enters new ones. A host keeps, all
//     through a commit, the addresses that it has before and after it.
//   - A PTR record names only a host that has the address at that moment.
//   - Answers depend on the endpoints, not on the history of updates.
//   - A serial is before the present second, and every change gets a later one than
//     all that readers saw before it.
//
// # Files
//
// Names and lookups:
//
//	name.go       the name of a query, and the address of a reverse name
//	zone.go       the zones, and which one a name is in
//	trie.go       namespaces and services, and lookups
//	withheld.go   why an endpoint does not answer
//	stats.go      what the trie holds
//	covers.go     whether a prefix has an address
//	image.go      the whole trie at one time, for a transfer
//	serial.go     the serial of the zones
//
// A service and what it holds:
//
//	endpoint.go   what the writer adds and removes
//	snapshot.go   all of a service at one time
//	host.go       hosts and their ids
//	address.go    addresses, and sets of them
//	target.go     the targets of SRV records
//	port.go       port names and their targets
//	portlist.go   lists of ports, long and short
//	longlist.go   the long lists of a service
//	table.go      the persistent hash table
//	set.go        the persistent sorted multiset
//	merge.go      how deltas are merged into a set
//
// The reverse index:
//
//	reverse.go    the names of each address
//	nameset.go    addresses that have many names
//	shard.go      how the writer builds new shards
//
// Changes, in the order in which a commit takes them:
//
//	update.go     what the writer may ask for
//	ownership.go  who may write what, and when
//	change.go     the change of one service
//	plan.go       the order of publication
//	commit.go     publication
//
// Records:
//
//	node.go       a name that was found, a query and an answer
//	builder.go    A, AAAA and PTR records that fit into a message
//	srv.go        SRV records and the addresses of their targets
//	window.go     the targets that fit
//	targetrange.go  where the targets of a node come from
//	stream.go     all records of a name, for a transfer
package records
