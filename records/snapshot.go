package records

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// snapshot is all that is known of a service at one time. A published snapshot
// is never written: a change makes a new one, which shares with the old what
// did not change. A reply reads one snapshot, so it never mixes two states.
type snapshot struct {
	hosts       table[host]   // by label below the service
	allAddrs    addresses     // of every host, as the service's own name has them
	ports       set[*port]    // by protocol and name; those without a name, too
	allTargets  targets       // of every port together
	long        *longLists    // nil if no endpoint has a long list
	withheld    set[withheld] // what does not answer, and why
	counts      Counts        // endpoints by reason
	sharedHosts int32         // hosts with several addresses of one family
	namedPorts  int32         // ports with a name
}

// host is a label below a service with its addresses; several pods may share it.
// Nearly every host has one IPv4 address, and takes no memory beside its 40 bytes
// then but for the label, whose bytes are the pod's.
type host struct {
	id    hostID
	label string
	one   [1]item[addr4]
	more  *addresses // instead of one
}

type addresses struct {
	v4 set[addr4]
	v6 set[addr6]
}

func (h host) hash() uint32 { return h.id.hash() }

// addrs returns the addresses of a host that is not written any more.
func (h *host) addrs() addresses {
	if h.more != nil {
		return *h.more
	}
	return addresses{v4: set[addr4]{items: h.one[:]}}
}

// has tells whether it is one of the addresses.
func (a *addresses) has(addr netip.Addr) bool { return a.refsOf(addr) > 0 }

func (a *addresses) refsOf(addr netip.Addr) int32 {
	if addr.Is4() {
		return a.v4.refsOf(addr.As4())
	}
	return a.v6.refsOf(addr.As16())
}

// shared is 1 for the addresses of several endpoints, else 0: one endpoint has at
// most one address of each family.
func (a *addresses) sharedHosts() int32 {
	if a.v4.len() > 1 || a.v6.len() > 1 {
		return 1
	}
	return 0
}

// each yields every address.
func (a *addresses) all(yield func(netip.Addr) bool) {
	for x := range a.v4.all {
		if !yield(netip.AddrFrom4(x.key)) {
			return
		}
	}
	for x := range a.v6.all {
		if !yield(netip.AddrFrom16(x.key)) {
			return
		}
	}
}

func (h *host) setAddrs(a addresses) {
	h.more = nil
	if a.v4.len() == 1 && a.v6.len() == 0 {
		first := a.v4.at(0)
		h.one[0] = *first.item()
	} else {
		more := a                                // here, to keep the other case off the heap
		more.v4.items = slices.Clone(a.v4.items) // which may be those of a host that is about to be written
		h.more = &more
	}
}

// withLabel returns the host that has a label, or nil.
func hostWithLabel[L string | []byte](hosts *table[host], hash uint32, label L) *host {
	bucket := hosts.bucket(hash)
	for i := range bucket {
		if h := &bucket[i]; h.id.hash() == hash && h.label == string(label) {
			return h
		}
	}
	return nil
}

// host returns the host with a label, or nil.
func (s *snapshot) hostByLabel(label []byte) *host {
	return hostWithLabel(&s.hosts, hashBytes(label), label)
}

// refsOf returns how many endpoints have an address at a host.
func (s *snapshot) refsOf(label string, addr netip.Addr) int32 {
	h := hostWithLabel(&s.hosts, hashString(label), label)
	if h == nil {
		return 0
	}
	addrs := h.addrs()
	return addrs.refsOf(addr)
}

// hostOf returns the host with an id, or nil.
func (s *snapshot) hostByID(id hostID) *host {
	bucket := s.hosts.bucket(id.hash())
	for i := range bucket {
		if h := &bucket[i]; h.id == id {
			return h
		}
	}
	return nil
}

// portName is a port's name with its protocol. The name may be empty.
type portName struct{ protocol, name string }

// newPortName returns the name of a port. Kubernetes takes names of 63 bytes, and
// with the underscore they are no label (RFC 1035, section 2.3.4): such a port is
// unnamed in DNS.
func newPortName(p Port) portName {
	if len(p.Name) > maxLabel-1 {
		return portName{protocol: p.Protocol}
	}
	return portName{p.Protocol, p.Name}
}

func (p portName) compare(q portName) int {
	if c := strings.Compare(p.protocol, q.protocol); c != 0 {
		return c
	}
	return strings.Compare(p.name, q.name)
}

// targets are what SRV records point to.
type targets struct {
	set       set[target]
	endpoints int // what they stand for; the weight of each comes from it
}

func (t targets) merge(deltas []delta[target]) targets {
	for _, d := range deltas {
		t.endpoints += int(d.refs)
	}
	t.set = t.set.merge(deltas)
	return t
}

// withheld is a host label and why an endpoint that has it does not answer.
type withheld struct {
	host   string
	reason Reason
}

func (w withheld) compare(v withheld) int {
	return cmp.Or(strings.Compare(w.host, v.host), cmp.Compare(w.reason, v.reason))
}

// empty tells whether the service has no ready endpoint. It then has no name
// either (Kubernetes DNS specification, section 2.4.1).
func (s *snapshot) empty() bool { return s.hosts.n == 0 }

// with returns the snapshot with the net change applied.
func (s *snapshot) with(c *change) *snapshot {
	next := *s
	next.mergeHosts(c.hosts)
	next.allAddrs = s.allAddrs.merge(c.hosts)
	next.mergePorts(s, c.ports)
	next.mergeLists(s, c.lists)
	next.withheld = s.withheld.merge(c.withheld)
	for _, d := range c.hosts {
		next.counts[Ready] += int(d.refs)
	}
	for _, d := range c.withheld {
		next.counts[d.key.reason] += int(d.refs)
	}
	return &next
}

// mergeHosts applies deltas, sorted by host.
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

// mergeHost applies deltas of one host. It returns 1 if several endpoints share
// the host from now on, -1 if they do no longer, else 0.
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
	addrs = addrs.merge(deltas)
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

// unusedID returns an id for another host with a hash. Two labels of one service
// seldom have the same hash.
func newID(bucket []host, hash uint32) hostID {
	for seq := uint16(0); ; seq++ {
		id := newHostID(hash, seq)
		if !slices.ContainsFunc(bucket, func(h host) bool { return h.id == id }) {
			return id
		}
	}
}
