package records

import (
	"cmp"
	"hash/maphash"
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
	shards [256]atomic.Pointer[shard[A]]
}

// shard has the addresses of some hashes. One with few names, as nearly all have,
// is in holdings only, one with many in crowds only.
type shard[A address[A]] struct {
	holdings table[holding[A]]
	crowds   table[crowd[A]]
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

// holder is a host's id, with the length of its label before it and, in the last
// bit, whether the label is a hostname. It takes half the memory of the label; the
// service tells what the id stands for.
type holder uint64

const hostBits = 48

func newHolder(host hostID, length int, hostname bool) holder {
	h := holder(length)<<(hostBits+1) | holder(host)<<1
	if hostname {
		h |= 1
	}
	return h
}

func (h holder) host() hostID   { return hostID(h>>1) & (1<<hostBits - 1) }
func (h holder) length() int    { return int(h >> (hostBits + 1)) }
func (h holder) hostname() bool { return h&1 != 0 }

func hashAddr[A address[A]](a A) uint32 { return uint32(maphash.Comparable(seed, a)) & hashMask }

func (h holding[A]) hash() uint32 { return hashAddr(h.addr) }

func (x *index[A]) shard(hash uint32) *atomic.Pointer[shard[A]] { return &x.shards[hash>>24] }

// shards are all shards of an index at one time; nil where there is no address.
type shards[A address[A]] [256]*shard[A]

func (x *index[A]) load() *shards[A] {
	out := new(shards[A])
	for i := range x.shards {
		out[i] = x.shards[i].Load()
	}
	return out
}

// all yields every holding, in no order.
func (x *shards[A]) all(yield func(holding[A]) bool) {
	for _, s := range x {
		if s == nil {
			continue
		}
		for h := range s.holdings.all {
			if !yield(h) {
				return
			}
		}
		for c := range s.crowds.all {
			for i := range c.names.all {
				if !yield(holding[A]{i.key.service, i.key.name, c.addr, i.refs}) {
					return
				}
			}
		}
	}
}

// crowd returns the names of an address that has many, or nil.
func (s *shard[A]) crowd(hash uint32, addr A) *set[claim] {
	bucket := s.crowds.bucket(hash)
	for i := range bucket {
		if c := &bucket[i]; c.addr == addr {
			return &c.names
		}
	}
	return nil
}

// everyRef, as a delta, takes away a holding with all its refs. A commit may do so three
// times, and the sum must not overflow.
const everyRef = -1 << 29

// replacement is a shard that is ready to be published in its place.
type replacement[A address[A]] struct {
	place *atomic.Pointer[shard[A]]
	shard *shard[A]
}

// edit makes the shards that have the changes. The refs of these are deltas, and
// those of one holding are in their order. It also returns the addresses that come
// (1) and go (-1).
func (x *index[A]) edit(deltas []holding[A]) (replacements []replacement[A], moved []delta[A]) {
	deltas = deal(deltas)
	for len(deltas) > 0 {
		place := x.shard(deltas[0].hash())
		e := shardEditor[A]{}
		if old := place.Load(); old != nil {
			e.shard = *old
		}
		e.edit = e.holdings.edit()
		for len(deltas) > 0 && x.shard(deltas[0].hash()) == place {
			n := 1
			for n < len(deltas) && deltas[n].addr == deltas[0].addr {
				n++
			}
			if refs := e.apply(deltas[:n]); refs != 0 {
				moved = append(moved, delta[A]{deltas[0].addr, refs})
			}
			deltas = deltas[n:]
		}
		e.holdings = e.edit.table
		replacements = append(replacements, replacement[A]{place, &e.shard})
	}
	return replacements, moved
}

// fewDeltas are sorted rather than dealt out.
const fewDeltas = 64

// deal sorts deltas by shard and address; those of one address stay in their order. Of
// many, each address is hashed once for it, and there is little to sort within a shard.
func deal[A address[A]](deltas []holding[A]) []holding[A] {
	byAddr := func(a, b holding[A]) int { return a.addr.compare(b.addr) }
	if len(deltas) < fewDeltas {
		slices.SortStableFunc(deltas, func(a, b holding[A]) int {
			return cmp.Or(cmp.Compare(a.hash()>>24, b.hash()>>24), byAddr(a, b))
		})
		return deltas
	}
	var ends [256]int
	shardOf := make([]uint8, len(deltas))
	for i := range deltas {
		shardOf[i] = uint8(deltas[i].hash() >> 24)
		ends[shardOf[i]]++
	}
	end := 0
	for i, n := range ends {
		ends[i] = end
		end += n
	}
	out := make([]holding[A], len(deltas))
	for i, s := range shardOf {
		out[ends[s]] = deltas[i]
		ends[s]++
	}
	begin := 0
	for _, end := range ends {
		slices.SortStableFunc(out[begin:end], byAddr)
		begin = end
	}
	return out
}

// shardEditor makes a shard of another.
type shardEditor[A address[A]] struct {
	shard[A]
	edit editor[holding[A]] // of the holdings
}

// apply applies deltas of one address. It returns 1 or -1 if the address comes or
// goes with them.
func (e *shardEditor[A]) apply(deltas []holding[A]) int32 {
	addr, hash := deltas[0].addr, deltas[0].hash()
	names := e.crowd(hash, addr)
	held := 0
	if names != nil {
		held = names.len()
	} else {
		for _, h := range e.edit.bucket(hash) {
			if h.addr == addr {
				held++
			}
		}
	}
	left := held
	if names == nil && held+len(deltas) <= crowdSize {
		for _, d := range deltas {
			left += hold(&e.edit, d)
		}
	} else {
		left = e.merge(names, deltas)
	}
	switch {
	case held == 0 && left > 0:
		return 1
	case held > 0 && left == 0:
		return -1
	}
	return 0
}

// hold applies one delta. It returns 1 or -1 if a holding came or went with it.
func hold[A address[A]](edit *editor[holding[A]], d holding[A]) int {
	hash := d.hash()
	bucket := edit.bucket(hash)
	at := slices.IndexFunc(bucket, func(h holding[A]) bool {
		return h.addr == d.addr && h.service == d.service && h.name == d.name
	})
	switch {
	case at < 0 && d.refs > 0:
		edit.add(d)
		return 1
	case at >= 0 && int64(bucket[at].refs)+int64(d.refs) <= 0:
		edit.remove(hash, at)
		return -1
	case at >= 0:
		(*edit.mutable(hash))[at].refs += d.refs
	}
	return 0
}

// merge applies deltas of an address that has, or may get, many names. It
// returns how many it has then.
func (e *shardEditor[A]) merge(crowded *set[claim], deltas []holding[A]) int {
	addr, hash := deltas[0].addr, deltas[0].hash()
	var names set[claim]
	var gone, come []delta[claim]
	if crowded != nil {
		names = *crowded
	} else {
		for i := len(e.edit.bucket(hash)) - 1; i >= 0; i-- {
			if h := e.edit.bucket(hash)[i]; h.addr == addr {
				come = append(come, delta[claim]{claim{h.service, h.name}, h.refs})
				e.edit.remove(hash, i)
			}
		}
		names, come = names.merge(sum(come)), nil
	}
	for _, d := range deltas {
		c := delta[claim]{claim{d.service, d.name}, d.refs}
		if d.refs == everyRef { // before others of the service
			gone = append(gone, c)
		} else {
			come = append(come, c)
		}
	}
	names = names.merge(sum(gone)).merge(sum(come))

	crowds := e.crowds.edit()
	at := slices.IndexFunc(crowds.bucket(hash), func(c crowd[A]) bool { return c.addr == addr })
	switch many := names.len() > crowdSize; {
	case many && at < 0:
		crowds.add(crowd[A]{addr, names})
	case many:
		(*crowds.mutable(hash))[at].names = names
	case at >= 0:
		crowds.remove(hash, at)
	}
	e.crowds = crowds.table
	if names.len() <= crowdSize {
		for x := range names.all {
			e.edit.add(holding[A]{x.key.service, x.key.name, addr, x.refs})
		}
	}
	return names.len()
}

// find looks up an address. The index is published apart from the services, so it
// may be a change behind: a name that does not give the address is left out.
func (x *index[A]) find(addr A, a netip.Addr) (Node, Result) {
	hash := hashAddr(addr)
	s := x.shard(hash).Load()
	if s == nil {
		return Node{}, Outside
	}
	if s.crowds.n > 0 {
		if names := s.crowd(hash, addr); names != nil {
			if c := newCrowdNode(a, names); c != nil {
				return Node{crowd: c}, Found
			}
			return Node{}, Outside
		}
	}
	var names []owner
	for _, h := range s.holdings.bucket(hash) {
		if h.addr != addr {
			continue
		}
		if o, ok := (claim{h.service, h.name}).owner(a); ok {
			names = append(names, o)
		}
	}
	if len(names) == 0 {
		return Node{}, Outside
	}
	return Node{owners: preferred(names)}, Found
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

// editIndex makes the changes of the reverse index that some services need.
func (u *Update) editIndex(changed []*pending) (out indexChange) {
	u.holdings4, u.holdings6 = u.holdings4[:0], u.holdings6[:0]
	for _, p := range changed {
		if p.replaced {
			for h := range p.before.hosts.all {
				addrs := h.addrs()
				for a := range addrs.all {
					u.hold(p.service, newHolder(h.id, len(h.label), true), a, everyRef)
					u.hold(p.service, newHolder(h.id, len(h.label), false), a, everyRef)
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
				u.hold(p.service, newHolder(h.id, len(h.label), true), d.key.addr, everyRef)
				u.hold(p.service, newHolder(h.id, len(h.label), false), d.key.addr, everyRef)
				continue
			}
			u.hold(p.service, newHolder(h.id, len(h.label), d.key.hostname), d.key.addr, d.refs)
		}
	}
	out.v4, out.moved4 = u.trie.v4.edit(u.holdings4)
	out.v6, out.moved6 = u.trie.v6.edit(u.holdings6)
	for _, d := range out.moved4 {
		u.trie.stats.Addresses += int(d.refs)
	}
	for _, d := range out.moved6 {
		u.trie.stats.Addresses += int(d.refs)
	}
	return out
}

// sides returns the addresses that come, and those that go.
func sides[A address[A]](moved []delta[A]) (come, gone []delta[A]) {
	for _, d := range moved {
		if d.refs > 0 {
			come = append(come, d)
		} else {
			gone = append(gone, d)
		}
	}
	return come, gone
}

// hold notes a change of the reverse index.
func (u *Update) hold(s *service, name holder, a netip.Addr, refs int32) {
	if a.Is4() {
		u.holdings4 = append(u.holdings4, holding[addr4]{s, name, a.As4(), refs})
	} else {
		u.holdings6 = append(u.holdings6, holding[addr6]{s, name, a.As16(), refs})
	}
}

// indexChange is what a portion of a commit publishes of the reverse index.
type indexChange struct {
	v4     []replacement[addr4]
	v6     []replacement[addr6]
	moved4 []delta[addr4] // addresses that come (1) and go (-1)
	moved6 []delta[addr6]
}

func (c *indexChange) publish() {
	for _, r := range c.v4 {
		r.place.Store(r.shard)
	}
	for _, r := range c.v6 {
		r.place.Store(r.shard)
	}
}
