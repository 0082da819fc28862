package records

import (
	"iter"
	"math"
	"slices"

	"github.com/miekg/dns"
)

// maxBatch is the most records that All yields at a time.
const maxBatch = 1024

// All yields the node's records of a type in batches, each record once, however many
// there are: a service has an SRV record for each port of each host. All adds no glue,
// and leaves out targets that are too long for DNS (RFC 1035, section 2.3.4). It ignores
// the Size and Start of the query. The records belong to the caller.
func (n *Node) All(q *Query) iter.Seq[[]dns.RR] {
	return func(yield func([]dns.RR) bool) {
		var batch []dns.RR
		b := builder{fitter{room: math.MaxInt}, q}
		for rr := range b.all(n) {
			if batch = append(batch, rr); len(batch) == maxBatch {
				if !yield(batch) {
					return
				}
				batch = nil
			}
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}

// all yields the records of a node one by one.
func (b *builder) all(n *Node) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		switch {
		case n.names != nil || n.nameRange != nil:
			if b.query.Type == dns.TypePTR {
				b.allPTR(n, yield)
			}
		case n.nonTerminal:
		case b.query.Type == dns.TypeSRV:
			suffix := b.query.Name[len(b.query.Name)-n.suffixLen:]
			endpoints, targets := n.uniqueTargets()
			weight := weightOf(endpoints)
			for h, port := range targets {
				if nameFits(h, len(suffix)) &&
					!yield(&dns.SRV{Hdr: b.header(b.query.Name, dns.TypeSRV), Weight: weight, Port: port, Target: h.label + "." + suffix}) {
					return
				}
			}
		case n.port != nil:
		case b.query.Type == dns.TypeA:
			addrs := n.addrs()
			members := n.members4(&addrs)
			for a := range members.all {
				if !yield(&dns.A{Hdr: b.header(b.query.Name, dns.TypeA), A: slices.Clone(a[1:])}) {
					return
				}
			}
		case b.query.Type == dns.TypeAAAA:
			addrs := n.addrs()
			members := n.members6(&addrs)
			for a := range members.all {
				if !yield(&dns.AAAA{Hdr: b.header(b.query.Name, dns.TypeAAAA), AAAA: slices.Clone(a[1:])}) {
					return
				}
			}
		}
	}
}

// allPTR yields the PTR records of a node one by one.
func (b *builder) allPTR(n *Node, yield func(dns.RR) bool) {
	names := slices.Values(n.names)
	if n.nameRange != nil {
		names = n.nameRange.names(b.query.Zone)
	}
	var one [1]dns.RR
	for name := range names {
		if rrs, _ := b.appendPTR(one[:0], name); len(rrs) > 0 && !yield(rrs[0]) {
			return
		}
	}
}

// uniqueTargets yields each target of the node's SRV records once. It also returns the
// number of endpoints, as targetRanges does.
func (n *Node) uniqueTargets() (endpoints int, _ iter.Seq2[*host, uint16]) {
	ranges, endpoints := n.targetRanges(nil)
	return endpoints, func(yield func(*host, uint16) bool) {
		for k := range ranges {
			for t := range ranges[k].all {
				// A target has no host if the caller removed the host without its ports.
				h := n.hostByID(t.host())
				if h == nil || slices.ContainsFunc(ranges[:k], func(r targetRange) bool { return r.has(t, n.numZones()) }) {
					continue
				}
				if !yield(h, t.port()) {
					return
				}
			}
		}
	}
}
