package records

import (
	"math"
	"slices"
)

// targetRange is some of the targets of a node: a part of a set or, for a long list, each
// host in a part of a set with each of the numbers.
type targetRange struct {
	short   part[target]
	hosts   part[longTarget] // instead of short
	list    *PortList        // of hosts
	numbers []uint16         // sorted
}

// len returns the number of targets. Two ranges of a node may have targets in common.
func (r *targetRange) len() int {
	if r.short.set != nil {
		return r.short.n
	}
	return r.hosts.n * len(r.numbers)
}

// targetRanges appends the ranges of the node's SRV records. It also returns the number
// of endpoints behind them; from manyEndpoints on it may stop counting.
func (n *Node) targetRanges(ranges []targetRange) (_ []targetRange, endpoints int) {
	of, more := n.shortTargets()
	switch {
	case n.host != nil:
		for z := noZone; int(z) <= n.numZones(); z++ {
			first, last := newTarget(z, n.host.id, 0), newTarget(z, n.host.id, math.MaxUint16)
			ranges, endpoints = appendShort(ranges, endpoints, of.set.between(first, last))
			if more.len() > 0 { // it has no other targets of the host
				p := more.between(first, last)
				endpoints += p.refs(manyEndpoints)
			}
		}
	case n.zone != noZone:
		first, last := newTarget(n.zone, 0, 0), newTarget(n.zone, endHostID-1, math.MaxUint16)
		ranges, endpoints = appendShort(ranges, endpoints, of.set.between(first, last))
		ranges, endpoints = appendShort(ranges, endpoints, more.between(first, last))
	default:
		endpoints = of.endpoints
		if all := of.set.whole(); all.n > 0 {
			ranges = append(ranges, targetRange{short: all})
		}
	}
	if n.long != nil {
		for i := range n.long.served {
			ranges, endpoints = n.longRanges(ranges, endpoints, &n.long.served[i])
		}
	}
	return ranges, endpoints
}

// shortTargets returns the targets of the node's service or port, each in one of its zones,
// and those in several zones in the others.
func (n *Node) shortTargets() (of *targets, more *set[target]) {
	of, more = &n.allTargets, &noTargets
	switch {
	case n.port != nil:
		of = &n.port.targets
		if n.port.more != nil {
			more = n.port.more
		}
	case n.zones != nil:
		more = &n.zones.targets
	}
	return of, more
}

var noTargets set[target]

// appendShort appends a part of a set, and adds its endpoints.
func appendShort(ranges []targetRange, endpoints int, p part[target]) ([]targetRange, int) {
	if p.n == 0 {
		return ranges, endpoints
	}
	return append(ranges, targetRange{short: p}), endpoints + p.refs(manyEndpoints)
}

// longRanges is targetRanges for a long list.
func (n *Node) longRanges(ranges []targetRange, endpoints int, l *servedList) ([]targetRange, int) {
	numbers, ports := l.distinct, len(l.numbers)
	if n.port != nil {
		numbers = l.numbersOf(n.port.portName)
		ports = len(numbers)
	}
	if len(numbers) == 0 {
		return ranges, endpoints
	}
	add := func(p part[longTarget], behind int) {
		if p.n > 0 {
			ranges = append(ranges, targetRange{hosts: p, list: l.list, numbers: numbers})
			endpoints += behind * ports
		}
	}
	one, more := &n.long.targets, &n.long.more
	switch {
	case n.host != nil:
		found := 0
		var at part[longTarget]
		for z := noZone; int(z) <= n.numZones(); z++ {
			key := newLongTarget(l.list, z, n.host.id)
			if refs := one.refsOf(key); refs > 0 {
				at = part[longTarget]{one, one.search(key), 1}
				found += int(refs)
			}
			found += int(more.refsOf(key))
		}
		add(at, found)
	case n.zone != noZone:
		first, last := newLongTarget(l.list, n.zone, 0), newLongTarget(l.list, n.zone, endHostID-1)
		for _, of := range [...]*set[longTarget]{one, more} {
			p := of.between(first, last)
			add(p, p.refs(manyEndpoints))
		}
	default:
		add(part[longTarget]{one, l.first, l.n}, l.endpoints)
	}
	return ranges, endpoints
}

// all yields every target of the range.
func (r *targetRange) all(yield func(target) bool) {
	if r.short.n > 0 {
		m := members[target]{r.short}
		c := m.at(0)
		for range r.short.n {
			if !yield(c.item().key) {
				return
			}
			c.next()
		}
		return
	}
	m := members[longTarget]{r.hosts}
	c := m.at(0)
	for range r.hosts.n {
		host := c.item().key.host()
		for i, number := range r.numbers {
			if i > 0 && number == r.numbers[i-1] {
				continue
			}
			if !yield(newTarget(noZone, host, number)) {
				return
			}
		}
		c.next()
	}
}

// has reports whether the range has the target in a zone, of which the highest tag is given.
// The target must be one of the node's.
func (r *targetRange) has(t target, zones int) bool {
	if r.short.set != nil {
		return hasInAny(&r.short, t, zones)
	}
	_, ok := slices.BinarySearch(r.numbers, t.port())
	return ok && hasInAny(&r.hosts, newLongTarget(r.list, noZone, t.host()), zones)
}

// hasInAny reports whether the part has the key in a zone, of which the highest tag is given.
func hasInAny[K zoned[K]](p *part[K], key K, zones int) bool {
	for z := noZone; int(z) <= zones; z++ {
		if p.has(key.in(z)) {
			return true
		}
	}
	return false
}
