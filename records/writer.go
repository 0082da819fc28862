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

func (w *writer) a(s set[addr4]) (rrs []dns.RR, capped bool) {
	n := w.fit(s.len(), pointerSize+fixedSize+len(addr4{}))
	if n > 0 {
		rrs, _ = w.appendA(make([]dns.RR, 0, n), make([]blockA, n), s, n, w.query.Name)
	}
	return rrs, n < s.len()
}

func (w *writer) aaaa(s set[addr6]) (rrs []dns.RR, capped bool) {
	n := w.fit(s.len(), pointerSize+fixedSize+len(addr6{}))
	if n > 0 {
		rrs, _ = w.appendAAAA(make([]dns.RR, 0, n), make([]blockAAAA, n), s, n, w.query.Name)
	}
	return rrs, n < s.len()
}

// appendA appends n addresses of s, in records from the start of block. It
// returns the rest of the block.
func (w *writer) appendA(rrs []dns.RR, block []blockA, s set[addr4], n int, name string) ([]dns.RR, []blockA) {
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
func (w *writer) appendAAAA(rrs []dns.RR, block []blockAAAA, s set[addr6], n int, name string) ([]dns.RR, []blockAAAA) {
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
	count, c := w.window(v, len(base))
	out.Capped = count < v.len
	if count == 0 {
		return
	}
	weight := uint16(max(1, 100/v.endpoints))
	names := joinNames(c, count, base)
	offset := headerSize + questionSize + wireLen(w.query.Name)
	out.Records = make([]dns.RR, count)
	block := make([]dns.SRV, count)
	hosts := make([]glue, 0, count)
	for i := range block {
		t, name := c.item().key, names[:len(c.item().key.host)+1+len(base)]
		names = names[len(name):]
		block[i] = dns.SRV{Hdr: w.header(w.query.Name, dns.TypeSRV), Weight: weight, Port: t.port, Target: name}
		out.Records[i] = &block[i]
		offset += srvSize(t.host, len(base))
		if len(hosts) == 0 || t.host != hosts[len(hosts)-1].host.label && t.host != hosts[0].host.label {
			if h, ok := n.hosts.get([]byte(t.host)); ok {
				hosts = append(hosts, newGlue(h, name, offset-wireLen(name)))
			}
		}
		c.next()
	}
	out.Glue, out.CappedGlue = w.glue(hosts)
}

// view is the part of the targets that a node's SRV records come from.
type view struct {
	targets   set[target]
	first     int // position in targets
	len       int
	endpoints int
}

func (n *Node) view() view {
	switch {
	case n.port != nil:
		return view{n.port.targets, 0, n.port.targets.len(), n.port.endpoints}
	case n.host == nil:
		return view{n.all.targets, 0, n.all.targets.len(), n.all.endpoints}
	}
	// Those of one host stand together.
	v := view{targets: n.all.targets, first: n.all.targets.search(target{host: n.host.label})}
	for v.first+v.len < v.targets.len() {
		c := v.targets.at(v.first + v.len)
		if c.item().key.host != n.host.label {
			break
		}
		v.len++
		v.endpoints += int(c.item().refs)
	}
	return v
}

// window returns how many records of the view fit, and a cursor on the first.
func (w *writer) window(v view, base int) (int, cursor[target]) {
	measure := func(c cursor[target]) (n, size int) {
		for ; n < v.len; n++ {
			next := size + srvSize(c.item().key.host, base)
			if next > w.left {
				break
			}
			size = next
			c.next()
		}
		return n, size
	}
	c := v.targets.at(v.first)
	n, size := measure(c)
	// The targets of a single host are few and not in a ring of their own.
	if n < v.len && v.len == v.targets.len() {
		c = v.targets.at(int(w.query.Start % uint64(v.len)))
		n, size = measure(c)
	}
	w.left -= size
	return n, c
}

// srvSize is the size of an SRV record, whose target is not compressed (RFC
// 2782) and is host below a name of base bytes.
func srvSize(host string, base int) int {
	return pointerSize + fixedSize + 6 + len(host) + 1 + base + 1
}

// joinNames writes the names of the next count targets into one string.
func joinNames(c cursor[target], count int, base string) string {
	size := 0
	for at, i := c, 0; i < count; i++ {
		size += len(at.item().key.host) + 1 + len(base)
		at.next()
	}
	var b strings.Builder
	b.Grow(size)
	for range count {
		b.WriteString(c.item().key.host)
		b.WriteByte('.')
		b.WriteString(base)
		c.next()
	}
	return b.String()
}

// glue is a target whose addresses are wanted.
type glue struct {
	host   *host
	name   string
	size   int // of the name, as the owner of an address
	v4, v6 int // how many fit
}

// newGlue returns the glue for a target whose name stands at an offset of the
// message. Where no pointer reaches it, the name's first label is written again.
func newGlue(h *host, name string, offset int) glue {
	g := glue{host: h, name: name, size: pointerSize}
	if offset >= maxOffset {
		g.size = 1 + len(h.label) + pointerSize
	}
	return g
}

// glue writes the addresses that there is room for.
func (w *writer) glue(hosts []glue) (rrs []dns.RR, capped bool) {
	n4, n6 := 0, 0
	for i := range hosts {
		g := &hosts[i]
		g.v4 = w.fit(g.host.v4.len(), g.size+fixedSize+len(addr4{}))
		g.v6 = w.fit(g.host.v6.len(), g.size+fixedSize+len(addr6{}))
		capped = capped || g.v4 < g.host.v4.len() || g.v6 < g.host.v6.len()
		n4, n6 = n4+g.v4, n6+g.v6
	}
	rrs = make([]dns.RR, 0, n4+n6)
	b4, b6 := make([]blockA, n4), make([]blockAAAA, n6)
	for _, g := range hosts {
		rrs, b4 = w.appendA(rrs, b4, g.host.v4, g.v4, g.name)
		rrs, b6 = w.appendAAAA(rrs, b6, g.host.v6, g.v6, g.name)
	}
	return rrs, capped
}

// pointers writes PTR records to the owners. Their size is counted without
// compression, which is little off for the few owners that an address has.
func (w *writer) pointers(held []owner) []dns.RR {
	var rrs []dns.RR
	for _, o := range held {
		name := strings.Join([]string{o.host, o.service.name, o.service.namespace, svc, w.query.Zone}, ".")
		if w.fit(1, pointerSize+fixedSize+wireLen(name)) == 0 {
			break
		}
		rrs = append(rrs, &dns.PTR{Hdr: w.header(w.query.Name, dns.TypePTR), Ptr: name})
	}
	return rrs
}
