package records

import "net/netip"

// order holds all addresses sorted, which tells whether any of them is in a
// prefix: the names above reverse names are empty non-terminals then. Only the
// owner of a reverse zone needs to know, and a change copies a directory as long
// as there are addresses, so it is kept on request.
type order struct {
	v4 set[addr4]
	v6 set[addr6]
}

// merge returns the order with changes, in any order. Until a commit has ended, an
// address that went and came again counts twice.
func (o *order) merge(v4 []delta[addr4], v6 []delta[addr6]) *order {
	return &order{o.v4.merge(sum(v4)), o.v6.merge(sum(v6))}
}

// EnableCovers makes [Trie.Covers] work. It is called before the first update.
func (t *Trie) EnableCovers() { t.addrs.Store(new(order)) }

// Covers tells whether any address is in the prefix.
func (t *Trie) Covers(p netip.Prefix) bool {
	o := t.addrs.Load()
	if o == nil {
		return false
	}
	first := p.Masked().Addr()
	if first.Is4() {
		if i := o.v4.search(first.As4()); i < o.v4.len() {
			c := o.v4.at(i)
			return p.Contains(netip.AddrFrom4(c.item().key))
		}
		return false
	}
	if i := o.v6.search(first.As16()); i < o.v6.len() {
		c := o.v6.at(i)
		return p.Contains(netip.AddrFrom16(c.item().key))
	}
	return false
}
