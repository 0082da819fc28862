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
const crowdSize = 16

// crowd is an address with more than crowdSize names.
type crowd[A address[A]] struct {
	addr  A
	names set[claim]
}

func (c crowd[A]) hash() uint32 { return hashAddr(c.addr) }

// claim is a name of an address: a host of a service. Hostnames come before labels
// that were made, and of both those first that make short names.
type claim struct {
	service *service
	name    holder
}

func (c claim) compare(d claim) int {
	if c.name.hostname() != d.name.hostname() {
		return compareBool(d.name.hostname(), c.name.hostname())
	}
	if c.service == d.service {
		return cmp.Compare(c.name, d.name)
	}
	return cmp.Or(
		cmp.Compare(c.size(), d.size()),
		strings.Compare(c.service.namespace, d.service.namespace),
		strings.Compare(c.service.name, d.service.name),
		cmp.Compare(c.name, d.name))
}

// size is the length of the labels of the host, the service and the namespace.
func (c claim) size() int {
	return c.name.length() + len(c.service.name) + len(c.service.namespace)
}

// boundary returns a claim that is before all with a hostname, or without, whose
// labels have the size or more.
func boundary(hostname bool, size int) claim {
	return claim{new(service), newHolder(0, size, hostname)}
}

// owner returns the name that is claimed, and whether it has the address.
func (c claim) owner(a netip.Addr) (owner, bool) {
	host := c.service.snapshot.Load().hostOf(c.name.host())
	if host == nil {
		return owner{}, false
	}
	addrs := host.addrs()
	return owner{c.service, host.label, c.name.hostname()}, addrs.has(a)
}

// crowdNode is the part of a crowd that answers for its address, from the first
// name on: the hostnames or, where there is none, the labels that were made.
type crowdNode struct {
	addr     netip.Addr
	names    *set[claim]
	hostname bool
}

// newCrowdNode returns the part of names that answers, or nil if none has the
// address.
func newCrowdNode(a netip.Addr, names *set[claim]) *crowdNode {
	for x := range names.all {
		if _, ok := x.key.owner(a); ok { // nearly always the first
			return &crowdNode{a, names, x.key.name.hostname()}
		}
	}
	return nil
}

// owners yields the names that answer below a zone.
func (c *crowdNode) owners(zone string) iter.Seq[owner] {
	return func(yield func(owner) bool) {
		n := c.len(zone)
		for x := range c.names.all {
			if n--; n < 0 {
				return
			}
			if o, ok := x.key.owner(c.addr); ok && !yield(o) {
				return
			}
		}
	}
}

// len returns how many of the names may answer: those that can be written below a
// zone.
func (c *crowdNode) len(zone string) int {
	longest := maxName - len(join("", "", "", svc, zone))
	return c.names.search(boundary(c.hostname, max(0, longest+1)))
}
