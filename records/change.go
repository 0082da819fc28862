package records

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// change is the change of one service by one update, as deltas of each key. An
// addition and its removal cancel out, and leave nothing to publish.
type change struct {
	hosts    []delta[hostAddr]
	ports    []portDelta       // of short lists
	lists    []delta[hostList] // long lists
	withheld []delta[withheld]
	zones    []string // names of the topology zones that the deltas have tags of; nil if the service has none

	// addressed are withheld endpoints that give their host an address. If the service has
	// any, mixed is set, and resolved are the deltas of what the hosts have. See settle.
	addressed []delta[addressed]
	resolved  []delta[hostAddr]
	mixed     bool
}

// names returns the deltas of the addresses that hosts have.
func (c *change) names() []delta[hostAddr] {
	if c.mixed {
		return c.resolved
	}
	return c.hosts // those of the ready endpoints
}

// empty reports whether the change changes nothing.
func (c *change) empty() bool {
	return len(c.hosts)+len(c.ports)+len(c.lists)+len(c.withheld)+len(c.addressed) == 0
}

// hostAddr is an address of a host.
type hostAddr struct {
	host     string
	addr     netip.Addr
	hostname bool // host is the hostname of the pod
	zone     zoneTag
}

func (h hostAddr) compare(g hostAddr) int {
	return cmp.Or(strings.Compare(h.host, g.host), h.addr.Compare(g.addr), compareBool(h.hostname, g.hostname), cmp.Compare(h.zone, g.zone))
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

// portDelta is a change of the number of endpoints that have a port at a host. It is
// not a delta[K], so that refs and number share a word: 56 bytes rather than 64.
type portDelta struct {
	portName
	host   string
	number uint16
	zone   zoneTag
	refs   int32
}

func (d portDelta) compare(e portDelta) int {
	return cmp.Or(d.portName.compare(e.portName), strings.Compare(d.host, e.host), cmp.Compare(d.number, e.number), cmp.Compare(d.zone, e.zone))
}

// hostList is a host with a long list.
type hostList struct {
	list *PortList
	host string
	zone zoneTag
}

func (h hostList) compare(g hostList) int {
	return cmp.Or(h.list.compare(g.list), strings.Compare(h.host, g.host), cmp.Compare(h.zone, g.zone))
}

// count adds the endpoint (1) or removes it (-1). Its topology zone has the tag z.
func (c *change) count(e *Endpoint, z zoneTag, refs int32) {
	at := hostAddr{host: e.Host, addr: e.Addr, hostname: e.Hostname}
	if e.Addressed {
		c.addressed = append(c.addressed, delta[addressed]{addressed{hostAddr: at}, refs})
		return
	}
	if e.Withheld != Ready {
		c.withheld = append(c.withheld, delta[withheld]{withheld{host: e.Host, reason: e.Withheld}, refs})
		return
	}
	at.zone = z
	c.hosts = append(c.hosts, delta[hostAddr]{at, refs})
	if e.Ports == nil {
		return
	}
	if e.Ports.long() {
		c.lists = append(c.lists, delta[hostList]{hostList{e.Ports, e.Host, z}, refs})
		return
	}
	for _, p := range e.Ports.ports {
		c.ports = append(c.ports, portDelta{newPortName(p), e.Host, p.Number, z, refs})
	}
}

// reset empties the change.
func (c *change) reset() {
	c.hosts, c.ports, c.lists, c.withheld = reuse(c.hosts), reuse(c.ports), reuse(c.lists), reuse(c.withheld)
	c.addressed, c.resolved, c.mixed, c.zones = reuse(c.addressed), reuse(c.resolved), false, nil
}

// sum sorts the deltas and adds up those of each key. It reports whether any is left.
func (c *change) sum() bool {
	c.hosts, c.ports, c.lists, c.withheld = sum(c.hosts), sumPorts(c.ports), sum(c.lists), sum(c.withheld)
	c.addressed = sum(c.addressed)
	return !c.empty()
}

// clamp drops from a summed change the removals of what base does not have, so that
// no count falls below zero, and the ports of hosts that would have no address. It
// reports whether any delta is left.
func (c *change) clamp(base *snapshot) bool {
	var name hostAddr
	var refs int32 // of name in base, as a hostname or not, less what the change removes
	var inZone zoneRefs
	if base.zones != nil || c.zones != nil {
		inZone = make(zoneRefs)
	}
	for i := range c.hosts {
		d := &c.hosts[i]
		if d.refs > 0 {
			continue
		}
		if name.host != d.key.host || name.addr != d.key.addr {
			name, refs = d.key, base.readyRefsOf(d.key.host, d.key.addr)
		}
		d.refs = max(d.refs, -refs)
		if inZone != nil {
			d.refs = inZone.clamp(base, d)
		}
		refs += d.refs
	}
	c.hosts = slices.DeleteFunc(c.hosts, func(d delta[hostAddr]) bool { return d.refs == 0 })
	c.settle(base)
	for i := range c.ports {
		d := &c.ports[i]
		h := base.readyHost(d.host)
		switch {
		case h == nil:
			if d.refs < 0 || !c.addsHost(d.host) {
				d.refs = 0
			}
		case d.refs < 0:
			refs := int32(0)
			if p := base.portNamed([]byte(d.protocol), []byte(d.name)); p != nil {
				refs = refsOfZoned(&p.set, p.more, newTarget(d.zone, h.id, d.number))
			}
			d.refs = max(d.refs, -refs)
		}
	}
	c.ports = slices.DeleteFunc(c.ports, func(d portDelta) bool { return d.refs == 0 })
	for i := range c.lists {
		d := &c.lists[i]
		h := base.readyHost(d.key.host)
		switch {
		case h == nil:
			if d.refs < 0 || !c.addsHost(d.key.host) {
				d.refs = 0
			}
		case d.refs < 0:
			refs := int32(0)
			if base.long != nil {
				refs = refsOfZoned(&base.long.targets, &base.long.more, newLongTarget(d.key.list, d.key.zone, h.id))
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
	return !c.empty()
}

// zoneRefs are the numbers of endpoints that have an address in a zone before a change, less
// what the change removes.
type zoneRefs map[zoneAddr]int32

type zoneAddr struct {
	addr netip.Addr
	zone zoneTag
}

// clamp returns the refs of a removal, no more than base has in that zone.
func (left zoneRefs) clamp(base *snapshot, d *delta[hostAddr]) int32 {
	at := zoneAddr{d.key.addr, d.key.zone}
	have, ok := left[at]
	if !ok {
		if have = base.allAddrs.refsOf(at.zone, at.addr); have == 0 && base.zones != nil {
			have = base.zones.addrs.refsOf(at.zone, at.addr)
		}
	}
	refs := max(d.refs, -have)
	left[at] = have + refs
	return refs
}

// addsHost reports whether the change adds an address to the host.
func (c *change) addsHost(host string) bool {
	i, _ := slices.BinarySearchFunc(c.hosts, host, func(d delta[hostAddr], host string) int { return strings.Compare(d.key.host, host) })
	for ; i < len(c.hosts) && c.hosts[i].key.host == host; i++ {
		if c.hosts[i].refs > 0 {
			return true
		}
	}
	return false
}

// sumPorts is sum for ports.
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

// removals returns the removals of the change. What moves to another topology zone, or becomes
// another kind of label, stays as it was. A host that loses all addresses and gains others is
// absent in between, but keeps its targets.
func (c *change) removals() *change {
	out := &change{
		hosts: removedHosts(c.hosts),
		ports: removedPorts(c.ports),
		mixed: c.mixed,
		zones: c.zones,
	}
	if c.mixed {
		out.resolved = removedHosts(c.resolved)
	}
	if len(c.lists) > 0 {
		c.removeLists(out)
	}
	return out
}

// removedHosts returns the deltas of those addresses of hosts that have fewer endpoints after the
// sorted deltas.
func removedHosts(deltas []delta[hostAddr]) []delta[hostAddr] {
	return removed(deltas, func(d, e *delta[hostAddr]) bool {
		return d.key.host == e.key.host && d.key.addr == e.key.addr
	}, func(d *delta[hostAddr]) int32 { return d.refs })
}

// removedPorts is removedHosts for the ports of hosts.
func removedPorts(deltas []portDelta) []portDelta {
	return removed(deltas, func(d, e *portDelta) bool {
		return d.portName == e.portName && d.host == e.host && d.number == e.number
	}, func(d *portDelta) int32 { return d.refs })
}

// removed returns the runs of the same name whose refs sum to less than zero.
func removed[D any](deltas []D, same func(d, e *D) bool, refs func(*D) int32) (out []D) {
	for len(deltas) > 0 {
		n, total := 0, int32(0)
		for ; n < len(deltas) && same(&deltas[0], &deltas[n]); n++ {
			total += refs(&deltas[n])
		}
		if total < 0 {
			out = append(out, deltas[:n]...)
		}
		deltas = deltas[n:]
	}
	return out
}

// removeLists adds the removals of long lists to out. A host that changes from or to
// a long list keeps everything that it had: the old and the new list may share ports,
// but no delta shows which.
func (c *change) removeLists(out *change) {
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

// kept returns the part of the change that old already had, for a service that was
// deleted and created again.
func (c *change) kept(old *snapshot) *change {
	out := change{mixed: c.mixed || old.addressed != nil, zones: c.zones}
	ids := make(map[string]hostID) // of the hosts that are kept with a ready endpoint
	for _, d := range c.hosts {
		if h := old.readyHost(d.key.host); refsAt(h, d.key.addr) > 0 {
			ids[d.key.host] = h.id
			out.hosts = append(out.hosts, d)
		}
	}
	if out.mixed {
		for _, d := range c.names() {
			if old.refsOf(d.key.host, d.key.addr) > 0 {
				out.resolved = append(out.resolved, d)
			}
		}
	}
	for _, d := range c.ports {
		id, ok := ids[d.host]
		p := old.portNamed([]byte(d.protocol), []byte(d.name))
		if !ok || p == nil {
			continue
		}
		if refs := refsInAll(&p.set, p.more, newTarget(noZone, id, d.number), old.numZones()); refs > 0 {
			d.refs = min(d.refs, refs)
			out.ports = append(out.ports, d)
		}
	}
	for _, d := range c.lists {
		id, ok := ids[d.key.host]
		if !ok || old.long == nil {
			continue
		}
		if refs := refsInAll(&old.long.targets, &old.long.more, newLongTarget(d.key.list, noZone, id), old.numZones()); refs > 0 {
			d.refs = min(d.refs, refs)
			out.lists = append(out.lists, d)
		}
	}
	return &out
}
