package records

import (
	"cmp"
	"net/netip"
	"slices"
	"sync/atomic"
)

// removeAll, as the refs of a delta, removes an entry whatever its refs. A commit may
// apply it three times to one entry, and the sum must not overflow.
const removeAll = -1 << 29

// stagedShard is a shard to publish, and its place in the index.
type stagedShard[A address[A]] struct {
	at    *atomic.Pointer[shard[A]]
	shard *shard[A]
}

// build returns the changed shards, without publishing them. The refs of the given
// entries are deltas; those of one entry are applied in order. It also returns the
// addresses that appear in the index (1) or disappear (-1).
func (x *reverseIndex[A]) build(deltas []entry[A]) (out []stagedShard[A], addrs []delta[A]) {
	deltas = sortByShard(deltas)
	for len(deltas) > 0 {
		at := x.shard(deltas[0].hash())
		e := shardEditor[A]{}
		if old := at.Load(); old != nil {
			e.shard = *old
		}
		e.editor = e.entries.edit()
		for len(deltas) > 0 && x.shard(deltas[0].hash()) == at {
			n := 1
			for n < len(deltas) && deltas[n].addr == deltas[0].addr {
				n++
			}
			if refs := e.apply(deltas[:n]); refs != 0 {
				addrs = append(addrs, delta[A]{deltas[0].addr, refs})
			}
			deltas = deltas[n:]
		}
		e.entries = e.editor.table
		out = append(out, stagedShard[A]{at, &e.shard})
	}
	return out, addrs
}

// minDealt is the least number of deltas that sortByShard deals to shards. Fewer are
// only sorted.
const minDealt = 64

// sortByShard sorts deltas by shard and address. Those of one address keep their
// order. Dealing many deltas to their shards first hashes each address once and
// leaves little to sort.
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

// shardEditor builds a shard from another one.
type shardEditor[A address[A]] struct {
	shard[A]
	editor editor[entry[A]] // of entries
}

// apply applies deltas of one address. It returns 1 if the address appears, -1 if it
// disappears, else 0.
func (e *shardEditor[A]) apply(deltas []entry[A]) int32 {
	addr, hash := deltas[0].addr, deltas[0].hash()
	set := e.names(hash, addr)
	before := 0 // names
	if set != nil {
		before = set.len()
	} else {
		for _, x := range e.editor.bucket(hash) {
			if x.addr == addr {
				before++
			}
		}
	}
	after := before
	if set == nil && before+len(deltas) <= maxEntries {
		for _, d := range deltas {
			after += mergeEntry(&e.editor, d)
		}
	} else {
		after = e.mergeNames(set, deltas)
	}
	switch {
	case before == 0 && after > 0:
		return 1
	case before > 0 && after == 0:
		return -1
	}
	return 0
}

// mergeEntry applies one delta. It returns 1 if it adds the entry, -1 if it removes
// the entry, else 0.
func mergeEntry[A address[A]](edit *editor[entry[A]], d entry[A]) int {
	hash := d.hash()
	bucket := edit.bucket(hash)
	at := slices.IndexFunc(bucket, func(e entry[A]) bool { return e.addr == d.addr && e.nameKey == d.nameKey })
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

// mergeNames applies deltas of an address that has many names, or may get many. The
// set is nil if its names are entries so far. It returns the number of names after
// the deltas.
func (e *shardEditor[A]) mergeNames(set *set[nameKey], deltas []entry[A]) int {
	addr, hash := deltas[0].addr, deltas[0].hash()
	names := e.takeNames(set, hash, addr)
	var removed, counted []delta[nameKey]
	for _, d := range deltas {
		n := delta[nameKey]{d.nameKey, d.refs}
		if d.refs == removeAll { // precedes other deltas of its service
			removed = append(removed, n)
		} else {
			counted = append(counted, n)
		}
	}
	names = names.merge(sum(removed)).merge(sum(counted))

	sets := e.nameSets.edit()
	at := slices.IndexFunc(sets.bucket(hash), func(s nameSet[A]) bool { return s.addr == addr })
	switch many := names.len() > maxEntries; {
	case many && at < 0:
		sets.add(nameSet[A]{addr, names})
	case many:
		(*sets.mutable(hash))[at].names = names
	case at >= 0:
		sets.remove(hash, at)
	}
	e.nameSets = sets.table
	if names.len() <= maxEntries {
		for x := range names.all {
			e.editor.add(entry[A]{x.key, addr, x.refs()})
		}
	}
	return names.len()
}

// takeNames returns the set or, if it is nil, the set of the entries of the address,
// which it removes.
func (e *shardEditor[A]) takeNames(names *set[nameKey], hash uint32, addr A) set[nameKey] {
	if names != nil {
		return *names
	}
	var entries []delta[nameKey]
	for i := len(e.editor.bucket(hash)) - 1; i >= 0; i-- {
		if x := e.editor.bucket(hash)[i]; x.addr == addr {
			entries = append(entries, delta[nameKey]{x.nameKey, x.refs})
			e.editor.remove(hash, i)
		}
	}
	return set[nameKey]{}.merge(sum(entries))
}

// reverseChange is the part of the reverse index that a portion of a commit publishes.
type reverseChange struct {
	shards4 []stagedShard[addr4]
	shards6 []stagedShard[addr6]
	addrs4  []delta[addr4] // addresses that appear (1) and disappear (-1)
	addrs6  []delta[addr6]
}

// publish makes the new shards visible to readers.
func (c *reverseChange) publish() {
	for _, s := range c.shards4 {
		s.at.Store(s.shard)
	}
	for _, s := range c.shards6 {
		s.at.Store(s.shard)
	}
}

// reverseChange builds the shards for the services of a portion, which have their
// next snapshots. It also counts their addresses in the statistics. A clusterset has none of that.
func (u *Update) reverseChange(changed []*pending) (out reverseChange) {
	if u.trie.clusterset {
		return out
	}
	u.entries4, u.entries6 = u.entries4[:0], u.entries6[:0]
	for _, p := range changed {
		if p.deleted {
			for h := range p.old.hosts.all {
				addrs := h.addrs()
				for a := range addrs.all {
					u.noteRemoval(p.service, h.id, len(h.label), a)
				}
			}
		}
		for _, d := range p.change.names() {
			id := p.next.idOf(p.base, d.key.host)
			if d.refs < 0 && p.next.refsOf(d.key.host, d.key.addr) == 0 {
				u.noteRemoval(p.service, id, len(d.key.host), d.key.addr)
				continue
			}
			u.noteDelta(p.service, newHostKey(id, len(d.key.host), d.key.hostname), d.key.addr, d.refs)
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

// noteRemoval records that a host loses an address. It removes the name both as a
// hostname and as a generated label: Remove may have been called with another Hostname
// than Add.
func (u *Update) noteRemoval(s *service, id hostID, labelLen int, a netip.Addr) {
	u.noteDelta(s, newHostKey(id, labelLen, true), a, removeAll)
	u.noteDelta(s, newHostKey(id, labelLen, false), a, removeAll)
}

// noteDelta records a delta of the reverse index.
func (u *Update) noteDelta(s *service, host hostKey, a netip.Addr, refs int32) {
	if a.Is4() {
		u.entries4 = append(u.entries4, entry[addr4]{nameKey{s, host}, a.As4(), refs})
	} else {
		u.entries6 = append(u.entries6, entry[addr6]{nameKey{s, host}, a.As16(), refs})
	}
}

// splitAddrs separates the addresses that appear from those that disappear.
func splitAddrs[A address[A]](addrs []delta[A]) (appear, disappear []delta[A]) {
	for _, d := range addrs {
		if d.refs > 0 {
			appear = append(appear, d)
		} else {
			disappear = append(disappear, d)
		}
	}
	return appear, disappear
}
