package records

import (
	"math"
	"strings"

	"github.com/miekg/dns"
)

// Sizes in bytes on the wire (RFC 1035, section 4.1).
const (
	headerSize     = 12
	questionSize   = 4  // type and class, after the name
	compressedSize = 2  // a compressed name
	fixedSize      = 10 // type, class, TTL and length of the data
	// maxOffset is the first place in a message that no pointer can reach.
	maxOffset = 1 << 14
)

// wireLen is the length of a name without escapes on the wire.
func wireLen(name string) int { return len(name) + 1 }

// writer makes records while they fit into a message. The records of a set, and
// all that they point to, are in a few blocks of memory, however many they are;
// nothing is shared with the trie, so whoever has the reply may change it.
type builder struct {
	query   *Query
	room    int // bytes
	skipped int // targets, of which tests have budgets
}

// fit takes up to n records of a size, and returns how many there is room for.
func (w *builder) take(n, size int) int {
	n = min(n, max(0, w.room)/size)
	w.room -= n * size
	return n
}

// start is where to begin to read n of all records: at the first if all fit.
func (w *builder) start(n, all int) int {
	if n == all {
		return 0
	}
	return int(w.query.Start % uint64(all))
}

func (w *builder) header(name string, rrtype uint16) dns.RR_Header {
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

func (w *builder) a(s *set[addr4]) (rrs []dns.RR, capped bool) {
	n := w.take(s.len(), compressedSize+fixedSize+len(addr4{}))
	if n > 0 {
		rrs, _ = w.appendA(make([]dns.RR, 0, n), make([]blockA, n), s, n, w.query.Name)
	}
	return rrs, n < s.len()
}

func (w *builder) aaaa(s *set[addr6]) (rrs []dns.RR, capped bool) {
	n := w.take(s.len(), compressedSize+fixedSize+len(addr6{}))
	if n > 0 {
		rrs, _ = w.appendAAAA(make([]dns.RR, 0, n), make([]blockAAAA, n), s, n, w.query.Name)
	}
	return rrs, n < s.len()
}

// appendA appends n addresses of s, in records from the start of block. It
// returns the rest of the block.
func (w *builder) appendA(rrs []dns.RR, block []blockA, s *set[addr4], n int, name string) ([]dns.RR, []blockA) {
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
func (w *builder) appendAAAA(rrs []dns.RR, block []blockAAAA, s *set[addr6], n int, name string) ([]dns.RR, []blockAAAA) {
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
func (w *builder) srv(n *Node, out *Answer) {
	base := w.query.Name[len(w.query.Name)-n.suffixLen:]
	var one [1]targetRange
	parts, endpoints := n.targetRanges(one[:0])
	targets, capped := w.window(n, parts, len(base))
	out.Truncated = capped
	if len(targets) == 0 {
		return
	}
	weight := weightOf(endpoints)
	names := targetNames(targets, base)
	offset := headerSize + questionSize + wireLen(w.query.Name)
	out.Records = make([]dns.RR, len(targets))
	block := make([]dns.SRV, len(targets))
	for i := range targets {
		t := &targets[i]
		t.name, names = names[:len(t.label)+1+len(base)], names[len(t.label)+1+len(base):]
		block[i] = dns.SRV{Hdr: w.header(w.query.Name, dns.TypeSRV), Weight: weight, Port: t.port, Target: t.name}
		out.Records[i] = &block[i]
		offset += srvSize(t.label, len(base))
		if t.firstOfHost {
			t.ownerSize = compressedSize
			if offset-wireLen(t.name) >= maxOffset {
				t.ownerSize += 1 + len(t.label) // no pointer reaches it
			}
		}
	}
	out.Glue, out.GlueTruncated = w.glue(targets)
}

// weightOf returns the weight of each SRV record where there are some endpoints.
func weightOf(endpoints int) uint16 { return uint16(max(1, 100/max(1, endpoints))) }

// part is a part of the targets of a node: of set, or each host of a long list with
// each of the numbers.
type targetRange struct {
	set      *set[target]
	hosts    *set[longTarget] // instead of set
	list     *PortList        // of hosts
	numbers  []uint16         // sorted
	first, n int              // positions in set or hosts
}

// len is the number of targets. Two parts may have a target in common.
func (p *targetRange) len() int {
	if p.set != nil {
		return p.n
	}
	return p.n * len(p.numbers)
}

// manyEndpoints is a number of endpoints from which on they all have one weight.
const manyEndpoints = 51

// parts appends the parts that a node's SRV records come from. It returns the number
// of endpoints, or manyEndpoints or more.
func (n *Node) targetRanges(parts []targetRange) (_ []targetRange, endpoints int) {
	spread := targetRange{set: &n.allTargets.set}
	switch {
	case n.port != nil:
		endpoints = n.port.endpoints
		spread.set = &n.port.set
		spread.n = spread.set.len()
	case n.host == nil:
		endpoints = n.allTargets.endpoints
		spread.n = spread.set.len()
	default: // Those of one host stand together.
		spread.first = spread.set.search(newTarget(n.host.id, 0))
		spread.n = searchAfter(spread.set, newTarget(n.host.id, math.MaxUint16)) - spread.first
		for i := 0; i < spread.n && endpoints < manyEndpoints; i++ {
			c := spread.set.at(spread.first + i)
			endpoints += int(c.item().refs)
		}
	}
	if spread.n > 0 {
		parts = append(parts, spread)
	}
	if n.long == nil {
		return parts, endpoints
	}
	for i := range n.long.served {
		l := &n.long.served[i]
		p := targetRange{hosts: &n.long.targets, list: l.list, numbers: l.distinct, first: l.first, n: l.n}
		switch {
		case n.port != nil:
			p.numbers = l.numbersOf(n.port.portName)
			endpoints += l.endpoints * len(p.numbers)
		case n.host == nil:
			endpoints += l.endpoints * len(l.numbers)
		default:
			key := longTarget{l.list, n.host.id}
			p.first, p.n = p.hosts.search(key), 1
			refs := p.hosts.refsOf(key)
			if refs == 0 {
				continue
			}
			endpoints += int(refs) * len(l.numbers)
		}
		if p.len() > 0 {
			parts = append(parts, p)
		}
	}
	return parts, endpoints
}

// found is a target whose host was looked up.
type resolvedTarget struct {
	*host
	port        uint16
	firstOfHost bool // no target before it has the host
	name        string
	ownerSize   int // bytes of the name before an address; 0 if another target has the host's addresses
	v4, v6      int // addresses for which there is room
}

// window returns the targets of the parts for which there is room, and whether that
// is not all.
func (w *builder) window(n *Node, parts []targetRange, base int) (out []resolvedTarget, capped bool) {
	all := 0
	for i := range parts {
		all += parts[i].len()
	}
	if all == 0 {
		return nil, false
	}
	start := 0
	if all*srvSize(longestLabel, base) > w.room {
		start = int(w.query.Start % uint64(all))
	}
	f := finder{suffixLen: base, room: w.room, targets: make([]resolvedTarget, 0, min(all, max(0, w.room)/srvSize("-", base)))}
	if len(parts) > 1 {
		f.seen, f.seenHosts = make(map[target]bool), make(map[*host]bool)
	}
	i := 0
	for start >= parts[i].len() {
		start -= parts[i].len()
		i++
	}
	for k := range parts {
		p, from := &parts[(i+k)%len(parts)], 0
		if k == 0 {
			from = start
		}
		if capped = !f.scan(n, p, from, p.len()); capped {
			break
		}
	}
	if !capped {
		capped = !f.scan(n, &parts[i], 0, start)
	}
	w.room, w.skipped = f.room, f.skipped
	return f.targets, capped
}

// finder looks up targets while there is room.
type finder struct {
	suffixLen int // bytes of the service's name
	room      int // bytes
	skipped   int // targets, or hosts with a long list
	targets   []resolvedTarget
	seen      map[target]bool // what out has, if parts may overlap
	seenHosts map[*host]bool
}

// mostSkipped is the most targets that a reply may skip because their names are too long.
// The names of a service may all be so in a long zone, and to look at each would cost a
// query more than a reply holds. A reply that ends for that reason is capped: it may lack
// records, but as it starts anywhere in a large set, each has its turn.
const maxSkipped = 256

// skip notes that a target is skipped, and reports whether another may be.
func (f *finder) skip() bool {
	f.skipped++
	return f.skipped < maxSkipped
}

// find adds the targets of a part from a position to another, and reports whether
// there is room for all. It also ends where too many are skipped.
func (f *finder) scan(n *Node, p *targetRange, from, to int) bool {
	if from == to {
		return true
	}
	if p.set != nil {
		c := p.set.at(p.first + from)
		for range to - from {
			t := c.item().key
			c.next()
			// There is no host between two steps of a plan, or if it was removed without its ports.
			h := n.hostByID(t.host())
			if h == nil {
				continue
			}
			if nameFits(h, f.suffixLen) {
				if !f.add(h, t.port()) {
					return false
				}
			} else if !f.skip() {
				return false
			}
		}
		return true
	}
	c := p.hosts.at(p.first + from/len(p.numbers))
	for from < to {
		h := n.hostByID(c.item().key.host)
		c.next()
		i := from % len(p.numbers)
		end := min(len(p.numbers), i+to-from)
		from += end - i
		if h == nil {
			continue
		}
		if !nameFits(h, f.suffixLen) {
			if !f.skip() {
				return false
			}
			continue
		}
		for ; i < end; i++ {
			if i > 0 && p.numbers[i] == p.numbers[i-1] {
				continue
			}
			if !f.add(h, p.numbers[i]) {
				return false
			}
		}
	}
	return true
}

// writable reports whether the name of a host below one of base bytes is not too long. In a
// long zone, long labels make names that can't be written (RFC 1035, section 2.3.4): a client
// would refuse the message for one of them.
func nameFits(h *host, base int) bool { return len(h.label)+1+base <= maxName }

// add adds a target, and reports whether there is room for it.
func (f *finder) add(h *host, port uint16) bool {
	if f.seen != nil && f.seen[newTarget(h.id, port)] {
		return true
	}
	size := srvSize(h.label, f.suffixLen)
	if size > f.room {
		return false
	}
	f.room -= size
	t := resolvedTarget{host: h, port: port}
	if f.seen != nil {
		t.firstOfHost = !f.seenHosts[h]
		f.seen[newTarget(h.id, port)], f.seenHosts[h] = true, true
	} else {
		// The targets of a host stand together, but for a window that begins between them.
		n := len(f.targets)
		t.firstOfHost = n == 0 || h != f.targets[n-1].host && h != f.targets[0].host
	}
	f.targets = append(f.targets, t)
	return true
}

// srvSize is the size of an SRV record, whose target is not compressed (RFC
// 2782) and is host below a name of base bytes.
func srvSize(host string, base int) int {
	return compressedSize + fixedSize + 6 + len(host) + 1 + base + 1
}

// longestLabel is as long as a label may be (RFC 1035, section 2.3.4).
var longestLabel = strings.Repeat("-", 63)

// joinNames writes the names of targets into one string.
func targetNames(targets []resolvedTarget, base string) string {
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
func (w *builder) glue(targets []resolvedTarget) (rrs []dns.RR, capped bool) {
	n4, n6 := 0, 0
	for i := range targets {
		t := &targets[i]
		if t.ownerSize == 0 {
			continue
		}
		addrs := t.addrs()
		t.v4 = w.take(addrs.v4.len(), t.ownerSize+fixedSize+len(addr4{}))
		t.v6 = w.take(addrs.v6.len(), t.ownerSize+fixedSize+len(addr6{}))
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
func (w *builder) ptr(n *Node) (rrs []dns.RR, capped bool) {
	if n.nameRange != nil {
		return w.ptrFromRange(n.nameRange)
	}
	start := w.ptrStart(len(n.names))
	for i := range n.names {
		if rrs, capped = w.appendPTR(rrs, n.names[(start+i)%len(n.names)]); capped {
			break
		}
	}
	return rrs, capped
}

// crowdPointers is pointers of an address that has many names.
func (w *builder) ptrFromRange(crowd *nameRange) (rrs []dns.RR, capped bool) {
	n := crowd.len(w.query.Zone)
	if n == 0 {
		return nil, false
	}
	c := crowd.set.at(w.ptrStart(n))
	for range n {
		if o, ok := c.item().key.resolve(crowd.addr); ok {
			if rrs, capped = w.appendPTR(rrs, o); capped {
				break
			}
		}
		if c.next(); c.position == n {
			c = crowd.set.at(0)
		}
	}
	return rrs, capped
}

// pointerStart is where to begin to read n names: at the first if all fit.
func (w *builder) ptrStart(n int) int {
	if n*(compressedSize+fixedSize+maxName+1) <= w.room {
		return 0
	}
	return int(w.query.Start % uint64(n))
}

// appendPointer appends a PTR record. It reports whether there is no room. A name
// that is too long to be written is left out (RFC 1035, section 2.3.4).
func (w *builder) appendPTR(rrs []dns.RR, o addrName) (_ []dns.RR, capped bool) {
	name := joinLabels(o.label, o.service.name, o.service.namespace, svc, w.query.Zone)
	if len(name) > maxName {
		return rrs, false
	}
	if w.take(1, compressedSize+fixedSize+wireLen(name)) == 0 {
		return rrs, true
	}
	return append(rrs, &dns.PTR{Hdr: w.header(w.query.Name, dns.TypePTR), Ptr: name}), false
}
