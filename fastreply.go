package headless

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/coredns/coredns/plugin/pkg/edns"
	"github.com/miekg/dns"

	"github.com/headless-dns/headless/records"
)

// fastAnswerer answers the queries of a UDP socket in wire format (RFC 1035, section 4.1). A reply has
// the same bytes as that of the chain of plugins. fastAnswerer implements fastudp.Answerer.
type fastAnswerer struct {
	plugins []*fastPlugin // their zones don't overlap
	query   fastQuery
}

// fastPlugin is a plugin whose names a fastAnswerer answers for.
type fastPlugin struct {
	h       *Headless
	packer  *records.Packer
	bufsize uint16          // the argument of the bufsize plugin, or 0 without it
	metrics *fastMetrics    // nil without the prometheus plugin
	shared  []*records.Zone // zones whose missing names may be the next plugin's, or be above another zone

	text [4 * 64]byte // room for the text of a denial: three labels and less than 64 bytes
}

// fastQuery is a query in wire format that the fast path may answer.
type fastQuery struct {
	lookup
	message []byte
	end     int // of the question
	rrtype  uint16
	opt     []byte // the OPT record up to its options; nil without one
	do      bool
	v6      bool // the client's address is IPv6
}

// Sizes in bytes of parts of a message (RFC 1035, sections 2.3.4 and 4.1).
const (
	headerSize   = 12
	questionTail = 4  // type and class
	fixedSize    = 10 // the part of a record between the owner and the data
	maxWireName  = 255
)

// newFastPlugin returns what answers for h, in a server block on the address of a server.
func newFastPlugin(h *Headless, b *fastBlock, server string) *fastPlugin {
	f := &fastPlugin{h: h, packer: records.NewPacker(), bufsize: b.bufsize, metrics: newFastMetrics(server, b.chain)}
	f.packer.TTL, f.packer.Zone, f.packer.Shuffle = h.ttl, h.ptrZone, b.shuffle
	for i := range h.zones {
		zone := &h.zones[i]
		if overlaps(zone.Name, h.Fall.Zones) || h.zones.Below(zone.Name) {
			f.shared = append(f.shared, zone)
		}
	}
	return f
}

// Answer implements fastudp.Answerer.
func (a *fastAnswerer) Answer(query, buf []byte, v6 bool, received time.Time) []byte {
	q := &a.query
	if !q.parse(query) {
		return nil
	}
	q.v6 = v6
	for _, f := range a.plugins {
		if q.zone = f.h.zones.MatchName(&q.name); q.zone != nil {
			return f.answer(q, buf, received)
		}
	}
	return nil
}

// parse reports whether the fast path may answer a query: a standard query with one question, in
// class IN, for a type that names of services have. It may have an OPT record, whose only options are
// COOKIE. No plugin answers those.
func (q *fastQuery) parse(m []byte) bool {
	const (
		queryBits = 0xF8    // QR and OPCODE, in the third byte
		counts    = 1 << 16 // QDCOUNT 1, ANCOUNT 0
	)
	if len(m) < headerSize || m[2]&queryBits != 0 || binary.BigEndian.Uint32(m[4:]) != counts || binary.BigEndian.Uint32(m[8:]) > 1 {
		return false
	}
	nameSize := q.name.FoldWire(m[headerSize:])
	q.end = headerSize + nameSize + questionTail
	if nameSize == 0 || q.end > len(m) || binary.BigEndian.Uint16(m[q.end-2:]) != dns.ClassINET {
		return false
	}
	q.rrtype = binary.BigEndian.Uint16(m[q.end-4:])
	switch q.rrtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR:
	default:
		return false
	}
	q.message, q.opt, q.do = m, nil, false
	if m[headerSize-1] == 0 {
		return q.end == len(m)
	}
	return q.parseOPT(m[q.end:])
}

// parseOPT takes an OPT record of version 0 (RFC 6891, section 6.1) at the end of a query.
func (q *fastQuery) parseOPT(m []byte) bool {
	if len(m) < emptyOPTSize || m[0] != 0 || binary.BigEndian.Uint16(m[1:]) != dns.TypeOPT || m[6] != 0 ||
		int(binary.BigEndian.Uint16(m[9:])) != len(m)-emptyOPTSize {
		return false
	}
	q.opt = m[:emptyOPTSize]
	q.do = m[7]&0x80 != 0
	for options := m[emptyOPTSize:]; len(options) > 0; {
		if len(options) < 4 || binary.BigEndian.Uint16(options) != dns.EDNS0COOKIE || edns.SupportedOption(dns.EDNS0COOKIE) {
			return false
		}
		size := 4 + int(binary.BigEndian.Uint16(options[2:]))
		if size > len(options) {
			return false
		}
		options = options[size:]
	}
	return true
}

// fastReply is a reply in wire format. Until its end, the message lacks the OPT record, and has the
// header of the query.
type fastReply struct {
	message         []byte
	answers, extra  int
	authority       int
	rcode           int
	truncated       bool
	plain           int // bytes without an OPT record, if no name were compressed
	outcome         *outcome
	ede             []byte // the text of an extended DNS error (RFC 8914); empty without one
	limit, maxPlain int    // the most bytes without an OPT record: of all, and uncompressed
	advertised      uint16 // the size in the OPT record
}

// answer returns the reply to a query for a name in the plugin's zones, and counts it, or returns
// nil if the chain has to see the query.
func (f *fastPlugin) answer(q *fastQuery, buf []byte, received time.Time) []byte {
	r := f.begin(q, buf)
	if !f.fill(q, &r) {
		return nil
	}
	message := r.finish(q)
	r.outcome.Inc()
	fastAnswersTotal.Inc()
	if f.metrics != nil {
		f.metrics.count(q, &r, received)
	}
	return message
}

// fill looks up the name and appends the records to the reply. It reports false if the chain has
// to see the query.
func (f *fastPlugin) fill(q *fastQuery, r *fastReply) bool {
	h := f.h
	if h.explain && isWhy(&q.name, q.zone) || !h.source.synced() {
		return false
	}
	switch h.find(&q.lookup) {
	case records.Found:
		return f.answerNode(q, r)
	case records.Missing:
		if slices.Contains(f.shared, q.zone) {
			return false
		}
		r.rcode, r.outcome = dns.RcodeNameError, outcomes.nxdomain
		return f.deny(q, r)
	}
	return false
}

// clientLimit returns the size in bytes above which the server compresses the names of a message,
// even if the client has room for more. CoreDNS does so to avoid fragments (request.Scrub).
func clientLimit(v6 bool) int {
	if v6 {
		return 1220
	}
	return 1480
}

// begin returns a reply that ends with the question.
func (f *fastPlugin) begin(q *fastQuery, buf []byte) fastReply {
	r := fastReply{message: append(buf, q.message[:q.end]...), plain: q.end}
	size, optSize := dns.MinMsgSize, 0
	if q.opt != nil {
		optSize = emptyOPTSize
		r.advertised = binary.BigEndian.Uint16(q.opt[3:])
		if f.bufsize > 0 {
			r.advertised = min(r.advertised, f.bufsize)
		}
		size = int(edns.Size("udp", r.advertised))
	}
	r.limit = min(size, maxUDP) - optSize
	r.maxPlain = min(size, clientLimit(q.v6)) - optSize
	return r
}

// answerNode appends the records of a node. It reports false if the chain has to see the query.
func (f *fastPlugin) answerNode(q *fastQuery, r *fastReply) bool {
	packed, ok := f.packer.Append(r.message, q.end-headerSize-questionTail, &q.node,
		&records.PackerQuery{Type: q.rrtype, Size: r.limit, Start: f.h.randomStart(), MaxPlain: r.maxPlain})
	if !ok {
		return false
	}
	if packed.Answers == 0 && !packed.Truncated {
		r.rcode, r.outcome = dns.RcodeSuccess, outcomes.nodata
		return f.deny(q, r)
	}
	r.message, r.answers, r.extra, r.plain = packed.Message, packed.Answers, packed.Extra, packed.Plain
	r.outcome = outcomes.answer
	if packed.Truncated || packed.GlueTruncated {
		r.truncated, r.outcome = true, outcomes.truncated
	}
	return true
}

// deny makes the reply a negative answer, as Headless.deny does. It reports false if the chain has
// to see the query.
func (f *fastPlugin) deny(q *fastQuery, r *fastReply) bool {
	h := f.h
	explains, bare := h.explain && q.opt != nil, h.denial.bare && r.rcode == dns.RcodeNameError
	if explains && h.source.stale.Load() {
		return false // a second extended DNS error says so
	}
	if explains || bare {
		d := q.node.Denial(&q.name, q.zone, q.rrtype)
		bare = bare && d.Passing()
		if explains {
			r.ede = appendReason(f.text[:0], &d)
		}
	}
	if !bare && !f.appendSOA(q, r) {
		return false
	}
	// An explanation always fits: with the longest name and text, the reply has less than 512 bytes
	// once its names are compressed. Here they are not.
	return len(r.ede) == 0 || r.plain+edeSize(len(r.ede)) <= r.maxPlain
}

// appendSOA appends the SOA record of the zone, unless its names have to be compressed.
func (f *fastPlugin) appendSOA(q *fastQuery, r *fastReply) bool {
	name := q.message[headerSize : q.end-questionTail]
	apexSize := 1 // of the root zone
	if q.zone.Labels() > 0 {
		apexSize = len(q.zone.Name) + 1
	}
	apex := name[len(name)-apexSize:]
	const server, mailbox = "\x02ns\x03dns", "\x0ahostmaster" // soaServer and soaMailbox
	size := len(server) + len(mailbox) + 2*apexSize + 20
	r.plain += apexSize + fixedSize + size
	if r.plain > r.maxPlain || len(mailbox)+apexSize > maxWireName {
		return false
	}
	m := append(r.message, apex...)
	m = binary.BigEndian.AppendUint16(m, dns.TypeSOA)
	m = binary.BigEndian.AppendUint16(m, dns.ClassINET)
	m = binary.BigEndian.AppendUint32(m, f.h.denial.ttl)
	m = binary.BigEndian.AppendUint16(m, uint16(size))
	m = append(append(m, server...), apex...)
	m = append(append(m, mailbox...), apex...)
	for _, v := range [...]uint32{f.h.trieOf(q.zone).Serial(), soaRefresh, soaRetry, soaExpire, f.h.denial.ttl} {
		m = binary.BigEndian.AppendUint32(m, v)
	}
	r.message, r.authority = m, 1
	return true
}

// finish appends the OPT record, fills the header and returns the message.
func (r *fastReply) finish(q *fastQuery) []byte {
	m := r.message
	if q.opt != nil {
		m = append(m, 0)
		m = binary.BigEndian.AppendUint16(m, dns.TypeOPT)
		m = binary.BigEndian.AppendUint16(m, r.advertised)
		m = r.appendOPTTail(m, q.opt[7])
		r.extra++
	}
	m[2] = 0x84 | q.message[2]&1 // QR, AA and RD
	if r.truncated {
		m[2] |= 2 // TC
	}
	m[3] = q.message[3]&0x10 | byte(r.rcode) // CD
	binary.BigEndian.PutUint16(m[6:], uint16(r.answers))
	binary.BigEndian.PutUint16(m[8:], uint16(r.authority))
	binary.BigEndian.PutUint16(m[10:], uint16(r.extra))
	return m
}

// appendOPTTail appends what follows the size in an OPT record. The server sends back the first
// byte of the client's flags, but makes a new record for an extended DNS error, with DO alone.
func (r *fastReply) appendOPTTail(m []byte, flags byte) []byte {
	if len(r.ede) == 0 {
		return append(m, 0, 0, flags, 0, 0, 0)
	}
	m = append(m, 0, 0, flags&0x80, 0)
	m = binary.BigEndian.AppendUint16(m, uint16(edeSize(len(r.ede))))
	m = binary.BigEndian.AppendUint16(m, dns.EDNS0EDE)
	m = binary.BigEndian.AppendUint16(m, uint16(2+len(r.ede)))
	m = binary.BigEndian.AppendUint16(m, dns.ExtendedErrorCodeOther)
	return append(m, r.ede...)
}

// counted returns the size that the prometheus plugin counts: that of the message as this plugin
// would write it, before the server compresses it and adds an OPT record.
func (r *fastReply) counted() int {
	if len(r.ede) > 0 {
		return r.plain + emptyOPTSize + edeSize(len(r.ede))
	}
	return r.plain
}
