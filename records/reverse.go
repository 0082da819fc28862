package records

import (
	"cmp"
	"hash/maphash"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// owner is a name that an address has: a host of a service.
type owner struct {
	service  *service
	host     string
	hostname bool
}

func (o owner) compare(p owner) int {
	return cmp.Or(
		strings.Compare(o.service.namespace, p.service.namespace),
		strings.Compare(o.service.name, p.service.name),
		strings.Compare(o.host, p.host),
		compareBool(o.hostname, p.hostname))
}

// index is the reverse index of a family: who holds an address. A PTR reply
// touches a single address, so no snapshot of the whole is needed: the addresses
// are dealt out to shards, each of them immutable behind a pointer of its own, and
// a change copies little however many addresses there are.
type index[A address[A]] struct {
	shards [256]atomic.Pointer[table[holding[A]]]
}

// address is an address of one family.
type address[A any] interface {
	addr4 | addr6
	ordered[A]
}

// holding is an address that a host of a service holds.
type holding[A address[A]] struct {
	service *service
	name    holder
	addr    A
	refs    int32 // endpoints behind it
}

// holder is a host's id, and in the last bit whether the label is a hostname. It
// takes half the memory of the label; the service tells what the id stands for.
type holder uint64

func newHolder(host hostID, hostname bool) holder {
	h := holder(host) << 1
	if hostname {
		h |= 1
	}
	return h
}

func (h holder) host() hostID   { return hostID(h >> 1) }
func (h holder) hostname() bool { return h&1 != 0 }

func hashAddr[A address[A]](a A) uint32 { return uint32(maphash.Comparable(seed, a)) & hashMask }

func (h holding[A]) hash() uint32 { return hashAddr(h.addr) }

func (x *index[A]) shard(hash uint32) *atomic.Pointer[table[holding[A]]] { return &x.shards[hash>>24] }

// holdings returns what may be holdings of an address, and others.
func (x *index[A]) holdings(a A) []holding[A] {
	hash := hashAddr(a)
	t := x.shard(hash).Load()
	if t == nil {
		return nil
	}
	return t.bucket(hash)
}

// all yields every holding, in no order.
func (x *index[A]) all(yield func(holding[A]) bool) {
	for i := range x.shards {
		if t := x.shards[i].Load(); t != nil {
			for h := range t.all {
				if !yield(h) {
					return
				}
			}
		}
	}
}

// everyRef, as a delta, takes away a holding with all its refs.
const everyRef = math.MinInt32

// apply publishes changes, of which the refs are deltas; those of one holding in
// their order. It returns the addresses that came (1) and went (-1).
func (x *index[A]) apply(deltas []holding[A]) []delta[A] {
	if len(deltas) > 1 {
		slices.SortStableFunc(deltas, func(a, b holding[A]) int { return cmp.Compare(a.hash()>>24, b.hash()>>24) })
	}
	var moved []delta[A]
	for len(deltas) > 0 {
		shard := x.shard(deltas[0].hash())
		var t table[holding[A]]
		if old := shard.Load(); old != nil {
			t = *old
		}
		edit := t.edit()
		for len(deltas) > 0 && x.shard(deltas[0].hash()) == shard {
			if refs := hold(&edit, deltas[0]); refs != 0 {
				moved = append(moved, delta[A]{deltas[0].addr, refs})
			}
			deltas = deltas[1:]
		}
		shard.Store(&edit.table)
	}
	return moved
}

// hold applies one delta. It returns 1 or -1 if the address came or went with it.
func hold[A address[A]](edit *editor[holding[A]], d holding[A]) int32 {
	hash := d.hash()
	at, others := -1, false
	bucket := edit.bucket(hash)
	for i := range bucket {
		if h := &bucket[i]; h.addr == d.addr {
			if h.service == d.service && h.name == d.name {
				at = i
			} else {
				others = true
			}
		}
	}
	switch {
	case at < 0 && d.refs > 0:
		edit.add(d)
		if !others {
			return 1
		}
	case at >= 0 && int64(bucket[at].refs)+int64(d.refs) <= 0:
		edit.remove(hash, at)
		if !others {
			return -1
		}
	case at >= 0:
		(*edit.own(hash))[at].refs += d.refs
	}
	return 0
}

// owners returns the names that an address has. The index is published apart from
// the services, so it may be a change behind: a name that does not give the
// address is left out.
func owners[A address[A]](x *index[A], addr A, a netip.Addr) []owner {
	var names []owner
	for _, h := range x.holdings(addr) {
		if h.addr != addr {
			continue
		}
		host := h.service.snapshot.Load().hostOf(h.name.host())
		if host == nil {
			continue
		}
		if has := host.addrs(); has.has(a) {
			names = append(names, owner{h.service, host.label, h.name.hostname()})
		}
	}
	return preferred(names)
}

// preferred returns the owners whose names pods were given, or, if there is
// none, all: those whose names are made from addresses. They are sorted.
func preferred(names []owner) []owner {
	if len(names) < 2 {
		return names
	}
	slices.SortFunc(names, owner.compare)
	given := func(o owner) bool { return o.hostname }
	if slices.ContainsFunc(names, given) {
		names = slices.DeleteFunc(names, func(o owner) bool { return !o.hostname })
	}
	return names
}

// owners returns the names that an address has.
func (t *Trie) owners(a netip.Addr) []owner {
	if a.Is4() {
		return owners(&t.v4, a.As4(), a)
	}
	return owners(&t.v6, a.As16(), a)
}

// own publishes the reverse index.
func (u *Update) own() {
	for _, p := range u.changed {
		if p.replaced {
			for h := range p.before.hosts.all {
				addrs := h.addrs()
				for a := range addrs.each {
					u.hold(p.service, newHolder(h.id, true), a, everyRef)
					u.hold(p.service, newHolder(h.id, false), a, everyRef)
				}
			}
		}
		for _, d := range p.change.hosts {
			hash := hashString(d.key.host)
			h := withLabel(&p.next.hosts, hash, d.key.host)
			if h == nil { // it leaves
				h = withLabel(&p.base.hosts, hash, d.key.host)
			}
			if d.refs < 0 && p.next.refsOf(d.key.host, d.key.addr) == 0 {
				// Whether it was a hostname, the caller may have told otherwise.
				u.hold(p.service, newHolder(h.id, true), d.key.addr, everyRef)
				u.hold(p.service, newHolder(h.id, false), d.key.addr, everyRef)
				continue
			}
			u.hold(p.service, newHolder(h.id, d.key.hostname), d.key.addr, d.refs)
		}
	}
	t := u.trie
	moved4, moved6 := t.v4.apply(u.holdings4), t.v6.apply(u.holdings6)
	for _, d := range moved4 {
		t.stats.Addresses += int(d.refs)
	}
	for _, d := range moved6 {
		t.stats.Addresses += int(d.refs)
	}
	if o := t.order.Load(); o != nil {
		t.order.Store(&order{o.v4.merge(net(moved4)), o.v6.merge(net(moved6))})
	}
}

// hold notes a change of the reverse index.
func (u *Update) hold(s *service, name holder, a netip.Addr, refs int32) {
	if a.Is4() {
		u.holdings4 = append(u.holdings4, holding[addr4]{s, name, a.As4(), refs})
	} else {
		u.holdings6 = append(u.holdings6, holding[addr6]{s, name, a.As16(), refs})
	}
}
