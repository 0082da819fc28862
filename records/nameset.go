package records

import (
	"cmp"
	"iter"
	"net/netip"
	"strings"
)

// crowdSize is the most names that an address has in the table of its shard. A
// pod that thousands of services select has as many names: they are in a set
// then, for a change to copy a part of them.
const maxEntries = 16

// crowd is an address with more than crowdSize names.
type nameSet[A address[A]] struct {
	addr  A
	names set[nameKey]
}

func (c nameSet[A]) hash() uint32 { return hashAddr(c.addr) }

// claim is a name of an address: a host of a service. Hostnames come before labels
// that were made, and of both those first that make short names.
type nameKey struct {
	service *service
	host    hostKey
}

func (c nameKey) compare(d nameKey) int {
	if c.host.hostname() != d.host.hostname() {
		return compareBool(d.host.hostname(), c.host.hostname())
	}
	if c.service == d.service {
		return cmp.Compare(c.host, d.host)
	}
	return cmp.Or(
		cmp.Compare(c.labelBytes(), d.labelBytes()),
		strings.Compare(c.service.namespace, d.service.namespace),
		strings.Compare(c.service.name, d.service.name),
		cmp.Compare(c.host, d.host))
}

// size is the length of the labels of the host, the service and the namespace.
func (c nameKey) labelBytes() int {
	return c.host.labelLen() + len(c.service.name) + len(c.service.namespace)
}

// boundary returns a claim that is before all with a hostname, or without, whose
// labels have the size or more.
func nameBound(hostname bool, size int) nameKey {
	return nameKey{new(service), newHostKey(0, size, hostname)}
}

// owner returns the name that is claimed, and whether it has the address.
func (c nameKey) resolve(a netip.Addr) (addrName, bool) {
	host := c.service.snapshot.Load().hostByID(c.host.id())
	if host == nil {
		return addrName{}, false
	}
	addrs := host.addrs()
	return addrName{c.service, host.label, c.host.hostname()}, addrs.has(a)
}

// crowdNode is the part of a crowd that answers for its address, from the first
// name on: the hostnames or, where there is none, the labels that were made.
type nameRange struct {
	addr     netip.Addr
	set      *set[nameKey]
	hostname bool
}

// newCrowdNode returns the part of names that answers, or nil if none has the
// address.
func newNameRange(a netip.Addr, names *set[nameKey]) *nameRange {
	for x := range names.all {
		if _, ok := x.key.resolve(a); ok { // nearly always the first
			return &nameRange{a, names, x.key.host.hostname()}
		}
	}
	return nil
}

// owners yields the names that answer below a zone.
func (c *nameRange) names(zone string) iter.Seq[addrName] {
	return func(yield func(addrName) bool) {
		n := c.len(zone)
		for x := range c.set.all {
			if n--; n < 0 {
				return
			}
			if o, ok := x.key.resolve(c.addr); ok && !yield(o) {
				return
			}
		}
	}
}

// len returns how many of the names may answer: those that can be written below a
// zone.
func (c *nameRange) len(zone string) int {
	longest := maxName - len(joinLabels("", "", "", svc, zone))
	return c.set.search(nameBound(c.hostname, max(0, longest+1)))
}
