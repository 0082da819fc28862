// Package records stores the names of Kubernetes headless services and makes the
// DNS records of a reply.
//
// A [Trie] is walked label by label from a zone's apex down: the label "svc", the
// namespace, the service, then a host, or a protocol and a port. An external zone lacks "svc",
// and has the services that [Update.SetExternal] chose. In the trie of a clusterset,
// [NewClusterset], a host has several labels: HOST.CLUSTER. A lookup returns a
// [Node], and [Node.Answer] makes its records, or [Node.Denial] says why there are none.
// The writer collects changes in an [Update] and publishes them with [Update.Commit].
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
// each other. All rules are in ownership.go.
//
// # Invariants
//
//   - A reply reads one snapshot, so it never mixes two states of a service.
//   - A host exists while it has an address: of a ready endpoint or, without one, of an
//     addressed one. A service whose hosts have no address has no names at or below it.
//   - Endpoints are counted: one that was added twice stays until it is removed twice.
//   - An address leaves its old names before it enters new ones. A host keeps, all
//     through a commit, the addresses that it has before and after it.
//   - A PTR record names only a host that has the address at that moment.
//   - Answers depend on the endpoints, not on the history of updates, but for the order of
//     records, and which of more than 63 topology zones of a service are told apart.
//   - An external zone has names of external services only, and shows nothing that a service
//     gets when it leaves.
//   - A serial is before the present second, and every change gets a later one than
//     all that readers saw before it.
//
// # Files
//
//	trie.go name.go zone.go             names, zones and lookups
//	zonal.go clusterset.go              names of topology zones and of clusters
//	denial.go withheld.go               why a name has no records
//	stats.go covers.go                  what else a trie reports
//	image.go serial.go                  the trie at one time, and its serial
//	endpoint.go portlist.go             what the writer adds and removes
//	snapshot.go host.go address.go      a service at one time: its hosts,
//	addressed.go                        those whose pods are not ready,
//	port.go longlist.go target.go       its ports and their targets,
//	zoned.go                            and which of all these are in a topology zone
//	table.go set.go merge.go            the persistent hash table and sorted set
//	members.go                          a part of a set
//	reverse.go nameset.go shard.go      the names of each address
//	update.go change.go plan.go         an update, from its first call
//	commit.go                           to its publication
//	ownership.go                        who may write what, and when
//	node.go builder.go stream.go        the records of a name
//	srv.go window.go targetrange.go     SRV records and their glue
//	fitter.go packer.go packing.go      those records that fit, and their wire format
package records
