package records

import "github.com/miekg/dns"

// Node is a name that was found, with the state that its service had then.
type Node struct {
	*snapshot
	suffixLen   int // bytes of the service's name with the zone, at the end of the name asked
	host        *host
	port        *port
	nonTerminal bool
	names       []addrName // of an address
	nameRange   *nameRange // instead of owners, where there are many
}

// Query says what records of a node are wanted, and how they are written.
type Query struct {
	Name string // the name asked, in its spelling
	Type uint16
	Zone string // the zone that the targets of PTR records are in
	TTL  uint32 // seconds
	// Size is the largest message that may come of it, in bytes, with names
	// compressed and without an OPT record.
	Size int
	// Start chooses where a set that does not fit is cut out of; a number that
	// is random, and not used otherwise, spreads the load.
	Start uint64
}

// Answer is what a reply needs. Its records belong to the caller.
type Answer struct {
	Records []dns.RR
	Glue    []dns.RR // addresses of the targets of SRV records
	// Truncated tells that not every record fitted, GlueTruncated that not every
	// address did.
	Truncated, GlueTruncated bool
}

// Answer returns the node's records of a type; there are none if the name has
// no such type. The cost is that of the records returned, whatever the set's
// size.
func (n *Node) Answer(q *Query) Answer {
	w := builder{query: q, room: q.Size - headerSize - questionSize - wireLen(q.Name)}
	var out Answer
	switch {
	case n.names != nil || n.nameRange != nil:
		if q.Type == dns.TypePTR {
			out.Records, out.Truncated = w.ptr(n)
		}
	case n.nonTerminal:
	case q.Type == dns.TypeSRV:
		w.srv(n, &out)
	case n.port != nil:
	case q.Type == dns.TypeA:
		addrs := n.addrs()
		out.Records, out.Truncated = w.a(&addrs.v4)
	case q.Type == dns.TypeAAAA:
		addrs := n.addrs()
		out.Records, out.Truncated = w.aaaa(&addrs.v6)
	}
	return out
}

// Types lists the types that a node may have, the most wanted first.
var Types = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR}

// addrs are the addresses of the host or, at the service's own name, of all hosts.
func (n *Node) addrs() addresses {
	if n.host != nil {
		return n.host.addrs()
	}
	return n.allAddrs
}
