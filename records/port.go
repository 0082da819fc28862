package records

import (
	"slices"
	"sort"
	"strings"
)

// portName is the protocol and the name of a port. The name may be empty.
type portName struct{ protocol, name string }

// newPortName returns the name of a port. Kubernetes allows names of 63 bytes; with
// the underscore, such a name is longer than a label (RFC 1035, section 2.3.4), so
// the port is unnamed in DNS.
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

// port is a port name with the targets that it has from short lists. Those from long
// lists are in [longLists].
//
// In snapshot.ports, the refs of a port are the number of its sources: each served
// long list is one, and all short lists together are one.
type port struct {
	portName
	targets
	more *set[target] // targets in several zones, in those where targets does not have them; nil if there are none
}

func (p *port) compare(q *port) int { return p.portName.compare(q.portName) }

// searchPorts returns the first port for which below reports false, with its refs,
// or nil if there is none. The ports must be sorted so that below is true first.
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
		return set.items[i].key, set.items[i].refs()
	}
	if before += i; before == s.ports.len() {
		return nil, 0
	}
	c := s.ports.at(before)
	return c.item().key, c.item().refs()
}

// portNamed returns the port with the protocol and the name, or nil.
func (s *snapshot) portNamed(protocol, name []byte) *port {
	p, _ := s.searchPorts(func(p *port) bool {
		return p.protocol < string(protocol) || p.protocol == string(protocol) && p.name < string(name)
	})
	if p == nil || p.protocol != string(protocol) || p.name != string(name) {
		return nil
	}
	return p
}

// hasProtocol reports whether a port with a name has the protocol.
func (s *snapshot) hasProtocol(protocol []byte) bool {
	p, _ := s.searchPorts(func(p *port) bool {
		return p.protocol < string(protocol) || p.protocol == string(protocol) && p.name == ""
	})
	return p != nil && p.protocol == string(protocol)
}

// portCopy returns a copy of the port, or a new one, for the caller to change. It
// also returns the refs of the port.
func (s *snapshot) portCopy(name portName) (*port, int32) {
	p, refs := s.searchPorts(func(p *port) bool { return p.portName.compare(name) < 0 })
	if p == nil || p.portName != name {
		return &port{portName: name}, 0
	}
	next := *p
	return &next, refs
}

// countNamed updates namedPorts for a port whose refs change.
func (s *snapshot) countNamed(name portName, refs, change int32) {
	switch {
	case name.name == "":
	case refs == 0 && change > 0:
		s.namedPorts++
	case refs > 0 && refs+change == 0:
		s.namedPorts--
	}
}

// mergePorts applies deltas, which are sorted by port.
func (s *snapshot) mergePorts(old *snapshot, deltas []portDelta) {
	if len(deltas) == 0 {
		return
	}
	all := make([]delta[target], len(deltas))
	for i, d := range deltas {
		all[i] = delta[target]{newTarget(d.zone, s.idOf(old, d.host), d.number), d.refs}
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
			all = sum(all)
			p.merge(all, s.numZones())
		} else {
			p.merge(sum(slices.Clone(all[start:end])), s.numZones())
		}
		var change int32
		switch has := p.set.len() > 0; {
		case has && !had:
			change = 1
		case had && !has:
			change = -1
		}
		s.countNamed(name, refs, change)
		changed = append(changed, delta[*port]{p, change}) // p replaces the port that it copies
		start = end
	}
	s.ports = s.ports.merge(changed)
	if s.ports.len() == 1 { // share the targets of the only port
		c := s.ports.at(0)
		p := c.item().key
		s.allTargets = p.targets
		if s.zones != nil {
			s.zones.targets = p.moreTargets()
		}
		return
	}
	var more set[target]
	if s.zones != nil {
		more = s.zones.targets
	}
	if s.allTargets, more = s.allTargets.merge(more, sum(all), s.numZones()); s.zones != nil {
		s.zones.targets = more
	}
}

// merge applies deltas, which are summed.
func (p *port) merge(deltas []delta[target], zones int) {
	targets, more := p.targets.merge(p.moreTargets(), deltas, zones)
	p.targets = targets
	p.more = nil
	if more.len() > 0 {
		p.more = new(set[target])
		*p.more = more
	}
}

func (p *port) moreTargets() set[target] {
	if p.more == nil {
		return set[target]{}
	}
	return *p.more
}
