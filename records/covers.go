package records

import "net/netip"

// EnableCovers makes [Trie.Covers] work. It must be called before the first update.
//
// Only an authoritative server of a reverse zone needs Covers, so others do not pay
// for the sorted set of all addresses.
func (t *Trie) EnableCovers() { t.addrs.Store(new(addressIndex)) }

// addressIndex is the addresses of all services, sorted.
type addressIndex struct {
	v4 set[addr4]
	v6 set[addr6]
}

// merge returns the index with the deltas applied, which it sorts.
func (x *addressIndex) merge(v4 []delta[addr4], v6 []delta[addr6]) *addressIndex {
	return &addressIndex{x.v4.merge(sum(v4)), x.v6.merge(sum(v6))}
}

// Covers reports whether a ready endpoint has an address in the prefix. If so, the
// names above its reverse name are empty non-terminals. Covers reports false unless
// [Trie.EnableCovers] was called.
func (t *Trie) Covers(p netip.Prefix) bool {
	addrs := t.addrs.Load()
	if addrs == nil {
		return false
	}
	first := p.Masked().Addr()
	if first.Is4() {
		if i := addrs.v4.search(first.As4()); i < addrs.v4.len() {
			c := addrs.v4.at(i)
			return p.Contains(netip.AddrFrom4(c.item().key))
		}
		return false
	}
	if i := addrs.v6.search(first.As16()); i < addrs.v6.len() {
		c := addrs.v6.at(i)
		return p.Contains(netip.AddrFrom16(c.item().key))
	}
	return false
}
