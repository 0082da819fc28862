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
	hosts    table[*host]  // by label below the service
	v4       set[addr4]    // every address, as the service's own name has them
	v6       set[addr6]    //
	ports    []port        // sorted by protocol and name
	all      port          // every port together, the unnamed too
	withheld set[withheld] // what does not answer, and why
	counts   Counts        // endpoints by reason
}

// host is a label below a service with its addresses; several pods may share it.
type host struct {
	label string
	v4    set[addr4]
	v6    set[addr6]
}

func (h *host) key() string { return h.label }

// port is where SRV records come from.
type port struct {
	portName
	targets   set[target]
	endpoints int // what the targets stand for; their weight comes from it
}

type portName struct{ protocol, name string }

func (p portName) compare(q portName) int {
	return cmp.Or(strings.Compare(p.protocol, q.protocol), strings.Compare(p.name, q.name))
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
func (s *snapshot) empty() bool { return s.v4.len() == 0 && s.v6.len() == 0 }

// addrs yields every address.
func (s *snapshot) addrs(yield func(netip.Addr) bool) {
	for _, c := range s.v4.chunks {
		for _, x := range c.items {
			if !yield(netip.AddrFrom4(x.key)) {
				return
			}
		}
	}
	for _, c := range s.v6.chunks {
		for _, x := range c.items {
			if !yield(netip.AddrFrom16(x.key)) {
				return
			}
		}
	}
}

// port returns the named port, or nil.
func (s *snapshot) port(protocol, name []byte) *port {
	for i := range s.ports {
		if p := &s.ports[i]; p.protocol == string(protocol) && p.name == string(name) {
			return p
		}
	}
	return nil
}

// protocol tells whether a named port has the protocol.
func (s *snapshot) protocol(protocol []byte) bool {
	return slices.ContainsFunc(s.ports, func(p port) bool { return p.protocol == string(protocol) })
}

// change is what happens to a service within one update. It is kept as counts
// for each key, so that what comes and goes again leaves nothing to publish.
type change struct {
	v4       []delta[addr4]
	v6       []delta[addr6]
	hosts    []delta[hostAddr]
	ports    []portDelta
	withheld []delta[withheld]
	owners   []delta[ownerAddr]
}

type hostAddr struct {
	host string
	addr netip.Addr
}

func (h hostAddr) compare(g hostAddr) int {
	return cmp.Or(strings.Compare(h.host, g.host), h.addr.Compare(g.addr))
}

// ownerAddr is an address with the name that its PTR record points to.
type ownerAddr struct {
	addr     netip.Addr
	host     string
	hostname bool
}

func (o ownerAddr) compare(p ownerAddr) int {
	return cmp.Or(o.addr.Compare(p.addr), strings.Compare(o.host, p.host), compareBool(o.hostname, p.hostname))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

type portDelta struct {
	portName
	delta delta[target]
}

// count notes that the endpoint comes (1) or goes (-1).
func (c *change) count(e *Endpoint, refs int32) {
	if e.Withheld != Ready {
		c.withheld = append(c.withheld, delta[withheld]{withheld{e.Host, e.Withheld}, refs})
		return
	}
	if e.Addr.Is4() {
		c.v4 = append(c.v4, delta[addr4]{e.Addr.As4(), refs})
	} else {
		c.v6 = append(c.v6, delta[addr6]{e.Addr.As16(), refs})
	}
	c.hosts = append(c.hosts, delta[hostAddr]{hostAddr{e.Host, e.Addr}, refs})
	c.owners = append(c.owners, delta[ownerAddr]{ownerAddr{e.Addr, e.Host, e.Hostname}, refs})
	for _, p := range e.Ports {
		c.ports = append(c.ports, portDelta{portName{p.Protocol, p.Name}, delta[target]{target{e.Host, p.Number}, refs}})
	}
}

// net reduces the change to its net effect, and tells whether there is one.
func (c *change) net() bool {
	c.v4, c.v6, c.hosts = net(c.v4), net(c.v6), net(c.hosts)
	c.withheld, c.owners = net(c.withheld), net(c.owners)
	c.ports = netPorts(c.ports)
	return len(c.hosts)+len(c.ports)+len(c.withheld)+len(c.owners) > 0
}

func netPorts(deltas []portDelta) []portDelta {
	compare := func(a, b portDelta) int {
		return cmp.Or(a.portName.compare(b.portName), a.delta.key.compare(b.delta.key))
	}
	slices.SortFunc(deltas, compare)
	out := deltas[:0]
	for i, d := range deltas {
		if i > 0 && len(out) > 0 && compare(out[len(out)-1], d) == 0 {
			out[len(out)-1].delta.refs += d.delta.refs
		} else {
			out = append(out, d)
		}
	}
	return slices.DeleteFunc(out, func(d portDelta) bool { return d.delta.refs == 0 })
}

// with returns the snapshot with the net change applied.
func (s *snapshot) with(c *change) *snapshot {
	counts := s.counts
	for _, d := range c.hosts {
		counts[Ready] += int(d.refs)
	}
	for _, d := range c.withheld {
		counts[d.key.reason] += int(d.refs)
	}
	return &snapshot{
		hosts:    mergeHosts(s.hosts, c.hosts),
		v4:       s.v4.merge(c.v4),
		v6:       s.v6.merge(c.v6),
		ports:    mergePorts(s.ports, c.ports),
		all:      mergeAll(s.all, c.ports),
		withheld: s.withheld.merge(c.withheld),
		counts:   counts,
	}
}

// leaving returns the part of the net change that takes away.
func (c *change) leaving() *change {
	return &change{
		v4: negative(c.v4), v6: negative(c.v6), hosts: negative(c.hosts),
		ports: slices.DeleteFunc(slices.Clone(c.ports), func(d portDelta) bool { return d.delta.refs > 0 }),
	}
}

func negative[K ordered[K]](deltas []delta[K]) []delta[K] {
	return slices.DeleteFunc(slices.Clone(deltas), func(d delta[K]) bool { return d.refs > 0 })
}

// mergeHosts applies deltas, sorted by host.
func mergeHosts(hosts table[*host], deltas []delta[hostAddr]) table[*host] {
	if len(deltas) == 0 {
		return hosts
	}
	edit := hosts.edit()
	for len(deltas) > 0 {
		label := deltas[0].key.host
		var v4 []delta[addr4]
		var v6 []delta[addr6]
		for len(deltas) > 0 && deltas[0].key.host == label {
			if d := deltas[0]; d.key.addr.Is4() {
				v4 = append(v4, delta[addr4]{d.key.addr.As4(), d.refs})
			} else {
				v6 = append(v6, delta[addr6]{d.key.addr.As16(), d.refs})
			}
			deltas = deltas[1:]
		}
		changed := host{label: label}
		if old, ok := edit.get(label); ok {
			changed = *old
		}
		changed.v4, changed.v6 = changed.v4.merge(v4), changed.v6.merge(v6)
		if changed.v4.len() == 0 && changed.v6.len() == 0 {
			edit.delete(label)
		} else {
			edit.set(&changed)
		}
	}
	return edit.table
}

// mergePorts applies deltas, sorted by port, to the named ports. A port without
// a target is not kept.
func mergePorts(ports []port, deltas []portDelta) []port {
	if len(deltas) == 0 {
		return ports
	}
	ports = slices.Clone(ports)
	for len(deltas) > 0 {
		name := deltas[0].portName
		n := slices.IndexFunc(deltas, func(d portDelta) bool { return d.portName != name })
		if n < 0 {
			n = len(deltas)
		}
		if name.name != "" {
			at, ok := slices.BinarySearchFunc(ports, name, func(p port, n portName) int { return p.compare(n) })
			if !ok {
				ports = slices.Insert(ports, at, port{portName: name})
			}
			ports[at] = ports[at].merge(targets(deltas[:n]))
		}
		deltas = deltas[n:]
	}
	return slices.DeleteFunc(ports, func(p port) bool { return p.targets.len() == 0 })
}

// mergeAll applies the deltas of all ports to their union.
func mergeAll(all port, deltas []portDelta) port {
	if len(deltas) == 0 {
		return all
	}
	return all.merge(net(targets(deltas)))
}

func targets(deltas []portDelta) []delta[target] {
	out := make([]delta[target], len(deltas))
	for i, d := range deltas {
		out[i] = d.delta
	}
	return out
}

func (p port) merge(deltas []delta[target]) port {
	for _, d := range deltas {
		p.endpoints += int(d.refs)
	}
	p.targets = p.targets.merge(deltas)
	return p
}
