package records

import (
	"cmp"
	"slices"
	"sort"
)

// maxServedLists is the most long lists that a service has SRV records for, so that a
// reply looks at few lists.
const maxServedLists = 8

// longLists are the long lists of the endpoints of a service.
type longLists struct {
	lists   set[*PortList]  // refs: the endpoints with the list
	targets set[longTarget] // sorted by list; each in one of its zones
	more    set[longTarget] // targets in several zones, in the others
	served  []servedList    // the first maxServedLists of lists
}

// longTarget is a host with a long list, for endpoints in a topology zone. It stands for a
// target at each port of the list. It sorts by list, then by zone, then by host.
type longTarget struct {
	list *PortList
	rest uint64 // the zone above the host
}

func newLongTarget(list *PortList, z zoneTag, host hostID) longTarget {
	return longTarget{list, uint64(z)<<hostIDBits | uint64(host)}
}

func (t longTarget) zone() zoneTag { return zoneTag(t.rest >> hostIDBits) }
func (t longTarget) host() hostID  { return hostID(t.rest) & (1<<hostIDBits - 1) }

func (t longTarget) in(z zoneTag) longTarget { return newLongTarget(t.list, z, t.host()) }

func (t longTarget) compare(u longTarget) int {
	return cmp.Or(t.list.compare(u.list), cmp.Compare(t.rest, u.rest))
}

// servedList is a long list that the service has SRV records for.
type servedList struct {
	*portTable
	list      *PortList
	first, n  int // the position and number of its hosts in longLists.targets
	endpoints int
}

// portTable is the ports of a long list, sorted by name and number.
type portTable struct {
	names    []portName
	numbers  []uint16 // numbers[i] has names[i]
	distinct []uint16 // the numbers sorted, each once
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

// numbersOf returns the numbers of the ports with the name.
func (t *portTable) numbersOf(name portName) []uint16 {
	first := sort.Search(len(t.names), func(i int) bool { return t.names[i].compare(name) >= 0 })
	n := sort.Search(len(t.names)-first, func(i int) bool { return t.names[first+i].compare(name) > 0 })
	return t.numbers[first : first+n]
}

// mergeLists applies deltas of long lists.
func (s *snapshot) mergeLists(old *snapshot, deltas []delta[hostList]) {
	if len(deltas) == 0 {
		return
	}
	var long longLists
	if s.long != nil {
		long = *s.long
	}
	hosts, lists := make([]delta[longTarget], len(deltas)), make([]delta[*PortList], len(deltas))
	for i, d := range deltas {
		hosts[i] = delta[longTarget]{newLongTarget(d.key.list, d.key.zone, s.idOf(old, d.key.host)), d.refs}
		lists[i] = delta[*PortList]{d.key.list, d.refs}
	}
	next := &longLists{lists: long.lists.merge(sum(lists))}
	next.targets, next.more = mergeZoned(long.targets, long.more, sum(hosts), s.numZones())
	next.served = s.serveLists(next, long.served)
	s.long = next
	if next.lists.len() == 0 {
		s.long = nil
	}
}

// serveLists returns the lists to serve from now on; those in old were served so far.
// It adds the port names of new lists and removes those of dropped ones. A list that
// stays keeps its table, so that a lazy list is not resolved again.
func (s *snapshot) serveLists(long *longLists, old []servedList) []servedList {
	var served []servedList
	first := 0
	for x := range long.lists.all {
		if len(served) == maxServedLists {
			break
		}
		l := servedList{list: x.key, first: first, endpoints: int(x.refs())}
		first = long.targets.search(newLongTarget(x.key, maxZones+1, 0))
		l.n = first - l.first
		if i := slices.IndexFunc(old, func(o servedList) bool { return o.list.compare(x.key) == 0 }); i >= 0 {
			l.portTable = old[i].portTable
		} else {
			l.portTable = newPortTable(x.key.Ports())
			s.countListNames(l.portTable, 1)
		}
		served = append(served, l)
	}
	for _, o := range old {
		if !slices.ContainsFunc(served, func(l servedList) bool { return l.portTable == o.portTable }) {
			s.countListNames(o.portTable, -1)
		}
	}
	return served
}

// countListNames counts a served list (1) at the names of its ports, or discounts it
// (-1).
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
