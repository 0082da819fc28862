package records

import (
	"math"
	"slices"
)

// targetRange is some of the targets of a node: a part of set or, for a long list, each
// host in a part of hosts with each of the numbers.
type targetRange struct {
	set      *set[target]
	hosts    *set[longTarget] // instead of set
	list     *PortList        // of hosts
	numbers  []uint16         // sorted
	first, n int              // position and length of the part
}

// len returns the number of targets. Two ranges of a node may have targets in common.
func (r *targetRange) len() int {
	if r.set != nil {
		return r.n
	}
	return r.n * len(r.numbers)
}

// targetRanges appends the ranges of the node's SRV records. It also returns the number
// of endpoints behind them; from manyEndpoints on it may stop counting.
func (n *Node) targetRanges(ranges []targetRange) (_ []targetRange, endpoints int) {
	short := targetRange{set: &n.allTargets.set}
	switch {
	case n.port != nil:
		endpoints = n.port.endpoints
		short.set = &n.port.set
		short.n = short.set.len()
	case n.host == nil:
		endpoints = n.allTargets.endpoints
		short.n = short.set.len()
	default: // targets are sorted by host
		short.first = short.set.search(newTarget(n.host.id, 0))
		short.n = searchAfter(short.set, newTarget(n.host.id, math.MaxUint16)) - short.first
		for i := 0; i < short.n && endpoints < manyEndpoints; i++ {
			c := short.set.at(short.first + i)
			endpoints += int(c.item().refs)
		}
	}
	if short.n > 0 {
		ranges = append(ranges, short)
	}
	if n.long == nil {
		return ranges, endpoints
	}
	for i := range n.long.served {
		l := &n.long.served[i]
		r := targetRange{hosts: &n.long.targets, list: l.list, numbers: l.distinct, first: l.first, n: l.n}
		switch {
		case n.port != nil:
			r.numbers = l.numbersOf(n.port.portName)
			endpoints += l.endpoints * len(r.numbers)
		case n.host == nil:
			endpoints += l.endpoints * len(l.numbers)
		default:
			key := longTarget{l.list, n.host.id}
			r.first, r.n = r.hosts.search(key), 1
			refs := r.hosts.refsOf(key)
			if refs == 0 {
				continue
			}
			endpoints += int(refs) * len(l.numbers)
		}
		if r.len() > 0 {
			ranges = append(ranges, r)
		}
	}
	return ranges, endpoints
}

// all yields every target of the range.
func (r *targetRange) all(yield func(target) bool) {
	if r.set != nil {
		c := r.set.at(r.first)
		for range r.n {
			if !yield(c.item().key) {
				return
			}
			c.next()
		}
		return
	}
	c := r.hosts.at(r.first)
	for range r.n {
		host := c.item().key.host
		for i, number := range r.numbers {
			if i > 0 && number == r.numbers[i-1] {
				continue
			}
			if !yield(newTarget(host, number)) {
				return
			}
		}
		c.next()
	}
}

// has reports whether the range has the target, which must be one of the node's.
func (r *targetRange) has(t target) bool {
	if r.set != nil {
		return r.set.refsOf(t) > 0
	}
	_, ok := slices.BinarySearch(r.numbers, t.port())
	return ok && r.hosts.refsOf(longTarget{r.list, t.host()}) > 0
}
