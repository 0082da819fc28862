package records

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sort"
	"strings"
)

const (
	// spreadPorts is the length of the longest list that is not long.
	maxShortPorts = 16
	// servedLists is the number of long lists that a service has SRV records of.
	maxServedLists = 8
)

// PortList is the ports of an endpoint. It is immutable, and endpoints share it.
// The nil list has no ports.
//
// A list of more than 16 ports is long. A service stores each host with each of
// its ports, but with a long list as a whole: a change of an endpoint then costs
// the same, whatever the length of the list.
//
// Of the long lists that differ, a service has SRV records of 8 at most. Which they
// are depends on the lists that its ready endpoints have, and on nothing else. An
// endpoint with another long list keeps its addresses, and gets its SRV records
// when fewer lists are in use.
type PortList struct {
	ports   []Port
	resolve func() []Port // returns the ports if it is not nil
	digest  string        // equal for equal lists; empty if the list is not long
}

// NewPortList returns the list of the ports, which the caller must not change any
// more. The order of the ports does not matter.
func NewPortList(ports []Port) *PortList {
	switch {
	case len(ports) == 0:
		return nil
	case len(ports) <= maxShortPorts:
		return &PortList{ports: ports}
	}
	ports = slices.Clone(ports)
	sortPorts(ports)
	content := []byte("ports")
	for _, p := range ports {
		for _, s := range []string{p.Protocol, p.Name} {
			content = append(binary.AppendUvarint(content, uint64(len(s))), s...)
		}
		content = binary.BigEndian.AppendUint16(content, p.Number)
	}
	return &PortList{ports: ports, digest: digestOf(content)}
}

// NewLazyPortList returns a long list whose ports are made only while a service has
// SRV records of it. Of lists with equal ids, resolve must return equal ports.
func NewLazyPortList(id []byte, resolve func() []Port) *PortList {
	return &PortList{resolve: resolve, digest: digestOf(append([]byte("lazy"), id...))}
}

func sortPorts(ports []Port) {
	slices.SortFunc(ports, func(a, b Port) int {
		if c := (portName{a.Protocol, a.Name}).compare(portName{b.Protocol, b.Name}); c != 0 {
			return c
		}
		return cmp.Compare(a.Number, b.Number)
	})
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return string(sum[:])
}

// IsLongPortList reports whether a list of n ports is long.
func IsLongPortList(n int) bool { return n > maxShortPorts }

// Ports returns the ports, which the caller must not change.
func (l *PortList) Ports() []Port {
	switch {
	case l == nil:
		return nil
	case l.resolve != nil:
		return l.resolve()
	}
	return l.ports
}

// Equal reports whether the lists are equal. Of lists that are not long, the order
// matters.
func (l *PortList) Equal(m *PortList) bool {
	if l == m || l == nil || m == nil {
		return l == m
	}
	return l.digest == m.digest && (l.long() || slices.Equal(l.ports, m.ports))
}

func (l *PortList) long() bool { return l.digest != "" }

// compare orders long lists.
func (l *PortList) compare(m *PortList) int {
	if l == m {
		return 0
	}
	return strings.Compare(l.digest, m.digest)
}

// longLists are the long lists of a service.
type longLists struct {
	lists   set[*PortList]  // each for the endpoints that have it
	targets set[longTarget] // by list
	served  []servedList    // the first of lists
}

// listHost is a host with a long list.
type longTarget struct {
	list *PortList
	host hostID
}

func (h longTarget) compare(g longTarget) int {
	return cmp.Or(h.list.compare(g.list), cmp.Compare(h.host, g.host))
}

// servedList is a long list that SRV records come from.
type servedList struct {
	*portTable
	list      *PortList
	first, n  int // its part of longLists.hosts
	endpoints int
}

// portTable is the ports of a long list, sorted by name and number.
type portTable struct {
	names    []portName
	numbers  []uint16 // of the name at the same index
	distinct []uint16 // numbers without repetitions, sorted
}

func newPortTable(ports []Port) *portTable {
	ports = slices.Clone(ports)
	for i := range ports {
		ports[i].Name = newPortName(ports[i]).name
	}
	sortPorts(ports)
	t := &portTable{names: make([]portName, len(ports)), numbers: make([]uint16, len(ports))}
	for i, p := range ports {
		t.names[i], t.numbers[i] = portName{p.Protocol, p.Name}, p.Number
	}
	t.distinct = slices.Clone(t.numbers)
	slices.Sort(t.distinct)
	t.distinct = slices.Compact(t.distinct)
	return t
}

// named returns the numbers of the ports with a name.
func (t *portTable) numbersOf(name portName) []uint16 {
	first := sort.Search(len(t.names), func(i int) bool { return t.names[i].compare(name) >= 0 })
	n := sort.Search(len(t.names)-first, func(i int) bool { return t.names[first+i].compare(name) > 0 })
	return t.numbers[first : first+n]
}

// port is a name that SRV records are at. The targets are those of lists that are
// not long.
type port struct {
	portName
	targets
}

func (p *port) compare(q *port) int { return p.portName.compare(q.portName) }

// searchPorts returns the first port that is not below what is looked for, and for
// how many lists it stands: each long list that is served counts, and all others
// together as one. It returns nil if every port is below.
func (s *snapshot) searchPorts(below func(*port) bool) (*port, int32) {
	set, before := &s.ports, 0
	for len(set.children) > 0 {
		i := max(0, sort.Search(len(set.children), func(i int) bool { return !below(set.children[i].first()) })-1)
		if i > 0 {
			before += set.children[i-1].end
		}
		set = set.children[i].set
	}
	i := sort.Search(len(set.items), func(i int) bool { return !below(set.items[i].key) })
	if i < len(set.items) {
		return set.items[i].key, set.items[i].refs
	}
	if before += i; before == s.ports.len() {
		return nil, 0
	}
	c := s.ports.at(before)
	return c.item().key, c.item().refs
}

// port returns the port with a name, or nil.
func (s *snapshot) portNamed(protocol, name []byte) *port {
	p, _ := s.searchPorts(func(p *port) bool {
		return p.protocol < string(protocol) || p.protocol == string(protocol) && p.name < string(name)
	})
	if p == nil || p.protocol != string(protocol) || p.name != string(name) {
		return nil
	}
	return p
}

// protocol reports whether a port with a name has the protocol.
func (s *snapshot) hasProtocol(protocol []byte) bool {
	p, _ := s.searchPorts(func(p *port) bool {
		return p.protocol < string(protocol) || p.protocol == string(protocol) && p.name == ""
	})
	return p != nil && p.protocol == string(protocol)
}

// portChange returns a copy of the port with a name for the caller to change, and
// for how many lists the port stands.
func (s *snapshot) portCopy(name portName) (*port, int32) {
	p, refs := s.searchPorts(func(p *port) bool { return p.portName.compare(name) < 0 })
	if p == nil || p.portName != name {
		return &port{portName: name}, 0
	}
	changed := *p
	return &changed, refs
}

// countName counts a name that comes or goes when refs change.
func (s *snapshot) countNamed(name portName, refs, change int32) {
	switch {
	case name.name == "":
	case refs == 0 && change > 0:
		s.namedPorts++
	case refs > 0 && refs+change == 0:
		s.namedPorts--
	}
}

// mergePorts applies deltas, sorted by port.
func (s *snapshot) mergePorts(before *snapshot, deltas []portDelta) {
	if len(deltas) == 0 {
		return
	}
	every := make([]delta[target], len(deltas))
	for i, d := range deltas {
		every[i] = delta[target]{newTarget(s.idOf(before, d.host), d.number), d.refs}
	}
	changed := make([]delta[*port], 0, 1)
	for start := 0; start < len(deltas); {
		name, end := deltas[start].portName, start+1
		for end < len(deltas) && deltas[end].portName == name {
			end++
		}
		p, refs := s.portCopy(name)
		had := p.set.len() > 0
		if end-start == len(deltas) {
			every = sum(every)
			p.targets = p.merge(every)
		} else {
			p.targets = p.merge(sum(slices.Clone(every[start:end])))
		}
		var change int32
		switch has := p.set.len() > 0; {
		case has && !had:
			change = 1
		case had && !has:
			change = -1
		}
		s.countNamed(name, refs, change)
		changed = append(changed, delta[*port]{p, change}) // which replaces the port that is there
		start = end
	}
	s.ports = s.ports.merge(changed)
	if s.ports.len() == 1 {
		c := s.ports.at(0)
		s.allTargets = c.item().key.targets
	} else {
		s.allTargets = s.allTargets.merge(sum(every))
	}
}

// mergeLists applies deltas of long lists.
func (s *snapshot) mergeLists(before *snapshot, deltas []delta[hostList]) {
	if len(deltas) == 0 {
		return
	}
	var old longLists
	if s.long != nil {
		old = *s.long
	}
	hosts, lists := make([]delta[longTarget], len(deltas)), make([]delta[*PortList], len(deltas))
	for i, d := range deltas {
		hosts[i] = delta[longTarget]{longTarget{d.key.list, s.idOf(before, d.key.host)}, d.refs}
		lists[i] = delta[*PortList]{d.key.list, d.refs}
	}
	long := &longLists{lists: old.lists.merge(sum(lists)), targets: old.targets.merge(sum(hosts))}
	long.served = s.serveLists(long, old.served)
	s.long = long
	if long.lists.len() == 0 {
		s.long = nil
	}
}

// serve returns the long lists that are served from now on, and counts the names of
// those that come and of those served before that go.
func (s *snapshot) serveLists(long *longLists, before []servedList) []servedList {
	var served []servedList
	first := 0
	for x := range long.lists.all {
		if len(served) == maxServedLists {
			break
		}
		l := servedList{list: x.key, first: first, endpoints: int(x.refs)}
		first = long.targets.search(longTarget{x.key, endHostID})
		l.n = first - l.first
		if i := slices.IndexFunc(before, func(b servedList) bool { return b.list.compare(x.key) == 0 }); i >= 0 {
			l.portTable = before[i].portTable
		} else {
			l.portTable = newPortTable(x.key.Ports())
			s.countListNames(l.portTable, 1)
		}
		served = append(served, l)
	}
	for _, b := range before {
		if !slices.ContainsFunc(served, func(l servedList) bool { return l.portTable == b.portTable }) {
			s.countListNames(b.portTable, -1)
		}
	}
	return served
}

// countNames notes that a long list comes (1) or goes (-1).
func (s *snapshot) countListNames(t *portTable, change int32) {
	var changed []delta[*port]
	for i, name := range t.names {
		if i > 0 && name == t.names[i-1] {
			continue
		}
		p, refs := s.portCopy(name)
		s.countNamed(name, refs, change)
		changed = append(changed, delta[*port]{p, change})
	}
	s.ports = s.ports.merge(changed)
}

// searchAfter returns the position of the first target that is above t.
func searchAfter(s *set[target], t target) int {
	i := s.search(t)
	if s.refsOf(t) > 0 {
		i++
	}
	return i
}

// idOf returns the id of a host that the snapshot has, or had before.
func (s *snapshot) idOf(before *snapshot, label string) hostID {
	hash := hashString(label)
	h := hostWithLabel(&s.hosts, hash, label)
	if h == nil { // it leaves
		h = hostWithLabel(&before.hosts, hash, label)
	}
	return h.id
}
