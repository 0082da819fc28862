package records

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Packer appends the answers of nodes to messages in wire format (RFC 1035, section 4.1). It
// makes the bytes that the DNS library makes of [Node.Answer], without the records in between
// and without an allocation. What it can't make so, it leaves to them.
//
// A Packer has memory that it uses again, so only one goroutine may use it at a time.
type Packer struct {
	TTL     uint32 // in seconds
	Zone    string // as in a Query
	Shuffle bool   // put addresses in a random order, as the loadbalance plugin does

	fitter
	targets []resolvedTarget
	glue    []glueRecord
	random  *rand.Rand
}

// PackerQuery says which records of a node are wanted.
type PackerQuery struct {
	Type  uint16
	Size  int    // as in a Query
	Start uint64 // as in a Query
	// MaxPlain is the most bytes that the message may take, without an OPT record, for its names
	// not to be compressed.
	MaxPlain int
}

// Packed is a message with records.
type Packed struct {
	Message        []byte
	Answers, Extra int // records in these sections
	Plain          int // the bytes that the message would take if no name were compressed
	// As in an Answer.
	Truncated, GlueTruncated bool
}

// glueRecord is an address of a target.
type glueRecord struct {
	target int // index
	rrtype uint16
	addr   addr6 // the first bytes if it is IPv4
}

// pointerBits mark two bytes as a pointer to a name (RFC 1035, section 4.1.4).
const pointerBits = 0xC000

var questionPointer = []byte{pointerBits >> 8, headerSize}

// NewPacker returns a Packer with no settings.
func NewPacker() *Packer {
	return &Packer{random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
}

// Append appends the records of the node to a message that ends with the question, after a header
// and a name of nameSize bytes, the one that the node was found at. The caller counts the records
// in the header. There are no answers if the node has no records of the type, or if Truncated is set.
//
// It reports false, and appends nothing, if the DNS library has to write this answer, or if the
// message has no room for it: the capacity of message is the most that Append fills.
func (p *Packer) Append(message []byte, nameSize int, n *Node, q *PackerQuery) (Packed, bool) {
	p.fitter = fitter{room: q.Size - len(message), start: q.Start}
	w := packing{Packed: Packed{Message: message, Plain: len(message)}, name: message[headerSize : headerSize+nameSize], ttl: p.TTL, maxPlain: q.MaxPlain}
	ok := true
	switch {
	case n.names != nil || n.nameRange != nil:
		if q.Type == dns.TypePTR {
			ok = p.ptr(&w, n)
		}
	case n.nonTerminal:
	case q.Type == dns.TypeSRV:
		ok = p.srv(&w, n)
	case n.port != nil:
	case q.Type == dns.TypeA:
		addrs := n.addrs()
		members := n.members4(&addrs)
		ok = packAddresses(p, &w, &members)
	case q.Type == dns.TypeAAAA:
		addrs := n.addrs()
		members := n.members6(&addrs)
		ok = packAddresses(p, &w, &members)
	}
	return w.Packed, ok
}

// packAddresses appends the addresses that fit, as records of the name asked.
func packAddresses[A zonedAddr[A]](p *Packer, w *packing, s *members[A]) bool {
	bytes := addrSize[A]()
	n := p.take(s.len(), compressedSize+fixedSize+bytes)
	w.Answers, w.Truncated = n, n < s.len()
	w.Plain += n * (len(w.name) + fixedSize + bytes)
	if n == 0 {
		return true
	}
	owner := w.owner()
	size := len(owner) + fixedSize + bytes
	if cap(w.Message)-len(w.Message) < n*size {
		return false
	}
	begin := len(w.Message)
	w.Message = append(w.Message, owner...)
	w.fixed(rrtypeOf(bytes), bytes)
	head := w.Message[begin:] // the same in each record
	m := w.Message[:begin]
	c := s.at(p.first(n, s.len()))
	for range n {
		m = appendAddress(append(m, head...), &c.item().key)
		c.next()
	}
	w.Message = m
	if p.Shuffle {
		p.shuffle(n, func(i int) []byte {
			end := begin + (i+1)*size
			return m[end-bytes : end]
		})
	}
	return true
}

// addrSize returns the bytes of an address on the wire.
func addrSize[A zonedAddr[A]]() int {
	var a A
	return len(a) - 1
}

func rrtypeOf(addrSize int) uint16 {
	if addrSize == len(addr4{}) {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

func appendAddress[A zonedAddr[A]](message []byte, a *A) []byte {
	switch a := any(a).(type) {
	case *zoned4:
		return append(message, a[1:]...)
	case *zoned6:
		return append(message, a[1:]...)
	}
	return message
}

// shuffle puts n pieces of equal length in a random order.
func (p *Packer) shuffle(n int, piece func(int) []byte) {
	var swap addr6
	p.random.Shuffle(n, func(i, j int) {
		a, b := piece(i), piece(j)
		k := copy(swap[:], a)
		copy(a, b)
		copy(b, swap[:k])
	})
}

// srv appends the SRV records of a node that fit, and the addresses of their targets.
func (p *Packer) srv(w *packing, n *Node) bool {
	w.clusterset = n.clusters != nil
	suffix := w.name[len(w.name)-1-n.suffixLen:]
	var one [1]targetRange
	ranges, endpoints := n.targetRanges(one[:0])
	p.targets, w.Truncated = p.window(n, ranges, n.suffixLen, p.targets)
	w.Answers = len(p.targets)
	if w.Answers == 0 {
		return true
	}
	placeTargets(p.targets, len(w.Message), n.suffixLen)
	n4, n6, truncated := p.takeGlue(p.targets)
	w.Extra, w.GlueTruncated = n4+n6, truncated
	size := 0 // of all records, if they are compressed
	for i := range p.targets {
		t := &p.targets[i]
		if t.ownerSize > compressedSize {
			return false // in a message that is larger than any over UDP
		}
		owner, glue := targetSize(t.label, n.suffixLen), t.v4*(fixedSize+len(addr4{}))+t.v6*(fixedSize+len(addr6{}))
		w.Plain += len(w.name) + fixedSize + 6 + owner + glue + (t.v4+t.v6)*owner
		size += srvSize(t.label, n.suffixLen) + glue + (t.v4+t.v6)*compressedSize
	}
	if !w.compressed() {
		size = w.Plain - len(w.Message)
	} else if w.clusterset && slices.ContainsFunc(p.targets, resolvedTarget.isNested) {
		return false // the name of a target may be the end of another one, and a pointer may go there
	}
	if cap(w.Message)-len(w.Message) < size {
		return false
	}
	owner, weight := w.owner(), weightOf(endpoints)
	for i := range p.targets {
		t := &p.targets[i]
		w.Message = append(w.Message, owner...)
		w.fixed(dns.TypeSRV, 6+targetSize(t.label, n.suffixLen))
		w.Message = binary.BigEndian.AppendUint16(w.Message, 0) // priority
		w.Message = binary.BigEndian.AppendUint16(w.Message, weight)
		w.Message = binary.BigEndian.AppendUint16(w.Message, t.port)
		w.target(t, suffix)
	}
	p.appendGlue(w, n, suffix)
	return true
}

// appendGlue appends the addresses of the targets.
func (p *Packer) appendGlue(w *packing, n *Node, suffix []byte) {
	p.glue = p.glue[:0]
	for i := range p.targets {
		t := &p.targets[i]
		addrs := t.addrs()
		v4, v6 := addrs.v4.members(), addrs.v6.members()
		p.glue = collectGlue(p, i, &v4, t.v4)
		p.glue = collectGlue(p, i, &v6, t.v6)
	}
	if p.Shuffle {
		p.random.Shuffle(len(p.glue), func(i, j int) { p.glue[i], p.glue[j] = p.glue[j], p.glue[i] })
	}
	// At the name of a host, the target is the name of the question if that is spelled the same.
	if n.host != nil && w.begins(n.host.label) {
		p.targets[0].at = headerSize
	}
	for i := range p.glue {
		g := &p.glue[i]
		t := &p.targets[g.target]
		if w.compressed() {
			w.Message = binary.BigEndian.AppendUint16(w.Message, pointerBits|uint16(t.at))
		} else {
			w.target(t, suffix)
		}
		size := len(addr4{})
		if g.rrtype == dns.TypeAAAA {
			size = len(addr6{})
		}
		w.fixed(g.rrtype, size)
		w.Message = append(w.Message, g.addr[:size]...)
	}
}

// collectGlue adds n addresses of a set to the glue.
func collectGlue[A zonedAddr[A]](p *Packer, target int, s *members[A], n int) []glueRecord {
	if n == 0 {
		return p.glue
	}
	c := s.at(p.first(n, s.len()))
	for range n {
		g := glueRecord{target: target, rrtype: rrtypeOf(addrSize[A]())}
		appendAddress(g.addr[:0], &c.item().key)
		p.glue = append(p.glue, g)
		c.next()
	}
	return p.glue
}

// ptr appends the PTR records of a node, unless their names have to be compressed.
func (p *Packer) ptr(w *packing, n *Node) bool {
	if n.nameRange != nil || strings.Contains(p.Zone, `\`) {
		return false
	}
	begin, zone := w.Message, strings.TrimPrefix(p.Zone, ".") // the root zone has no labels
	start := p.firstPTR(len(n.names))
	for i := range n.names {
		name := &n.names[(start+i)%len(n.names)]
		target := len(name.label) + 1 + len(name.service.name) + 1 + len(name.service.namespace) + 1 + len(svc) + 1 + len(zone)
		if target > maxName {
			continue
		}
		if p.take(1, compressedSize+fixedSize+target+1) == 0 {
			w.Truncated = true
			break
		}
		w.Plain += len(w.name) + fixedSize + target + 1
		if w.compressed() || w.Plain > cap(begin) {
			return false
		}
		w.Answers++
		w.Message = append(w.Message, w.name...)
		w.fixed(dns.TypePTR, target+1)
		w.label(name.label)
		w.label(name.service.name)
		w.label(name.service.namespace)
		w.label(svc)
		w.labels(zone)
		w.Message = append(w.Message, 0)
	}
	return true
}
