package records

import (
	"cmp"
	"net/netip"
	"slices"
)

// A host has the addresses of its ready endpoints or, if it has none, those of its addressed
// endpoints, which are withheld. So a change of a ready endpoint may hide or show the addresses
// of others. [change.settle] turns the deltas of endpoints into those of what hosts have; what
// follows it treats all hosts alike.

// addressed is a delta's endpoint with [Endpoint.Addressed].
type addressed struct {
	hostAddr
	hidden bool // the host has a ready endpoint
}

func (a addressed) compare(b addressed) int {
	return cmp.Or(a.hostAddr.compare(b.hostAddr), compareBool(a.hidden, b.hidden))
}

// addressedEndpoints are the addressed endpoints of a snapshot, hidden or not: either all of a
// host or none.
type addressedEndpoints struct {
	v4 set[addressedKey[addr4]]
	v6 set[addressedKey[addr6]]
}

// addressedKey is an addressed endpoint. It has no pointer and, with IPv4, takes 24 bytes in a
// set.
type addressedKey[A address[A]] struct {
	host             hostID
	addr             A
	hostname, hidden bool
}

func (k addressedKey[A]) compare(l addressedKey[A]) int {
	return cmp.Or(cmp.Compare(k.host, l.host), k.addr.compare(l.addr), compareBool(k.hostname, l.hostname), compareBool(k.hidden, l.hidden))
}

// firstOf returns the position of the first endpoint of a host, and whether it is hidden. If
// there is none it returns false.
func firstOf[A address[A]](s *set[addressedKey[A]], host hostID) (at int, hidden, ok bool) {
	at = s.search(addressedKey[A]{host: host})
	if at == s.len() {
		return at, false, false
	}
	c := s.at(at)
	k := c.item().key
	return at, k.hidden, k.host == host
}

// shows reports whether the host has the addresses of addressed endpoints.
func (s *snapshot) shows(host hostID) bool {
	if s.addressed == nil {
		return false
	}
	_, hidden, ok := firstOf(&s.addressed.v4, host)
	if !ok {
		_, hidden, ok = firstOf(&s.addressed.v6, host)
	}
	return ok && !hidden
}

// shown yields the addresses that hosts have of addressed endpoints.
func (s *snapshot) shown(yield func(netip.Addr) bool) {
	if s.addressed == nil {
		return
	}
	for x := range s.addressed.v4.all {
		if !x.key.hidden && !yield(x.key.addr.netip()) {
			return
		}
	}
	for x := range s.addressed.v6.all {
		if !x.key.hidden && !yield(x.key.addr.netip()) {
			return
		}
	}
}

// addressedAt returns the addressed endpoints of a host.
func (s *snapshot) addressedAt(h *host) []delta[addressed] {
	if s.addressed == nil || h == nil {
		return nil
	}
	out := appendAddressed(nil, &s.addressed.v4, h)
	return appendAddressed(out, &s.addressed.v6, h)
}

func appendAddressed[A address[A]](out []delta[addressed], s *set[addressedKey[A]], h *host) []delta[addressed] {
	i, _, ok := firstOf(s, h.id)
	if !ok {
		return out
	}
	for c := s.at(i); i < s.len() && c.item().key.host == h.id; i++ {
		x := c.item()
		out = append(out, delta[addressed]{addressed{hostAddr{host: h.label, addr: x.key.addr.netip(), hostname: x.key.hostname}, x.key.hidden}, x.refs()})
		c.next()
	}
	return out
}

// addressedRefs returns how many addressed endpoints of the host, which may be nil, are alike.
func (s *snapshot) addressedRefs(h *host, a addressed) int32 {
	switch {
	case s.addressed == nil || h == nil:
		return 0
	case a.addr.Is4():
		return s.addressed.v4.refsOf(addressedKey[addr4]{h.id, a.addr.As4(), a.hostname, a.hidden})
	default:
		return s.addressed.v6.refsOf(addressedKey[addr6]{h.id, a.addr.As16(), a.hostname, a.hidden})
	}
}

// mergeAddressed applies deltas of addressed endpoints. The hosts are merged already.
func (s *snapshot) mergeAddressed(old *snapshot, deltas []delta[addressed]) {
	if len(deltas) == 0 {
		return
	}
	var next addressedEndpoints
	if s.addressed != nil {
		next = *s.addressed
	}
	var v4 []delta[addressedKey[addr4]]
	var v6 []delta[addressedKey[addr6]]
	for _, d := range deltas {
		host := s.idOf(old, d.key.host)
		if d.key.addr.Is4() {
			v4 = append(v4, delta[addressedKey[addr4]]{addressedKey[addr4]{host, d.key.addr.As4(), d.key.hostname, d.key.hidden}, d.refs})
		} else {
			v6 = append(v6, delta[addressedKey[addr6]]{addressedKey[addr6]{host, d.key.addr.As16(), d.key.hostname, d.key.hidden}, d.refs})
		}
	}
	next.v4, next.v6 = next.v4.merge(sum(v4)), next.v6.merge(sum(v6))
	s.addressed = &next
	if next.v4.len()+next.v6.len() == 0 {
		s.addressed = nil
	}
}

// settle finds out what the hosts have after the change, whose deltas of ready endpoints are
// clamped already. It clamps those of addressed endpoints, too. Its time is linear in the deltas
// and, where a host gets its first ready endpoint or loses its last one, in all that are
// addressed there.
func (c *change) settle(base *snapshot) {
	c.mixed = len(c.addressed) > 0 || base.addressed != nil
	if !c.mixed {
		return
	}
	ready, withheld := c.hosts, slices.Clone(c.addressed)
	c.resolved, c.addressed = c.resolved[:0], c.addressed[:0]
	for len(ready)+len(withheld) > 0 {
		label := lowestLabel(ready, withheld)
		n, m := 0, 0
		for n < len(ready) && ready[n].key.host == label {
			n++
		}
		for m < len(withheld) && withheld[m].key.host == label {
			m++
		}
		c.settleHost(base, label, ready[:n], withheld[:m])
		ready, withheld = ready[n:], withheld[m:]
	}
	c.resolved, c.addressed = sum(c.resolved), sum(c.addressed)
}

// lowestLabel returns the lowest host of two sorted lists, of which one may be empty.
func lowestLabel(ready []delta[hostAddr], withheld []delta[addressed]) string {
	switch {
	case len(ready) == 0:
		return withheld[0].key.host
	case len(withheld) == 0 || ready[0].key.host < withheld[0].key.host:
		return ready[0].key.host
	}
	return withheld[0].key.host
}

// settleHost is settle for one host.
func (c *change) settleHost(base *snapshot, label string, ready []delta[hostAddr], withheld []delta[addressed]) {
	h := base.hostNamed(label)
	was := h != nil && !base.shows(h.id)
	is := hasReadyAfter(h, was, ready)
	for i := range withheld {
		d := &withheld[i]
		d.key.hidden = was
		if d.refs < 0 {
			d.refs = max(d.refs, -base.addressedRefs(h, d.key))
		}
	}
	c.resolved = append(c.resolved, ready...)
	if was != is { // what is there is hidden from now on, or shown
		there := base.addressedAt(h)
		for _, d := range there {
			d.refs = -d.refs
			c.countAddressed(d)
		}
		withheld = append(there, withheld...)
	}
	for _, d := range withheld {
		d.key.hidden = is
		c.countAddressed(d)
	}
}

// countAddressed adds the delta of an addressed endpoint and, unless it is hidden, that of its
// host.
func (c *change) countAddressed(d delta[addressed]) {
	c.addressed = append(c.addressed, d)
	if !d.key.hidden {
		c.resolved = append(c.resolved, delta[hostAddr]{d.key.hostAddr, d.refs})
	}
}

// hasReadyAfter reports whether a host has a ready endpoint after the clamped deltas of its ready
// endpoints; was reports whether it has one before.
func hasReadyAfter(h *host, was bool, deltas []delta[hostAddr]) bool {
	removed := int32(0)
	for _, d := range deltas {
		if d.refs > 0 {
			return true
		}
		removed -= d.refs
	}
	if !was {
		return false
	}
	addrs := h.addrs()
	if addrs.v4.len()+addrs.v6.len() > len(deltas) { // no delta removes two addresses
		return true
	}
	total := int32(0)
	for x := range addrs.v4.all {
		total += x.refs()
	}
	for x := range addrs.v6.all {
		total += x.refs()
	}
	return total > removed
}
