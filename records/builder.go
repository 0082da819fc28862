package records

import "github.com/miekg/dns"

// Sizes in bytes on the wire (RFC 1035, section 4.1).
const (
	headerSize     = 12
	questionSize   = 4       // type and class, after the name
	compressedSize = 2       // a name that is compressed to a pointer
	fixedSize      = 10      // type, class, TTL and length of the data
	maxOffset      = 1 << 14 // the first offset in a message that no pointer reaches
)

// wireLen returns the length of a name without escapes on the wire.
func wireLen(name string) int { return len(name) + 1 }

// builder makes the records of a reply while they fit into a message.
//
// The records of a set and all that they point to are in a few blocks of memory,
// however many there are. Nothing is shared with the trie, so the caller may change the
// records.
type builder struct {
	fitter
	query *Query
}

func newBuilder(q *Query) builder {
	return builder{fitter{room: q.Size - headerSize - questionSize - wireLen(q.Name), start: q.Start}, q}
}

func (b *builder) header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: b.query.TTL}
}

// blockA and blockAAAA are an address record with the bytes of its address, so that
// one allocation is enough for both.
type (
	blockA struct {
		dns.A
		addr addr4
	}
	blockAAAA struct {
		dns.AAAA
		addr addr6
	}
)

// a returns the A records that fit.
func (b *builder) a(s *members[zoned4]) (rrs []dns.RR, truncated bool) {
	n := b.take(s.len(), compressedSize+fixedSize+len(addr4{}))
	if n > 0 {
		rrs, _ = b.appendA(make([]dns.RR, 0, n), make([]blockA, n), s, n, b.query.Name)
	}
	return rrs, n < s.len()
}

// aaaa returns the AAAA records that fit.
func (b *builder) aaaa(s *members[zoned6]) (rrs []dns.RR, truncated bool) {
	n := b.take(s.len(), compressedSize+fixedSize+len(addr6{}))
	if n > 0 {
		rrs, _ = b.appendAAAA(make([]dns.RR, 0, n), make([]blockAAAA, n), s, n, b.query.Name)
	}
	return rrs, n < s.len()
}

// appendA appends records of n addresses of s, which it stores in block. It returns the
// rest of the block.
func (b *builder) appendA(rrs []dns.RR, block []blockA, s *members[zoned4], n int, name string) ([]dns.RR, []blockA) {
	if n == 0 {
		return rrs, block
	}
	c := s.at(b.first(n, s.len()))
	for i := range n {
		rr := &block[i]
		rr.addr = c.item().key.addr()
		rr.A = dns.A{Hdr: b.header(name, dns.TypeA), A: rr.addr[:]}
		rrs = append(rrs, &rr.A)
		c.next()
	}
	return rrs, block[n:]
}

// appendAAAA is appendA for IPv6.
func (b *builder) appendAAAA(rrs []dns.RR, block []blockAAAA, s *members[zoned6], n int, name string) ([]dns.RR, []blockAAAA) {
	if n == 0 {
		return rrs, block
	}
	c := s.at(b.first(n, s.len()))
	for i := range n {
		rr := &block[i]
		rr.addr = c.item().key.addr()
		rr.AAAA = dns.AAAA{Hdr: b.header(name, dns.TypeAAAA), AAAA: rr.addr[:]}
		rrs = append(rrs, &rr.AAAA)
		c.next()
	}
	return rrs, block[n:]
}

// ptr returns the PTR records of a node that fit. It counts their targets without
// compression.
func (b *builder) ptr(n *Node) (rrs []dns.RR, truncated bool) {
	if n.nameRange != nil {
		return b.ptrFromRange(n.nameRange)
	}
	start := b.firstPTR(len(n.names))
	for i := range n.names {
		if rrs, truncated = b.appendPTR(rrs, n.names[(start+i)%len(n.names)]); truncated {
			break
		}
	}
	return rrs, truncated
}

// ptrFromRange is ptr for an address with many names.
func (b *builder) ptrFromRange(r *nameRange) (rrs []dns.RR, truncated bool) {
	n := r.len(b.query.Zone)
	if n == 0 {
		return nil, false
	}
	answering := members[nameKey]{{r.set, 0, n}}
	c := answering.at(b.firstPTR(n))
	for range n {
		if name, ok := c.item().key.resolve(r.addr); ok {
			if rrs, truncated = b.appendPTR(rrs, name); truncated {
				break
			}
		}
		c.next()
	}
	return rrs, truncated
}

// appendPTR appends a PTR record, or reports that there is no room for it. It leaves
// out a name that is too long for DNS (RFC 1035, section 2.3.4).
func (b *builder) appendPTR(rrs []dns.RR, n addrName) (_ []dns.RR, truncated bool) {
	target := joinLabels(n.label, n.service.name, n.service.namespace, svc, b.query.Zone)
	if len(target) > maxName {
		return rrs, false
	}
	if b.take(1, compressedSize+fixedSize+wireLen(target)) == 0 {
		return rrs, true
	}
	return append(rrs, &dns.PTR{Hdr: b.header(b.query.Name, dns.TypePTR), Ptr: target}), false
}
