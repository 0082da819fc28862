package records

import "github.com/miekg/dns"

// Node is a name that a lookup found, or found missing, with the snapshot that the service had then.
// Later answers may differ only at an address with many names.
type Node struct {
	*snapshot              // of the service; nil at a reverse name
	suffixLen   int        // bytes of the service's name with the zone, at the end of the name asked
	host        *host      // nil unless the name is a host's
	port        *port      // nil unless the name is a port's
	zonal       bool       // the name has the form of a zonal name, or is above one
	zone        zoneTag    // of a zonal name that has the endpoints of one zone
	found       bool       // the name exists
	nonTerminal bool       // an empty non-terminal, or "pin" of a zone without endpoints
	names       []addrName // of an address, at a reverse name
	nameRange   *nameRange // instead of names, if the address has a set of them
}

// Query says which records of a node are wanted, and how to write them.
type Query struct {
	Name string // the name asked, as the client spelled it
	Type uint16
	Zone string // the zone that the targets of PTR records are in
	TTL  uint32 // in seconds
	// Size is the most bytes that the message may take, with names compressed and
	// without an OPT record.
	Size int
	// Start chooses the first record of a set that does not fit. A random number
	// spreads the load.
	Start uint64
}

// Answer is the records of a reply. They belong to the caller.
type Answer struct {
	Records []dns.RR
	Glue    []dns.RR // addresses of the targets of SRV records
	// Truncated reports that Records lacks some, GlueTruncated that Glue does.
	Truncated, GlueTruncated bool
}

// Types lists the types that a node may have, in the order in which a client is likely
// to want them.
var Types = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR}

// Answer returns the node's records of the type asked for, as many as fit. There are
// none if the node has no records of that type. The cost grows with the records
// returned, not with the service.
func (n *Node) Answer(q *Query) Answer {
	b := newBuilder(q)
	var out Answer
	switch {
	case n.names != nil || n.nameRange != nil:
		if q.Type == dns.TypePTR {
			out.Records, out.Truncated = b.ptr(n)
		}
	case n.nonTerminal:
	case q.Type == dns.TypeSRV:
		b.srv(n, &out)
	case n.port != nil:
	case q.Type == dns.TypeA:
		addrs := n.addrs()
		members := n.members4(&addrs)
		out.Records, out.Truncated = b.a(&members)
	case q.Type == dns.TypeAAAA:
		addrs := n.addrs()
		members := n.members6(&addrs)
		out.Records, out.Truncated = b.aaaa(&members)
	}
	return out
}

// addrs returns the addresses of the host or, at other names, of all hosts.
func (n *Node) addrs() addresses {
	if n.host != nil {
		return n.host.addrs()
	}
	return n.allAddrs
}

// members4 returns those of the node's addresses, given by addrs, that its records have.
func (n *Node) members4(addrs *addresses) members[zoned4] {
	if n.zone == noZone {
		return addrs.v4.members()
	}
	first, last := newZoned4(n.zone, addr4{}), newZoned4(n.zone, lastAddr4)
	return members[zoned4]{addrs.v4.between(first, last), n.zones.addrs.v4.between(first, last)}
}

// members6 is members4 for IPv6.
func (n *Node) members6(addrs *addresses) members[zoned6] {
	if n.zone == noZone {
		return addrs.v6.members()
	}
	first, last := newZoned6(n.zone, addr6{}), newZoned6(n.zone, lastAddr6)
	return members[zoned6]{addrs.v6.between(first, last), n.zones.addrs.v6.between(first, last)}
}
