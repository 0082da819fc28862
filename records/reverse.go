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
type addrName struct {
	service  *service
	label    string
	hostname bool
}

func (o addrName) compare(p addrName) int {
	return cmp.Or(
		strings.Compare(o.service.namespace, p.service.namespace),
		strings.Compare(o.service.name, p.service.name),
		strings.Compare(o.label, p.label),
		compareBool(o.hostname, p.hostname))
}

// index is the reverse index of a family: who holds an address. A PTR reply
// touches a single address, so no snapshot of the whole is needed: the addresses
// are dealt out to shards, each of them immutable behind a pointer of its own, and
// a change copies little however many addresses there are.
type reverseIndex[A address[A]] struct {
	shards [256]atomic.Pointer[shard[A]]
}

// shard has the addresses of some hashes. One with few names, as nearly all have,
// is in holdings only, one with many in crowds only.
type shard[A address[A]] struct {
	entries  table[entry[A]]
	nameSets table[nameSet[A]]
}

// address is an address of one family.
type address[A any] interface {
	addr4 | addr6
	ordered[A]
}

// holding is an address that a host of a service holds.
type entry[A address[A]] struct {
	service *service
	host    hostKey
	addr    A
	refs    int32 // endpoints behind it
}

// holder is a host's id, with the length of its label before it and, in the last
// bit, whether the label is a hostname. It takes half the memory of the label; the
// service tells what the id stands for.
type hostKey uint64

const hostBits = 48

func newHostKey(host hostID, length int, hostname bool) hostKey {
	h := hostKey(length)<<(hostBits+1) | hostKey(host)<<1
	if hostname {
		h |= 1
	}
	return h
}

func (h hostKey) id() hostID     { return hostID(h>>1) & (1<<hostBits - 1) }
func (h hostKey) labelLen() int  { return int(h >> (hostBits + 1)) }
func (h hostKey) hostname() bool { return h&1 != 0 }

func hashAddr[A address[A]](a A) uint32 { return uint32(maphash.Comparable(seed, a)) & hashMask }

func (h entry[A]) hash() uint32 { return hashAddr(h.addr) }

func (x *reverseIndex[A]) shard(hash uint32) *atomic.Pointer[shard[A]] { return &x.shards[hash>>24] }

// shards are all shards of an index at one time; nil where there is no address.
type shards[A address[A]] [256]*shard[A]

func (x *reverseIndex[A]) load() *shards[A] {
	out := new(shards[A])
	for i := range x.shards {
		out[i] = x.shards[i].Load()
	}
	return out
}

// all yields every holding, in no order.
func (x *shards[A]) all(yield func(entry[A]) bool) {
	for _, s := range x {
		if s == nil {
			continue
		}
		for h := range s.entries.all {
			if !yield(h) {
				return
			}
		}
		for c := range s.nameSets.all {
			for i := range c.names.all {
				if !yield(entry[A]{i.key.service, i.key.host, c.addr, i.refs}) {
					return
				}
			}
		}
	}
}

// crowd returns the names of an address that has many, or nil.
func (s *shard[A]) names(hash uint32, addr A) *set[nameKey] {
	bucket := s.nameSets.bucket(hash)
	for i := range bucket {
		if c := &bucket[i]; c.addr == addr {
			return &c.names
		}
	}
	return nil
}

// everyRef, as a delta, takes away a holding with all its refs. A commit may do so three
// times, and the sum must not overflow.
const removeAll = -1 << 29

// replacement is a shard that is ready to be published in its place.
type newShard[A address[A]] struct {
	at    *atomic.Pointer[shard[A]]
	shard *shard[A]
}

// edit makes the shards that have the changes. The refs of these are deltas, and
// those of one holding are in their order. It also returns the addresses that come
// (1) and go (-1).
func (x *reverseIndex[A]) build(deltas []entry[A]) (replacements []newShard[A], moved []delta[A]) {
	deltas = sortByShard(deltas)
	for len(deltas) > 0 {
		place := x.shard(deltas[0].hash())
		e := shardEditor[A]{}
		if old := place.Load(); old != nil {
			e.shard = *old
		}
		e.editor = e.entries.edit()
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
		e.entries = e.editor.table
		replacements = append(replacements, newShard[A]{place, &e.shard})
	}
	return replacements, moved
}

// fewDeltas are sorted rather than dealt out.
const minDealt = 64

// deal sorts deltas by shard and address; those of one address stay in their order. Of
// many, each address is hashed once for it, and there is little to sort within a shard.
func sortByShard[A address[A]](deltas []entry[A]) []entry[A] {
	byAddr := func(a, b entry[A]) int { return a.addr.compare(b.addr) }
	if len(deltas) < minDealt {
		slices.SortStableFunc(deltas, func(a, b entry[A]) int {
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
	out := make([]entry[A], len(deltas))
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
	editor editor[entry[A]] // of the holdings
}

// apply applies deltas of one address. It returns 1 or -1 if the address comes or
// goes with them.
func (e *shardEditor[A]) apply(deltas []entry[A]) int32 {
	addr, hash := deltas[0].addr, deltas[0].hash()
	names := e.names(hash, addr)
	held := 0
	if names != nil {
		held = names.len()
	} else {
		for _, h := range e.editor.bucket(hash) {
			if h.addr == addr {
				held++
			}
		}
	}
	left := held
	if names == nil && held+len(deltas) <= maxEntries {
		for _, d := range deltas {
			left += mergeEntry(&e.editor, d)
		}
	} else {
		left = e.mergeNames(names, deltas)
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
func mergeEntry[A address[A]](edit *editor[entry[A]], d entry[A]) int {
	hash := d.hash()
	bucket := edit.bucket(hash)
	at := slices.IndexFunc(bucket, func(h entry[A]) bool {
		return h.addr == d.addr && h.service == d.service && h.host == d.host
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
func (e *shardEditor[A]) mergeNames(crowded *set[nameKey], deltas []entry[A]) int {
	addr, hash := deltas[0].addr, deltas[0].hash()
	var names set[nameKey]
	var gone, come []delta[nameKey]
	if crowded != nil {
		names = *crowded
	} else {
		for i := len(e.editor.bucket(hash)) - 1; i >= 0; i-- {
			if h := e.editor.bucket(hash)[i]; h.addr == addr {
				come = append(come, delta[nameKey]{nameKey{h.service, h.host}, h.refs})
				e.editor.remove(hash, i)
			}
		}
		names, come = names.merge(sum(come)), nil
	}
	for _, d := range deltas {
		c := delta[nameKey]{nameKey{d.service, d.host}, d.refs}
		if d.refs == removeAll { // before others of the service
			gone = append(gone, c)
		} else {
			come = append(come, c)
		}
	}
	names = names.merge(sum(gone)).merge(sum(come))

	crowds := e.nameSets.edit()
	at := slices.IndexFunc(crowds.bucket(hash), func(c nameSet[A]) bool { return c.addr == addr })
	switch many := names.len() > maxEntries; {
	case many && at < 0:
		crowds.add(nameSet[A]{addr, names})
	case many:
		(*crowds.mutable(hash))[at].names = names
	case at >= 0:
		crowds.remove(hash, at)
	}
	e.nameSets = crowds.table
	if names.len() <= maxEntries {
		for x := range names.all {
			e.editor.add(entry[A]{x.key.service, x.key.host, addr, x.refs})
		}
	}
	return names.len()
}

// find looks up an address. The index is published apart from the services, so it
// may be a change behind: a name that does not give the address is left out.
func (x *reverseIndex[A]) lookup(addr A, a netip.Addr) (Node, Result) {
	hash := hashAddr(addr)
	s := x.shard(hash).Load()
	if s == nil {
		return Node{}, Outside
	}
	if s.nameSets.n > 0 {
		if names := s.names(hash, addr); names != nil {
			if c := newNameRange(a, names); c != nil {
				return Node{nameRange: c}, Found
			}
			return Node{}, Outside
		}
	}
	var names []addrName
	for _, h := range s.entries.bucket(hash) {
		if h.addr != addr {
			continue
		}
		if o, ok := (nameKey{h.service, h.host}).resolve(a); ok {
			names = append(names, o)
		}
	}
	if len(names) == 0 {
		return Node{}, Outside
	}
	return Node{names: preferHostnames(names)}, Found
}

// preferred returns the owners whose names pods were given, or, if there is
// none, all: those whose names are made from addresses. They are sorted.
func preferHostnames(names []addrName) []addrName {
	if len(names) < 2 {
		return names
	}
	slices.SortFunc(names, addrName.compare)
	given := func(o addrName) bool { return o.hostname }
	if slices.ContainsFunc(names, given) {
		names = slices.DeleteFunc(names, func(o addrName) bool { return !o.hostname })
	}
	return names
}

// editIndex makes the changes of the reverse index that some services need.
func (u *Update) indexChange(changed []*pending) (out reverseChange) {
	u.entries4, u.entries6 = u.entries4[:0], u.entries6[:0]
	for _, p := range changed {
		if p.deleted {
			for h := range p.old.hosts.all {
				addrs := h.addrs()
				for a := range addrs.all {
					u.noteEntry(p.service, newHostKey(h.id, len(h.label), true), a, removeAll)
					u.noteEntry(p.service, newHostKey(h.id, len(h.label), false), a, removeAll)
				}
			}
		}
		for _, d := range p.change.hosts {
			hash := hashString(d.key.host)
			h := hostWithLabel(&p.next.hosts, hash, d.key.host)
			if h == nil { // it leaves
				h = hostWithLabel(&p.base.hosts, hash, d.key.host)
			}
			if d.refs < 0 && p.next.refsOf(d.key.host, d.key.addr) == 0 {
				// Whether it was a hostname, the caller may have told otherwise.
				u.noteEntry(p.service, newHostKey(h.id, len(h.label), true), d.key.addr, removeAll)
				u.noteEntry(p.service, newHostKey(h.id, len(h.label), false), d.key.addr, removeAll)
				continue
			}
			u.noteEntry(p.service, newHostKey(h.id, len(h.label), d.key.hostname), d.key.addr, d.refs)
		}
	}
	out.shards4, out.addrs4 = u.trie.v4.build(u.entries4)
	out.shards6, out.addrs6 = u.trie.v6.build(u.entries6)
	for _, d := range out.addrs4 {
		u.trie.stats.Addresses += int(d.refs)
	}
	for _, d := range out.addrs6 {
		u.trie.stats.Addresses += int(d.refs)
	}
	return out
}

// sides returns the addresses that come, and those that go.
func bySign[A address[A]](moved []delta[A]) (come, gone []delta[A]) {
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
func (u *Update) noteEntry(s *service, name hostKey, a netip.Addr, refs int32) {
	if a.Is4() {
		u.entries4 = append(u.entries4, entry[addr4]{s, name, a.As4(), refs})
	} else {
		u.entries6 = append(u.entries6, entry[addr6]{s, name, a.As16(), refs})
	}
}

// indexChange is what a portion of a commit publishes of the reverse index.
type reverseChange struct {
	shards4 []newShard[addr4]
	shards6 []newShard[addr6]
	addrs4  []delta[addr4] // addresses that come (1) and go (-1)
	addrs6  []delta[addr6]
}

func (c *reverseChange) publish() {
	for _, r := range c.shards4 {
		r.at.Store(r.shard)
	}
	for _, r := range c.shards6 {
		r.at.Store(r.shard)
	}
}
