package records

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// reverseIndex has the names of each address of a family, for PTR records.
//
// A PTR reply touches one address, so the addresses are divided among shards, each
// immutable behind its own pointer. A change copies little, however many addresses
// there are.
//
// The index is published after the snapshots, so it may be one change behind. A lookup
// leaves out the names that no longer have the address.
type reverseIndex[A address[A]] struct {
	shards [256]atomic.Pointer[shard[A]] // by the high byte of the hash
}

// shard has the addresses of some hashes. An address with up to maxEntries names, as
// nearly all have, is in entries; one with more is in nameSets.
type shard[A address[A]] struct {
	entries  table[entry[A]]
	nameSets table[nameSet[A]]
}

// entry is one name of an address. It takes 24 bytes for IPv4 and 40 for IPv6.
type entry[A address[A]] struct {
	nameKey
	addr A
	refs int32 // endpoints with the name and the address
}

// nameKey identifies a name of an address: a host of a service. It sorts hostnames
// before generated labels, and short names first among each of them. So the names that
// PTR records have, and that are short enough for the zone, come first in a set.
type nameKey struct {
	service *service
	host    hostKey
}

// hostKey is a host id with what nameKey sorts by: the length of the label above the
// id, and in the lowest bit whether the label is a hostname. It is 8 bytes, half of a
// string; the service's snapshot has the label.
type hostKey uint64

const hostIDBits = 48

func newHostKey(id hostID, labelLen int, hostname bool) hostKey {
	k := hostKey(labelLen)<<(hostIDBits+1) | hostKey(id)<<1
	if hostname {
		k |= 1
	}
	return k
}

func (k hostKey) id() hostID     { return hostID(k>>1) & (1<<hostIDBits - 1) }
func (k hostKey) labelLen() int  { return int(k >> (hostIDBits + 1)) }
func (k hostKey) hostname() bool { return k&1 != 0 }

// addrName is a name of an address with its label, as a PTR record needs it.
type addrName struct {
	service  *service
	label    string
	hostname bool // else the label was generated
}

func (n addrName) compare(m addrName) int {
	return cmp.Or(
		strings.Compare(n.service.namespace, m.service.namespace),
		strings.Compare(n.service.name, m.service.name),
		strings.Compare(n.label, m.label),
		compareBool(n.hostname, m.hostname))
}

// resolve returns the name, and reports whether it has the address now.
func (k nameKey) resolve(a netip.Addr) (addrName, bool) {
	host := k.service.snapshot.Load().hostByID(k.host.id())
	if host == nil {
		return addrName{}, false
	}
	addrs := host.addrs()
	return addrName{k.service, host.label, k.host.hostname()}, addrs.has(a)
}

func hashAddr[A address[A]](a A) uint32 { return uint32(maphash.Comparable(seed, a)) & hashMask }

func (e entry[A]) hash() uint32 { return hashAddr(e.addr) }

func (x *reverseIndex[A]) shard(hash uint32) *atomic.Pointer[shard[A]] { return &x.shards[hash>>24] }

// lookup returns the node of an address, given in both forms.
func (x *reverseIndex[A]) lookup(addr A, a netip.Addr) (Node, Result) {
	hash := hashAddr(addr)
	s := x.shard(hash).Load()
	if s == nil {
		return Node{}, Outside
	}
	if s.nameSets.n > 0 {
		if set := s.names(hash, addr); set != nil {
			if r := newNameRange(a, set); r != nil {
				return Node{nameRange: r}, Found
			}
			return Node{}, Outside
		}
	}
	var names []addrName
	for _, e := range s.entries.bucket(hash) {
		if e.addr != addr {
			continue
		}
		if n, ok := e.resolve(a); ok {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return Node{}, Outside
	}
	return Node{names: preferHostnames(names)}, Found
}

// preferHostnames returns the hostnames among the names or, if there is none, all
// names. They are sorted.
func preferHostnames(names []addrName) []addrName {
	if len(names) < 2 {
		return names
	}
	slices.SortFunc(names, addrName.compare)
	if slices.ContainsFunc(names, func(n addrName) bool { return n.hostname }) {
		names = slices.DeleteFunc(names, func(n addrName) bool { return !n.hostname })
	}
	return names
}

// shards are the shards of an index at one time. A shard without addresses is nil.
type shards[A address[A]] [256]*shard[A]

func (x *reverseIndex[A]) load() *shards[A] {
	out := new(shards[A])
	for i := range x.shards {
		out[i] = x.shards[i].Load()
	}
	return out
}

// all yields every entry, unsorted. The names of sets count as entries.
func (x *shards[A]) all(yield func(entry[A]) bool) {
	for _, s := range x {
		if s == nil {
			continue
		}
		for e := range s.entries.all {
			if !yield(e) {
				return
			}
		}
		for set := range s.nameSets.all {
			for i := range set.names.all {
				if !yield(entry[A]{i.key, set.addr, i.refs()}) {
					return
				}
			}
		}
	}
}
