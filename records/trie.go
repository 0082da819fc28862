// Package records holds the names of headless services and answers what records
// they have.
//
// A [Trie] is walked label by label from a zone's apex down: the fixed label
// "svc", the namespace, the service, then a host or a port and protocol. Every
// service has one immutable snapshot behind one atomic pointer; readers take no
// lock and, as a reply touches a single service, see one state of it. There is
// one writer, which collects changes in an [Update] and publishes them together.
//
// The package knows nothing of Kubernetes' objects nor of the server that asks.
package records

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// svc is the label between the zone and the namespaces (Kubernetes DNS
// specification, section 2.3).
const svc = "svc"

// Trie is the tree of names. Its methods may be called at any time by any number
// of goroutines, except for those of its updates, which are one writer's.
type Trie struct {
	namespaces    atomic.Pointer[table[*namespace]]
	readyServices atomic.Int64        // services with a ready endpoint
	v4            reverseIndex[addr4] // reverse names
	v6            reverseIndex[addr6]
	addrs         atomic.Pointer[order] // of all addresses; nil unless it was asked for
	serial        serial
	stats         Stats   // the writer's
	update        *Update // the writer's, for the next

	mu sync.Mutex // held to publish a commit, and to take an image
}

// namespace holds the headless services of a namespace.
type namespace struct {
	name          string
	services      atomic.Pointer[table[*service]]
	readyServices atomic.Int64 // services with a ready endpoint
}

func (n *namespace) hash() uint32 { return hashString(n.name) }

// namespaceOf returns the namespace with a name, or nil.
func namespaceOf(t *table[*namespace], name []byte) *namespace {
	for _, n := range t.bucket(hashBytes(name)) {
		if n.name == string(name) {
			return n
		}
	}
	return nil
}

// service returns the service with a name, or nil.
func (n *namespace) service(name []byte) *service {
	for _, s := range n.services.Load().bucket(hashBytes(name)) {
		if s.name == string(name) {
			return s
		}
	}
	return nil
}

// service is the place of a service in the trie; it stays while the snapshots
// change.
type service struct {
	namespace, name string
	snapshot        atomic.Pointer[snapshot]
	pending         *pending // the writer's: its part of the update, if it has one
}

func (s *service) hash() uint32 { return hashString(s.name) }

// New returns an empty trie.
func New() *Trie {
	t := new(Trie)
	t.namespaces.Store(new(table[*namespace]))
	t.serial.init()
	return t
}

// Stats counts what a trie holds.
type Stats struct {
	Services  int    // headless services
	Hosts     int    // names of hosts
	Shared    int    // those of them that are of several endpoints
	Ports     int    // names of ports, as in _web._tcp
	Addresses int    // reverse names
	Endpoints Counts // ready and withheld
}

// Stats returns what the trie holds after the last commit. It is for the writer.
func (t *Trie) Stats() Stats { return t.stats }

// Result tells how a name stands to the trie.
type Result int

const (
	// Outside is a name that no headless service exists at or above.
	Outside Result = iota
	// Missing is a name below, or of, a headless service that has no record
	// there nor below.
	Missing
	// Found is a name that exists. It may be an empty non-terminal, which has
	// no record itself (RFC 4592, section 2.2.2).
	Found
)

// Find looks up a name, of which the last apex labels are those of the zone.
func (t *Trie) Find(n *Name, apex int) (Node, Result) {
	below := n.Len() - apex // labels left of the apex
	if below < 3 || string(n.Label(apex)) != svc {
		return Node{}, Outside
	}
	ns := namespaceOf(t.namespaces.Load(), n.Label(apex+1))
	if ns == nil {
		return Node{}, Outside
	}
	s := ns.service(n.Label(apex + 2))
	if s == nil {
		return Node{}, Outside
	}
	node := Node{snapshot: s.snapshot.Load(), suffixLen: len(n.suffix(apex + 2))}
	if node.snapshot.empty() {
		return Node{}, Missing
	}
	switch below {
	case 3:
		return node, Found
	case 4:
		label := n.Label(apex + 3)
		if node.host = node.snapshot.hostByLabel(label); node.host != nil {
			return node, Found
		}
		if len(label) > 1 && label[0] == '_' && node.snapshot.hasProtocol(label[1:]) {
			node.nonTerminal = true
			return node, Found
		}
	case 5:
		protocol, name := n.Label(apex+3), n.Label(apex+4)
		if len(protocol) > 1 && protocol[0] == '_' && len(name) > 1 && name[0] == '_' {
			if node.port = node.snapshot.portNamed(protocol[1:], name[1:]); node.port != nil {
				return node, Found
			}
		}
	}
	return Node{}, Missing
}

// FindAddr looks up the reverse name of an address. It is [Outside] unless an
// endpoint of ours has the address.
func (t *Trie) FindAddr(a netip.Addr) (Node, Result) {
	if a.Is4() {
		return t.v4.lookup(a.As4(), a)
	}
	return t.v6.lookup(a.As16(), a)
}

// Withheld returns why an endpoint of the service that has the host label does
// not answer, or [Ready] if there is no such endpoint.
func (t *Trie) Withheld(key ServiceKey, host string) Reason {
	s := t.service(key)
	if s == nil {
		return Ready
	}
	set := s.snapshot.Load().withheld
	if i := set.search(withheld{host: host}); i < set.len() {
		c := set.at(i)
		if w := c.item().key; w.host == host {
			return w.reason
		}
	}
	return Ready
}

// HasNamespace reports whether a service of a namespace has a ready endpoint. The
// name of the namespace then is an empty non-terminal (RFC 4592, section 2.2.2);
// else nothing is below it, and it does not exist (RFC 8020).
func (t *Trie) HasNamespace(name []byte) bool {
	ns := namespaceOf(t.namespaces.Load(), name)
	return ns != nil && ns.readyServices.Load() > 0
}

// Empty reports whether no service has a ready endpoint.
func (t *Trie) Empty() bool { return t.readyServices.Load() == 0 }
