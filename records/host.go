package records

import (
	"net/netip"
	"slices"
)

// host is a label below a service, with its addresses. Several endpoints may share
// it. Nearly every host has one IPv4 address: it then takes 40 bytes, and its label
// shares the bytes of [Endpoint.Host].
type host struct {
	id    hostID
	label string
	one   [1]item[zoned4] // the only address, if it is IPv4
	more  *addresses      // instead of one: several addresses, or an IPv6 address
}

// hostID identifies a host within its service: the hash of its label above 16 bits
// that differ between labels with the same hash. An id is 8 bytes without a pointer,
// where a string is 16 with one: the garbage collector need not scan the sets of
// targets.
type hostID uint64

// endHostID is above every id.
const endHostID = hostID(1 << 48)

func newHostID(hash uint32, seq uint16) hostID { return hostID(hash)<<16 | hostID(seq) }

func (h hostID) hash() uint32 { return uint32(h >> 16) }

func (h host) hash() uint32 { return h.id.hash() }

// addrs returns the addresses of a host. The host must not be written afterwards,
// because the addresses share its memory.
func (h *host) addrs() addresses {
	if h.more != nil {
		return *h.more
	}
	return addresses{v4: set[zoned4]{items: h.one[:]}}
}

func (h *host) setAddrs(a addresses) {
	h.more = nil
	if a.v4.len() == 1 && a.v6.len() == 0 {
		first := a.v4.at(0)
		h.one[0] = *first.item()
	} else {
		more := a                                // declared here, so that the other case does not allocate
		more.v4.items = slices.Clone(a.v4.items) // they may be in a host that is about to be written
		h.more = &more
	}
}

// sharedHosts returns 1 if several endpoints share a host with these addresses, else
// 0: an endpoint has at most one address of each family.
func (a *addresses) sharedHosts() int32 {
	if a.v4.len() > 1 || a.v6.len() > 1 {
		return 1
	}
	return 0
}

// hostWithLabel returns the host with the label, or nil.
func hostWithLabel[L string | []byte](hosts *table[host], hash uint32, label L) *host {
	bucket := hosts.bucket(hash)
	for i := range bucket {
		if h := &bucket[i]; h.id.hash() == hash && h.label == string(label) {
			return h
		}
	}
	return nil
}

// hostByLabel returns the host with the label, or nil.
func (s *snapshot) hostByLabel(label []byte) *host {
	return hostWithLabel(&s.hosts, hashBytes(label), label)
}

// hostNamed is hostByLabel for a string.
func (s *snapshot) hostNamed(label string) *host {
	return hostWithLabel(&s.hosts, hashString(label), label)
}

// hostByID returns the host with the id, or nil.
func (s *snapshot) hostByID(id hostID) *host {
	bucket := s.hosts.bucket(id.hash())
	for i := range bucket {
		if h := &bucket[i]; h.id == id {
			return h
		}
	}
	return nil
}

// idOf returns the id of a host that s has, or that old had.
func (s *snapshot) idOf(old *snapshot, label string) hostID {
	hash := hashString(label)
	h := hostWithLabel(&s.hosts, hash, label)
	if h == nil { // the change removes it
		h = hostWithLabel(&old.hosts, hash, label)
	}
	return h.id
}

// readyHost returns the host with the label if it has a ready endpoint, or nil.
func (s *snapshot) readyHost(label string) *host {
	h := s.hostNamed(label)
	if h == nil || s.shows(h.id) {
		return nil
	}
	return h
}

// readyRefsOf returns how many ready endpoints have the address at the host.
func (s *snapshot) readyRefsOf(label string, addr netip.Addr) int32 {
	return refsAt(s.readyHost(label), addr)
}

// refsOf returns how many of the endpoints whose addresses the host has have this one.
func (s *snapshot) refsOf(label string, addr netip.Addr) int32 {
	return refsAt(s.hostNamed(label), addr)
}

// refsAt is refsOf for a host, which may be nil.
func refsAt(h *host, addr netip.Addr) int32 {
	if h == nil {
		return 0
	}
	addrs := h.addrs()
	return addrs.refsOf(noZone, addr)
}

// mergeHosts applies deltas, which are sorted by host.
func (s *snapshot) mergeHosts(deltas []delta[hostAddr]) {
	if len(deltas) == 0 {
		return
	}
	edit := s.hosts.edit()
	for len(deltas) > 0 {
		label := deltas[0].key.host
		n := 1
		for n < len(deltas) && deltas[n].key.host == label {
			n++
		}
		s.sharedHosts += mergeHost(&edit, label, deltas[:n])
		deltas = deltas[n:]
	}
	s.hosts = edit.table
}

// mergeHost applies deltas of one host. It returns 1 if several endpoints begin to
// share the host, -1 if they cease to, else 0.
func mergeHost(edit *editor[host], label string, deltas []delta[hostAddr]) int32 {
	hash := hashString(label)
	bucket := edit.bucket(hash)
	at := slices.IndexFunc(bucket, func(h host) bool { return h.label == label })
	h := host{label: label}
	var addrs addresses
	if at >= 0 {
		h.id = bucket[at].id
		addrs = bucket[at].addrs()
	} else {
		h.id = newID(bucket, hash)
	}
	shared := addrs.sharedHosts()
	addrs = addrs.mergeHost(deltas)
	switch gone := addrs.v4.len()+addrs.v6.len() == 0; {
	case at < 0 && !gone:
		h.setAddrs(addrs)
		edit.add(h)
	case at >= 0 && gone:
		edit.remove(hash, at)
	case at >= 0:
		h.setAddrs(addrs)
		(*edit.mutable(hash))[at] = h
	}
	return addrs.sharedHosts() - shared
}

// newID returns an id that no host in the bucket has. Two labels of one service
// seldom have the same hash.
func newID(bucket []host, hash uint32) hostID {
	for seq := uint16(0); ; seq++ {
		id := newHostID(hash, seq)
		if !slices.ContainsFunc(bucket, func(h host) bool { return h.id == id }) {
			return id
		}
	}
}
