package records

import (
	"iter"
	"math"
	"slices"

	"github.com/miekg/dns"
)

// maxWindow is the most records that All yields at a time.
const maxBatch = 1024

// All yields the node's records of a type once each, however many they are, some at a
// time: the SRV records of a service are hosts times ports. There is no glue, and a name
// that is too long to be written is left out (RFC 1035, section 2.3.4). The Size and Start
// of the query do not matter. The records belong to the caller.
func (n *Node) All(q *Query) iter.Seq[[]dns.RR] {
	return func(yield func([]dns.RR) bool) {
		var window []dns.RR
		w := builder{query: q, room: math.MaxInt}
		for rr := range w.all(n) {
			if window = append(window, rr); len(window) == maxBatch {
				if !yield(window) {
					return
				}
				window = nil
			}
		}
		if len(window) > 0 {
			yield(window)
		}
	}
}

// all yields the records of a node one by one.
func (w *builder) all(n *Node) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		switch {
		case n.names != nil || n.nameRange != nil:
			if w.query.Type == dns.TypePTR {
				w.allPTR(n, yield)
			}
		case n.nonTerminal:
		case w.query.Type == dns.TypeSRV:
			base := w.query.Name[len(w.query.Name)-n.suffixLen:]
			endpoints, targets := n.uniqueTargets()
			weight := weightOf(endpoints)
			for h, port := range targets {
				if nameFits(h, len(base)) &&
					!yield(&dns.SRV{Hdr: w.header(w.query.Name, dns.TypeSRV), Weight: weight, Port: port, Target: h.label + "." + base}) {
					return
				}
			}
		case n.port != nil:
		case w.query.Type == dns.TypeA:
			addrs := n.addrs()
			for x := range addrs.v4.all {
				if !yield(&dns.A{Hdr: w.header(w.query.Name, dns.TypeA), A: slices.Clone(x.key[:])}) {
					return
				}
			}
		case w.query.Type == dns.TypeAAAA:
			addrs := n.addrs()
			for x := range addrs.v6.all {
				if !yield(&dns.AAAA{Hdr: w.header(w.query.Name, dns.TypeAAAA), AAAA: slices.Clone(x.key[:])}) {
					return
				}
			}
		}
	}
}

func (w *builder) allPTR(n *Node, yield func(dns.RR) bool) {
	owners := slices.Values(n.names)
	if n.nameRange != nil {
		owners = n.nameRange.names(w.query.Zone)
	}
	var one [1]dns.RR
	for o := range owners {
		if rrs, _ := w.appendPTR(one[:0], o); len(rrs) > 0 && !yield(rrs[0]) {
			return
		}
	}
}

// targets returns the number of endpoints as parts does, and yields each target of the
// node's SRV records once.
func (n *Node) uniqueTargets() (endpoints int, _ iter.Seq2[*host, uint16]) {
	parts, endpoints := n.targetRanges(nil)
	return endpoints, func(yield func(*host, uint16) bool) {
		for k := range parts {
			for t := range parts[k].all {
				// There is no host if it was removed without its ports.
				h := n.hostByID(t.host())
				if h == nil || slices.ContainsFunc(parts[:k], func(p targetRange) bool { return p.has(t) }) {
					continue
				}
				if !yield(h, t.port()) {
					return
				}
			}
		}
	}
}

// all yields every target of the part.
func (p *targetRange) all(yield func(target) bool) {
	if p.set != nil {
		c := p.set.at(p.first)
		for range p.n {
			if !yield(c.item().key) {
				return
			}
			c.next()
		}
		return
	}
	c := p.hosts.at(p.first)
	for range p.n {
		host := c.item().key.host
		for i, number := range p.numbers {
			if i > 0 && number == p.numbers[i-1] {
				continue
			}
			if !yield(newTarget(host, number)) {
				return
			}
		}
		c.next()
	}
}

// has reports whether a target is in the part.
func (p *targetRange) has(t target) bool {
	if p.set != nil {
		return p.set.refsOf(t) > 0
	}
	_, ok := slices.BinarySearch(p.numbers, t.port())
	return ok && p.hosts.refsOf(longTarget{p.list, t.host()}) > 0
}
