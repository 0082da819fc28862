package records

import (
	"cmp"
	"iter"
	"net/netip"
	"strings"
)

// maxEntries is the most names that an address has as entries of its shard. A pod
// that thousands of services select has thousands of names. They are in a set, of
// which a change copies a small part.
const maxEntries = 16

// nameSet is an address with more than maxEntries names.
type nameSet[A address[A]] struct {
	addr  A
	names set[nameKey]
}

func (s nameSet[A]) hash() uint32 { return hashAddr(s.addr) }

// names returns the names of an address that has a set of them, or nil.
func (s *shard[A]) names(hash uint32, addr A) *set[nameKey] {
	bucket := s.nameSets.bucket(hash)
	for i := range bucket {
		if n := &bucket[i]; n.addr == addr {
			return &n.names
		}
	}
	return nil
}

func (k nameKey) compare(l nameKey) int {
	if k.host.hostname() != l.host.hostname() {
		return compareBool(l.host.hostname(), k.host.hostname())
	}
	if k.service == l.service {
		return cmp.Compare(k.host, l.host)
	}
	return cmp.Or(
		cmp.Compare(k.labelBytes(), l.labelBytes()),
		strings.Compare(k.service.namespace, l.service.namespace),
		strings.Compare(k.service.name, l.service.name),
		cmp.Compare(k.host, l.host))
}

// labelBytes returns the length of the labels of the host, the service and the
// namespace together.
func (k nameKey) labelBytes() int {
	return k.host.labelLen() + len(k.service.name) + len(k.service.namespace)
}

// nameBound returns a key that sorts before all hostnames, or before all generated
// labels, whose labelBytes are n or more.
func nameBound(hostname bool, n int) nameKey {
	return nameKey{new(service), newHostKey(0, n, hostname)}
}

// nameRange is the part of an address's set of names that PTR records have, from the
// first key on: the hostnames or, if none of them has the address, the generated
// labels.
type nameRange struct {
	addr     netip.Addr
	set      *set[nameKey]
	hostname bool
}

// newNameRange returns the range of the set, or nil if no name has the address.
func newNameRange(a netip.Addr, set *set[nameKey]) *nameRange {
	for x := range set.all {
		if _, ok := x.key.resolve(a); ok { // nearly always the first
			return &nameRange{a, set, x.key.host.hostname()}
		}
	}
	return nil
}

// names yields the names that PTR records in a zone have.
func (r *nameRange) names(zone string) iter.Seq[addrName] {
	return func(yield func(addrName) bool) {
		n := r.len(zone)
		for x := range r.set.all {
			if n--; n < 0 {
				return
			}
			if name, ok := x.key.resolve(r.addr); ok && !yield(name) {
				return
			}
		}
	}
}

// len returns the number of keys in the range, without those whose names are too long
// for the zone. Keys that have lost the address count.
func (r *nameRange) len(zone string) int {
	longest := maxName - len(joinLabels("", "", "", svc, zone))
	return r.set.search(nameBound(r.hostname, max(0, longest+1)))
}
