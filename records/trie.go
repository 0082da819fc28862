package records

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// svc is the label between the zone and the namespaces (Kubernetes DNS
// specification, section 2.3).
const svc = "svc"

// Trie is the tree of names. Any number of goroutines may call its methods at any time,
// except for Update and Stats, which are the writer's, EnableCovers and EnableZones.
type Trie struct {
	all      directory // every service
	external directory // the services with names in external zones
	v4       reverseIndex[addr4]
	v6       reverseIndex[addr6]
	addrs    atomic.Pointer[addressIndex] // of all services; nil unless EnableCovers was called
	serial   serial
	zonal    bool // EnableZones was called
	// clusterset: endpoints are in clusters, and no address has a reverse name.
	clusterset bool
	stats      Stats   // the writer's
	update     *Update // the writer's: memory for its next update; nil if there is none

	mu sync.Mutex // held while a commit publishes, and while an image is taken
}

// directory has services by namespace.
type directory struct {
	namespaces atomic.Pointer[table[*namespace]]
	populated  atomic.Int64 // services with a name
}

// namespace is a namespace of a directory, with its headless services.
type namespace struct {
	name      string
	services  atomic.Pointer[table[*service]]
	populated atomic.Int64 // services with a name
}

// service is the place of a service in a directory. It stays the same while its snapshots
// change. An external service has another place in Trie.external, with the same snapshots.
type service struct {
	namespace, name string
	snapshot        atomic.Pointer[snapshot]
	pending         *pending // the writer's: the service's part of the update, or nil
}

func (n *namespace) hash() uint32 { return hashString(n.name) }
func (s *service) hash() uint32   { return hashString(s.name) }

// New returns an empty trie.
func New() *Trie {
	t := new(Trie)
	t.all.namespaces.Store(new(table[*namespace]))
	t.external.namespaces.Store(new(table[*namespace]))
	t.serial.init()
	return t
}

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

// service returns the service with a key, or nil.
func (d *directory) service(key ServiceKey) *service {
	ns := namespaceOf(d.namespaces.Load(), []byte(key.Namespace))
	if ns == nil {
		return nil
	}
	return ns.service([]byte(key.Name))
}

// Result is the outcome of a lookup.
type Result int

// The results of a lookup.
const (
	// Outside: no headless service exists at the name or above it.
	Outside Result = iota
	// Missing: the name is at or below a headless service and has no records there
	// or below it (NXDOMAIN).
	Missing
	// Found: the name exists. It may be an empty non-terminal, which has no records
	// itself (RFC 4592, section 2.2.2).
	Found
)

// directory returns the services that have names in a zone.
func (t *Trie) directory(z *Zone) *directory {
	if z.External {
		return &t.external
	}
	return &t.all
}

// Find looks up a name of a zone. The node of a missing name has no records, but [Node.Denial].
func (t *Trie) Find(n *Name, z *Zone) (Node, Result) {
	at, ok := z.Service(n)
	if !ok {
		return Node{}, Outside
	}
	ns := namespaceOf(t.directory(z).namespaces.Load(), n.Label(at))
	if ns == nil {
		return Node{}, Outside
	}
	at++
	s := ns.service(n.Label(at))
	if s == nil {
		return Node{}, Outside
	}
	node := Node{snapshot: s.snapshot.Load(), suffixLen: len(n.suffix(at))}
	at++
	below := n.Len() - at // labels left of the service
	node.zonal = t.zonal && below > 0 && string(n.Label(at)) == zoneLabel
	if node.snapshot.empty() {
		return node, Missing
	}
	if node.zonal {
		return node, node.findZonal(n, at)
	}
	switch {
	case below == 0:
		node.found = true
	case node.clusters != nil:
		node.findInCluster(n, at)
	default:
		if below == 1 {
			node.host = node.hostByLabel(n.Label(at))
		}
		if node.found = node.host != nil; !node.found {
			node.findPort(n, at)
		}
	}
	if !node.found {
		return node, Missing
	}
	return node, Found
}

// findPort finds the name of a port, or of a protocol, below the service of the node.
func (n *Node) findPort(name *Name, service int) {
	protocol := name.Label(service)
	if !isUnderscored(protocol) {
		return
	}
	switch name.Len() - service {
	case 1:
		n.nonTerminal = n.hasProtocol(protocol[1:])
		n.found = n.nonTerminal
	case 2:
		if port := name.Label(service + 1); isUnderscored(port) {
			n.port = n.portNamed(protocol[1:], port[1:])
			n.found = n.port != nil
		}
	}
}

// FindAddr looks up the reverse name of an address. The result is [Outside] unless
// a host has the address, and always in a clusterset.
func (t *Trie) FindAddr(a netip.Addr) (Node, Result) {
	if a.Is4() {
		return t.v4.lookup(a.As4(), a)
	}
	return t.v6.lookup(a.As16(), a)
}

// HasNamespace reports whether a service of the namespace has a name in the zone. If so, the name
// of the namespace is an empty non-terminal (RFC 4592, section 2.2.2). Otherwise nothing is below
// the name, and it does not exist (RFC 8020).
func (t *Trie) HasNamespace(z *Zone, name []byte) bool {
	ns := namespaceOf(t.directory(z).namespaces.Load(), name)
	return ns != nil && ns.populated.Load() > 0
}

// Empty reports whether no service has a name.
func (t *Trie) Empty() bool { return t.all.populated.Load() == 0 }
