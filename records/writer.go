package records

import (
	"strings"

	"github.com/miekg/dns"
)

// Sizes in bytes on the wire (RFC 1035, section 4.1).
const (
	headerSize   = 12
	questionSize = 4  // type and class, after the name
	pointerSize  = 2  // a compressed name
	fixedSize    = 10 // type, class, TTL and length of the data
	// maxOffset is the first place in a message that no pointer can reach.
	maxOffset = 1 << 14
)

// wireLen is the length of a name without escapes on the wire.
func wireLen(name string) int { return len(name) + 1 }

// writer makes records while they fit into a message. The records of a set, and
// all that they point to, are in a few blocks of memory, however many they are;
// nothing is shared with the trie, so whoever has the reply may change it.
type writer struct {
	query *Query
	left  int // bytes
}

// fit takes up to n records of a size, and returns how many there is room for.
func (w *writer) fit(n, size int) int {
	n = min(n, max(0, w.left)/size)
	w.left -= n * size
	return n
}

// start is where to begin to read n of all records: at the first if all fit.
func (w *writer) start(n, all int) int {
	if n == all {
		return 0
	}
	return int(w.query.Start % uint64(all))
}

func (w *writer) header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: w.query.TTL}
}

// blockA and blockAAAA are an address record together with the bytes of its
// address.
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

func (w *writer) a(s *set[addr4]) (rrs []dns.RR, capped bool) {
	n := w.fit(s.len(), pointerSize+fixedSize+len(addr4{}))
	if n > 0 {
		rrs, _ = w.appendA(make([]dns.RR, 0, n), make([]blockA, n), s, n, w.query.Name)
	}
	return rrs, n < s.len()
}

func (w *writer) aaaa(s *set[addr6]) (rrs []dns.RR, capped bool) {
	n := w.fit(s.len(), pointerSize+fixedSize+len(addr6{}))
	if n > 0 {
		rrs, _ = w.appendAAAA(make([]dns.RR, 0, n), make([]blockAAAA, n), s, n, w.query.Name)
	}
	return rrs, n < s.len()
}

// appendA appends n addresses of s, in records from the start of block. It
// returns the rest of the block.
func (w *writer) appendA(rrs []dns.RR, block []blockA, s *set[addr4], n int, name string) ([]dns.RR, []blockA) {
	if n == 0 {
		return rrs, block
	}
	c := s.at(w.start(n, s.len()))
	for i := range n {
		rr := &block[i]
		rr.addr = c.item().key
		rr.A = dns.A{Hdr: w.header(name, dns.TypeA), A: rr.addr[:]}
		rrs = append(rrs, &rr.A)
		c.next()
	}
	return rrs, block[n:]
}

// appendAAAA is appendA for the other family.
func (w *writer) appendAAAA(rrs []dns.RR, block []blockAAAA, s *set[addr6], n int, name string) ([]dns.RR, []blockAAAA) {
	if n == 0 {
		return rrs, block
	}
	c := s.at(w.start(n, s.len()))
	for i := range n {
		rr := &block[i]
		rr.addr = c.item().key
		rr.AAAA = dns.AAAA{Hdr: w.header(name, dns.TypeAAAA), AAAA: rr.addr[:]}
		rrs = append(rrs, &rr.AAAA)
		c.next()
	}
	return rrs, block[n:]
}

// services writes the SRV records of a node and the addresses of their targets.
func (w *writer) services(n *Node, out *Answer) {
	v := n.view()
	if v.len == 0 {
		return
	}
	base := w.query.Name[len(w.query.Name)-n.service:]
	targets, capped := w.window(n, v, len(base))
	out.Capped = capped
	if len(targets) == 0 {
		return
	}
	weight := uint16(max(1, 100/v.endpoints))
	names := joinNames(targets, base)
	offset := headerSize + questionSize + wireLen(w.query.Name)
	out.Records = make([]dns.RR, len(targets))
	block := make([]dns.SRV, len(targets))
	for i := range targets {
		t := &targets[i]
		t.name, names = names[:len(t.label)+1+len(base)], names[len(t.label)+1+len(base):]
		block[i] = dns.SRV{Hdr: w.header(w.query.Name, dns.TypeSRV), Weight: weight, Port: t.port, Target: t.name}
		out.Records[i] = &block[i]
		offset += srvSize(t.label, len(base))
		// The targets of a host stand together, but for a window that begins between them.
		if i == 0 || t.host != targets[i-1].host && t.host != targets[0].host {
			t.owner = pointerSize
			if offset-wireLen(t.name) >= maxOffset {
				t.owner += 1 + len(t.label) // no pointer reaches it
			}
		}
	}
	out.Glue, out.CappedGlue = w.glue(targets)
}

// view is the part of the targets that a node's SRV records come from.
type view struct {
	set       *set[target]
	first     int // position in the set
	len       int
	endpoints int
}

func (n *Node) view() view {
	switch {
	case n.port != nil:
		return view{&n.port.set, 0, n.port.set.len(), n.port.endpoints}
	case n.host == nil:
		return view{&n.any.set, 0, n.any.set.len(), n.any.endpoints}
	}
	// Those of one host stand together.
	v := view{set: &n.any.set, first: n.any.set.search(newTarget(n.host.id, 0))}
	for v.first+v.len < v.set.len() {
		c := v.set.at(v.first + v.len)
		if c.item().key.host() != n.host.id {
			break
		}
		v.len++
		v.endpoints += int(c.item().refs)
	}
	return v
}

// found is a target whose host was looked up.
type found struct {
	*host
	port   uint16
	name   string
	owner  int // bytes of the name before an address; 0 if another target has the host's addresses
	v4, v6 int // addresses for which there is room
}

// window returns the targets of the view for which there is room, and whether that
// is not all. In a long zone, long labels make names that can't be written (RFC
// 1035, section 2.3.4): a client would refuse the message for one of them.
func (w *writer) window(n *Node, v view, base int) (out []found, capped bool) {
	start := v.first
	// The targets of a single host are few and not in a ring of their own.
	if v.len == v.set.len() && v.len*srvSize(longestLabel, base) > w.left {
		start = int(w.query.Start % uint64(v.len))
	}
	out = make([]found, 0, min(v.len, max(0, w.left)/srvSize("-", base)))
	c := v.set.at(start)
	for range v.len {
		t := c.item().key
		c.next()
		h := n.hostOf(t.host())
		if h == nil || len(h.label)+1+base > maxName {
			continue // without a host: it was removed without its ports
		}
		size := srvSize(h.label, base)
		if size > w.left {
			return out, true
		}
		w.left -= size
		out = append(out, found{host: h, port: t.port()})
	}
	return out, false
}

// srvSize is the size of an SRV record, whose target is not compressed (RFC
// 2782) and is host below a name of base bytes.
func srvSize(host string, base int) int {
	return pointerSize + fixedSize + 6 + len(host) + 1 + base + 1
}

// longestLabel is as long as a label may be (RFC 1035, section 2.3.4).
var longestLabel = strings.Repeat("-", 63)

// joinNames writes the names of targets into one string.
func joinNames(targets []found, base string) string {
	size := 0
	for _, t := range targets {
		size += len(t.label) + 1 + len(base)
	}
	var b strings.Builder
	b.Grow(size)
	for _, t := range targets {
		b.WriteString(t.label)
		b.WriteByte('.')
		b.WriteString(base)
	}
	return b.String()
}

// glue writes the addresses of targets for which there is room.
func (w *writer) glue(targets []found) (rrs []dns.RR, capped bool) {
	n4, n6 := 0, 0
	for i := range targets {
		t := &targets[i]
		if t.owner == 0 {
			continue
		}
		addrs := t.addrs()
		t.v4 = w.fit(addrs.v4.len(), t.owner+fixedSize+len(addr4{}))
		t.v6 = w.fit(addrs.v6.len(), t.owner+fixedSize+len(addr6{}))
		capped = capped || t.v4 < addrs.v4.len() || t.v6 < addrs.v6.len()
		n4, n6 = n4+t.v4, n6+t.v6
	}
	rrs = make([]dns.RR, 0, n4+n6)
	b4, b6 := make([]blockA, n4), make([]blockAAAA, n6)
	for i := range targets {
		t := &targets[i]
		addrs := t.addrs()
		rrs, b4 = w.appendA(rrs, b4, &addrs.v4, t.v4, t.name)
		rrs, b6 = w.appendAAAA(rrs, b6, &addrs.v6, t.v6, t.name)
	}
	return rrs, capped
}

// pointers writes PTR records to the names of an address for which there is room,
// and reports whether that is not all. Their size is counted without compression.
func (w *writer) pointers(n *Node) (rrs []dns.RR, capped bool) {
	if n.crowd != nil {
		return w.crowdPointers(n.crowd)
	}
	start := w.pointerStart(len(n.owners))
	for i := range n.owners {
		if rrs, capped = w.appendPointer(rrs, n.owners[(start+i)%len(n.owners)]); capped {
			break
		}
	}
	return rrs, capped
}

// crowdPointers is pointers of an address that has many names.
func (w *writer) crowdPointers(crowd *crowdNode) (rrs []dns.RR, capped bool) {
	n := crowd.len(w.query.Zone)
	if n == 0 {
		return nil, false
	}
	c := crowd.names.at(w.pointerStart(n))
	for range n {
		if o, ok := c.item().key.owner(crowd.addr); ok {
			if rrs, capped = w.appendPointer(rrs, o); capped {
				break
			}
		}
		if c.next(); c.position == n {
			c = crowd.names.at(0)
		}
	}
	return rrs, capped
}

// pointerStart is where to begin to read n names: at the first if all fit.
func (w *writer) pointerStart(n int) int {
	if n*(pointerSize+fixedSize+maxName+1) <= w.left {
		return 0
	}
	return int(w.query.Start % uint64(n))
}

// appendPointer appends a PTR record. It reports whether there is no room. A name
// that is too long to be written is left out (RFC 1035, section 2.3.4).
func (w *writer) appendPointer(rrs []dns.RR, o owner) (_ []dns.RR, capped bool) {
	name := join(o.host, o.service.name, o.service.namespace, svc, w.query.Zone)
	if len(name) > maxName {
		return rrs, false
	}
	if w.fit(1, pointerSize+fixedSize+wireLen(name)) == 0 {
		return rrs, true
	}
	return append(rrs, &dns.PTR{Hdr: w.header(w.query.Name, dns.TypePTR), Ptr: name}), false
}
