package records

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// change is what happens to a service within one update. It is kept as counts
// for each key, so that what comes and goes again leaves nothing to publish.
type change struct {
	hosts    []delta[hostAddr]
	ports    []portDelta
	lists    []delta[hostList] // long lists; the ports of all others are in ports
	withheld []delta[withheld]
}

// hostAddr is an address of a host, and whether a pod that has it was given the
// host's label as its hostname.
type hostAddr struct {
	host     string
	addr     netip.Addr
	hostname bool
}

func (h hostAddr) compare(g hostAddr) int {
	return cmp.Or(strings.Compare(h.host, g.host), h.addr.Compare(g.addr), compareBool(h.hostname, g.hostname))
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

// portDelta is a change of the number of endpoints that have a port.
type portDelta struct {
	portName
	host   string
	number uint16
	refs   int32
}

func (d portDelta) compare(e portDelta) int {
	return cmp.Or(d.portName.compare(e.portName), strings.Compare(d.host, e.host), cmp.Compare(d.number, e.number))
}

// hostList is a long list of a host.
type hostList struct {
	list *PortList
	host string
}

func (h hostList) compare(g hostList) int {
	return cmp.Or(h.list.compare(g.list), strings.Compare(h.host, g.host))
}

// count notes that the endpoint comes (1) or goes (-1).
func (c *change) count(e *Endpoint, refs int32) {
	if e.Withheld != Ready {
		c.withheld = append(c.withheld, delta[withheld]{withheld{e.Host, e.Withheld}, refs})
		return
	}
	c.hosts = append(c.hosts, delta[hostAddr]{hostAddr{e.Host, e.Addr, e.Hostname}, refs})
	if e.Ports == nil {
		return
	}
	if e.Ports.long() {
		c.lists = append(c.lists, delta[hostList]{hostList{e.Ports, e.Host}, refs})
		return
	}
	for _, p := range e.Ports.ports {
		c.ports = append(c.ports, portDelta{newPortName(p), e.Host, p.Number, refs})
	}
}

// reset forgets what was counted.
func (c *change) reset() {
	c.hosts, c.ports, c.lists, c.withheld = reuse(c.hosts), reuse(c.ports), reuse(c.lists), reuse(c.withheld)
}

// net reduces the change to its net effect, and tells whether there is one.
func (c *change) sum() bool {
	c.hosts, c.ports, c.lists, c.withheld = sum(c.hosts), sumPorts(c.ports), sum(c.lists), sum(c.withheld)
	return len(c.hosts)+len(c.ports)+len(c.lists)+len(c.withheld) > 0
}

// limit takes out of a net change what base does not have, so that nothing falls
// below zero, and reports whether anything is left.
func (c *change) clamp(base *snapshot) bool {
	var name hostAddr
	var refs int32 // of name in base, whether as a hostname or not
	for i := range c.hosts {
		d := &c.hosts[i]
		if d.refs > 0 {
			continue
		}
		if name.host != d.key.host || name.addr != d.key.addr {
			name, refs = d.key, base.refsOf(d.key.host, d.key.addr)
		}
		d.refs = max(d.refs, -refs)
		refs += d.refs
	}
	c.hosts = slices.DeleteFunc(c.hosts, func(d delta[hostAddr]) bool { return d.refs == 0 })
	for i := range c.ports {
		d := &c.ports[i]
		h := base.hostByLabel([]byte(d.host))
		switch {
		case h == nil:
			if d.refs < 0 || !c.addsHost(d.host) {
				d.refs = 0
			}
		case d.refs < 0:
			refs := int32(0)
			if p := base.portNamed([]byte(d.protocol), []byte(d.name)); p != nil {
				refs = p.set.refsOf(newTarget(h.id, d.number))
			}
			d.refs = max(d.refs, -refs)
		}
	}
	c.ports = slices.DeleteFunc(c.ports, func(d portDelta) bool { return d.refs == 0 })
	for i := range c.lists {
		d := &c.lists[i]
		h := base.hostByLabel([]byte(d.key.host))
		switch {
		case h == nil:
			if d.refs < 0 || !c.addsHost(d.key.host) {
				d.refs = 0
			}
		case d.refs < 0:
			refs := int32(0)
			if base.long != nil {
				refs = base.long.targets.refsOf(longTarget{d.key.list, h.id})
			}
			d.refs = max(d.refs, -refs)
		}
	}
	c.lists = slices.DeleteFunc(c.lists, func(d delta[hostList]) bool { return d.refs == 0 })
	for i := range c.withheld {
		d := &c.withheld[i]
		d.refs = max(d.refs, -base.withheld.refsOf(d.key))
	}
	c.withheld = slices.DeleteFunc(c.withheld, func(d delta[withheld]) bool { return d.refs == 0 })
	return len(c.hosts)+len(c.ports)+len(c.lists)+len(c.withheld) > 0
}

// comes reports whether the net change gives a host an address.
func (c *change) addsHost(host string) bool {
	i, _ := slices.BinarySearchFunc(c.hosts, host, func(d delta[hostAddr], host string) int { return strings.Compare(d.key.host, host) })
	for ; i < len(c.hosts) && c.hosts[i].key.host == host; i++ {
		if c.hosts[i].refs > 0 {
			return true
		}
	}
	return false
}

func sumPorts(deltas []portDelta) []portDelta {
	if len(deltas) > 1 {
		slices.SortFunc(deltas, portDelta.compare)
	}
	out := deltas[:0]
	for _, d := range deltas {
		if n := len(out); n > 0 && out[n-1].compare(d) == 0 {
			out[n-1].refs += d.refs
		} else {
			out = append(out, d)
		}
	}
	return slices.DeleteFunc(out, func(d portDelta) bool { return d.refs == 0 })
}

// merge returns the addresses with the deltas applied, whatever host has them.
func (a addresses) merge(deltas []delta[hostAddr]) addresses {
	var v4 []delta[addr4]
	var v6 []delta[addr6]
	for _, d := range deltas {
		if d.key.addr.Is4() {
			v4 = append(v4, delta[addr4]{d.key.addr.As4(), d.refs})
		} else {
			v6 = append(v6, delta[addr6]{d.key.addr.As16(), d.refs})
		}
	}
	return addresses{a.v4.merge(sum(v4)), a.v6.merge(sum(v6))}
}

// leaving returns the part of the net change that takes away. A host that loses
// its addresses and gains others is away in between, but its targets are not.
func (c *change) removals() *change {
	out := &change{
		hosts: slices.DeleteFunc(slices.Clone(c.hosts), func(d delta[hostAddr]) bool { return d.refs > 0 }),
		ports: slices.DeleteFunc(slices.Clone(c.ports), func(d portDelta) bool { return d.refs > 0 }),
	}
	if len(c.lists) > 0 {
		c.removalsOfLists(out)
	}
	return out
}

// leavingLists adds the long lists that leave to out. A host that changes from or
// to a long list may have ports in common before and after, but no delta shows
// them: it keeps all that it had.
func (c *change) removalsOfLists(out *change) {
	gainsList, gains := make(map[string]bool), make(map[string]bool)
	for _, d := range c.lists {
		if d.refs > 0 {
			gainsList[d.key.host], gains[d.key.host] = true, true
		}
	}
	for _, d := range c.ports {
		if d.refs > 0 {
			gains[d.host] = true
		}
	}
	out.ports = slices.DeleteFunc(out.ports, func(d portDelta) bool { return gainsList[d.host] })
	out.lists = slices.DeleteFunc(slices.Clone(c.lists), func(d delta[hostList]) bool { return d.refs > 0 || gains[d.key.host] })
}

// staying returns the part of the net change, made to an empty service, that was
// there before.
func (c *change) kept(before *snapshot) *change {
	var out change
	stays := make(map[string]hostID)
	for _, d := range c.hosts {
		h := before.hostByLabel([]byte(d.key.host))
		if h == nil {
			continue
		}
		if addrs := h.addrs(); addrs.has(d.key.addr) {
			stays[d.key.host] = h.id
			out.hosts = append(out.hosts, d)
		}
	}
	for _, d := range c.ports {
		id, ok := stays[d.host]
		p := before.portNamed([]byte(d.protocol), []byte(d.name))
		if !ok || p == nil {
			continue
		}
		if refs := p.set.refsOf(newTarget(id, d.number)); refs > 0 {
			d.refs = min(d.refs, refs)
			out.ports = append(out.ports, d)
		}
	}
	for _, d := range c.lists {
		id, ok := stays[d.key.host]
		if !ok || before.long == nil {
			continue
		}
		if refs := before.long.targets.refsOf(longTarget{d.key.list, id}); refs > 0 {
			d.refs = min(d.refs, refs)
			out.lists = append(out.lists, d)
		}
	}
	return &out
}
